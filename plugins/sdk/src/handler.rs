use crate::{Failure, Input, Job, Outcome, Output, Result};

/// A function that a plug-in can export: from an input, or from the job and an input, to a [`Result`].
///
/// `Arguments` only tells the two forms apart; the compiler finds it.
#[diagnostic::on_unimplemented(
    message = "this function cannot be a handler",
    note = "a handler is `fn(Input) -> backroom_sdk::Result<Output>` or `fn(&Job, Input) -> backroom_sdk::Result<Output>`",
    note = "the input must be `Bytes` or implement `serde::Deserialize`; the output `Bytes`, an `Outcome` or `serde::Serialize`"
)]
pub trait Handler<Arguments> {
    /// Runs the function on a job's input.
    fn call(&self, job: &Job, input: Vec<u8>) -> Result<Outcome>;
}

impl<F, I, O> Handler<(I,)> for F
where
    F: Fn(I) -> Result<O>,
    I: Input,
    O: Output,
{
    fn call(&self, _job: &Job, input: Vec<u8>) -> Result<Outcome> {
        self(I::read(input)?)?.write()
    }
}

impl<F, I, O> Handler<(&Job, I)> for F
where
    F: Fn(&Job, I) -> Result<O>,
    I: Input,
    O: Output,
{
    fn call(&self, job: &Job, input: Vec<u8>) -> Result<Outcome> {
        self(job, I::read(input)?)?.write()
    }
}

/// All handlers of a plug-in together; [`export!`](crate::export) writes it.
pub trait Plugin {
    /// Runs the handler that the job names.
    fn handle(job: Job, input: Vec<u8>) -> Result<Outcome>;
}

/// Runs one handler. A failure that says when to try again becomes [`Outcome::Retry`].
pub fn run<Arguments>(handler: impl Handler<Arguments>, job: &Job, input: Vec<u8>) -> Result<Outcome> {
    #[cfg(feature = "log")]
    crate::logging::facade::install();

    match handler.call(job, input) {
        Err(failure) if failure.retry_after.is_some() => Ok(Outcome::Retry(failure)),
        result => result,
    }
}

/// Checks the names of handlers when the plug-in is compiled; the host takes no others.
#[doc(hidden)]
pub const fn check_names(names: &[&str]) {
    let mut at = 0;
    while at < names.len() {
        let name = names[at].as_bytes();
        assert!(!name.is_empty() && name.len() <= 64, "the name of a handler has 1 to 64 characters");
        let mut of_name = 0;
        while of_name < name.len() {
            let allowed = name[of_name].is_ascii_alphanumeric()
                || matches!(name[of_name], b'-' | b'_' | b'.' | b'/' | b':' | b'#' | b'@');
            assert!(allowed, "the name of a handler holds letters, digits and - _ . / : # @ only");
            of_name += 1;
        }
        at += 1;
    }
}

/// A text as the bytes of a custom section.
#[doc(hidden)]
pub const fn bytes_of<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = text.as_bytes()[at];
        at += 1;
    }
    bytes
}

/// The answer to a job that names a handler which the plug-in does not have.
pub fn unknown_handler(asked: &str, known: &[&str]) -> Result<Outcome> {
    let message = format!("there is no handler `{asked}` in this plug-in; it has `{}`", known.join("`, `"));
    Err(Failure::fatal(message).code("unknown-handler"))
}
