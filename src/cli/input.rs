//! What a job is given on the command line: JSON, text, a file or standard input.

use std::io::Read;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::terminal::aside;
use crate::api::view::SubmitBody;

/// Puts the input into a submit: `@FILE` and `-` are read byte for byte, everything else must be JSON.
pub(crate) fn put_input(job: &mut SubmitBody, input: &str) -> anyhow::Result<()> {
    match source_of(input)? {
        Some(bytes) => {
            say_if_broken(&bytes);
            put_bytes(job, bytes);
        }
        None => {
            let json = RawValue::from_string(input.to_owned()).map_err(|error| {
                let message = format!("--input is not JSON: {error}");
                Failure::bad_input(message, "quote the JSON for the shell, or use --text TEXT or --input @FILE")
            })?;
            job.input = Some(json);
        }
    }
    Ok(())
}

/// Puts the input into a submit: `@FILE` and `-` are read byte for byte, everything else stands for itself. A JSON string goes
/// as one, so that a command gets its text here as it does by every other way.
pub(crate) fn put_plain(job: &mut SubmitBody, input: &str) -> anyhow::Result<()> {
    let source = source_of(input)?;
    if source.is_none() && is_json_string(input) {
        return put_input(job, input);
    }
    let bytes = source.unwrap_or_else(|| input.as_bytes().to_vec());
    say_if_broken(&bytes);
    put_bytes(job, bytes);
    Ok(())
}

fn is_json_string(text: &str) -> bool {
    text.starts_with('"') && text.ends_with('"') && serde_json::from_str::<String>(text).is_ok()
}

/// Says so where an input looks like JSON and is none: the handler is given it all the same, as text.
fn say_if_broken(bytes: &[u8]) {
    if let Some(error) = broken_json(bytes) {
        aside(&format!("note: the input looks like JSON and is not ({error}); it is sent as text, byte for byte"));
    }
}

/// What is wrong with an input that begins or ends as JSON does, or that is JSON with more behind it.
fn broken_json(bytes: &[u8]) -> Option<serde_json::Error> {
    let text = bytes.trim_ascii();
    let (first, last) = (text.first()?, text.last()?);
    let looks_like_json = matches!(first, b'{' | b'[' | b'"') || matches!(last, b'}' | b']');
    if !looks_like_json {
        return None;
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(text).err()
}

fn put_bytes(job: &mut SubmitBody, bytes: Vec<u8>) {
    match String::from_utf8(bytes) {
        Ok(text) => job.input_text = Some(text),
        Err(error) => job.input_base64 = Some(BASE64.encode(error.as_bytes())),
    }
}

/// The bytes that `@FILE` or `-` stand for.
pub(crate) fn source_of(input: &str) -> anyhow::Result<Option<Vec<u8>>> {
    if input == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("standard input cannot be read")?;
        return Ok(Some(bytes));
    }
    let Some(path) = input.strip_prefix('@') else { return Ok(None) };
    let read = std::fs::read(path);
    Ok(Some(read.map_err(|error| Failure::bad_input(format!("`{path}` cannot be read: {error}"), "check the path"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_as_it_stands() {
        let mut job = SubmitBody::default();
        put_input(&mut job, "{\"a\": 1.0}").expect("it is JSON");
        assert_eq!(job.input.as_deref().map(RawValue::get), Some("{\"a\": 1.0}"));
        let error = put_input(&mut job, "{a: 1}").expect_err("it is not JSON");
        assert_eq!(error.to_string(), "--input is not JSON: key must be a string at line 1 column 2");
    }

    #[test]
    fn broken_json_is_told_from_text() {
        for text in ["{a: 1}", "{\"a\": 1", "[1, 2", "\"open", "{\"a\": 1} x", "{'a': 1}", " {\"a\": 1,}", "a: 1}"] {
            assert!(broken_json(text.as_bytes()).is_some(), "{text}");
        }
        for text in ["", "hello", "{\"a\": 1}\n", "[]", "\"x\"", "12", "nul", "a {b} c", "log: hello"] {
            assert!(broken_json(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn a_file_goes_byte_for_byte() {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        let argument = format!("@{}", file.path().display());
        for (bytes, text, base64) in [(b"{} \n".as_slice(), Some("{} \n"), None), (&[0xff, 0x00], None, Some("/wA="))] {
            std::fs::write(file.path(), bytes).expect("it can be written");
            let mut job = SubmitBody::default();
            put_input(&mut job, &argument).expect("the file is there");
            assert_eq!((job.input_text.as_deref(), job.input_base64.as_deref()), (text, base64));
        }
        assert!(put_plain(&mut SubmitBody::default(), "@/no/such/file").is_err());
    }

    #[test]
    fn plain_input_stands_for_itself() {
        let mut job = SubmitBody::default();
        put_plain(&mut job, "hello").expect("any text will do");
        assert_eq!(job.input_text.as_deref(), Some("hello"));
        for text in ["\"open", "{\"a\": 1}", " 12 ", "\"a\" b", " \"a\""] {
            let mut job = SubmitBody::default();
            put_plain(&mut job, text).expect("any text will do");
            assert_eq!((job.input_text.as_deref(), job.input.is_none()), (Some(text), true), "{text}");
        }
    }

    #[test]
    fn a_json_string_is_told_to_be_one() {
        let mut job = SubmitBody::default();
        put_plain(&mut job, "\"a \\u00e4\"").expect("any text will do");
        assert_eq!(job.input.as_deref().map(RawValue::get), Some("\"a \\u00e4\""));
        assert_eq!(job.input_text, None);
    }
}
