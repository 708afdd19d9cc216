//! Counts lines, words and bytes: an ordinary command-line program as a plug-in.
//!
//! It knows nothing of Backroom. The job's input is standard input, standard output is the job's output, and an exit code
//! other than zero fails the job. Words are what white space separates; the last line counts without a line feed too.

use std::io::{self, Read};
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    if input.is_empty() {
        eprintln!("there is nothing to count: the input is empty");
        return Ok(ExitCode::from(2));
    }
    println!("{}", count(&input));
    Ok(ExitCode::SUCCESS)
}

fn count(text: &[u8]) -> String {
    let lines = text.split_inclusive(|byte| *byte == b'\n').count();
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    format!(r#"{{"lines":{lines},"words":{words},"bytes":{}}}"#, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_words_and_bytes_are_counted() {
        assert_eq!(count(b"one two\nthree\n"), r#"{"lines":2,"words":3,"bytes":14}"#);
        assert_eq!(count(b"  no end "), r#"{"lines":1,"words":2,"bytes":9}"#);
        assert_eq!(count(b"\n"), r#"{"lines":1,"words":0,"bytes":1}"#);
    }
}
