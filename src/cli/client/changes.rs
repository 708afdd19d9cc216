//! What a job does while it does it, event by event.

use std::io::{self, BufRead};

use super::super::failure::{Exit, Failure};
use super::Answer;
use crate::api::view::{JobView, LogView};
use crate::domain::code;

/// The events of a stream.
pub(crate) struct Changes {
    pub(super) lines: Box<dyn BufRead + Send>,
    /// What the last event that names a place names.
    pub(super) place: Option<String>,
}

/// One event of a job's stream.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The job as it is now.
    Job(Box<Answer<JobView>>),
    /// What it has logged since, and the place where the stream goes on.
    Log(LogView, Option<String>),
    /// It is gone.
    Deleted,
}

impl Changes {
    /// The next event; none when the host ends the stream.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Change>> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).map_err(broke_off)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end_matches(['\n', '\r']);
            match line.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value))) {
                Some(("event", value)) => name = value.to_owned(),
                Some(("data", value)) => data.push_str(value),
                Some(("id", value)) => self.place = Some(value.to_owned()),
                None if line.is_empty() && !data.is_empty() => match name.as_str() {
                    "job" => {
                        let view = serde_json::from_str(&data).map_err(|error| not_ours("of a job", &error))?;
                        return Ok(Some(Change::Job(Box::new(Answer { repeated: false, text: data, view }))));
                    }
                    "log" => {
                        let log = serde_json::from_str(&data).map_err(|error| not_ours("of a log", &error))?;
                        return Ok(Some(Change::Log(log, self.place.clone())));
                    }
                    "deleted" => return Ok(Some(Change::Deleted)),
                    _ => (name, data) = (String::new(), String::new()),
                },
                _ => {}
            }
        }
    }
}

/// The host is gone, and may come back.
fn broke_off(error: io::Error) -> Failure {
    Failure::new(code::NO_ANSWER, format!("the stream of the host broke off: {error}"))
}

/// The host is there, and will not send anything else.
fn not_ours(what: &str, error: &serde_json::Error) -> Failure {
    let message = format!("the host tells {what} in a form that is not ours: {error}");
    let next = "use the program of the same release as the host; see `backroom service status`";
    Failure { exit: Exit::Failed, ..Failure::bad_input(message, next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_one_by_one() {
        let text = ": keep-alive\n\nevent: other\ndata: {}\n\nevent: deleted\ndata: {\"id\":\"x\"}\n\nevent: deleted\n";
        let mut changes = Changes { lines: Box::new(text.as_bytes()), place: None };
        assert!(matches!(changes.next(), Ok(Some(Change::Deleted))));
        assert!(matches!(changes.next(), Ok(None)));
    }

    #[test]
    fn an_event_names_the_place_where_the_stream_goes_on() {
        let log = "{\"run\":1,\"attempt\":1,\"line\":0,\"text\":\"a\\n\"}";
        let text = format!("event: log\nid: 3.1.1\ndata: {log}\n\nevent: job\ndata: {{}}\n\n");
        let mut changes = Changes { lines: Box::new(io::Cursor::new(text)), place: None };
        let told = changes.next().expect("a log can be read");
        assert!(matches!(told, Some(Change::Log(_, Some(place))) if place == "3.1.1"));
        let error = changes.next().expect_err("that is no job").downcast::<Failure>().expect("a failure");
        assert_eq!((error.code, error.exit), (None, Exit::Failed));
    }
}
