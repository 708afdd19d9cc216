//! How much goes on at a time: requests, large bodies, streams and waits, each counted apart.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use crate::domain::code;

/// Requests that are answered at a time; further ones are told to come back.
const REQUESTS_MAX: usize = 512;

/// Uploads and bulk submits that are read at a time; each may hold a large body in memory.
const LARGE_BODIES_MAX: usize = 4;

/// How long a large body waits for its turn.
const LARGE_BODY_PATIENCE: Duration = Duration::from_secs(10);

/// Streams of changes that are open at a time.
const STREAMS_MAX: usize = 256;

/// Submits that wait for the end of their job at a time; further ones are answered at once.
const WAITS_MAX: usize = 1024;

/// One of the places there are; dropping it gives it back.
pub(crate) type Turn = OwnedSemaphorePermit;

/// The places of a host.
pub(super) struct Turns {
    requests: Arc<Semaphore>,
    large_bodies: LargeBodies,
    streams: Arc<Semaphore>,
    waits: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            requests: places(REQUESTS_MAX),
            large_bodies: LargeBodies { places: places(LARGE_BODIES_MAX), patience: LARGE_BODY_PATIENCE },
            streams: places(STREAMS_MAX),
            waits: places(WAITS_MAX),
        }
    }
}

impl Turns {
    /// A place for a request, which it keeps until it is answered or [`RequestTurn::end`]s it.
    pub(super) fn request(&self) -> Result<RequestTurn, ApiError> {
        let turn = taken(&self.requests, "as many requests are under way as this host takes")?;
        Ok(RequestTurn(Arc::new(Mutex::new(Some(turn)))))
    }

    /// The places of large bodies.
    pub(super) fn large_bodies(&self) -> &LargeBodies {
        &self.large_bodies
    }

    /// A place for a stream.
    pub(super) fn stream(&self) -> Result<Turn, ApiError> {
        taken(&self.streams, "as many streams are open as this host serves")
    }

    /// A place to wait for the end of a job; none when all are taken.
    pub(super) fn wait(&self) -> Option<Turn> {
        Arc::clone(&self.waits).try_acquire_owned().ok()
    }
}

fn taken(places: &Arc<Semaphore>, busy: &str) -> Result<Turn, ApiError> {
    Arc::clone(places).try_acquire_owned().map_err(|_| ApiError::new(code::BUSY, busy))
}

/// The place of a request, shared by the guard and the request's handler.
#[derive(Clone)]
pub(super) struct RequestTurn(Arc<Mutex<Option<Turn>>>);

impl RequestTurn {
    /// Gives the place back before the request is answered.
    pub(super) fn end(&self) {
        self.0.lock().take();
    }
}

/// The places of large bodies, the same for the API and the console.
#[derive(Clone)]
pub(crate) struct LargeBodies {
    places: Arc<Semaphore>,
    patience: Duration,
}

impl LargeBodies {
    /// Waits for a place, within bounds.
    pub(crate) async fn turn(&self) -> Result<Turn, ApiError> {
        let turn = Arc::clone(&self.places).acquire_owned();
        let busy = || ApiError::new(code::BUSY, "as many large bodies are being read as this host takes");
        tokio::time::timeout(self.patience, turn).await.map_err(|_| busy())?.map_err(|_| busy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_waits_gives_its_place_back() {
        let turns = Turns::default();
        let held: Vec<_> = (0..REQUESTS_MAX).filter_map(|_| turns.request().ok()).collect();
        assert_eq!(held.len(), REQUESTS_MAX);
        assert!(turns.request().is_err());
        held[0].end();
        assert!(turns.request().is_ok());
    }

    #[tokio::test]
    async fn large_bodies_take_turns() {
        let patience = Duration::from_millis(20);
        let bodies = LargeBodies { patience, ..Turns::default().large_bodies().clone() };
        let mut held = Vec::new();
        for _ in 0..LARGE_BODIES_MAX {
            held.push(bodies.turn().await.expect("a place is free"));
        }
        let refused = bodies.turn().await.expect_err("no place is free");
        assert_eq!(refused.code(), code::BUSY);
        held.pop();
        drop(bodies.turn().await.expect("a place is free again"));
    }
}
