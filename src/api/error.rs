//! Errors on their way out: the only place that turns what went wrong into a status and a problem document.

use axum::extract::rejection::PathRejection;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::view::{GrantView, LineProblem, Problem};
use crate::app::{NotAdmitted, QueueError, TokenError};
use crate::domain::access::BadTokens;
use crate::domain::advice::Advice;
use crate::domain::code::{self, Code};
use crate::domain::idempotency::KeyError;
use crate::domain::job::transition::Refused;
use crate::domain::outbound::BadRequest;
use crate::domain::schedule::{RuleError, ScheduleRefusal};
use crate::jobs::{RerunError, SteerError, SubmitError, TooManySearches};
use crate::registry::{BadGrant, InstallError, Unfit};
use crate::resources::QuietByKind;
use crate::retention::SweepError;
use crate::sandbox::Rejection;
use crate::schedules::ScheduleError;
use crate::store::{CommitError, ReadError};

/// The content type of every error.
pub(super) const PROBLEM: &str = "application/problem+json";

/// How long a client should wait before it asks a busy host again, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Whoever asks a host in trouble again and again does not fill its log.
static NOT_DONE: QuietByKind = QuietByKind::new();

/// A request that was not done, and why.
#[derive(Debug)]
pub struct ApiError(Box<Fault>);

#[derive(Debug)]
struct Fault {
    code: Code,
    status: StatusCode,
    detail: String,
    next: Option<String>,
    field: Option<String>,
    errors: Vec<LineProblem>,
    missing_grants: Vec<GrantView>,
    add_to_config: Option<String>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// An error of the catalogue, with what is wrong this time.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Fault {
            code,
            status: status_of(code),
            detail: detail.into(),
            next: None,
            field: None,
            errors: Vec::new(),
            missing_grants: Vec::new(),
            add_to_config: None,
            header: None,
        }))
    }

    /// A field or query parameter that is not acceptable.
    pub(super) fn field(name: &str, detail: impl Into<String>) -> Self {
        let mut error = Self::new(code::BAD_FIELD, detail);
        error.0.field = Some(name.to_owned());
        error
    }

    /// The same with the exact next command.
    #[must_use]
    pub(super) fn with_next(mut self, next: impl Into<String>) -> Self {
        self.0.next = Some(next.into());
        self
    }

    /// The same with the field that is at fault.
    #[must_use]
    pub(super) fn with_field(mut self, name: &str) -> Self {
        self.0.field = Some(name.to_owned());
        self
    }

    /// Whether this field is at fault.
    pub(super) fn is_of_field(&self, name: &str) -> bool {
        self.0.field.as_deref() == Some(name)
    }

    /// The same with another status than the code's.
    #[must_use]
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// The same with a header that tells programs what would be taken.
    #[must_use]
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    /// The same with the lines that are at fault.
    #[must_use]
    pub(super) fn with_lines(mut self, errors: Vec<LineProblem>) -> Self {
        self.0.errors = errors;
        self
    }

    /// The same with what helps: the command, and what to write into backroom.toml.
    #[must_use]
    pub(super) fn with_advice(mut self, advice: &Advice) -> Self {
        self.0.next = advice.command().map(str::to_owned).or(self.0.next);
        self.0.add_to_config = advice.settings();
        self
    }

    /// The entry of the catalogue.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What is wrong this time.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What to do next, where it differs from the catalogue's advice.
    pub fn next(&self) -> Option<&str> {
        self.0.next.as_deref()
    }

    /// What to write into backroom.toml, where that helps.
    pub fn settings(&self) -> Option<&str> {
        self.0.add_to_config.as_deref()
    }

    /// The problem document.
    pub(super) fn document(&self) -> Vec<u8> {
        serde_json::to_vec(&self.problem()).unwrap_or_default()
    }

    fn problem(&self) -> Problem {
        let Fault { code, status, detail, next, field, errors, missing_grants, add_to_config, header: _ } = &*self.0;
        Problem {
            kind: format!("/errors/{}", code.name),
            title: code.title.to_owned(),
            status: status.as_u16(),
            detail: detail.clone(),
            code: code.name.to_owned(),
            next: next.clone().unwrap_or_else(|| code.remedy.to_owned()),
            field: field.clone(),
            errors: errors.clone(),
            missing_grants: missing_grants.clone(),
            add_to_config: add_to_config.clone(),
        }
    }
}

