//! One table of settings while it is read: what is asked for is known, what is left over is a mistake.

use std::collections::BTreeMap;

use super::problem::{Place, Problem, nearest};
use super::value::{Entry, Given, Reading, Value};

/// What has been found out while reading: every problem, and where each setting was given last.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) problems: Vec<Problem>,
    pub(crate) places: BTreeMap<String, Place>,
}

/// A table that is being read.
pub(crate) struct Section<'a> {
    path: String,
    entries: Vec<Entry>,
    known: Vec<&'static str>,
    /// How an unknown key's suggestion is written: as a key, or as a variable with this prefix.
    variables: Option<String>,
    report: &'a mut Report,
}

impl<'a> Section<'a> {
    /// The table `path` of a file, or all of it when the path is empty.
    pub(crate) fn new(path: &str, entries: Vec<Entry>, report: &'a mut Report) -> Self {
        Self { path: path.to_owned(), entries, known: Vec::new(), variables: None, report }
    }

    /// The table `path` as environment variables give it, all of which begin with `prefix`.
    pub(crate) fn of_variables(path: &str, prefix: String, entries: Vec<Entry>, report: &'a mut Report) -> Self {
        Self { variables: Some(prefix), ..Self::new(path, entries, report) }
    }

    /// What `read` makes of the setting, when it is given and acceptable.
    pub(crate) fn read<T>(&mut self, key: &'static str, read: impl Fn(&Given) -> Reading<T>) -> Option<T> {
        let given = self.take(key)?.given;
        match read(&given) {
            Ok(value) => {
                self.report.places.insert(self.path_of(key), given.place);
                Some(value)
            }
            Err(problems) => {
                let path = self.path_of(key);
                let named = problems
                    .into_iter()
                    .map(|problem| Problem { message: format!("`{path}` {}", problem.message), ..problem });
                self.report.problems.extend(named);
                None
            }
        }
    }

    /// Overwrites `target` when the setting is given and acceptable.
    pub(crate) fn set<T>(&mut self, key: &'static str, target: &mut T, read: impl Fn(&Given) -> Reading<T>) {
        if let Some(value) = self.read(key, read) {
            *target = value;
        }
    }

    /// The table under `key`, which may be missing.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<Section<'_>> {
        let entries = self.entries_of(key)?;
        Some(Section::new(&self.path_of(key), entries, self.report))
    }

    /// A table that is an item of a list of this one.
    pub(crate) fn item(&mut self, path: &str, entries: Vec<Entry>) -> Section<'_> {
        Section::new(&self.path_of(path), entries, self.report)
    }

    /// Whether environment variables give this table.
    pub(crate) fn is_of_variables(&self) -> bool {
        self.variables.is_some()
    }

    /// The keys of the table under `key`, which may be missing.
    pub(crate) fn entries_of(&mut self, key: &'static str) -> Option<Vec<Entry>> {
        let entry = self.take(key)?;
        match entry.given.value {
            Value::Table(entries) => Some(entries),
            _ => {
                let message = format!("`{}` must be a table", self.path_of(key));
                self.problem(
                    entry.given.place,
                    message,
                    format!("write {key} = {{ ... }}, or [{key}] on a line of its own"),
                );
                None
            }
        }
    }

    /// Notes a problem when the setting is given: it has its place elsewhere.
    pub(crate) fn refuse(&mut self, key: &'static str, why: &str, remedy: &str) {
        if let Some(index) = self.entries.iter().position(|entry| entry.key == key) {
            let place = self.entries.remove(index).key_place;
            self.problem(place, format!("`{}` {why}", self.path_of(key)), remedy);
        }
    }

    /// Whether the setting is given, acceptable or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Notes a problem that was found elsewhere.
    pub(crate) fn add(&mut self, problem: Problem) {
        self.report.problems.push(problem);
    }

    /// The tables under `key`, with the place of each.
    pub(crate) fn tables(&mut self, key: &'static str) -> Vec<(Place, Vec<Entry>)> {
        let Some(entry) = self.take(key) else { return Vec::new() };
        let path = self.path_of(key);
        let Value::List(items) = entry.given.value else {
            let message = format!("`{path}` must be a list of tables");
            self.problem(entry.key_place, message, format!("write [[{path}]] with two brackets"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            match item.value {
                Value::Table(entries) => tables.push((item.place, entries)),
                _ => self.problem(
                    item.place,
                    format!("`{path}` holds something that is not a table"),
                    format!("write [[{path}]]"),
                ),
            }
        }
        tables
    }

    /// Notes a problem.
    pub(crate) fn problem(&mut self, place: Place, message: impl Into<String>, remedy: impl Into<String>) {
        self.report.problems.push(Problem::new(place, message, remedy));
    }

    /// Where a setting of this table was given last.
    pub(crate) fn place_of(&self, key: &str) -> Option<Place> {
        self.report.places.get(&self.path_of(key)).cloned()
    }

    /// Ends the reading: whatever was not asked for is a mistake.
    pub(crate) fn finish(mut self) {
        for entry in std::mem::take(&mut self.entries) {
            let (message, remedy) = self.unknown(&entry);
            self.problem(entry.key_place, message, remedy);
        }
    }

    fn unknown(&self, entry: &Entry) -> (String, String) {
        let near = nearest(&entry.key, self.known.iter().copied());
        let spell = |key: &str| match &self.variables {
            Some(prefix) => format!("{prefix}{}", key.to_uppercase()),
            None => key.to_owned(),
        };
        let remedy = match near {
            Some(near) => format!("did you mean `{}`?", spell(near)),
            None => {
                let known: Vec<_> = self.known.iter().map(|key| spell(key)).collect();
                format!("there are {}", known.join(", "))
            }
        };
        let message = match &self.variables {
            Some(_) => format!("the variable names no setting of `{}`", self.path),
            None if self.path.is_empty() => format!("`{}` is not known here", entry.key),
            None => format!("`{}` is not known in `{}`", entry.key, self.path),
        };
        (message, remedy)
    }

    fn take(&mut self, key: &'static str) -> Option<Entry> {
        self.known.push(key);
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
