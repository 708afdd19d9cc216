//! The `Idempotency-Key` of a submit: whose it is, and by what the same submit is known again.

use super::NewJob;
use crate::domain::hash;
use crate::domain::id::{HandlerName, VersionName};
use crate::domain::job::Ties;
use crate::domain::time::Timestamp;

/// The `Idempotency-Key` of a submit.
pub(super) struct IdempotencyKey<'a> {
    /// As the caller gave it.
    pub(super) given: &'a str,
    /// As it is kept: the keys of one holder of a token are apart from those of all others.
    pub(super) kept: String,
    /// What the submit asked for.
    pub(super) fingerprint: u64,
}

impl<'a> IdempotencyKey<'a> {
    pub(super) fn new(given: &'a str, new: &NewJob) -> Self {
        let kept = match &new.caller.name {
            // No key that comes over HTTP holds a line break.
            Some(name) => format!("{name}\n{given}"),
            None => given.to_owned(),
        };
        Self { given, kept, fingerprint: fingerprint(new) }
    }
}

/// A stable hash (FNV-1a, 64 bits) of what the caller asked for; kept with the key, so it must not change between releases.
fn fingerprint(new: &NewJob) -> u64 {
    let mut hash = hash::FNV_START;
    let mut feed = |bytes: &[u8]| {
        hash = hash::fnv(hash, (bytes.len() as u64).to_le_bytes().into_iter().chain(bytes.iter().copied()));
    };
    feed(new.plugin.as_str().as_bytes());
    feed(new.handler.as_ref().map(HandlerName::as_str).unwrap_or_default().as_bytes());
    feed(&new.input);
    feed(new.name.as_deref().unwrap_or_default().as_bytes());
    feed(&(new.args.len() as u64).to_le_bytes());
    new.args.iter().for_each(|arg| feed(arg.as_bytes()));
    feed(&(new.env.len() as u64).to_le_bytes());
    new.env.iter().for_each(|(name, value)| {
        feed(name.as_bytes());
        feed(value.as_bytes());
    });
    feed(new.queue.as_str().as_bytes());
    feed(&new.priority.to_le_bytes());
    for (time, span) in [(new.at, new.at_in), (new.expires_on, new.expires_in)] {
        match span {
            Some(span) => feed(&span.as_micros().to_le_bytes()),
            None => {
                feed(&[u8::from(time.is_some())]);
                feed(&time.map(Timestamp::as_micros).unwrap_or_default().to_le_bytes());
            }
        }
    }
    feed(&(new.tags.len() as u64).to_le_bytes());
    new.tags.iter().for_each(|tag| feed(tag.as_bytes()));
    feed(&new.max_attempts.unwrap_or_default().to_le_bytes());
    feed(new.version.as_ref().map(VersionName::as_str).unwrap_or_default().as_bytes());
    feed(&new.deadline.unwrap_or_default().as_micros().to_le_bytes());
    feed(&[u8::from(new.auto_delete)]);
    feed(new.parent.unwrap_or_default().0.as_bytes());
    if new.ties != Ties::NONE {
        // The fields in order, as the store writes them.
        feed(&postcard::to_stdvec(&new.ties).unwrap_or_default());
    }
    hash
}
