//! Why the console cannot show a page or do what was asked: in the words and with the status of the API, as a page.

use axum::http::StatusCode;

use super::shell::Section;
use super::text;
use crate::api::ApiError;
use crate::domain::code::{self, Code};

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
    /// What to write into the settings.
    pub(super) lines: Option<Box<str>>,
    pub(super) section: Section,
}

impl Trouble {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        ApiError::new(code, message).into()
    }

    /// A fault of the host itself.
    pub(super) fn host(error: impl std::fmt::Display) -> Self {
        Self::new(code::HOST_FAULT, error.to_string())
    }

    /// A field of a form or query that is not acceptable.
    pub(super) fn field(message: impl Into<String>) -> Self {
        Self::new(code::BAD_FIELD, message)
    }

    pub(super) fn at(mut self, section: Section) -> Self {
        self.section = section;
        self
    }

    pub(super) fn title(&self) -> &'static str {
        self.code.title
    }

    pub(super) fn remedy(&self) -> Vec<text::Part> {
        text::parts(&advised(self.next.as_deref().unwrap_or(self.code.remedy)))
    }

    /// Whether another token would help.
    pub(super) fn is_of_rights(&self) -> bool {
        self.code == code::FORBIDDEN
    }

    pub(super) fn told(&self) -> Vec<text::Part> {
        text::parts(&self.message)
    }
}

/// Advice that is a command alone, marked as what is to be typed.
fn advised(next: &str) -> String {
    match next.starts_with("backroom ") && !next.contains(['`', '\n']) {
        true => format!("`{next}`"),
        false => next.to_owned(),
    }
}

/// `api::error` alone decides what a failure is called and what helps; this is how a page says it.
impl<E: Into<ApiError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        let error: ApiError = error.into();
        let message: String = error.detail().chars().take(MESSAGE_CHARS).collect();
        Self {
            status: error.status(),
            code: error.code(),
            message: text::neutral(&message).into(),
            next: error.next().map(Box::from),
            lines: error.settings().map(Box::from),
            section: Section::Overview,
        }
    }
}
