//! Why an attempt did not succeed: data about a plug-in's failure, not an error of the host.

use serde::Serialize;

/// What kind of failure it is; decides whether the host tries again (domain.md 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// The network, a lock, a busy service.
    Transient,
    /// The other side asked to slow down; counts no attempt within 24 hours.
    Throttled,
    /// A person must mend the data or a permission first.
    UserFixable,
    /// The handler refuses the work.
    Business,
    /// The handler itself is broken, or it used up a limit that a retry would use up again.
    Fatal,
}

/// What went wrong, in words for programs, people and administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind; decides about another attempt.
    pub class: ErrorClass,
    /// A stable word: the plug-in's own, or one of ours (`BR....`).
    pub code: Option<String>,
    /// One sentence for the person who looks at the job.
    pub message: String,
    /// More, for those who may see the payloads of the job.
    pub detail: Option<String>,
}

impl Failure {
    /// A failure with one of the host's own codes.
    pub fn host(class: ErrorClass, code: super::code::Code, message: impl Into<String>) -> Self {
        Self { class, code: Some(code.name.to_owned()), message: message.into(), detail: None }
    }

    /// Whether it carries this code.
    pub fn is(&self, code: super::code::Code) -> bool {
        self.code.as_deref() == Some(code.name)
    }

    /// The same failure with more for those who may see payloads.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}
