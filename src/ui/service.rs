//! Pausing and resuming the whole service.

use axum::extract::Path;
use axum::response::Response;

use super::Console;
use super::given::Given;
use super::rights::noted;
use super::shell::Done;
use super::trouble::Trouble;
use crate::domain::queue::Pause;
use crate::domain::service::ServiceState;

/// Pauses or resumes.
pub(super) async fn act(console: Console, Given(Path(action)): Given<Path<String>>) -> Response {
    let (state, done) = match action.as_str() {
        "pause" => {
            let by = Some(noted(&console.caller).to_owned());
            (ServiceState::Paused(Pause { since: console.now(), by, ..Pause::default() }), Done::Paused)
        }
        "resume" => (ServiceState::Running, Done::Resumed),
        _ => return console.refuse(&Trouble::field(format!("`{action}` is not `pause` or `resume`"))),
    };
    let set = console.host.set_service(state).await;
    console.answer(set.map(|()| ("/".to_owned(), done)))
}
