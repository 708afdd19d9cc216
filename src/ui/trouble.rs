//! Why the console cannot show a page or do what was asked, in words and with what to do next.

use axum::http::StatusCode;

use super::shell::Section;
use super::text;
use crate::api::ApiError;
use crate::app::{NotAdmitted, QueueError};
use crate::domain::code::{self, Code};
use crate::jobs::{RerunError, SteerError, SubmitError, TooManySearches};
use crate::registry::{InstallError, Unfit};
use crate::store::{CommitError, ReadError};

/// The longest message that the page of an error shows, in characters.
const MESSAGE_CHARS: usize = 2_000;

/// A refusal, as its page shows it.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    pub(super) code: Code,
    /// What is wrong with this request.
    pub(super) message: Box<str>,
    /// What to do next, where it differs from the catalogue's.
    pub(super) next: Option<Box<str>>,
    /// What to run, or to write and where.
    pub(super) lines: Option<Box<str>>,
    pub(super) section: Section,
}

impl Trouble {
    pub(super) fn new(status: StatusCode, code: Code, message: impl AsRef<str>) -> Self {
        let message = text::neutral(&message.as_ref().chars().take(MESSAGE_CHARS).collect::<String>());
        Self { status, code, message: message.into(), next: None, lines: None, section: Section::Overview }
    }

    /// A fault of the host itself.
    pub(super) fn host(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code::HOST_FAULT, error.to_string())
    }

    /// A field of a form or query that is not acceptable.
    pub(super) fn field(message: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::BAD_FIELD, message)
    }

    pub(super) fn unknown_job(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code::UNKNOWN_JOB, format!("There is no job {id}.")).at(Section::Jobs)
    }

    pub(super) fn at(mut self, section: Section) -> Self {
        self.section = section;
        self
    }

    pub(super) fn title(&self) -> &'static str {
        self.code.title
    }

    pub(super) fn remedy(&self) -> Vec<text::Part> {
        text::parts(self.next.as_deref().unwrap_or(self.code.remedy))
    }

    /// Whether another token would help.
    pub(super) fn is_of_rights(&self) -> bool {
        self.code == code::FORBIDDEN
    }

    pub(super) fn told(&self) -> Vec<text::Part> {
        text::parts(&self.message)
    }
}

impl From<NotAdmitted> for Trouble {
    fn from(error: NotAdmitted) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code::UNAUTHORIZED, error.to_string())
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        let (status, code) = match error {
            ReadError::Damaged(_) => (StatusCode::INTERNAL_SERVER_ERROR, code::STORE_DAMAGED),
            ReadError::Short(_) => (StatusCode::SERVICE_UNAVAILABLE, code::SHORT_OF_RESOURCES),
            ReadError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, code::STORE_FAILED),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<CommitError> for Trouble {
    fn from(error: CommitError) -> Self {
        let (status, code) = match error {
            CommitError::Conflict { .. } => (StatusCode::CONFLICT, code::WRONG_STATE),
            CommitError::NotAdmitted(_) => (StatusCode::UNAUTHORIZED, code::UNAUTHORIZED),
            CommitError::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, code::DISK_FULL),
            CommitError::Short(_) => (StatusCode::SERVICE_UNAVAILABLE, code::SHORT_OF_RESOURCES),
            CommitError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, code::STORE_FAILED),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<TooManySearches> for Trouble {
    fn from(error: TooManySearches) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code::BUSY, error.to_string())
    }
}

impl From<SteerError> for Trouble {
    fn from(error: SteerError) -> Self {
        let trouble = match error {
            SteerError::Unknown(id) => Self::unknown_job(&id.to_string()),
            SteerError::Refused(refused) => Self::new(StatusCode::CONFLICT, code::WRONG_STATE, refused.to_string()),
            SteerError::Commit(error) => error.into(),
            SteerError::Read(error) => error.into(),
        };
        trouble.at(Section::Jobs)
    }
}

/// The console answers with the status of the API, and in its words.
impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        let next = error.next().map(Box::from);
        Self { next, ..Self::new(error.status(), error.code(), error.detail()) }
    }
}

