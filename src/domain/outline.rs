//! Where the keys of a settings file are, and the edit that gives one of them another value.
//!
//! An outline is a fact about a file: whoever has read the file makes it. What to write, and in place of what, is decided
//! here, so that advice fits in with what the file holds already, however that is written.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Lines of a file, from 1, the last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "line {}", self.first),
            false => write!(f, "lines {}-{}", self.first, self.last),
        }
    }
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// It is the whole file.
    Document,
    /// Under a header: `[limits]`, `[[plugin]]`.
    Header,
    /// In braces: `limits = { wall = "1s" }`.
    Braces,
    /// By dotted keys: `limits.wall = "1s"`.
    Dotted,
}

/// A table of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// How it is written.
    pub form: Form,
    /// Its header, or all of it where it has none.
    pub lines: Lines,
    /// What it holds.
    pub keys: Vec<Key>,
}

/// A key of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its name, without quotes.
    pub name: String,
    /// Where it and its value are.
    pub lines: Lines,
    /// Its value.
    pub value: Content,
}

/// A value, as TOML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A single value.
    One(String),
    /// The items of a list.
    List(Vec<String>),
    /// A table.
    Table(Outline),
    /// A value that is shown to nobody.
    Hidden,
}

/// What the host's settings say, as far as advice has to fit in with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// The file that was read; none when there is none.
    pub file: Option<String>,
    /// Its table of the plug-in in question.
    pub plugin: Option<Outline>,
    /// The file with its `[limits]`.
    pub host: Option<Outline>,
    /// The environment variable that has the last word on the stack.
    pub stack_variable: Option<String>,
}

impl Stated {
    /// The file, as messages call it.
    pub fn file(&self) -> &str {
        self.file.as_deref().unwrap_or("backroom.toml")
    }

    /// Where the file grants something, as far as that is known.
    pub fn place_of_grant(&self, kind: &str, value: &str) -> String {
        let table = self.plugin.as_ref();
        let of_value = if kind == "config" { table.and_then(|table| table.find(&["config", value])) } else { None };
        let key = of_value.or_else(|| table?.find(&["grants", kind]));
        key.map_or_else(|| self.file().to_owned(), |key| format!("{}, {}", self.file(), key.lines))
    }
}

/// Where an edit is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// In place of whole lines.
    InPlaceOf(Lines),
    /// As new lines below one; line 0 is the top of the file.
    Below(u32),
    /// Inside the braces on these lines.
    Within(Lines),
    /// As new lines at the end of the file.
    End,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InPlaceOf(lines) => write!(f, "in place of {lines}"),
            Self::Below(0) => f.write_str("at the top"),
            Self::Below(line) => write!(f, "below line {line}"),
            Self::Within(lines) => write!(f, "inside the braces on {lines}"),
            Self::End => f.write_str("at the end"),
        }
    }
}

/// What to write into a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where.
    pub spot: Spot,
    /// Whole lines of TOML; inside braces one pair.
    pub text: String,
}

impl Edit {
    /// The line at which the edit begins; later ones come first when several are made by their numbers.
    pub fn line(&self) -> u32 {
        match self.spot {
            Spot::InPlaceOf(lines) | Spot::Within(lines) => lines.first,
            Spot::Below(line) => line,
            Spot::End => u32::MAX,
        }
    }
}

/// What becomes of a table when a key in it changes.
enum Changed {
    /// The file is edited there.
    Edited(Edit),
    /// The braces hold this from now on; what holds them is edited.
    Rewritten(String),
}

impl Outline {
    /// The edit that gives the key at `path` a value.
    pub fn set(&self, path: &[&str], value: &str) -> Edit {
        match self.change(path, value, "") {
            Changed::Edited(edit) => edit,
            // A table in braces that nothing on whole lines holds: an item of a list.
            Changed::Rewritten(_) => Edit { spot: Spot::Within(self.lines), text: nested(path, value) },
        }
    }

    /// The items of the list at `path`; none where there is none.
    pub fn list(&self, path: &[&str]) -> &[String] {
        match self.find(path) {
            Some(Key { value: Content::List(items), .. }) => items,
            _ => &[],
        }
    }

    /// The key at `path`.
    pub fn find(&self, path: &[&str]) -> Option<&Key> {
        let (name, rest) = path.split_first()?;
        let key = self.keys.iter().find(|key| key.name == *name)?;
        match (rest, &key.value) {
            ([], _) => Some(key),
            (_, Content::Table(table)) => table.find(rest),
            _ => None,
        }
    }

    fn change(&self, path: &[&str], value: &str, prefix: &str) -> Changed {
        let Some((name, rest)) = path.split_first() else { return Changed::Rewritten(value.to_owned()) };
        let Some(key) = self.keys.iter().find(|key| key.name == *name) else {
            return self.added(path, value, prefix);
        };
        match &key.value {
            Content::Table(table) if !rest.is_empty() => {
                let inner = match table.form {
                    Form::Dotted => format!("{prefix}{}.", bare(name)),
                    _ => String::new(),
                };
                match table.change(rest, value, &inner) {
                    Changed::Rewritten(braces) => self.replaced(key, &braces, prefix),
                    edited => edited,
                }
            }
            _ => self.replaced(key, &braced(rest, value), prefix),
        }
    }

    fn added(&self, path: &[&str], value: &str, prefix: &str) -> Changed {
        let pair = nested(path, value);
        let (spot, text) = match (self.form, path) {
            (Form::Braces, _) => return self.in_braces(None, &pair),
            (Form::Document, [table, rest @ ..]) if !rest.is_empty() => {
                (Spot::End, format!("[{}]\n{}", bare(table), nested(rest, value)))
            }
            (Form::Document, _) => (Spot::Below(0), pair),
            (Form::Header, _) => (Spot::Below(self.lines.last), pair),
            (Form::Dotted, _) => (Spot::Below(self.lines.last), format!("{prefix}{pair}")),
        };
        Changed::Edited(Edit { spot, text })
    }

