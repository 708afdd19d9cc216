//! Reads TOML into values that remember where they stand.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Position, Problem};
use super::value::{Entry, Given, Value};

/// A text that settings are read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document<'a> {
    /// What messages call it.
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

/// The keys of a document, as far as it can be read, and what breaks the syntax of TOML.
pub(crate) fn read(document: Document<'_>) -> (Vec<Entry>, Vec<Problem>) {
    let source = Source { name: Arc::from(document.name), text: document.text };
    let (table, errors) = DeTable::parse_recoverable(document.text);
    let problems = errors.iter().map(|error| source.syntax_problem(error)).collect();
    (source.entries(table.get_ref()), problems)
}

struct Source<'a> {
    name: Arc<str>,
    text: &'a str,
}

impl Source<'_> {
    fn place(&self, offset: usize) -> Place {
        Place { source: Arc::clone(&self.name), position: Some(Position::of(self.text, offset)) }
    }

    fn syntax_problem(&self, error: &toml::de::Error) -> Problem {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        Problem::new(self.place(offset), message, "see toml.io for the syntax; texts stand in double quotes")
    }

    fn entries(&self, table: &DeTable<'_>) -> Vec<Entry> {
        let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| Entry {
            key: key.get_ref().to_string(),
            key_place: self.place(key.span().start),
            given: self.given(value),
        };
        table.iter().map(entry).collect()
    }

    fn given(&self, value: &Spanned<DeValue<'_>>) -> Given {
        Given { value: self.value(value.get_ref()), place: self.place(value.span().start) }
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Unused("number that is too large"),
            },
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Array(items) => Value::List(items.iter().map(|item| self.given(item)).collect()),
            DeValue::Table(table) => Value::Table(self.entries(table)),
            DeValue::Float(_) => Value::Unused("number with a fraction"),
            DeValue::Datetime(_) => Value::Unused("date or time"),
        }
    }
}
