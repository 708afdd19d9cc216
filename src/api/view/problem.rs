//! The form of every error: a problem document of RFC 9457.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::GrantView;

/// What went wrong, for programs and for people. Sent as `application/problem+json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Where the page of this kind of problem is: `/errors/BR0103`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of problem it is, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request, and where.
    pub detail: String,
    /// The stable code.
    pub code: String,
    /// What to do next; the exact command where there is one.
    pub next: String,
    /// The field or query parameter that is at fault, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The lines of a bulk submit that are at fault, the first twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<LineProblem>,
    /// What the operator would have to grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_grants: Vec<GrantView>,
    /// The lines to add to backroom.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_to_config: Option<String>,
}

/// One line of a bulk submit that is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LineProblem {
    /// Its number, from 1; blank lines count.
    pub line: usize,
    /// The stable code.
    pub code: String,
    /// What is wrong with it.
    pub detail: String,
}
