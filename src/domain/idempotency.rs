//! The `Idempotency-Key` of a request that makes jobs: whose it is, what it asks for, and what the same request is answered
//! with when it comes again (promise 6).

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::access::Caller;
use super::change::{Change, RememberedSubmit};
use super::hash;
use super::id::{Digest, JobId, Sequence, TenantId};
use super::job::{Job, JobState, Payload, Submission};
use super::time::Timestamp;

/// How long a key is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// Why a request is not answered by its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key itself is not acceptable.
    #[error("an Idempotency-Key has 1 to {KEY_BYTES_MAX} bytes; this one has {bytes}")]
    Bad {
        /// How many bytes it has.
        bytes: usize,
    },
    /// The key belongs to another request.
    #[error("the Idempotency-Key `{key}` was used for another request{}", made(.job.as_ref()))]
    Mismatch {
        /// The key.
        key: String,
        /// The first job of that request.
        job: Option<JobId>,
    },
    /// The job of the key was deleted; the key still stands for it.
    #[error("the Idempotency-Key `{key}` made job {job}, which has been deleted since")]
    OfDeleted {
        /// The key.
        key: String,
        /// The job that it made.
        job: JobId,
    },
}

fn made(job: Option<&JobId>) -> String {
    job.map(|job| format!(", which made job {job}")).unwrap_or_default()
}

/// What a request asks for, as a stable hash (FNV-1a, 64 bits): it is kept with the key, so it must not change between releases.
///
/// It is made of named fields. One that is absent counts nothing, and their order is that of their names, so that a release which
/// knows more fields still knows a request of before again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHash {
    kind: u64,
    /// The hash of each field that is there.
    fields: Vec<(Cow<'static, str>, u64)>,
}

impl RequestHash {
    /// A request of this kind. The same key for another kind is another request.
    pub fn of(kind: &str) -> Self {
        Self { kind: hash::fnv(hash::FNV_START, kind.bytes()), fields: Vec::new() }
    }

    /// The same with a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((Cow::Borrowed(name), hash::fnv(hash::FNV_START, value.as_ref().iter().copied())));
        self
    }

    /// The same with a field that may be absent.
    #[must_use]
    pub fn with_if(self, name: &'static str, value: Option<impl AsRef<[u8]>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The same with a field of several items; absent without any.
    #[must_use]
    pub fn with_list<T: AsRef<[u8]>>(mut self, name: &'static str, items: impl IntoIterator<Item = T>) -> Self {
        let mut items = items.into_iter().peekable();
        if items.peek().is_some() {
            let hash = items.fold(hash::FNV_START, |hash, item| sized(hash, item.as_ref()));
            self.fields.push((Cow::Borrowed(name), hash));
        }
        self
    }

    /// The same with a field for each member of a document. What is absent must not be written in it.
    #[must_use]
    pub fn with_document(mut self, document: &impl Serialize) -> Self {
        if let Ok(Value::Object(members)) = serde_json::to_value(document) {
            self.fields
                .extend(members.into_iter().map(|(name, value)| (name.into(), of_json(hash::FNV_START, &value))));
        }
        self
    }

    /// The number itself.
    pub fn number(&self) -> u64 {
        let mut fields: Vec<_> = self.fields.iter().collect();
        fields.sort();
        fields
            .into_iter()
            .fold(self.kind, |hash, (name, value)| hash::fnv(sized(hash, name.as_bytes()), value.to_le_bytes()))
    }
}

/// Goes on with a part and its length, so that no two lists of parts are the same bytes.
fn sized(hash: u64, part: &[u8]) -> u64 {
    hash::fnv(hash::fnv(hash, (part.len() as u64).to_le_bytes()), part.iter().copied())
}

/// Goes on with a value of JSON, whatever the order in which its members were written.
fn of_json(hash: u64, value: &Value) -> u64 {
    match value {
        Value::Array(items) => {
            let hash = sized(hash, b"[");
            sized(items.iter().fold(hash, of_json), b"]")
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let hash = sized(hash, b"{");
            let hash =
                members.into_iter().fold(hash, |hash, (name, value)| of_json(sized(hash, name.as_bytes()), value));
            sized(hash, b"}")
        }
        plain => sized(hash, plain.to_string().as_bytes()),
    }
}

/// The key of one request.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    given: String,
    kept: String,
    asked: u64,
}

impl IdempotencyKey {
    /// The key that a caller has given. The keys of one holder of a token are apart from those of all others.
    pub fn new(given: &str, caller: &Caller, asked: &RequestHash) -> Result<Self, KeyError> {
        if given.is_empty() || given.len() > KEY_BYTES_MAX {
            return Err(KeyError::Bad { bytes: given.len() });
        }
        let kept = match &caller.name {
            // No key that comes over HTTP holds a line break.
            Some(name) => format!("{name}\n{given}"),
            None => given.to_owned(),
        };
        Ok(Self { given: given.to_owned(), kept, asked: asked.number() })
    }

