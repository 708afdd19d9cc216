//! Finds in what a guest prints which exception ended it: interpreters print a traceback and then stop in a place of their
//! own, which is the same for every mistake of every program.

use super::text;

/// Bytes of an exception's text that are kept for the failure.
const TEXT_BYTES: usize = 2 << 10;

/// Bytes of the place.
const PLACE_BYTES: usize = 300;

const TRACEBACK: &str = "Traceback (most recent call last):";

/// What Python says of an object before it says of which type it is.
const DESCRIBED: [&str; 3] = ["object address ", "object refcount ", "object type  "];

/// An exception as Python prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    /// Its type and its message, one line.
    pub(crate) text: String,
    /// File, line and function of the innermost frame, where it was printed.
    pub(crate) place: Option<String>,
}

/// Reads standard error line by line, and remembers the last exception.
#[derive(Default)]
pub(crate) struct ExceptionWatch {
    found: Option<Exception>,
    place: Option<String>,
    reading: bool,
}

impl ExceptionWatch {
    pub(crate) fn read(&mut self, line: &str) {
        if line.trim_end() == TRACEBACK {
            self.place = None;
            self.reading = true;
        } else if self.reading && line.starts_with(' ') {
            self.place = place(line).or(self.place.take());
        } else if self.reading && !line.is_empty() {
            // Without memory to print an exception, Python describes it as an object, with addresses that differ each time.
            let text = match line.strip_prefix("object type name: ") {
                Some(name) => name.trim_end(),
                None if DESCRIBED.iter().any(|part| line.starts_with(part)) => return,
                None => line,
            };
            self.reading = false;
            self.found = Some(Exception { text: text::neutral(text, TEXT_BYTES), place: self.place.take() });
        }
    }

    pub(crate) fn found(&self) -> Option<Exception> {
        self.found.clone()
    }
}

/// `File "app.py", line 3, in handle` as `app.py:3 in handle`.
fn place(line: &str) -> Option<String> {
    let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
    let (number, function) = rest.split_once(", in ").unwrap_or((rest, ""));
    let place = if function.is_empty() { format!("{file}:{number}") } else { format!("{file}:{number} in {function}") };
    Some(text::neutral(&place, PLACE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(printed: &str) -> Option<Exception> {
        let mut watch = ExceptionWatch::default();
        printed.lines().for_each(|line| watch.read(line));
        watch.found()
    }

    #[test]
    fn the_last_exception_and_its_innermost_frame_are_found() {
        let printed = "Traceback (most recent call last):\n  File \"/0/app.py\", line 3, in handle\n    look(row)\n  \
                       File \"/0/rows.py\", line 9, in look\n    raise KeyError(row)\nKeyError: 'a row'\n\nDuring handling of \
                       the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \
                       \"/0/app.py\", line 5, in handle\n    raise ValueError(\"no such row\") from None\nValueError: no such \
                       row\n\nthread '<unnamed>' panicked at runtime/src/lib.rs:508:25:\nPython function threw\n";
        let expected =
            Exception { text: "ValueError: no such row".into(), place: Some("/0/app.py:5 in handle".into()) };
        assert_eq!(read(printed), Some(expected));
    }

    #[test]
    fn an_exception_that_there_was_no_memory_to_print_is_found_by_its_type() {
        let printed = "Traceback (most recent call last):\n  File \"/0/app.py\", line 40, in handle\nobject address  : \
                       0x481cd8\nobject refcount : 2\nobject type     : 0x373230\nobject type name: MemoryError\nobject repr     : \
                       MemoryError()\nlost sys.stderr\n";
        let expected = Exception { text: "MemoryError".into(), place: Some("/0/app.py:40 in handle".into()) };
        assert_eq!(read(printed), Some(expected));
    }

    #[test]
    fn text_that_only_looks_like_one_is_not() {
        assert_eq!(read("ValueError: this was logged\n  File \"a\", line 1, in b\n"), None);
        assert_eq!(read("Traceback (most recent call last):\n  File \"a\", line 1\n"), None);
        assert_eq!(
            read("Traceback (most recent call last):\nMemoryError\n").map(|found| found.text),
            Some("MemoryError".into())
        );
    }
}
