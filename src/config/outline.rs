//! Where the keys of a file are, for advice that fits in with what it holds already.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Position;
use crate::domain::outline::{Content, Form, Key, Lines, Outline};

/// The table of a plug-in whose values are shown to nobody.
const HIDDEN: &str = "config";

/// The tables of the whole host that advice may change.
const OF_THE_HOST: [&str; 2] = ["limits", "uploads"];

/// What the file of the settings says, as far as advice needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlines {
    /// The file with its `[limits]` and `[uploads]`.
    pub(crate) host: Option<Outline>,
    /// Each `[[plugin]]` with its name.
    pub(crate) plugins: Vec<(String, Outline)>,
}

/// Reads the outlines of a file of settings.
pub(crate) fn of_settings(text: &str) -> Outlines {
    let (document, _) = DeTable::parse_recoverable(text);
    let reader = Reader { text };
    let table = |key: &str| document.get_ref().iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value);
    let last = number(Position::of(text, text.len()).line);
    let mut keys = reader.keys(document.get_ref(), None);
    keys.retain(|key| OF_THE_HOST.contains(&key.name.as_str()));
    let plugins = match table("plugin").map(Spanned::get_ref) {
        Some(DeValue::Array(items)) => items.iter().filter_map(|item| reader.plugin(item)).collect(),
        _ => Vec::new(),
    };
    let host = Outline { form: Form::Document, lines: Lines { first: 1, last }, keys };
    Outlines { host: Some(host), plugins }
}

/// Reads the outline of a manifest.
pub(crate) fn of_manifest(text: &str) -> Outline {
    let (document, _) = DeTable::parse_recoverable(text);
    let last = Position::of(text, text.len()).line;
    let keys = Reader { text }.keys(document.get_ref(), None);
    Outline { form: Form::Document, lines: Lines { first: 1, last: number(last) }, keys }
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn plugin(&self, item: &Spanned<DeValue<'_>>) -> Option<(String, Outline)> {
        let DeValue::Table(table) = item.get_ref() else { return None };
        let name = table.iter().find(|(key, _)| key.get_ref() == "name")?.1;
        let DeValue::String(name) = name.get_ref() else { return None };
        Some((name.to_string(), self.table(item, Some(HIDDEN))?))
    }

    fn table(&self, value: &Spanned<DeValue<'_>>, hidden: Option<&str>) -> Option<Outline> {
        let DeValue::Table(table) = value.get_ref() else { return None };
        let form = match self.text.as_bytes().get(value.span().start) {
            Some(b'[') => Form::Header,
            Some(b'{') => Form::Braces,
            _ => Form::Dotted,
        };
        let keys = self.keys(table, hidden);
        let own = self.lines(value.span());
        let lines = match form {
            Form::Dotted => {
                Lines { first: own.first, last: keys.iter().map(|key| key.lines.last).fold(own.last, u32::max) }
            }
            _ => own,
        };
        Some(Outline { form, lines, keys })
    }

    /// The keys of a table. All values below the key `hidden` stay out.
    fn keys(&self, table: &DeTable<'_>, hidden: Option<&str>) -> Vec<Key> {
        let key = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
            let name = key.get_ref().to_string();
            let lines = self.lines(key.span().start..value.span().end.max(key.span().end));
            let value = match value.get_ref() {
                DeValue::Table(_) => match self.table(value, None) {
                    Some(table) if hidden == Some(name.as_str()) => Content::Table(without_values(table)),
                    Some(table) => Content::Table(table),
                    None => Content::Hidden,
                },
                DeValue::Array(items) => Content::List(items.iter().map(|item| self.source(item.span())).collect()),
                _ => Content::One(self.source(value.span())),
            };
            Key { name, lines, value }
        };
        table.iter().map(key).collect()
    }

    fn source(&self, span: Range<usize>) -> String {
        self.text.get(span).unwrap_or_default().to_owned()
    }

    fn lines(&self, span: Range<usize>) -> Lines {
        let line = |offset: usize| number(Position::of(self.text, offset).line);
        Lines { first: line(span.start), last: line(span.end.saturating_sub(1).max(span.start)) }
    }
}

fn without_values(table: Outline) -> Outline {
    let keys = table.keys.into_iter().map(|key| Key { value: Content::Hidden, ..key });
    Outline { keys: keys.collect(), ..table }
}

