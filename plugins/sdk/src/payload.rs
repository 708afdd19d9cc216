use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Failure, Outcome, Result};

/// Bytes as they are, without JSON: for a handler's input, its output, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes(bytes)
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Bytes(text.into())
    }
}

/// What a handler can take: [`Bytes`], or anything that serde reads from JSON.
pub trait Input: Sized {
    /// Reads a job's input. An input that does not fit is a business failure `invalid-input`: another attempt would
    /// read the same bytes.
    fn read(bytes: Vec<u8>) -> Result<Self>;
}

impl Input for Bytes {
    fn read(bytes: Vec<u8>) -> Result<Self> {
        Ok(Bytes(bytes))
    }
}

impl<T: DeserializeOwned> Input for T {
    fn read(bytes: Vec<u8>) -> Result<Self> {
        serde_json::from_slice(&bytes).map_err(|error| {
            // What serde says may quote the input, which not everybody may see who sees messages.
            let place = format_args!("line {}, column {}", error.line(), error.column()).to_string();
            Failure::business(format_args!("the input is not what this handler takes, at {place}"))
                .code("invalid-input")
                .detail(error.to_string())
        })
    }
}

/// What a handler can give: [`Bytes`], anything that serde writes as JSON, or an [`Outcome`] of those.
pub trait Output {
    /// Writes the job's output. A value that JSON cannot express is a fatal failure `invalid-output`.
    fn write(self) -> Result<Outcome>;
}

impl Output for Bytes {
    fn write(self) -> Result<Outcome> {
        Ok(Outcome::Succeeded(self))
    }
}

impl<T: Serialize> Output for T {
    fn write(self) -> Result<Outcome> {
        match serde_json::to_vec(&self) {
            Ok(json) => Ok(Outcome::Succeeded(Bytes(json))),
            Err(error) => {
                Err(Failure::fatal(format_args!("the output cannot be written as JSON: {error}"))
                    .code("invalid-output"))
            }
        }
    }
}

impl<T: Output> Output for Outcome<T> {
    fn write(self) -> Result<Outcome> {
        match self {
            Outcome::Succeeded(output) => output.write(),
            Outcome::Canceled(reason) => Ok(Outcome::Canceled(reason)),
            Outcome::Retry(failure) => Ok(Outcome::Retry(failure)),
            Outcome::Suspended(wake) => Ok(Outcome::Suspended(wake)),
            Outcome::Yielded => Ok(Outcome::Yielded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_input_holds_is_told_in_the_detail_only() {
        let failure = <u32 as Input>::read(b"\"4111\"".to_vec()).expect_err("it is no number");
        assert_eq!(failure.message, "the input is not what this handler takes, at line 1, column 6");
        assert!(failure.detail.is_some_and(|detail| detail.contains("4111")));
    }
}
