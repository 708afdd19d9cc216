//! The body of a request under way: it ends when its sender loses his token.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::Request;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Mutex;

use crate::app::CallerWarrant;

/// How long the rest of a body that nobody wants any more is read and thrown away, so that its sender gets to see the answer.
const DISCARD_MAX: Duration = Duration::from_secs(5);

/// What is still to come of a body, held by its reader and by the guard behind him. None where there is nothing to come.
pub(super) struct Sending(Option<Arc<Mutex<BodyDataStream>>>);

impl Sending {
    /// Puts in place of a request's body one that ends with an error when its sender is not let in any more.
    pub(super) fn watch(request: &mut Request, sender: &Arc<CallerWarrant>) -> Self {
        if request.body().is_end_stream() {
            return Self(None);
        }
        let body = std::mem::take(request.body_mut());
        let rest = Arc::new(Mutex::new(body.into_data_stream()));
        let reader = (Arc::clone(&rest), Arc::clone(sender));
        *request.body_mut() = Body::from_stream(stream::try_unfold(reader, |(rest, sender)| async move {
            let next = tokio::select! {
                biased;
                () = sender.lost() => Some(Err(axum::Error::new("its sender has lost his token"))),
                next = next_of(&rest) => next,
            };
            Ok::<_, axum::Error>(next.transpose()?.map(|bytes| (bytes, (rest, sender))))
        }));
        Self(Some(rest))
    }

    /// Reads the rest and throws it away, within bounds.
    pub(super) async fn discard(&self) {
        let Some(rest) = &self.0 else { return };
        let discarding = async { while let Some(Ok(_)) = next_of(rest).await {} };
        // A sender that is slower does not get to see the answer.
        let _in_time = tokio::time::timeout(DISCARD_MAX, discarding).await;
    }
}

async fn next_of(rest: &Mutex<BodyDataStream>) -> Option<Result<Bytes, axum::Error>> {
    rest.lock().await.next().await
}
