//! Work that blocks, off the threads that must not.

use std::time::Duration;

use tokio::task::{JoinError, spawn_blocking};

/// How long work may lie about before somebody looks whether the system has a thread for it now.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs `work` where it may block. When the system has no thread for it, tokio lets it lie until somebody brings more work;
/// on a host that has nothing else to do that would be for ever, so that the wait itself brings some.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    let mut running = spawn_blocking(work);
    loop {
        match tokio::time::timeout(PATIENCE, &mut running).await {
            Ok(done) => return done,
            // A thread that can be had for this takes what was there before it, too.
            Err(_) => drop(spawn_blocking(|| {})),
        }
    }
}
