//! The way up, shown by a family of this test that has grown: what its first version wrote is read by its second.

use std::collections::BTreeMap;

use super::golden::{Goldens, hex};
use super::shape::{Unfit, shape};
use super::v1::leaf::Text;
use super::{Stored, decode, encode, fields};

/// A note. In its first version its text was called `words`, and nobody knew whose it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Note {
    number: u64,
    text: String,
    by: String,
    tags: Vec<String>,
}

mod v1 {
    use crate::stored::shape::shape;
    use crate::stored::v1::leaf::Text;

    shape! {
        /// As it was first written.
        Note<'a> {
            always {
                number: u64,
                words: Text<'a>,
            }
            later {
                tags: Vec<Text<'a>>,
                pinned: bool,
            }
        }
    }
}

shape! {
    /// As it is written today.
    Note2<'a> {
        always {
            number: u64,
            text: Text<'a>,
            by: Text<'a>,
        }
        later {
            tags: Vec<Text<'a>>,
        }
    }
}

impl<'a> From<v1::Note<'a>> for Note2<'a> {
    fn from(note: v1::Note<'a>) -> Self {
        let mut tags = note.tags;
        tags.extend(note.pinned.then(|| "pinned".into()));
        Self { number: note.number, text: note.words, by: "nobody".into(), tags }
    }
}

impl<'a> From<&'a Note> for Note2<'a> {
    fn from(note: &'a Note) -> Self {
        let Note { number, text, by, tags } = note;
        Self { number: *number, text: text.into(), by: by.into(), tags: tags.iter().map(Text::from).collect() }
    }
}

impl TryFrom<Note2<'_>> for Note {
    type Error = Unfit;

    fn try_from(shape: Note2<'_>) -> Result<Self, Unfit> {
        let tags = shape.tags.into_iter().map(String::from).collect();
        Ok(Self { number: shape.number, text: shape.text.into(), by: shape.by.into(), tags })
    }
}

super::families::stored! { 200 "note" Note = 2 Note2; 1 v1::Note => Note2 }

fn old() -> v1::Note<'static> {
    v1::Note { number: 7, words: "milk".into(), tags: vec!["red".into()], pinned: true }
}

pub(crate) fn carried_up() -> Note {
    let tags = ["red", "pinned"].map(str::to_owned).into();
    Note { number: 7, text: "milk".to_owned(), by: "nobody".to_owned(), tags }
}

fn today() -> Note {
    Note { by: "me".to_owned(), ..carried_up() }
}

pub(crate) fn old_bytes() -> Vec<u8> {
    let mut bytes = vec![Note::FAMILY, 1];
    fields::append(&old(), &mut bytes);
    bytes
}

#[test]
fn what_an_earlier_version_wrote_is_carried_up() {
    assert_eq!(decode::<Note>(&old_bytes()), Ok(carried_up()));
    let json = serde_json::to_string(&old()).expect("it can be written");
    assert_eq!(json, r#"{"number":7,"words":"milk","tags":["red"],"pinned":true}"#);
    assert_eq!(Note::of_json(1, &json), Ok(carried_up()));
    assert_eq!(decode::<Note>(&encode(&carried_up())), Ok(carried_up()), "and written as today's");
}

#[test]
fn what_ends_before_its_later_fields_has_their_defaults() {
    let full = old_bytes();
    let plain = Note { tags: Vec::new(), ..carried_up() };
    let short: Vec<_> = (2..full.len()).map(|end| decode::<Note>(&full[..end])).collect();
    // Number and text take six bytes, the tags five more.
    let read: Vec<_> = short.iter().enumerate().filter_map(|(at, read)| Some((at + 2, read.as_ref().ok()?))).collect();
    let red = Note { tags: vec!["red".to_owned()], ..carried_up() };
    assert_eq!(read, [(8, &plain), (13, &red)], "whole fields may be absent, and parts of one may not");
    assert_eq!(Note::of_json(1, r#"{"number":7,"words":"milk"}"#), Ok(plain));
    assert!(Note::of_json(1, r#"{"number":7}"#).is_err(), "not what must be there");
}

#[test]
fn what_is_absent_at_the_end_is_not_written() {
    let plain = Note { tags: Vec::new(), ..today() };
    assert_eq!(encode(&plain), [&[200, 2, 7, 4][..], b"milk", &[2], b"me"].concat());
    assert_eq!(decode::<Note>(&encode(&plain)), Ok(plain));
}

#[test]
fn what_no_field_takes_and_what_is_of_another_kind_or_later_is_refused() {
    let why = |bytes: &[u8]| decode::<Note>(bytes).map_err(|error| error.to_string());
    let mut long = encode(&today());
    long.extend([0, 0, 0]);
    assert_eq!(why(&long), Err("note: 3 bytes too many".to_owned()));
    assert_eq!(why(&[201, 1]), Err("note: family 201 is another kind of value".to_owned()));
    assert_eq!(why(&[]), Err("note: it is empty".to_owned()));
    let later = "note: version 3 was written by a later release; this one knows versions up to 2";
    assert_eq!(why(&[200, 3, 0]), Err(later.to_owned()));
    assert_eq!(Note::of_json(3, "{}").map_err(|error| error.to_string()), Err(later.to_owned()));
    assert!(decode::<Note>(&[200, 0, 1]).is_err(), "version 0 was never written");
    let strange = Note::of_json(2, r#"{"number":7,"text":"milk","by":"me","colour":"red"}"#);
    assert!(
        strange.is_err_and(|error| error.why.contains("colour")),
        "a field that nobody knows is not lost in silence"
    );
}

#[test]
fn a_golden_file_tells_a_shape_that_changed_without_a_new_version_and_a_version_without_a_file() {
    let file = |name: &str, text: String| (name.to_owned(), text);
    let json = serde_json::to_string(&old()).expect("it can be written") + "\n";
    let first = [file("note.v1.hex", hex(&old_bytes())), file("note.v1.json", json)];
    let check = |files: &BTreeMap<String, String>, values: &[Note]| Goldens::new(files.clone(), false).check(values);
    let first = BTreeMap::from(first);
    let both = [carried_up(), today()];
    assert!(check(&first, &both).is_err_and(|why| why.contains("no golden file note.v2.hex")));
    let mut making = Goldens::new(first, true);
    assert_eq!(making.check(&both), Ok(()), "files that are missing are made");
    let files = making.files;
    assert_eq!(check(&files, &both), Ok(()));
    assert!(check(&files, &[today()]).is_err_and(|why| why.contains("2 versions, and 1 values")));
    assert!(check(&files, &[today(), today()]).is_err_and(|why| why.contains("note of version 1 is read as")));
    let plain = Note { tags: Vec::new(), ..today() };
    assert!(check(&files, &[carried_up(), plain]).is_err_and(|why| why.contains("says nothing of `tags`")));
    // As if today's shape had one field more, or one by another name, than when its file was written.
    let packed = encode(&today());
    let mut shorter = files.clone();
    shorter.extend([file("note.v2.hex", hex(&packed[..packed.len() - 1]))]);
    assert!(check(&shorter, &both).is_err_and(|why| why.contains("give it a new version")));
    let blessed = Goldens::new(shorter, true).check(&both);
    assert!(blessed.is_err_and(|why| why.contains("give it a new version")), "what is there is never written anew");
    let mut renamed = files;
    renamed.entry("note.v2.json".to_owned()).and_modify(|json| *json = json.replace("\"by\"", "\"from\""));
    assert!(check(&renamed, &both).is_err_and(|why| why.contains("give it a new version")));
}
