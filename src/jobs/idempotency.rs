//! Requests that come again: by what the same submit is known, and what the first one has made.

use super::{Jobs, NewJob, SubmitError};
use crate::domain::change::RememberedSubmit;
use crate::domain::id::{HandlerName, JobId, TenantId, VersionName};
use crate::domain::idempotency::{IdempotencyKey, RequestHash, key_of_end};
use crate::domain::job::{Job, Ties};
use crate::domain::time::Timestamp;
use crate::store::ReadError;

impl Jobs {
    /// What the first request of a key was answered with; nothing when this is the first.
    pub(super) fn first_answer(
        &self,
        tenant: TenantId,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<RememberedSubmit>, SubmitError> {
        let Some(key) = key else { return Ok(None) };
        Ok(key.first(self.store.remembered(tenant, key.kept())?, self.clock.now())?)
    }

    /// A job that a key stands for: as it is, or as it ended where it went with its end.
    pub(super) fn job_of(&self, tenant: TenantId, key: &IdempotencyKey, id: JobId) -> Result<Job, SubmitError> {
        let there = self.get(tenant, id)?;
        let found = there.map_or_else(|| self.end_of(tenant, id), |job| Ok(Some(job)))?;
        found.ok_or_else(|| key.of_deleted(id).into())
    }

    /// How a job ended that was deleted with its end, where that is kept.
    fn end_of(&self, tenant: TenantId, id: JobId) -> Result<Option<Job>, ReadError> {
        let kept = self.store.remembered(tenant, &key_of_end(id))?.filter(|kept| kept.until > self.clock.now());
        Ok(kept.and_then(|kept| kept.end).map(|end| *end))
    }
}

impl NewJob {
    /// What the caller asks for: the same said again is the same submit.
    pub(super) fn asked(&self) -> RequestHash {
        let mut asked = RequestHash::of("a job")
            .with(self.plugin.as_str())
            .with(self.handler.as_ref().map(HandlerName::as_str).unwrap_or_default())
            .with(&self.input)
            .with(self.name.as_deref().unwrap_or_default())
            .with((self.args.len() as u64).to_le_bytes());
        asked = self.args.iter().fold(asked, RequestHash::with);
        asked = asked.with((self.env.len() as u64).to_le_bytes());
        asked = self.env.iter().fold(asked, |asked, (name, value)| asked.with(name).with(value));
        asked = asked.with(self.queue.as_str()).with(self.priority.to_le_bytes());
        for (time, span) in [(self.at, self.at_in), (self.expires_on, self.expires_in)] {
            asked = match span {
                Some(span) => asked.with(span.as_micros().to_le_bytes()),
                None => asked
                    .with([u8::from(time.is_some())])
                    .with(time.map(Timestamp::as_micros).unwrap_or_default().to_le_bytes()),
            };
        }
        asked = asked.with((self.tags.len() as u64).to_le_bytes());
        asked = self.tags.iter().fold(asked, RequestHash::with);
        asked = asked
            .with(self.max_attempts.unwrap_or_default().to_le_bytes())
            .with(self.version.as_ref().map(VersionName::as_str).unwrap_or_default())
            .with(self.deadline.unwrap_or_default().as_micros().to_le_bytes())
            .with([u8::from(self.auto_delete)])
            .with(self.parent.unwrap_or_default().0.as_bytes());
        match self.ties == Ties::NONE {
            true => asked,
            // The fields in order, as the store writes them.
            false => asked.with(postcard::to_stdvec(&self.ties).unwrap_or_default()),
        }
    }

    /// What a request for many jobs asks for.
    pub fn all_asked(kind: RequestHash, news: &[Self]) -> RequestHash {
        news.iter().fold(kind, |asked, new| asked.with(new.asked().to_le_bytes()))
    }
}
