//! The format of a data directory: which ones are opened, and how an earlier one is carried up.
//!
//! A directory gets another format when its files, keys or packed values are laid out differently. What single values look like
//! has versions of its own, by family; the format file names them, too, so that an earlier release leaves alone what it could
//! read only in part.

use std::io::{self, Write as _};
use std::path::Path;

use super::journal::segment::sync_directory;
use super::{OpenError, private};
use crate::stored::{FAMILIES, Family, Registry};

/// Brings a directory from one format to the next. It may be interrupted, and then it is done again from its start.
type Step = fn(&Path) -> Result<(), OpenError>;

/// What a release opens.
struct Formats<'a> {
    /// The first format that counts: no release wrote an earlier one.
    first: u32,
    /// How each of them becomes the next; the last is what this release writes.
    steps: &'a [Step],
    families: &'a [Family],
}

const FORMATS: Formats<'static> = Formats { first: 6, steps: &[], families: FAMILIES };

const FILE: &str = "format";
/// How its first line begins, behind which comes the number.
const FORMAT: &str = "backroom store, format ";
/// How its second line begins, behind which come families with their versions.
const VALUES: &str = "values: ";

/// What a format file says.
struct Found {
    format: u32,
    /// The versions of values, by family.
    values: Vec<(String, u8)>,
}

/// Checks the format of a directory, carries it up where it is an earlier one, and writes it into a new one.
pub(super) fn check(path: &Path, is_new: bool, families: &Registry) -> Result<(), OpenError> {
    let families: Vec<Family> = FAMILIES.iter().copied().chain(families.added()).collect();
    Formats { families: &families, ..FORMATS }.check(path, is_new)
}

impl Formats<'_> {
    fn today(&self) -> u32 {
        self.first + u32::try_from(self.steps.len()).unwrap_or(0)
    }

    fn check(&self, path: &Path, is_new: bool) -> Result<(), OpenError> {
        let text = match std::fs::read(path.join(FILE)) {
            // What is not text is no format of ours, either.
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_new => {
                return Ok(write(path, &self.text(self.today()))?);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => "no format file".to_owned(),
            Err(error) => return Err(OpenError::Io(error)),
        };
        let other = || OpenError::Format { path: path.to_owned(), found: first_line(&text) };
        let found = Found::read(&text).filter(|found| found.format >= self.first).ok_or_else(other)?;
        if let Some((found, known)) = self.later(&found) {
            return Err(OpenError::Later { path: path.to_owned(), found, known });
        }
        self.carry_up(path, found.format)?;
        let today = self.text(self.today());
        if text != today {
            write(path, &today)?;
            tracing::info!(path = %path.display(), "the data directory was carried up from an earlier release");
        }
        Ok(())
    }

    /// What in a directory was written by a later release, and up to what this one knows it.
    fn later(&self, found: &Found) -> Option<(String, String)> {
        if found.format > self.today() {
            return Some((format!("format {}", found.format), format!("format {}", self.today())));
        }
        found.values.iter().find_map(|(name, version)| {
            let known = self.families.iter().find(|family| family.name == name).map_or(0, |family| family.version);
            let known_as = if known == 0 { "none of them".to_owned() } else { format!("version {known}") };
            (*version > known).then(|| (format!("values of the kind {name}, version {version}"), known_as))
        })
    }

    /// A step is noted as soon as it is done: what an interrupted start has done is not done twice.
    fn carry_up(&self, path: &Path, from: u32) -> Result<(), OpenError> {
        for (format, step) in (self.first + 1..).zip(self.steps).skip_while(|(format, _)| *format <= from) {
            step(path)?;
            write(path, &self.text(format))?;
        }
        Ok(())
    }

    fn text(&self, format: u32) -> String {
        let values = self.families.iter().map(|family| format!("{} {}", family.name, family.version));
        format!("{FORMAT}{format}\n{VALUES}{}\n", values.collect::<Vec<_>>().join(", "))
    }
}

impl Found {
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let format = lines.next()?.strip_prefix(FORMAT)?.parse().ok()?;
        let values = lines.find_map(|line| line.strip_prefix(VALUES)).map(Self::values);
        Some(Self { format, values: values.unwrap_or_else(|| Some(Vec::new()))? })
    }

    fn values(text: &str) -> Option<Vec<(String, u8)>> {
        let value = |(name, version): (&str, &str)| Some((name.to_owned(), version.parse().ok()?));
        text.split(", ").map(|text| text.split_once(' ').and_then(value)).collect()
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(80).collect()
}

