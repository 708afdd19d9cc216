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

/// The name of a function in the path to it. Empty where it is `handle`, by which the host knows a plug-in's only function
/// anyway, or where it is a name that no handler may have.
#[doc(hidden)]
pub const fn name_in(path: &str) -> &str {
    let bytes = path.as_bytes();
    let mut start = bytes.len();
    while start > 0 && (bytes[start - 1].is_ascii_alphanumeric() || bytes[start - 1] == b'_') {
        start -= 1;
    }
    let name = path.split_at(start).1;
    let is_whole = start == 0 || matches!(bytes[start - 1], b':' | b' ');
    if is_whole && name.len() <= 64 && !matches!(name.as_bytes(), b"handle") { name } else { "" }
}

/// The form of the section in which a component names its handlers.
const SECTION_FORM: u8 = b'1';

/// How long that section is.
#[doc(hidden)]
pub const fn section_bytes(names: &[&str]) -> usize {
    let (mut bytes, mut at) = (1, 0);
    while at < names.len() {
        if !names[at].is_empty() {
            bytes += 1 + names[at].len();
        }
        at += 1;
    }
    bytes
}

/// The section: lines, of which the first says its form, and each other is a name.
#[doc(hidden)]
pub const fn section<const N: usize>(names: &[&str]) -> [u8; N] {
    let mut section = [b'\n'; N];
    section[0] = SECTION_FORM;
    let (mut end, mut at) = (1, 0);
    while at < names.len() {
        let name = names[at].as_bytes();
        if !name.is_empty() {
            end += 1;
        }
        let mut of_name = 0;
        while of_name < name.len() {
            section[end] = name[of_name];
            end += 1;
            of_name += 1;
        }
        at += 1;
    }
    section
}

/// The answer to a job that names a handler which the plug-in does not have.
pub fn unknown_handler(asked: &str, known: &[&str]) -> Result<Outcome> {
    let message = format!("there is no handler `{asked}` in this plug-in; it has `{}`", known.join("`, `"));
    Err(Failure::fatal(message).code("unknown-handler"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_of_a_path_is_that_of_its_function() {
        let cases = [
            ("greet", "greet"),
            ("crate::parts::clean_row", "clean_row"),
            ("crate :: parts :: greet", "greet"),
            ("handle", ""),
            ("parts::handle", ""),
            ("greet::<Person>", ""),
            ("r#type", ""),
            ("gr\u{fc}sse", ""),
            ("", ""),
        ];
        for (path, name) in cases {
            assert_eq!(name_in(path), name, "{path}");
        }
    }

    #[test]
    fn a_section_holds_its_form_and_each_name_on_a_line() {
        const NAMES: &[&str] = &["handle", "", "greet"];
        assert_eq!(section::<{ section_bytes(NAMES) }>(NAMES), *b"1\nhandle\ngreet");
        assert_eq!(section::<{ section_bytes(&["", ""]) }>(&["", ""]), *b"1");
    }
}
