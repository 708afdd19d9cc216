//! Values as they were written in every version of their family: today's code reads them all, and writes those of today's
//! version again just so. `BACKROOM_BLESS=1` writes files that are missing; none is ever written anew, because what it holds
//! lies on somebody's disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use super::samples;
use super::{FAMILIES, Stored, decode, encode};
use crate::domain::id::Sequence;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/store/golden")
}

/// Bytes as lines of hexadecimal text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    lines.map(|line| line + "\n").collect()
}

/// The bytes of such a text.
pub(crate) fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).filter_map(byte).collect()
}

/// What the golden file of a name holds, which must be what is written today where that is given.
pub(crate) fn golden(name: &str, today: Option<&str>) -> String {
    let found = std::fs::read_to_string(folder().join(name)).ok();
    let is_there = found.is_some();
    let golden = compared(found, is_blessed(), name, today).unwrap_or_else(|why| panic!("{why}"));
    if !is_there {
        make(name, &golden);
    }
    golden
}

fn is_blessed() -> bool {
    std::env::var_os("BACKROOM_BLESS").is_some()
}

fn make(name: &str, text: &str) {
    std::fs::write(folder().join(name), text).unwrap_or_else(|error| panic!("{name} cannot be written: {error}"));
}

/// The golden text of a name: what was found, which must be what is written today; today's where a missing one may be made.
fn compared(found: Option<String>, makes_missing: bool, name: &str, today: Option<&str>) -> Result<String, String> {
    match (found, today) {
        (Some(found), Some(today)) if today != found => {
            Err(format!("{name} is written differently now: give it a new version\nnow:\n{today}\nthen:\n{found}"))
        }
        (Some(found), _) => Ok(found),
        (None, Some(today)) if makes_missing => Ok(today.to_owned()),
        (None, _) => Err(format!("there is no golden file {name} (BACKROOM_BLESS=1 writes it)")),
    }
}

/// Checks families against golden files.
pub(crate) struct Goldens {
    /// What each file holds, those that were missing and may be made among them.
    pub(crate) files: BTreeMap<String, String>,
    makes_missing: bool,
    /// The names of the files that were looked at.
    seen: BTreeSet<String>,
}

impl Goldens {
    pub(crate) fn new(files: BTreeMap<String, String>, makes_missing: bool) -> Self {
        Self { files, makes_missing, seen: BTreeSet::new() }
    }

    /// A file that is looked at.
    fn file(&mut self, name: String, today: Option<&str>) -> Result<String, String> {
        let text = compared(self.files.get(&name).cloned(), self.makes_missing, &name, today)?;
        self.files.insert(name.clone(), text.clone());
        self.seen.insert(name);
        Ok(text)
    }

    /// Checks a family: `values` are those that the files of versions 1, 2 and so on hold.
    pub(crate) fn check<T: Stored + PartialEq + Debug>(&mut self, values: &[T]) -> Result<(), String> {
        let last = u8::try_from(values.len()).map_err(|error| error.to_string())?;
        if last != T::VERSION {
            return Err(format!("{} has {} versions, and {last} values", T::NAME, T::VERSION));
        }
        for (version, value) in (1..=last).zip(values) {
            let is_today = version == last;
            let mut json = Vec::new();
            value.append_json(&mut json);
            let json = String::from_utf8(json).map_err(|error| error.to_string())? + "\n";
            if is_today {
                let fields: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(&json).map_err(|error| error.to_string())?;
                if let Some(absent) = T::FIELDS.iter().find(|field| !fields.contains_key(**field)) {
                    return Err(format!("the value of {} says nothing of `{absent}`", T::NAME));
                }
            }
            let packed = hex(&encode(value));
            let name = |kind: &str| format!("{}.v{version}.{kind}", T::NAME);
            let hex = self.file(name("hex"), is_today.then_some(&packed))?;
            let json = self.file(name("json"), is_today.then_some(&json))?;
            for found in [decode::<T>(&bytes_of(&hex)), T::of_json(version, &json)] {
                match found {
                    Ok(found) if found == *value => {}
                    Ok(found) => return Err(format!("{} of version {version} is read as {found:?}", T::NAME)),
                    Err(error) => return Err(format!("{} of version {version}: {error}", T::NAME)),
                }
            }
        }
        Ok(())
    }
}

