use std::error::Error;
use std::fmt;
use std::time::Duration;

/// The result of a handler and of everything in this crate that can fail.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why an attempt failed; it decides whether the host tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The network, a lock, a busy service: the host tries again with a growing delay.
    Transient,
    /// The other side asked to slow down: the host tries again later and counts no attempt.
    Throttled,
    /// A person must mend the data or a permission first.
    UserFixable,
    /// The handler refuses the work; trying again would not change that.
    Business,
    /// The handler itself is broken.
    Fatal,
}

/// What went wrong, told so that the host knows what to do and a person what to mend.
///
/// Any error turns into a failure by `?`: its text becomes the message, its chain of causes the detail, and it has no
/// class, which the host takes as transient. Give it a class where it happens, with [`Classify`]:
///
/// ```
/// # use backroom_sdk::prelude::*;
/// fn quantity(text: &str) -> Result<u32> {
///     text.parse().business().code("bad-quantity").context("the order's quantity")
/// }
///
/// let failure = quantity("many").unwrap_err();
/// assert_eq!(failure.message, "the order's quantity: invalid digit found in string");
/// assert_eq!(failure.code.as_deref(), Some("bad-quantity"));
/// ```
//
// It is no `std::error::Error`: that would forbid the conversion from any other error that makes `?` work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What kind of failure it is; none is taken as transient.
    pub class: Option<ErrorClass>,
    /// A short stable word for programs, such as `missing-email`.
    pub code: Option<String>,
    /// One sentence for the person who looks at the job.
    pub message: String,
    /// More, for administrators only.
    pub detail: Option<String>,
    /// Try again after this time; the job's own policy decides when it is absent.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without a class: the host takes it as transient.
    pub fn new(message: impl fmt::Display) -> Self {
        Failure { class: None, code: None, message: message.to_string(), detail: None, retry_after: None }
    }

    /// The network, a lock, a busy service: the host tries again with a growing delay.
    pub fn transient(message: impl fmt::Display) -> Self {
        Failure::new(message).class(ErrorClass::Transient)
    }

    /// The other side asked to slow down: the host tries again after this time and counts no attempt.
    pub fn throttled(message: impl fmt::Display, retry_after: Duration) -> Self {
        Failure::new(message).class(ErrorClass::Throttled).retry_after(retry_after)
    }

    /// A person must mend the data or a permission first.
    pub fn user_fixable(message: impl fmt::Display) -> Self {
        Failure::new(message).class(ErrorClass::UserFixable)
    }

    /// The handler refuses the work; trying again would not change that.
    pub fn business(message: impl fmt::Display) -> Self {
        Failure::new(message).class(ErrorClass::Business)
    }

    /// The handler itself is broken.
    pub fn fatal(message: impl fmt::Display) -> Self {
        Failure::new(message).class(ErrorClass::Fatal)
    }

    /// The same failure in another class.
    pub fn class(self, class: ErrorClass) -> Self {
        Failure { class: Some(class), ..self }
    }

    /// The same failure with a short stable word for programs.
    pub fn code(self, code: impl Into<String>) -> Self {
        Failure { code: Some(code.into()), ..self }
    }

    /// The same failure with more to read for administrators.
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Failure { detail: Some(detail.into()), ..self }
    }

    /// The same failure, to be tried again after this time.
    pub fn retry_after(self, after: Duration) -> Self {
        Failure { retry_after: Some(after), ..self }
    }

    /// The same failure, saying in which work it happened: `context: message`.
    pub fn context(self, context: impl fmt::Display) -> Self {
        Failure { message: format!("{context}: {}", self.message), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({code})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut failure = Failure::new(&error);
        let mut cause = error.source();
        while let Some(error) = cause {
            let line = format!("caused by: {error}");
            failure.detail = Some(match failure.detail {
                Some(lines) => format!("{lines}\n{line}"),
                None => line,
            });
            cause = error.source();
        }
        failure
    }
}

/// Says of an error, where it happens, what the host should do about it.
pub trait Classify<T>: Sized {
    /// Changes the failure, if it is one.
    fn map_failure(self, change: impl FnOnce(Failure) -> Failure) -> Result<T>;

    /// The host tries again with a growing delay.
    fn transient(self) -> Result<T> {
        self.map_failure(|failure| failure.class(ErrorClass::Transient))
    }

    /// The host tries again after this time and counts no attempt.
    fn throttled(self, retry_after: Duration) -> Result<T> {
        self.map_failure(|failure| failure.class(ErrorClass::Throttled).retry_after(retry_after))
    }

    /// A person must mend the data or a permission first.
    fn user_fixable(self) -> Result<T> {
        self.map_failure(|failure| failure.class(ErrorClass::UserFixable))
    }

    /// The handler refuses the work; trying again would not change that.
    fn business(self) -> Result<T> {
        self.map_failure(|failure| failure.class(ErrorClass::Business))
    }

    /// The handler itself is broken.
    fn fatal(self) -> Result<T> {
        self.map_failure(|failure| failure.class(ErrorClass::Fatal))
    }

    /// Adds a short stable word for programs.
    fn code(self, code: &str) -> Result<T> {
        self.map_failure(|failure| failure.code(code))
    }

    /// Says in which work it happened: `context: message`.
    fn context(self, context: impl fmt::Display) -> Result<T> {
        self.map_failure(|failure| failure.context(context))
    }
}

impl<T, E: Into<Failure>> Classify<T> for Result<T, E> {
    fn map_failure(self, change: impl FnOnce(Failure) -> Failure) -> Result<T> {
        self.map_err(|error| change(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layered(Option<Box<Layered>>, &'static str);

    impl fmt::Display for Layered {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }
    }

    impl Error for Layered {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.0.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn an_error_without_a_class_has_none() {
        let failure: Failure = "x".parse::<u8>().unwrap_err().into();
        assert_eq!(failure.class, None);
        assert_eq!(failure.detail, None);
    }

    #[test]
    fn causes_become_the_detail() {
        let error = Layered(Some(Box::new(Layered(Some(Box::new(Layered(None, "disk"))), "file"))), "order");
        let failure = Failure::from(error);
        assert_eq!(failure.message, "order");
        assert_eq!(failure.detail.as_deref(), Some("caused by: file\ncaused by: disk"));
    }

    #[test]
    fn a_class_can_be_given_where_the_error_happens() {
        let classes = [
            ("x".parse::<u8>().transient(), ErrorClass::Transient),
            ("x".parse::<u8>().throttled(Duration::from_secs(2)), ErrorClass::Throttled),
            ("x".parse::<u8>().user_fixable(), ErrorClass::UserFixable),
            ("x".parse::<u8>().business(), ErrorClass::Business),
            ("x".parse::<u8>().fatal(), ErrorClass::Fatal),
        ];
        for (result, class) in classes {
            let failure = result.unwrap_err();
            assert_eq!(failure.class, Some(class));
            assert_eq!(failure.retry_after.is_some(), class == ErrorClass::Throttled);
        }
        assert_eq!("7".parse::<u8>().business(), Ok(7));
    }

    #[test]
    fn it_reads_as_a_sentence_with_its_code() {
        assert_eq!(Failure::fatal("no disk").code("disk").to_string(), "no disk (disk)");
        assert_eq!(Failure::new("no disk").to_string(), "no disk");
    }
}