impl From<QueueError> for Trouble {
    fn from(error: QueueError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<RerunError> for Trouble {
    fn from(error: RerunError) -> Self {
        match error {
            RerunError::Steer(error) => error.into(),
            RerunError::Already(_) => Self::new(StatusCode::CONFLICT, code::WRONG_STATE, error.to_string()),
            RerunError::Submit(error) | RerunError::Member { error, .. } => error.into(),
        }
    }
}

impl From<SubmitError> for Trouble {
    fn from(error: SubmitError) -> Self {
        let trouble = match error {
            SubmitError::Unfit(unfit) => unfit.into(),
            SubmitError::Commit(error) => error.into(),
            SubmitError::Read(error) => error.into(),
            error @ SubmitError::NoWriteOnBatch { .. } => {
                Self::new(StatusCode::FORBIDDEN, code::FORBIDDEN, error.to_string())
            }
            error @ (SubmitError::UnknownTie { .. }
            | SubmitError::ClosedBatch { .. }
            | SubmitError::Circle { .. }
            | SubmitError::OtherBatch { .. }
            | SubmitError::LongDeadline { .. }) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code::BAD_FIELD, error.to_string())
            }
            error @ SubmitError::Disabled { .. } => Self::new(StatusCode::CONFLICT, code::DISABLED, error.to_string()),
            error @ (SubmitError::Duplicate { .. } | SubmitError::Twice { .. } | SubmitError::TwiceAgain { .. }) => {
                Self::new(StatusCode::CONFLICT, code::DUPLICATE_JOB, error.to_string())
            }
            error => Self::new(StatusCode::CONFLICT, code::IDEMPOTENCY_MISMATCH, error.to_string()),
        };
        trouble.at(Section::Jobs)
    }
}

impl From<Unfit> for Trouble {
    fn from(unfit: Unfit) -> Self {
        let (status, code) = match unfit {
            Unfit::UnknownPlugin { .. } => (StatusCode::NOT_FOUND, code::UNKNOWN_PLUGIN),
            Unfit::UnknownHandler { .. } => (StatusCode::UNPROCESSABLE_ENTITY, code::UNKNOWN_HANDLER),
            Unfit::UnknownVersion { .. } => (StatusCode::NOT_FOUND, code::UNKNOWN_VERSION),
            Unfit::NoCommand { .. } => (StatusCode::UNPROCESSABLE_ENTITY, code::BAD_FIELD),
            Unfit::InputTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, code::INPUT_TOO_LARGE),
            Unfit::BuiltIn { .. } => (StatusCode::CONFLICT, code::RESERVED_NAME),
            Unfit::BadCall(_) => (StatusCode::UNPROCESSABLE_ENTITY, code::BAD_CALL),
            Unfit::NotGranted { .. } => (StatusCode::UNPROCESSABLE_ENTITY, code::ORIGIN_NOT_GRANTED),
        };
        Self::new(status, code, unfit.to_string()).at(Section::Plugins)
    }
}

impl From<InstallError> for Trouble {
    fn from(error: InstallError) -> Self {
        let message = error.to_string();
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, &message);
        let trouble = match error {
            InstallError::Rejected(rejection) => Self {
                next: rejection.next.map(String::into_boxed_str),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, rejection.code, rejection.message)
            },
            InstallError::Unknown(unfit) => unfit.into(),
            InstallError::UnknownVersion { .. } | InstallError::NoEarlierVersion { .. } => {
                Self::new(StatusCode::NOT_FOUND, code::UNKNOWN_VERSION, &message)
            }
            InstallError::VersionExists { .. } => conflict(code::VERSION_EXISTS),
            InstallError::NotGranted { advice, .. } => {
                Self { lines: Some(advice.to_string().into()), ..conflict(code::MISSING_GRANT) }
            }
            InstallError::StrangeHandlers { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code::STRANGE_HANDLER, &message)
            }
            InstallError::Grant(_) => conflict(code::NO_SUCH_GRANT),
            InstallError::InUse { .. } => conflict(code::PLUGIN_IN_USE),
            InstallError::Commit(error) => error.into(),
            InstallError::Read(error) => error.into(),
        };
        trouble.at(Section::Plugins)
    }
}