fn number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outline::{Edit, Spot};

    /// Does what an edit says.
    fn edited(text: &str, edit: &Edit) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        match edit.spot {
            Spot::InPlaceOf(Lines { first, last }) => {
                lines.splice(first as usize - 1..last as usize, [edit.text.clone()]);
            }
            Spot::Below(line) => lines.insert(line as usize, edit.text.clone()),
            Spot::Within(Lines { last, .. }) => {
                let line = &mut lines[last as usize - 1];
                let brace = line.rfind('}').expect("the braces end there");
                line.insert_str(brace, &format!(", {} ", edit.text));
            }
            Spot::End => lines.push(edit.text.clone()),
        }
        lines.join("\n")
    }

    const LAYOUTS: [&str; 8] = [
        "[[plugin]]\nname = \"b\"\n[[plugin]]\nname = \"a\"\n",
        "[[plugin]]\nname = \"a\"\nlimits = { wall = \"1s\", memory = \"1MiB\" } # why\nconfig = { x = \"hush\" }\n[worker]\n",
        "[[plugin]]\nname = \"a\"\n[plugin.limits]\nwall = \"1s\"\nmemory = \"1MiB\"\n[plugin.config]\nx = \"hush\"\n[worker]\n",
        "[[plugin]]\nname = \"a\"\nlimits.wall = \"1s\"\nlimits.memory = \"1MiB\"\nconfig.x = \"hush\"\n",
        "[[plugin]]\nlimits.memory = \"1MiB\"\nname = \"a\"\ngrants.http = [\"https://one.example\"]\n",
        "[[plugin]]\nname = \"a\"\ngrants = { http = [\n  \"https://one.example\", # the first\n  'https://two.example',\n] }\n",
        "[[plugin]]\nname = \"a\"\n[plugin.grants]\nhttp = [\n  \"https://one.example\",\n]\n[limits]\nwall = \"9s\"\n",
        "[limits]\nwall = \"9s\"\n[[plugin]]\nname = \"a\"\ngrants = {}\n",
    ];

    fn parsed(text: &str) -> toml::Table {
        text.parse().unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn plugin(table: &toml::Table) -> &toml::Table {
        let plugins = table["plugin"].as_array().expect("a list");
        let is_ours = |plugin: &&toml::Value| plugin["name"].as_str() == Some("a");
        plugins.iter().find(is_ours).and_then(toml::Value::as_table).expect("it is there")
    }

    #[test]
    fn an_edit_gives_the_key_its_value_and_leaves_all_else_as_it_was() {
        let values = [
            (["limits", "wall"], "\"7s\""),
            (["limits", "fuel"], "7"),
            (["grants", "http"], "[\"https://seven.example\"]"),
            (["config", "mail.from"], "\"seven\""),
        ];
        for text in LAYOUTS {
            let outline = of_settings(text).plugins.into_iter().find(|(name, _)| name == "a").expect("it is there").1;
            for ([table, key], value) in values {
                let edit = outline.set(&[table, key], value);
                assert!(!edit.text.contains("hush"), "{edit:?}");
                let after = parsed(&edited(text, &edit));
                let mut expected = plugin(&parsed(text)).clone();
                let inner = expected.entry(table).or_insert_with(|| toml::Value::Table(toml::Table::new()));
                let value: toml::Table = format!("it = {value}").parse().expect("it is TOML");
                inner.as_table_mut().expect("a table").insert(key.to_owned(), value["it"].clone());
                assert_eq!(plugin(&after), &expected, "{text}\n{edit:?}");
                assert_eq!(after.len(), parsed(text).len(), "{text}\n{edit:?}");
            }
        }
    }

    #[test]
    fn the_items_of_a_list_are_known_without_its_comments() {
        let outline = &of_settings(LAYOUTS[5]).plugins[0].1;
        assert_eq!(outline.list(&["grants", "http"]), ["\"https://one.example\"", "'https://two.example'"]);
    }

    #[test]
    fn a_manifest_is_edited_likewise() {
        for text in [
            "name = \"a\"\n",
            "name = \"a\"\nlimits.wall = \"1s\"\n",
            "name = \"a\"\n\n[limits]\nwall = \"1s\"\n[wants]\nconfig = [\"x\"]\n",
        ] {
            let after = parsed(&edited(text, &of_manifest(text).set(&["limits", "wall"], "\"7s\"")));
            assert_eq!(after["limits"]["wall"].as_str(), Some("7s"), "{text}");
            let after = parsed(&edited(text, &of_manifest(text).set(&["wants", "http"], "[\"https://a.example\"]")));
            assert_eq!(after["wants"]["http"].as_array().map(Vec::len), Some(1), "{text}");
            assert_eq!(after["name"].as_str(), Some("a"));
        }
    }
}
