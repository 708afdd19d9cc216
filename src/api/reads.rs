//! Reads of payloads do not go unseen: where a payload leaves the host, whoever sends it says so here, and it is counted and
//! logged with who reads and from where.

use std::sync::Arc;

use super::ApiState;
use super::source::Source;

/// What goes into jobs or comes out of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What a handler is given.
    Input,
    /// What it returns.
    Output,
    /// What it says meanwhile.
    Logs,
    /// What the jobs of a schedule are given.
    Arguments,
}

impl Part {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Input, Self::Output, Self::Logs, Self::Arguments];

    /// The word for it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Logs => "logs",
            Self::Arguments => "arguments",
        }
    }
}

/// Somebody who was let in, and may come to read payloads.
#[derive(Clone)]
pub(crate) struct Reader {
    state: ApiState,
    by: Arc<str>,
    source: Source,
}

tokio::task_local! {
    /// Whose request the present task answers.
    static PRESENT: Reader;
}

impl Reader {
    /// A caller who comes from somewhere.
    pub(super) fn new(state: &ApiState, by: &str, source: Source) -> Self {
        Self { state: state.clone(), by: Arc::from(by), source }
    }

    /// The one whose request the present task answers, for what is done apart from it.
    pub(crate) fn present() -> Option<Self> {
        PRESENT.try_with(Clone::clone).ok()
    }

    /// Notes that he is given a payload.
    pub(crate) fn is_given(&self, part: Part) {
        self.state.refusals().read(part, self.source, &self.by);
    }
}

/// Answers the request of a reader.
pub(super) async fn read_by<F: Future>(reader: Reader, answer: F) -> F::Output {
    PRESENT.scope(reader, answer).await
}

/// Notes that whoever sent the request that the present task answers is given a payload.
pub(super) fn note(part: Part) {
    Reader::present().iter().for_each(|reader| reader.is_given(part));
}