/// Writes a format file: whole and on disk before anything else has a name there, so that a power cut leaves a store with it, or
/// an empty folder; or the one that it had.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.join("format.tmp");
    let mut new = private::file().truncate(true).open(&aside)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    std::fs::rename(&aside, path.join(FILE))?;
    sync_directory(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn family(name: &'static str, version: u8) -> Family {
        Family { number: 1, name, version }
    }

    const EARLIER: Formats<'static> =
        Formats { first: 6, steps: &[], families: &[family("note", 1), family("list", 1)] };

    /// As if two formats, a version and a family had come since.
    const LATER: Formats<'static> = Formats {
        first: 6,
        steps: &[
            |path| Ok(std::fs::write(path.join("of-7"), "7")?),
            |path| match path.join("is-stuck").exists() {
                true => Err(OpenError::Io(io::Error::other("it is stuck"))),
                false => Ok(std::fs::rename(path.join("of-7"), path.join("of-8"))?),
            },
        ],
        families: &[family("note", 2), family("list", 1), family("table", 1)],
    };

    fn says(path: &Path) -> String {
        std::fs::read_to_string(path.join(FILE)).expect("there is a format")
    }

    #[test]
    fn an_earlier_format_is_carried_up_step_by_step_and_no_step_is_done_twice() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path();
        EARLIER.check(path, true).expect("it is new");
        assert_eq!(says(path), "backroom store, format 6\nvalues: note 1, list 1\n");
        std::fs::write(path.join("is-stuck"), "").expect("it can be written");
        LATER.check(path, false).expect_err("the second step is stuck");
        assert!(says(path).starts_with("backroom store, format 7\n"), "the first is done");
        std::fs::remove_file(path.join("is-stuck")).expect("it can be removed");
        std::fs::write(path.join("of-7"), "seven").expect("it can be written");
        LATER.check(path, false).expect("it goes on");
        assert_eq!(says(path), "backroom store, format 8\nvalues: note 2, list 1, table 1\n");
        let kept = std::fs::read_to_string(path.join("of-8")).expect("the second step has made it");
        assert_eq!(kept, "seven", "and the first was not done again");
        LATER.check(path, false).expect("there is nothing to do");
    }

    #[test]
    fn values_of_an_earlier_version_are_noted_as_todays_before_any_is_written() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path();
        EARLIER.check(path, true).expect("it is new");
        let grown = Formats { families: LATER.families, ..EARLIER };
        grown.check(path, false).expect("it is an earlier release's");
        assert_eq!(says(path), "backroom store, format 6\nvalues: note 2, list 1, table 1\n");
        let refused = EARLIER.check(path, false).expect_err("the way back is shut").to_string();
        assert!(
            refused.contains("values of the kind note, version 2, and this release opens those up to version 1"),
            "{refused}"
        );
    }

    #[test]
    fn what_a_later_release_wrote_is_refused_with_what_opens_it() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path();
        let refused = |says: &str| {
            std::fs::write(path.join(FILE), says).expect("it can be written");
            EARLIER.check(path, false).expect_err("it is another format").to_string()
        };
        let what_to_do = "open it with the release that wrote it, or a newer one";
        for (says, what) in [
            ("backroom store, format 7\nelse\n", "format 7, and this release opens those up to format 6;"),
            ("backroom store, format 6\nvalues: table 1\n", "values of the kind table, version 1, and"),
        ] {
            let later = refused(says);
            assert!(later.contains(what) && later.ends_with(what_to_do), "{later}");
        }
        for (says, found) in
            [("backroom store, format 5\n", "`backroom store, format 5`"), ("else", "`else`"), ("", "``")]
        {
            let other = refused(says);
            assert!(other.contains("is not a store that this version can read") && other.contains(found), "{other}");
        }
        std::fs::remove_file(path.join(FILE)).expect("it can be removed");
        let missing = EARLIER.check(path, false).expect_err("it has a journal, and no format").to_string();
        assert!(missing.contains("no format file"), "{missing}");
    }
}
