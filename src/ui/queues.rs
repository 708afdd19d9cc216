//! Resuming a queue.

use axum::extract::Path;
use axum::response::Response;

use super::Console;
use super::given::Given;
use super::shell::Done;
use super::trouble::Trouble;
use crate::domain::id::QueueName;

/// Lets the jobs of a paused queue start again.
pub(super) async fn resume(console: Console, Given(Path(name)): Given<Path<String>>) -> Response {
    let name = match QueueName::new(&name) {
        Ok(name) => name,
        Err(error) => return console.refuse(&Trouble::field(error.to_string())),
    };
    let resumed = console.host.pause_queue(&name, None).await;
    console.answer(resumed.map(|_queue| ("/".to_owned(), Done::QueueResumed)))
}