/// The golden files of values, by name.
fn files_of_values() -> BTreeMap<String, String> {
    let entries = folder().read_dir().expect("the folder can be listed");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let named = paths.map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path));
    let of_values =
        named.filter(|(name, _)| [".hex", ".json"].iter().any(|kind| name.ends_with(kind)) && name.contains(".v"));
    of_values.map(|(name, path)| (name, std::fs::read_to_string(path).expect("it is text"))).collect()
}

#[test]
fn every_version_of_every_family_is_read_for_ever_and_todays_is_written_as_ever() {
    let there = files_of_values();
    let mut goldens = Goldens::new(there.clone(), is_blessed());
    let checked = [
        goldens.check(&[samples::submission(12)]),
        goldens.check(&[samples::state()]),
        goldens.check(&[samples::run()]),
        goldens.check(&[samples::plugin()]),
        goldens.check(&[samples::schedule()]),
        goldens.check(&[samples::queue_state()]),
        goldens.check(&[samples::service()]),
        goldens.check(&[samples::token()]),
        goldens.check(&[samples::breaker()]),
        goldens.check(&[samples::remembered()]),
        goldens.check(&[samples::audit_row()]),
        goldens.check(&[samples::counts()]),
        goldens.check(&[u64::MAX]),
        goldens.check(&[Sequence(12)]),
        goldens.check(&[samples::broken_key()]),
    ];
    let wrong: Vec<_> = checked.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    goldens.files.iter().filter(|(name, _)| !there.contains_key(*name)).for_each(|(name, text)| make(name, text));
    let versions = |family: &super::Family| {
        let name = family.name;
        let names = (1..=family.version)
            .flat_map(move |version| ["hex", "json"].map(|kind| format!("{name}.v{version}.{kind}")));
        names.collect::<Vec<_>>()
    };
    let wanted: BTreeSet<_> = FAMILIES.iter().flat_map(versions).collect();
    assert_eq!(goldens.seen, wanted, "each family of the list has a value in this test");
    let of_values: BTreeSet<_> = goldens.files.into_keys().collect();
    assert_eq!(of_values, wanted, "each file is of a version of a family");
}

#[test]
fn families_have_numbers_and_names_of_their_own() {
    let numbers: BTreeSet<_> = FAMILIES.iter().map(|family| family.number).collect();
    let names: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!((numbers.len(), names.len()), (FAMILIES.len(), FAMILIES.len()));
    // The index marks values that are cut into parts with the last number.
    assert!(!numbers.contains(&u8::MAX) && !numbers.contains(&0));
}

/// The names of all members in a document.
fn names(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(members) => members.iter().for_each(|(name, value)| {
            found.insert(name.clone());
            names(value, found);
        }),
        serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

#[test]
fn the_description_of_backups_names_every_field() {
    // An index alone has these.
    let is_kept_out = |family: &&super::Family| matches!(family.name, "counts" | "number" | "sequence");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/backup.md");
    let text = std::fs::read_to_string(path).expect("it is there");
    for family in FAMILIES.iter().filter(|family| !is_kept_out(family)) {
        let json = golden(&format!("{}.v{}.json", family.name, family.version), None);
        let mut fields = BTreeSet::from([family.name.to_owned()]);
        names(&serde_json::from_str(&json).expect("it is JSON"), &mut fields);
        let is_named = |name: &String| text.contains(&format!("`{name}`")) || text.contains(&format!("\"{name}\":"));
        let missing: Vec<_> =
            fields.iter().filter(|name| !is_named(name) && !text.contains(&format!("### {name}\n"))).collect();
        assert!(missing.is_empty(), "docs/backup.md says nothing of {missing:?} of {}", family.name);
    }
}

/// The shapes of a room as they are declared, without comments.
fn declared(room: &str) -> String {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stored").join(room);
    let entries = room.read_dir().expect("the room can be listed");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut text = String::new();
    for file in files {
        let source = std::fs::read_to_string(&file).expect("it can be read");
        let mut is_inside = false;
        for line in source.lines() {
            let is_start = ["shape! {", "words! {", "counts! {"].contains(&line) || line.contains("enum ");
            is_inside |= is_start && !line.starts_with(' ');
            if is_inside && !line.trim_start().starts_with("//") && !line.trim().is_empty() {
                text.extend([line, "\n"]);
            }
            is_inside &= line != "}";
        }
    }
    text
}

#[test]
fn shapes_of_a_version_stay_as_they_were_declared() {
    let today = declared("v1");
    assert!(today.contains("id: Uuid,") && today.contains("Canceling, Succeeded") && today.contains("RunAll(u32)"));
    // What no value of the golden files holds, such as another word of an enum, is a change as well.
    golden("v1.shapes", Some(&today));
}