    fn replaced(&self, key: &Key, value: &str, prefix: &str) -> Changed {
        let pair = format!("{} = {value}", bare(&key.name));
        match self.form {
            Form::Braces => self.in_braces(Some(key), &pair),
            _ => Changed::Edited(Edit { spot: Spot::InPlaceOf(key.lines), text: format!("{prefix}{pair}") }),
        }
    }

    /// The braces with `pair` in place of `old`, or behind all others. Where some of what they hold is hidden, the pair alone.
    fn in_braces(&self, old: Option<&Key>, pair: &str) -> Changed {
        let others = self.keys.iter().filter(|key| old.is_none_or(|old| old.name != key.name));
        let others: Option<Vec<String>> = others.map(Key::shown).collect();
        match others {
            Some(mut pairs) => {
                pairs.push(pair.to_owned());
                Changed::Rewritten(format!("{{ {} }}", pairs.join(", ")))
            }
            None => Changed::Edited(Edit { spot: Spot::Within(self.lines), text: pair.to_owned() }),
        }
    }
}

impl Key {
    /// The key with its value, unless that is hidden.
    fn shown(&self) -> Option<String> {
        Some(format!("{} = {}", bare(&self.name), self.value.shown()?))
    }
}

impl Content {
    fn shown(&self) -> Option<String> {
        match self {
            Self::One(text) => Some(text.clone()),
            Self::List(items) => Some(list(items)),
            Self::Table(table) => {
                let pairs: Option<Vec<String>> = table.keys.iter().map(Key::shown).collect();
                Some(format!("{{ {} }}", pairs?.join(", ")))
            }
            Self::Hidden => None,
        }
    }
}

/// `a = { b = value }` for the path `a`, `b`.
pub fn nested(path: &[&str], value: &str) -> String {
    match path {
        [] => value.to_owned(),
        [name, rest @ ..] => format!("{} = {}", bare(name), braced(rest, value)),
    }
}

fn braced(path: &[&str], value: &str) -> String {
    if path.is_empty() { value.to_owned() } else { format!("{{ {} }}", nested(path, value)) }
}

/// A list of items that are TOML already.
pub fn list(items: &[String]) -> String {
    format!("[{}]", items.join(", "))
}

/// A key as it is written: in quotes where it needs them.
fn bare(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_bare { key.to_owned() } else { quoted(key) }
}

/// A basic string of TOML 1.0.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(first: u32, last: u32) -> Lines {
        Lines { first, last }
    }

    fn key(name: &str, line: u32, value: Content) -> Key {
        Key { name: name.to_owned(), lines: lines(line, line), value }
    }

    fn table(form: Form, line: u32, keys: Vec<Key>) -> Outline {
        Outline { form, lines: lines(line, line), keys }
    }

    fn one(text: &str) -> Content {
        Content::One(text.to_owned())
    }

    fn edit(spot: Spot, text: &str) -> Edit {
        Edit { spot, text: text.to_owned() }
    }

    #[test]
    fn a_key_is_added_or_replaced_in_whatever_form_its_table_has() {
        let limits =
            |form| Content::Table(table(form, 3, vec![key("memory", 3, one("7")), key("wall", 3, one("\"1s\""))]));
        let plugin = |limits| table(Form::Header, 1, vec![key("limits", 3, limits), key("name", 2, one("\"a\""))]);
        let wall: &[&str] = &["limits", "wall"];
        let fuel: &[&str] = &["limits", "fuel"];
        let at = |line| Spot::InPlaceOf(lines(line, line));
        for (form, path, expected) in [
            (Form::Braces, wall, edit(at(3), "limits = { memory = 7, wall = X }")),
            (Form::Braces, fuel, edit(at(3), "limits = { memory = 7, wall = \"1s\", fuel = X }")),
            (Form::Header, wall, edit(at(3), "wall = X")),
            (Form::Header, fuel, edit(Spot::Below(3), "fuel = X")),
            (Form::Dotted, wall, edit(at(3), "limits.wall = X")),
            (Form::Dotted, fuel, edit(Spot::Below(3), "limits.fuel = X")),
        ] {
            assert_eq!(plugin(limits(form)).set(path, "X"), expected, "{form:?} {path:?}");
        }
        let without = table(Form::Header, 1, vec![key("name", 2, one("\"a\""))]);
        assert_eq!(without.set(wall, "X"), edit(Spot::Below(1), "limits = { wall = X }"));
        let document = table(Form::Document, 1, Vec::new());
        assert_eq!(document.set(wall, "X"), edit(Spot::End, "[limits]\nwall = X"));
        assert_eq!(document.set(&["handlers"], "X"), edit(Spot::Below(0), "handlers = X"));
    }

    #[test]
    fn what_is_hidden_is_not_written_again() {
        let config = Content::Table(table(Form::Braces, 3, vec![key("secret", 3, Content::Hidden)]));
        let plugin = table(Form::Header, 1, vec![key("config", 3, config)]);
        let expected = edit(Spot::Within(lines(3, 3)), "\"mail.from\" = X");
        assert_eq!(plugin.set(&["config", "mail.from"], "X"), expected);
    }

    #[test]
    fn texts_are_quoted_as_toml_wants_it() {
        assert_eq!(quoted("odd \"key\\\u{7f}"), "\"odd \\\"key\\\\\\u007F\"");
        assert_eq!(nested(&["a b", "c-d"], "1"), "\"a b\" = { c-d = 1 }");
    }
}
