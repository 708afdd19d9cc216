//! Tokens on the wire. The secret of one is told once, by the answer that makes it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{form, time, time_of};
use crate::domain::access::Token;

/// A token to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    /// What its holder is called: 1 to 64 lower-case letters, digits and `-`, starting with a letter. What he does is noted
    /// under it, and the jobs that he submits are his.
    #[schema(value_type = form::TokenName, inline)]
    pub name: String,
    /// What he may do: `submit` jobs, `read` them, `write` (cancel, pause, resume, postpone, run again, remove), see their
    /// `payload`, each of these three for all jobs or as `read:own` and so on; `keys:all` to share the keys of the host (its
    /// jobs have keys of their own otherwise); or `admin` for everything.
    #[schema(value_type = form::RightWords, inline)]
    pub rights: Vec<String>,
    /// It opens nothing from then on: RFC 3339, or how long from now, such as `30d`. Never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Moment>, inline)]
    pub expires_on: Option<String>,
}

impl TokenBody {
    /// The fields there are.
    pub const FIELDS: &'static [&'static str] = &["name", "rights", "expires_on"];
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// What its holder is called.
    pub name: String,
    /// What he may do.
    pub rights: Vec<String>,
    /// When it was made.
    #[schema(value_type = form::Time, inline)]
    pub created_on: String,
    /// Who made it.
    pub created_by: String,
    /// It opens nothing from then on; none when it lasts.
    #[schema(value_type = Option<form::Time>, inline)]
    pub expires_on: Option<String>,
    /// Whether that has come.
    pub expired: bool,
}

impl TokenView {
    /// The view of a token.
    pub(crate) fn of(token: &Token, expired: bool) -> Self {
        let Token { tenant: _, name, digest: _, rights, created_on, created_by, expires_on } = token;
        Self {
            name: name.to_string(),
            rights: rights.words(),
            created_on: time(*created_on),
            created_by: created_by.clone(),
            expires_on: time_of(*expires_on),
            expired,
        }
    }
}

/// A token that was just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewTokenView {
    /// The secret to send as `Authorization: Bearer SECRET`. The host does not keep it and cannot tell it again.
    pub secret: String,
    /// The token.
    #[serde(flatten)]
    pub token: TokenView,
}

/// All tokens, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenListView {
    /// The tokens; expired ones, too.
    pub tokens: Vec<TokenView>,
}
