//! The format of a data directory: which ones are opened, and how an earlier one is carried up.
//!
//! What single values look like is not part of it; they carry versions of their own. A directory gets another format when its
//! files, keys or packed values are laid out differently.

use std::io::{self, Write as _};
use std::path::Path;

use super::journal::segment::sync_directory;
use super::{OpenError, private};

/// Brings a directory from one format to the next. It may be interrupted, and then it is done again from its start.
type Step = fn(&Path) -> Result<(), OpenError>;

/// The formats that a release opens.
struct Formats {
    /// The first that counts: no release wrote an earlier one.
    first: u32,
    /// How each of them becomes the next; the last is what this release writes.
    steps: &'static [Step],
}

const FORMATS: Formats = Formats { first: 6, steps: &[] };

const FILE: &str = "format";

/// What a directory's format file says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Format(u32),
    /// Something else, or no file at all.
    Other(String),
}

/// Checks the format of a directory, carries it up where it is an earlier one, and writes it into a new one.
pub(super) fn check(path: &Path, is_new: bool) -> Result<(), OpenError> {
    FORMATS.check(path, is_new)
}

impl Formats {
    fn today(&self) -> u32 {
        self.first + u32::try_from(self.steps.len()).unwrap_or(0)
    }

    fn check(&self, path: &Path, is_new: bool) -> Result<(), OpenError> {
        let found = match std::fs::read_to_string(path.join(FILE)) {
            Ok(line) => Found::read(&line),
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_new => return Ok(write(path, self.today())?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Other("no format file".to_owned()),
            Err(error) => return Err(OpenError::Io(error)),
        };
        let path = path.to_owned();
        match found {
            Found::Format(format) if format > self.today() => {
                Err(OpenError::Later { path, found: format, known: self.today() })
            }
            Found::Format(format) if format >= self.first => self.carry_up(&path, format),
            Found::Format(format) => Err(OpenError::Format { path, found: line(format).trim().to_owned() }),
            Found::Other(found) => Err(OpenError::Format { path, found }),
        }
    }

    /// A step is noted as soon as it is done: what an interrupted start has done is not done twice.
    fn carry_up(&self, path: &Path, from: u32) -> Result<(), OpenError> {
        for (format, step) in (self.first + 1..).zip(self.steps).skip_while(|(format, _)| *format <= from) {
            step(path)?;
            write(path, format)?;
        }
        if from < self.today() {
            tracing::info!(path = %path.display(), from, to = self.today(), "the data directory was carried up to this release's format");
        }
        Ok(())
    }
}

impl Found {
    fn read(line: &str) -> Self {
        let number = line.trim().strip_prefix("backroom store, format ").and_then(|number| number.parse().ok());
        match number {
            Some(format) => Self::Format(format),
            None => Self::Other(line.trim().chars().take(80).collect()),
        }
    }
}

fn line(format: u32) -> String {
    format!("backroom store, format {format}\n")
}

/// Writes the format of a directory: whole and on disk before anything else has a name there, so that a power cut leaves a
/// store with it, or an empty folder; or the one that it had.
fn write(path: &Path, format: u32) -> io::Result<()> {
    let aside = path.join("format.tmp");
    let mut new = private::file().truncate(true).open(&aside)?;
    new.write_all(line(format).as_bytes())?;
    new.sync_all()?;
    std::fs::rename(&aside, path.join(FILE))?;
    sync_directory(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if two later formats had come.
    const LATER: Formats = Formats {
        first: 6,
        steps: &[
            |path| Ok(std::fs::write(path.join("of-7"), "7")?),
            |path| match path.join("is-stuck").exists() {
                true => Err(OpenError::Io(io::Error::other("it is stuck"))),
                false => Ok(std::fs::rename(path.join("of-7"), path.join("of-8"))?),
            },
        ],
    };

    fn says(path: &Path) -> String {
        std::fs::read_to_string(path.join(FILE)).expect("there is a format")
    }

    #[test]
    fn an_earlier_format_is_carried_up_step_by_step_and_no_step_is_done_twice() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path();
        FORMATS.check(path, true).expect("it is new");
        assert_eq!(says(path), "backroom store, format 6\n");
        std::fs::write(path.join("is-stuck"), "").expect("it can be written");
        LATER.check(path, false).expect_err("the second step is stuck");
        assert_eq!(says(path), "backroom store, format 7\n", "the first is done");
        std::fs::remove_file(path.join("is-stuck")).expect("it can be removed");
        std::fs::write(path.join("of-7"), "seven").expect("it can be written");
        LATER.check(path, false).expect("it goes on");
        assert_eq!(says(path), "backroom store, format 8\n");
        let kept = std::fs::read_to_string(path.join("of-8")).expect("the second step has made it");
        assert_eq!(kept, "seven", "and the first was not done again");
        LATER.check(path, false).expect("there is nothing to do");
    }

    #[test]
    fn a_later_format_is_refused_with_the_release_that_opens_it_and_one_before_the_first_as_none_of_ours() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path();
        let refused = |says: &str| {
            std::fs::write(path.join(FILE), says).expect("it can be written");
            FORMATS.check(path, false).expect_err("it is another format").to_string()
        };
        let later = refused("backroom store, format 7\n");
        assert!(later.contains("format 7") && later.contains("up to format 6"), "{later}");
        assert!(later.ends_with("open it with the release that wrote it, or a newer one"), "{later}");
        for (line, found) in [("backroom store, format 5\n", "`backroom store, format 5`"), ("else", "`else`")] {
            let other = refused(line);
            assert!(other.contains("is not a store that this version can read") && other.contains(found), "{other}");
        }
        std::fs::remove_file(path.join(FILE)).expect("it can be removed");
        let missing = FORMATS.check(path, false).expect_err("it has a journal, and no format").to_string();
        assert!(missing.contains("no format file"), "{missing}");
    }
}