    /// Under which text it is kept.
    pub fn kept(&self) -> &str {
        &self.kept
    }

    /// What is `remembered` under it, if that still stands: the answer of the first request.
    pub fn first(
        &self,
        remembered: Option<RememberedSubmit>,
        now: Timestamp,
    ) -> Result<Option<RememberedSubmit>, KeyError> {
        match remembered.filter(|first| first.until > now) {
            Some(first) if first.fingerprint != self.asked => {
                Err(KeyError::Mismatch { key: self.given.clone(), job: first.jobs.first().copied() })
            }
            first => Ok(first),
        }
    }

    /// Remembers these jobs as the answer, in the commit that makes them; `next` is where a request by filter goes on.
    pub fn remember(&self, tenant: TenantId, jobs: Vec<JobId>, next: Option<Sequence>, now: Timestamp) -> Change {
        Change::put(RememberedSubmit {
            tenant,
            key: self.kept.clone(),
            fingerprint: self.asked,
            jobs,
            next,
            end: None,
            on: now,
            until: now.after(KEPT),
        })
    }

    /// That a job of it is not there any more.
    pub fn of_deleted(&self, job: JobId) -> KeyError {
        KeyError::OfDeleted { key: self.given.clone(), job }
    }
}

/// Under which text the end of a job is kept that was deleted with it. No key of a caller holds two line breaks.
pub fn key_of_end(job: JobId) -> String {
    format!("\n\n{job}")
}

/// Keeps how a job ended that is deleted in the same commit: whoever sends its submit again is told. Its input, arguments and
/// environment go with it; of the input the size is kept.
pub fn remember_end(submission: &Submission, ended: &JobState, now: Timestamp) -> Change {
    let Submission { id, tenant, ref input, .. } = *submission;
    let digest = match input {
        Payload::Inline(bytes) => Digest::of(bytes),
        Payload::Blob { digest, .. } => *digest,
    };
    let submission = Submission {
        input: Payload::Blob { digest, bytes: input.len() },
        args: Vec::new(),
        env: Vec::new(),
        ..submission.clone()
    };
    Change::put(RememberedSubmit {
        tenant,
        key: key_of_end(id),
        fingerprint: 0,
        jobs: vec![id],
        next: None,
        end: Some(Box::new(Job { submission: submission.into(), state: ended.clone() })),
        on: now,
        until: now.after(KEPT),
    })
}

/// The answer to a request that makes jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// What was made.
    pub made: T,
    /// Whether an earlier request of the same `Idempotency-Key` has made it.
    pub is_repeated: bool,
}

impl<T> Answered<T> {
    /// What this request has made.
    pub fn anew(made: T) -> Self {
        Self { made, is_repeated: false }
    }

    /// What an earlier one has made.
    pub fn again(made: T) -> Self {
        Self { made, is_repeated: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(document: &Value) -> u64 {
        RequestHash::of("a test").with_document(document).number()
    }

    #[test]
    fn fields_count_by_their_names_and_absent_ones_not_at_all() {
        let one = RequestHash::of("a test").with("a", "1").with("b", "2");
        let other = RequestHash::of("a test").with("b", "2").with_if("c", None::<&str>).with("a", "1");
        assert_eq!(one.number(), other.with_list("d", [""; 0]).number());
        let all = [
            one.clone(),
            RequestHash::of("another").with("a", "1").with("b", "2"),
            RequestHash::of("a test").with("a", "2").with("b", "1"),
            one.clone().with("c", ""),
            one.clone().with_list("c", [""]),
            one.clone().with_list("c", ["", ""]),
            one.clone().with_list("c", ["ab", "c"]),
            one.clone().with_list("c", ["a", "bc"]),
        ];
        let numbers: std::collections::BTreeSet<_> = all.iter().map(RequestHash::number).collect();
        assert_eq!(numbers.len(), all.len(), "each is another request");
    }

    #[test]
    fn a_document_is_the_same_in_whatever_order_it_is_written() {
        let text = |text: &str| number(&serde_json::from_str(text).expect("it is JSON"));
        let first = text(r#"{"input": {"a": 1, "b": [true, null]}, "at": "15m"}"#);
        assert_eq!(text(r#"{"at": "15m", "input": {"b": [true, null], "a": 1}}"#), first);
        for other in [
            r#"{"input": {"a": 1, "b": [null, true]}, "at": "15m"}"#,
            r#"{"input": {"a": 1, "b": [[true], null]}, "at": "15m"}"#,
            r#"{"input": {"a": "1", "b": [true, null]}, "at": "15m"}"#,
            r#"{"input": {"a": 1, "b": [true]}, "at": "15m"}"#,
            r#"{"input": {"a": 1}, "b": [true, null], "at": "15m"}"#,
            r#"{"input": null, "at": "15m"}"#,
            r#"{"at": "15m"}"#,
        ] {
            assert_ne!(text(other), first, "{other}");
        }
    }
}
