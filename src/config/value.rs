//! A setting as it was given, before its meaning is known, and the readers that give it one.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::problem::{Place, Problem};
use super::units::{self, parse_duration, parse_size, show_duration, show_size};

/// A value with the place where it was given.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// The kinds of value that a file, a variable or a flag can give.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A string in a file.
    Text(String),
    /// A variable or a flag: may stand for a string, a number or a list with commas.
    Word(String),
    Integer(i128),
    Boolean(bool),
    List(Vec<Given>),
    Table(Vec<Entry>),
    /// A kind that no setting has, by its name.
    Unused(&'static str),
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) given: Given,
}

/// The problems of one value; the key is put before each message.
pub(crate) type Reading<T> = Result<T, Vec<Problem>>;

impl Given {
    fn refuse<T>(&self, message: impl Into<String>, remedy: impl Into<String>) -> Reading<T> {
        Err(vec![Problem::new(self.place.clone(), message, remedy)])
    }

    fn wrong_kind<T>(&self, wanted: &str, remedy: &str) -> Reading<T> {
        self.refuse(format!("must be {wanted}, not {}", self.value.describe()), remedy)
    }
}

impl Value {
    /// The value as a message shows it.
    fn describe(&self) -> String {
        match self {
            Self::Text(text) | Self::Word(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(value) => value.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Unused(kind) => format!("a {kind}"),
        }
    }
}

/// Any text that is not empty.
pub(crate) fn text(given: &Given) -> Reading<String> {
    match &given.value {
        Value::Text(text) | Value::Word(text) if text.is_empty() => {
            given.refuse("is empty", "remove it, or fill it in")
        }
        Value::Text(text) | Value::Word(text) => Ok(text.clone()),
        _ => given.wrong_kind("a text", "put it in quotes"),
    }
}

/// A text that `parse` makes something of.
pub(crate) fn parsed<T>(parse: impl Fn(&str) -> Result<T, String>, remedy: &str) -> impl Fn(&Given) -> Reading<T> {
    move |given| {
        let text = text(given)?;
        parse(&text).or_else(|why| given.refuse(format!("is {text:?}, which is not acceptable: {why}"), remedy))
    }
}

/// A path.
pub(crate) fn path(given: &Given) -> Reading<PathBuf> {
    text(given).map(PathBuf::from)
}

/// An address to listen on.
pub(crate) fn address(given: &Given) -> Reading<SocketAddr> {
    const FORM: &str = "write IP:PORT, such as \"127.0.0.1:7171\" or \"[::1]:7171\"";
    let text = text(given)?;
    let text = text.strip_prefix("localhost:").map_or(text.clone(), |port| format!("127.0.0.1:{port}"));
    text.parse().or_else(|_| given.refuse(format!("is not an address with a port: {text:?}"), FORM))
}

/// `true` or `false`.
pub(crate) fn truth(given: &Given) -> Reading<bool> {
    match &given.value {
        Value::Boolean(value) => Ok(*value),
        Value::Word(word) if word == "true" || word == "1" => Ok(true),
        Value::Word(word) if word == "false" || word == "0" => Ok(false),
        _ => given.wrong_kind("true or false", "write true or false, without quotes"),
    }
}

/// A whole number within `range`.
pub(crate) fn number(range: RangeInclusive<u64>) -> impl Fn(&Given) -> Reading<u64> {
    move |given| {
        let form = format!("write a whole number from {} to {}", range.start(), range.end());
        let number = match &given.value {
            Value::Integer(number) => Some(*number),
            Value::Word(word) => word.replace('_', "").parse().ok(),
            _ => None,
        };
        let Some(number) = number else { return given.wrong_kind("a whole number", &form) };
        match u64::try_from(number) {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => given.refuse(format!("is {number}, which is out of bounds"), form),
        }
    }
}

/// A whole number within `range`, of 32 bits.
pub(crate) fn small_number(range: RangeInclusive<u32>) -> impl Fn(&Given) -> Reading<u32> {
    let wide = number(u64::from(*range.start())..=u64::from(*range.end()));
    move |given| wide(given).map(|number| u32::try_from(number).unwrap_or(*range.end()))
}

/// A duration within `range`.
pub(crate) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Given) -> Reading<Duration> {
    move |given| {
        let (Value::Text(text) | Value::Word(text)) = &given.value else {
            return given.wrong_kind("a duration", units::DURATION_FORM);
        };
        match parse_duration(text) {
            Ok(duration) if range.contains(&duration) => Ok(duration),
            Ok(_) => {
                let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
                given.refuse(
                    format!("is {text:?}, which is out of bounds"),
                    format!("write a duration from {least} to {most}"),
                )
            }
            Err(why) => given.refuse(format!("is {text:?}, which is not a duration: {why}"), units::DURATION_FORM),
        }
    }
}

