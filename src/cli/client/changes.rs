//! What a job does while it does it, event by event.

use std::io::BufRead;

use anyhow::Context as _;

use super::Answer;
use crate::api::view::{JobView, LogView};

/// The events of a stream.
pub(crate) struct Changes {
    pub(super) lines: Box<dyn BufRead + Send>,
}

/// One event of a job's stream.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The job as it is now.
    Job(Box<Answer<JobView>>),
    /// What it has logged since.
    Log(LogView),
    /// It is gone.
    Deleted,
}

impl Changes {
    /// The next event; none when the host ends the stream.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Change>> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).context("the stream broke off")? == 0 {
                return Ok(None);
            }
            let line = line.trim_end_matches(['\n', '\r']);
            match line.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value))) {
                Some(("event", value)) => name = value.to_owned(),
                Some(("data", value)) => data.push_str(value),
                None if line.is_empty() && !data.is_empty() => match name.as_str() {
                    "job" => {
                        let view = serde_json::from_str(&data)
                            .context("the host tells of a job in a form that is not ours")?;
                        return Ok(Some(Change::Job(Box::new(Answer { repeated: false, text: data, view }))));
                    }
                    "log" => {
                        let log =
                            serde_json::from_str(&data).context("the host sends a log in a form that is not ours")?;
                        return Ok(Some(Change::Log(log)));
                    }
                    "deleted" => return Ok(Some(Change::Deleted)),
                    _ => (name, data) = (String::new(), String::new()),
                },
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_one_by_one() {
        let text = ": keep-alive\n\nevent: other\ndata: {}\n\nevent: deleted\ndata: {\"id\":\"x\"}\n\nevent: deleted\n";
        let mut changes = Changes { lines: Box::new(text.as_bytes()) };
        assert!(matches!(changes.next(), Ok(Some(Change::Deleted))));
        assert!(matches!(changes.next(), Ok(None)));
    }
}
