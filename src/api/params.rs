//! Reading query strings: unknown, doubled and wrong parameters are refused, each by its name.

use axum::extract::Query;
use axum::http::Uri;

use super::error::ApiError;
use super::json::{shown, unknown_name};
use super::view::FilterBody;
use crate::domain::code;

/// The parameters of one request.
pub(super) struct Params {
    /// What a parameter is called in messages.
    what: &'static str,
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads the query of `uri`, in which only `known` names may stand, each once.
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, ApiError> {
        let Query(mut pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| ApiError::new(code::BAD_HEAD, format!("the query cannot be read: {error}")))?;
        check_escapes(uri, &pairs)?;
        for (name, _) in &mut pairs {
            if let Some(usual) = usual_name(name, known) {
                usual.clone_into(name);
            }
        }
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let detail = match known {
                    [] => format!("there is no query parameter `{name}`; this address takes none"),
                    known => unknown_name("query parameter", name, known),
                };
                return Err(ApiError::field(name, detail));
            }
            if pairs.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(ApiError::field(name, format!("the query parameter `{name}` stands there twice")));
            }
        }
        Ok(Self { what: "query parameter", pairs })
    }

    /// The filter of a document, to be read as if it stood in a query.
    pub(super) fn of_filter(filter: &FilterBody) -> Self {
        Self { what: "filter", pairs: filter.pairs() }
    }

    /// The text of a parameter as it was given; none when it is absent.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The text of a parameter; none when it is absent or empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// Puts another text in the place of a parameter's.
    pub(super) fn replace(&mut self, name: &str, text: &str) {
        let given = self.pairs.iter_mut().filter(|(known, _)| known == name);
        given.for_each(|(_, value)| text.clone_into(value));
    }

    /// The value of a parameter, read by `parse`, whose error says what is needed. Only in a filter is an empty one as good as
    /// absent: elsewhere it is a slip.
    pub(super) fn read<T, E: std::fmt::Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.given(name) else { return Ok(None) };
        if text.is_empty() {
            return match FilterBody::FIELDS.contains(&name) {
                true => Ok(None),
                false => Err(ApiError::field(name, format!("`{name}` is empty: leave it out, or give a value"))),
            };
        }
        let value = parse(text);
        value.map(Some).map_err(|error| ApiError::field(name, format!("{} `{name}`: {error}", self.what)))
    }
}

/// Escapes that are not UTF-8 are read as the character that stands for what cannot be read: nobody means that one.
fn check_escapes(uri: &Uri, pairs: &[(String, String)]) -> Result<(), ApiError> {
    const UNREADABLE: char = char::REPLACEMENT_CHARACTER;
    let is_meant = uri.query().unwrap_or_default().to_ascii_uppercase().contains("%EF%BF%BD");
    let faulty = pairs.iter().find(|(name, value)| name.contains(UNREADABLE) || value.contains(UNREADABLE));
    match faulty.filter(|_| !is_meant) {
        None => Ok(()),
        Some((name, _)) => {
            let detail = format!("the query cannot be read: the escapes of `{}` are not UTF-8", shown(name));
            Err(ApiError::new(code::BAD_HEAD, detail))
        }
    }
}

/// The name that another way of writing it stands for: that of a filter, or with dashes as a flag has them.
fn usual_name<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let dashed = given.replace('-', "_");
    let usual = FilterBody::usual_name(given).unwrap_or(&dashed);
    known.iter().copied().find(|name| *name == usual)
}

/// Reads a whole number between two bounds.
pub(super) fn number_within(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("`{text}` is no whole number from {least} to {most}"))
}

/// Reads `true` or `false`.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}` is neither `true` nor `false`"))
}
