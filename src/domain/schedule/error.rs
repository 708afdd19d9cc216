//! Why a rule, a start or a time zone is not acceptable.

/// What is wrong with a rule, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A part has a value that it cannot have.
    #[error("in {part}: `{text}` {why}")]
    Value {
        /// The part of the rule, or the field of the cron text.
        part: &'static str,
        /// What was given, cut to 80 characters.
        text: String,
        /// What is wrong with it, and what to write.
        why: &'static str,
    },
    /// A part that a rule cannot have.
    #[error("`{text}` {why}")]
    UnknownPart {
        /// What was given, cut to 80 characters.
        text: String,
        /// What is wrong with it, and what to write.
        why: &'static str,
    },
    /// A part that does not go with another.
    #[error("in {part}: {why}")]
    Conflict {
        /// The part that is in the way.
        part: &'static str,
        /// What is wrong, and what to write.
        why: &'static str,
    },
    /// A part stands there twice.
    #[error("{part} is given twice; leave one of them out")]
    Twice {
        /// The part.
        part: &'static str,
    },
    /// A part that has to be there is not.
    #[error("{part} is missing; write it as in `{example}`")]
    Missing {
        /// The part.
        part: &'static str,
        /// What it could look like.
        example: &'static str,
    },
    /// More than is taken.
    #[error("in {part}: more than {max} {unit} are not taken")]
    TooMany {
        /// The part.
        part: &'static str,
        /// How many are taken.
        max: usize,
        /// Of what.
        unit: &'static str,
    },
    /// The rule is well formed and yields nothing.
    #[error(
        "the rule `{rule}` has no occurrence in the next {years} years; check its start, its UNTIL, and whether its \
         BY parts can all hold at once"
    )]
    NoOccurrence {
        /// The rule, cut to 80 characters.
        rule: String,
        /// How far was looked.
        years: i64,
    },
    /// There is no rule, and the only occurrence is not to come.
    #[error(
        "without a rule it runs once, at its start; that has passed, is among the exceptions, or lies more than {years} years \
         ahead: give another start"
    )]
    OnceAndOver {
        /// How far was looked.
        years: i64,
    },
}

impl RuleError {
    pub(super) fn value(part: &'static str, text: &str, why: &'static str) -> Self {
        Self::Value { part, text: shortened(text), why }
    }

    pub(super) fn unknown(text: &str, why: &'static str) -> Self {
        Self::UnknownPart { text: shortened(text), why }
    }

    pub(super) const fn conflict(part: &'static str, why: &'static str) -> Self {
        Self::Conflict { part, why }
    }

    /// The part that is wrong: `BYDAY`, `DTSTART`, `the time zone`; what was given where it is no part at all.
    pub fn part(&self) -> &str {
        match self {
            Self::Value { part, .. }
            | Self::Conflict { part, .. }
            | Self::Twice { part }
            | Self::Missing { part, .. }
            | Self::TooMany { part, .. } => part,
            Self::UnknownPart { text, .. } => text,
            Self::NoOccurrence { .. } => "RRULE",
            Self::OnceAndOver { .. } => "DTSTART",
        }
    }
}

/// The first 80 characters of outside text, without line ends and other control characters.
pub(super) fn shortened(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(80).map(printable).collect()
}
