//! Leave to commit: what somebody asks for is written only while he is still let in.
//!
//! Whoever serves a request puts its warrant around all that he does for it ([`with_warrant`]). A store takes the warrant of
//! the present task along with each commit and asks it last of all, where commits have their order. So no command has to
//! think of it, and none can forget it. What the host does of its own accord has no warrant and needs none.

use std::sync::Arc;

use tokio::task::JoinHandle;

/// See the module.
pub trait Warrant: Send + Sync {
    /// Whether whoever asked is still let in; why not, otherwise. Called by the writer of a store between two commits: it must
    /// be quick and must not call the store. What is answered with `Ok` is written next.
    fn check(&self) -> Result<(), Arc<str>>;
}

tokio::task_local! {
    static PRESENT: Option<Arc<dyn Warrant>>;
}

/// The warrant of the present task.
pub(super) fn present() -> Option<Arc<dyn Warrant>> {
    PRESENT.try_with(Clone::clone).ok().flatten()
}

/// Does something under a warrant.
pub async fn with_warrant<F: Future>(warrant: Arc<dyn Warrant>, work: F) -> F::Output {
    PRESENT.scope(Some(warrant), work).await
}

/// Does within a request what the host owes to others and has to bring to its end.
pub async fn without_warrant<F: Future>(work: F) -> F::Output {
    PRESENT.scope(None, work).await
}

/// Spawns a task that goes on under the warrant of the present one.
pub fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(PRESENT.scope(present(), work))
}

/// Does work that may block, on a thread for such work, under the warrant of the present task.
pub fn spawn_blocking<T, F>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let warrant = present();
    tokio::task::spawn_blocking(move || PRESENT.sync_scope(warrant, work))
}
