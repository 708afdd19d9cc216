//! Where the keys of a settings file are.

use serde::{Deserialize, Serialize};

use super::leaf::Text;
use crate::domain::outline;
use crate::stored::shape::{shape, words};

words! {
    /// How a table is written.
    Form is outline::Form { Document, Header, Braces, Dotted }
}

shape! {
    /// A table.
    Outline<'a> {
        always {
            form: Form,
            lines: Lines,
        }
        later {
            keys: Vec<Key<'a>>,
        }
    }
}

shape! {
    /// Lines of a file.
    Lines {
        always {
            first: u32,
            last: u32,
        }
        later {}
    }
}

shape! {
    /// A key of a table.
    Key<'a> {
        always {
            name: Text<'a>,
            lines: Lines,
            value: Content<'a>,
        }
        later {}
    }
}

/// A value, as TOML.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", bound(deserialize = "'de: 'a"))]
pub(in crate::stored) enum Content<'a> {
    One(Text<'a>),
    List(Vec<Text<'a>>),
    Table(Outline<'a>),
    Hidden,
}

impl From<outline::Lines> for Lines {
    fn from(lines: outline::Lines) -> Self {
        let outline::Lines { first, last } = lines;
        Self { first, last }
    }
}

impl From<Lines> for outline::Lines {
    fn from(shape: Lines) -> Self {
        Self { first: shape.first, last: shape.last }
    }
}

impl<'a> From<&'a outline::Outline> for Outline<'a> {
    fn from(outline: &'a outline::Outline) -> Self {
        let outline::Outline { form, lines, keys } = outline;
        Self { form: (*form).into(), lines: (*lines).into(), keys: keys.iter().map(Key::from).collect() }
    }
}

impl From<Outline<'_>> for outline::Outline {
    fn from(shape: Outline<'_>) -> Self {
        let keys = shape.keys.into_iter().map(Into::into).collect();
        Self { form: shape.form.into(), lines: shape.lines.into(), keys }
    }
}

impl<'a> From<&'a outline::Key> for Key<'a> {
    fn from(key: &'a outline::Key) -> Self {
        let outline::Key { name, lines, value } = key;
        let value = match value {
            outline::Content::One(text) => Content::One(text.into()),
            outline::Content::List(items) => Content::List(items.iter().map(Text::from).collect()),
            outline::Content::Table(table) => Content::Table(table.into()),
            outline::Content::Hidden => Content::Hidden,
        };
        Self { name: name.into(), lines: (*lines).into(), value }
    }
}

impl From<Key<'_>> for outline::Key {
    fn from(shape: Key<'_>) -> Self {
        let value = match shape.value {
            Content::One(text) => outline::Content::One(text.into()),
            Content::List(items) => outline::Content::List(items.into_iter().map(String::from).collect()),
            Content::Table(table) => outline::Content::Table(table.into()),
            Content::Hidden => outline::Content::Hidden,
        };
        Self { name: shape.name.into(), lines: shape.lines.into(), value }
    }
}
