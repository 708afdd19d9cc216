//! Releases jobs that waited for a plug-in which is there by now (T62). The host owes that to them, whoever has brought the
//! plug-in and whatever has become of his request; so it is done here, a portion at a time, and tried until it is written.

use super::{Advanced, Scheduler};
use crate::domain::id::{PluginName, TenantId};
use crate::domain::job::{Event, Status, WaitReason};
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::store::ReadError;

/// How many held jobs one tick releases.
const RELEASE_BATCH: usize = 256;

/// What one tick has released.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Released {
    pub(super) advanced: Advanced,
    /// Whether there may be more.
    pub(super) more: bool,
}

impl Scheduler {
    /// Releases the next portion of the jobs whose plug-in has come. Those whose release could not be written are loaded again
    /// like any other job, and so are those that begin to wait meanwhile.
    pub(super) fn release(&self, now: Timestamp) -> Result<Released, ReadError> {
        let mut releasing = self.releasing.lock();
        let returned = || self.registry.take_returned().map(|(tenant, plugin)| held_for(tenant, plugin));
        let Some(query) = releasing.take().or_else(returned) else { return Ok(Released::default()) };
        let query = releasing.insert(query);
        if self.under_way.lock().len() >= RELEASE_BATCH {
            return Ok(Released { more: true, ..Released::default() });
        }
        let page = self.store.jobs(query)?;
        let held = page.jobs.into_iter().filter(|job| self.registry.is_held_in_vain(job));
        let advanced = self.advance_all(held, &Event::ComponentAvailable, now);
        match page.next {
            Some(next) => query.before = Some(next),
            None => *releasing = self.registry.take_returned().map(|(tenant, plugin)| held_for(tenant, plugin)),
        }
        Ok(Released { advanced, more: releasing.is_some() })
    }
}

/// The jobs that wait for a plug-in.
fn held_for(tenant: TenantId, plugin: PluginName) -> JobQuery {
    let filter = JobFilter {
        statuses: vec![Status::Waiting],
        wait_reasons: vec![WaitReason::MissingComponent],
        plugin: Some(plugin),
        ..JobFilter::default()
    };
    JobQuery { tenant, filter, before: None, limit: RELEASE_BATCH }
}
