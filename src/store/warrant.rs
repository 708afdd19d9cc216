//! Leave to commit: what somebody asks for is written only while he is still let in.
//!
//! Whoever serves a request puts its warrant around all that he does for it ([`with_warrant`]). A store takes the warrant of
//! the present task along with each commit and asks it last of all, where commits have their order. So no command has to
//! think of it, and none can forget it. What the host does of its own accord has no warrant and needs none: what it owes to
//! others is left to its loops and never done within a request.

use std::sync::Arc;

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

/// The same work, which goes on under the warrant of the present task on whatever thread it is done.
pub fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let warrant = present();
    move || PRESENT.sync_scope(warrant, work)
}

/// The same future, which goes on under the warrant of the present task in whatever task it is awaited.
pub fn carrying<F: Future>(work: F) -> impl Future<Output = F::Output> {
    PRESENT.scope(present(), work)
}