fn status_of(code: Code) -> StatusCode {
    match code {
        code::BAD_JSON | code::BODY_CUT_OFF | code::NO_KEY_TAKEN | code::BAD_HEAD | code::BAD_HOST => {
            StatusCode::BAD_REQUEST
        }
        code::WRONG_METHOD => StatusCode::METHOD_NOT_ALLOWED,
        code::WRONG_KIND => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        code::LARGE_HEAD => StatusCode::URI_TOO_LONG,
        code::UNAUTHORIZED => StatusCode::UNAUTHORIZED,
        code::FOREIGN_ORIGIN | code::FORBIDDEN | code::PROXY_WITHOUT_TOKEN => StatusCode::FORBIDDEN,
        code::TOO_MUCH_UNDER_WAY | code::TOO_MANY_WRONG_TOKENS => StatusCode::TOO_MANY_REQUESTS,
        code::UNKNOWN_PLUGIN
        | code::UNKNOWN_JOB
        | code::UNKNOWN_PATH
        | code::UNKNOWN_VERSION
        | code::UNKNOWN_QUEUE
        | code::UNKNOWN_SCHEDULE
        | code::NO_SUCH_GRANT
        | code::UNKNOWN_TOKEN => StatusCode::NOT_FOUND,
        code::SCHEDULE_STATE | code::TOO_MANY_SCHEDULES => StatusCode::CONFLICT,
        code::WRONG_STATE
        | code::DISABLED
        | code::AMBIGUOUS_ID
        | code::DUPLICATE_JOB
        | code::CHANGED_MEANWHILE
        | code::VERSION_EXISTS
        | code::PLUGIN_IN_USE
        | code::MISSING_GRANT
        | code::GRANT_OF_SETTINGS
        | code::GRANT_LIMIT
        | code::RESERVED_NAME
        | code::TOKEN_EXISTS
        | code::LOCKED_OUT
        | code::OPENS_THE_HOST
        | code::TOO_MANY_TOKENS => StatusCode::CONFLICT,
        code::BODY_TOO_LARGE | code::INPUT_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
        code::BUSY | code::STORE_FAILED | code::SHORT_OF_RESOURCES => StatusCode::SERVICE_UNAVAILABLE,
        code::DISK_FULL => StatusCode::INSUFFICIENT_STORAGE,
        code::INTERNAL | code::STORE_DAMAGED | code::HOST_FAULT => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.0.status.is_server_error()
            && self.0.code != code::BUSY
            && let Some(unsaid) = NOT_DONE.say(self.0.code.name)
        {
            tracing::error!(
                error.code = self.0.code.name,
                error.message = self.0.detail,
                unsaid,
                "a request was not done"
            );
        }
        let mut response = (self.0.status, self.document()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if let Some((name, value)) = self.0.header {
            headers.insert(name, value);
        }
        let is_passing = matches!(self.0.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        if is_passing || self.0.code == code::CHANGED_MEANWHILE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For the guard, which counts refusals.
        response.extensions_mut().insert(self.0.code);
        response
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::new(code::BAD_HEAD, format!("the address cannot be read: {}", rejection.body_text()))
    }
}

impl From<Unfit> for ApiError {
    fn from(unfit: Unfit) -> Self {
        let detail = unfit.to_string();
        match unfit {
            Unfit::UnknownPlugin { .. } => Self::new(code::UNKNOWN_PLUGIN, detail).with_next("backroom plugin list"),
            Unfit::UnknownHandler { plugin, .. } => {
                Self::new(code::UNKNOWN_HANDLER, detail).with_next(format!("backroom plugin show {plugin}"))
            }
            Unfit::UnknownVersion { plugin, .. } => {
                Self::new(code::UNKNOWN_VERSION, detail).with_next(format!("backroom plugin show {plugin}"))
            }
            Unfit::InputTooLarge { advice, .. } => Self::new(code::INPUT_TOO_LARGE, detail).with_advice(&advice),
            Unfit::NoCommand { field, .. } => Self::field(field, detail)
                .with_next("Leave it out, and give the handler all that it needs as its input."),
            Unfit::BuiltIn { .. } => Self::new(code::RESERVED_NAME, detail),
            Unfit::BadCall(BadRequest { field, .. }) => {
                let mut error = Self::new(code::BAD_CALL, detail);
                error.0.field = Some(if field.is_empty() { "input".to_owned() } else { format!("input.{field}") });
                error
            }
            Unfit::NotGranted { advice, .. } => Self::new(code::ORIGIN_NOT_GRANTED, detail).with_advice(&advice),
        }
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        let code = match error {
            CommitError::Conflict { .. } => {
                return Self::new(
                    code::CHANGED_MEANWHILE,
                    "others changed the same thing at the same time; nothing was done",
                );
            }
            CommitError::NotAdmitted(_) => code::UNAUTHORIZED,
            CommitError::Full(_) => code::DISK_FULL,
            CommitError::Short(_) => code::SHORT_OF_RESOURCES,
            CommitError::Failed(_) => code::STORE_FAILED,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let code = match error {
            ReadError::Damaged(_) => code::STORE_DAMAGED,
            ReadError::Short(_) => code::SHORT_OF_RESOURCES,
            ReadError::Failed(_) => code::STORE_FAILED,
        };
        Self::new(code, error.to_string())
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::Unfit(unfit) => unfit.into(),
            SubmitError::Disabled { plugin } => {
                Self::new(code::DISABLED, detail).with_next(format!("backroom plugin enable {plugin}"))
            }
            SubmitError::Key(error) => error.into(),
            SubmitError::UnknownTie { field, .. } => Self::field(field, detail).with_next("backroom job list"),
            SubmitError::NoWriteOnBatch { .. } => Self::new(code::FORBIDDEN, detail).with_field("batch"),
            SubmitError::ClosedBatch { job } => {
                Self::field("batch", detail).with_next(format!("backroom job show {job}"))
            }
            SubmitError::Circle { batch } => {
                Self::field("batch", detail).with_next(format!("backroom batch show {batch}"))
            }
            SubmitError::OtherBatch { .. } => Self::field("batch", detail)
                .with_next("Leave `batch` out here, or submit the job with `POST /v1/jobs` to join that batch."),
            SubmitError::Callback(unfit) => {
                let mut error = Self::from(unfit);
                error.0.detail = detail;
                error.0.field = Some("on_complete.url".to_owned());
                error
            }
            SubmitError::Duplicate { .. } | SubmitError::Twice { .. } | SubmitError::TwiceAgain { .. } => {
                Self::new(code::DUPLICATE_JOB, detail)
            }
            SubmitError::LongDeadline { advice, .. } => Self::field("deadline", detail)
                .with_next(format!("Give a shorter one or none, or allow more:\n{advice}"))
                .with_advice(&advice),
            SubmitError::Commit(error) => error.into(),
            SubmitError::Read(error) => error.into(),
        }
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        let detail = error.to_string();
        match error {
            KeyError::Bad { .. } => Self::field("Idempotency-Key", detail),
            KeyError::Mismatch { job, .. } => {
                let error = Self::new(code::IDEMPOTENCY_MISMATCH, detail);
                match job {
                    Some(job) => error.with_next(format!("backroom job show {job}")),
                    None => error,
                }
            }
            KeyError::OfDeleted { .. } => {
                Self::new(code::UNKNOWN_JOB, detail).with_next("Use a new Idempotency-Key to submit it again.")
            }
        }
    }
}

impl From<SweepError> for ApiError {
    fn from(error: SweepError) -> Self {
        match error {
            SweepError::Read(error) => error.into(),
            SweepError::Commit(error) => error.into(),
        }
    }
}

impl From<TooManySearches> for ApiError {
    fn from(error: TooManySearches) -> Self {
        Self::new(code::BUSY, error.to_string())
    }
}

impl From<SteerError> for ApiError {
    fn from(error: SteerError) -> Self {
        let detail = error.to_string();
        match error {
            SteerError::Unknown(_) => Self::new(code::UNKNOWN_JOB, detail).with_next("backroom job list"),
            SteerError::Refused(Refused { .. }) => Self::new(code::WRONG_STATE, detail),
            SteerError::Commit(error) => error.into(),
            SteerError::Read(error) => error.into(),
        }
    }
}

impl From<RerunError> for ApiError {
    fn from(error: RerunError) -> Self {
        match error {
            RerunError::Steer(error) => error.into(),
            RerunError::Submit(error) => error.into(),
            RerunError::Already(_) => Self::new(code::WRONG_STATE, error.to_string()),
            RerunError::Member { job, error } => {
                let mut error = Self::from(error);
                error.0.detail = format!("job {job} cannot run again: {}; nothing was taken", error.0.detail);
                error
            }
        }
    }
}

impl From<RuleError> for ApiError {
    fn from(error: RuleError) -> Self {
        let code = match error {
            RuleError::NoOccurrence { .. } | RuleError::OnceAndOver { .. } => code::NO_OCCURRENCE,
            _ => code::BAD_RULE,
        };
        let field = match error.part() {
            "the time zone" => "tz",
            "DTSTART" => "start",
            "EXDATE" => "except",
            part if part.starts_with("the cron") => "cron",
            _ => "rule",
        };
        Self::new(code, error.to_string()).with_field(field)
    }
}

impl From<ScheduleRefusal> for ApiError {
    fn from(refusal: ScheduleRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            ScheduleRefusal::State { .. } => Self::new(code::SCHEDULE_STATE, detail),
            ScheduleRefusal::Rule(error) => error.into(),
            ScheduleRefusal::Forgotten { .. } => Self::new(code::OCCURRENCES_FORGOTTEN, detail).with_field("from"),
            ScheduleRefusal::TooMany { .. } => Self::new(code::TOO_MANY_OCCURRENCES, detail).with_field("to"),
        }
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        let detail = error.to_string();
        match error {
            QueueError::Unknown { .. } => Self::new(code::UNKNOWN_QUEUE, detail),
            QueueError::Commit(error) => error.into(),
            QueueError::Read(error) => error.into(),
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        let detail = error.to_string();
        match error {
            TokenError::Unknown(_) => Self::new(code::UNKNOWN_TOKEN, detail),
            TokenError::Exists(_) => Self::new(code::TOKEN_EXISTS, detail),
            TokenError::Expired(_) => Self::field("expires_on", detail),
            TokenError::TooMany => Self::new(code::TOO_MANY_TOKENS, detail),
            TokenError::Bad(BadTokens::OpensTheHost) => Self::new(code::OPENS_THE_HOST, detail),
            TokenError::Bad(_) => Self::new(code::LOCKED_OUT, detail),
            TokenError::NotAdmitted(error) => error.into(),
            TokenError::Commit(error) => error.into(),
        }
    }
}

impl From<NotAdmitted> for ApiError {
    fn from(error: NotAdmitted) -> Self {
        Self::new(code::UNAUTHORIZED, error.to_string())
    }
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> Self {
        let detail = error.to_string();
        match error {
            ScheduleError::Unknown(_) => Self::new(code::UNKNOWN_SCHEDULE, detail).with_next("backroom schedule list"),
            ScheduleError::Exists(_) => {
                Self::new(code::CHANGED_MEANWHILE, "somebody else made the schedule at the same time")
            }
            ScheduleError::Key(error) => error.into(),
            ScheduleError::TooMany => Self::new(code::TOO_MANY_SCHEDULES, detail),
            ScheduleError::Rule(error) => error.into(),
            ScheduleError::Refused(refusal) => refusal.into(),
            ScheduleError::Unfit(unfit) => unfit.into(),
            ScheduleError::Commit(error) => error.into(),
            ScheduleError::Read(error) => error.into(),
        }
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let Rejection { code, message, next } = rejection;
        let error = Self::new(code, message);
        match next {
            Some(next) => error.with_next(next),
            None => error,
        }
    }
}

impl From<InstallError> for ApiError {
    fn from(error: InstallError) -> Self {
        let detail = error.to_string();
        match error {
            InstallError::Rejected(rejection) => rejection.into(),
            InstallError::Unknown(unfit) => unfit.into(),
            InstallError::UnknownVersion { plugin, .. } => {
                Self::new(code::UNKNOWN_VERSION, detail).with_next(format!("backroom plugin show {plugin}"))
            }
            InstallError::NoEarlierVersion { plugin } => {
                Self::new(code::UNKNOWN_VERSION, detail).with_next(format!("backroom plugin show {plugin}"))
            }
            InstallError::VersionExists { .. } => Self::new(code::VERSION_EXISTS, detail),
            InstallError::NotGranted { missing, advice, .. } => {
                let mut error = Self::new(code::MISSING_GRANT, detail).with_advice(&advice);
                error.0.missing_grants = missing.iter().map(GrantView::from).collect();
                error
            }
            InstallError::StrangeHandlers { .. } => Self::new(code::STRANGE_HANDLER, detail),
            InstallError::Grant(bad) => {
                let code = match bad {
                    BadGrant::OfSettings { .. } => code::GRANT_OF_SETTINGS,
                    BadGrant::NotThere { .. } => code::NO_SUCH_GRANT,
                    BadGrant::TooMany { .. } => code::GRANT_LIMIT,
                };
                Self::new(code, detail)
            }
            InstallError::InUse { plugin, .. } => {
                Self::new(code::PLUGIN_IN_USE, detail).with_next(format!("backroom plugin remove {plugin} --force"))
            }
            InstallError::Commit(error) => error.into(),
            InstallError::Read(error) => error.into(),
        }
    }
}
