//! The body of a request under way: it ends when its sender loses his token, is too slow, or has more under way than he may.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::Request;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::ApiError;
use super::turns::Room;
use crate::app::CallerWarrant;
use crate::domain::code;

/// Bytes a second of a body, from its beginning on.
const RATE_MIN: u64 = 1_024;

/// What is still to come of a body, held by its reader and by the guard behind him. None where there is nothing to come.
pub(super) struct Sending(Option<Arc<Mutex<Rest>>>);

struct Rest {
    stream: BodyDataStream,
    sender: Arc<CallerWarrant>,
    began: Instant,
    /// How long it may lag behind the smallest rate.
    patience: Duration,
    /// Room for what has come, until the request is answered.
    room: Room,
    read: u64,
    refused: Option<ApiError>,
}

impl Sending {
    /// Puts in place of a request's body one that its sender can only send while he may.
    pub(super) fn watch(request: &mut Request, sender: &Arc<CallerWarrant>, room: Room, patience: Duration) -> Self {
        if request.body().is_end_stream() {
            return Self(None);
        }
        let stream = std::mem::take(request.body_mut()).into_data_stream();
        let (sender, began) = (Arc::clone(sender), Instant::now());
        let rest = Arc::new(Mutex::new(Rest { stream, sender, began, patience, room, read: 0, refused: None }));
        *request.body_mut() = Body::from_stream(stream::try_unfold(Arc::clone(&rest), |rest| async move {
            let next = rest.lock().await.next().await?;
            Ok::<_, axum::Error>(next.map(|bytes| (bytes, rest)))
        }));
        Self(Some(rest))
    }

    /// Why the body was not read to its end, where that is its sender's fault.
    pub(super) async fn refused(&self) -> Option<ApiError> {
        self.0.as_ref()?.lock().await.refused.take()
    }
}

impl Rest {
    async fn next(&mut self) -> Result<Option<Bytes>, axum::Error> {
        let slow = tokio::time::sleep_until(self.due());
        let next = tokio::select! {
            biased;
            () = self.sender.lost() => return Err(axum::Error::new("its sender is not let in any more")),
            next = self.stream.next() => next.transpose()?,
            () = slow => {
                let detail = format!("{} bytes had come after {:?}", self.read, self.began.elapsed());
                return Err(self.refuse(ApiError::new(code::BODY_CUT_OFF, format!("the body came too slowly: {detail}"))));
            }
        };
        let Some(bytes) = next else { return Ok(None) };
        let count = bytes.len() as u64;
        self.read += count;
        match self.room.add(count) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// When more has to have come.
    fn due(&self) -> Instant {
        self.began + self.patience + Duration::from_secs(self.read / RATE_MIN)
    }

    fn refuse(&mut self, error: ApiError) -> axum::Error {
        self.refused = Some(error);
        axum::Error::new("its sender may not go on")
    }
}