/// A size in bytes within `range`.
pub(crate) fn size(range: RangeInclusive<u64>) -> impl Fn(&Given) -> Reading<u64> {
    move |given| {
        let read = match &given.value {
            Value::Integer(number) => u64::try_from(*number).map_err(|_| "it is negative or too large".to_owned()),
            Value::Text(text) | Value::Word(text) => parse_size(text),
            _ => return given.wrong_kind("a size", units::SIZE_FORM),
        };
        let shown = given.value.describe();
        match read {
            Ok(bytes) if range.contains(&bytes) => Ok(bytes),
            Ok(_) => {
                let (least, most) = (show_size(*range.start()), show_size(*range.end()));
                given.refuse(
                    format!("is {shown}, which is out of bounds"),
                    format!("write a size from {least} to {most}"),
                )
            }
            Err(why) => given.refuse(format!("is {shown}, which is not a size: {why}"), units::SIZE_FORM),
        }
    }
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&Given) -> Reading<T> {
    move |given| {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
        let form = format!("write {}", words.join(" or "));
        let text = match &given.value {
            Value::Text(text) | Value::Word(text) => text,
            _ => return given.wrong_kind("a word", &form),
        };
        match choices.iter().find(|(word, _)| word == text) {
            Some((_, choice)) => Ok(*choice),
            None => given.refuse(format!("is {text:?}, which is not known"), form),
        }
    }
}

/// A list of what `item` reads; a word is split at its commas.
pub(crate) fn list<T>(item: impl Fn(&Given) -> Reading<T>) -> impl Fn(&Given) -> Reading<Vec<T>> {
    move |given| {
        let items = match &given.value {
            Value::List(items) => items.clone(),
            Value::Word(words) => {
                let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
                words.map(|word| Given { value: Value::Word(word.to_owned()), place: given.place.clone() }).collect()
            }
            _ => return given.wrong_kind("a list", "write it in brackets, such as [\"one\", \"two\"]"),
        };
        let mut read = Vec::with_capacity(items.len());
        let mut problems = Vec::new();
        for given in &items {
            match item(given) {
                Ok(item) => read.push(item),
                Err(more) => problems.extend(more),
            }
        }
        if problems.is_empty() { Ok(read) } else { Err(problems) }
    }
}

/// A table whose values are all texts.
pub(crate) fn pairs(given: &Given) -> Reading<Vec<(String, String)>> {
    let Value::Table(entries) = &given.value else {
        return given.wrong_kind("a table", "write it in braces, such as { key = \"value\" }");
    };
    let mut read = Vec::with_capacity(entries.len());
    let mut problems = Vec::new();
    for entry in entries {
        match &entry.given.value {
            Value::Text(value) => read.push((entry.key.clone(), value.clone())),
            _ => {
                let message = format!("has a value for `{}` that is not a text", entry.key);
                problems.push(Problem::new(entry.given.place.clone(), message, "put it in quotes"));
            }
        }
    }
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}
