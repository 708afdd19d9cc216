//! How many jobs stand where, for whoever asks: only those that he may see.

use std::collections::BTreeMap;

use super::{Jobs, Sort};
use crate::domain::access::{Caller, Reach, Right};
use crate::domain::id::{PluginName, TenantId};
use crate::domain::query::{Counts, JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::store::ReadError;

/// How many of his own jobs are counted for somebody, the newest of them: no store keeps their numbers.
const OWN_COUNTED: usize = 1_000;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there are of each plug-in.
    pub by_plugin: Vec<(PluginName, Counts)>,
    /// When the last job was submitted that was counted; none when all were.
    pub counted_to: Option<Timestamp>,
}

impl Tally {
    /// All of them.
    pub fn total(&self) -> Counts {
        self.by_plugin.iter().fold(Counts::default(), |total, (_, counts)| total.plus(counts))
    }

    /// Those of a plug-in.
    pub fn of(&self, plugin: &PluginName) -> Counts {
        let found = self.by_plugin.iter().find(|(name, _)| name == plugin);
        found.map(|(_, counts)| *counts).unwrap_or_default()
    }
}

impl Jobs {
    /// Counts the jobs that a caller may see. Blocks the calling thread.
    pub fn tally(&self, tenant: TenantId, caller: &Caller) -> Result<Tally, ReadError> {
        if caller.rights.reach(Right::Read) == Reach::All {
            return Ok(Tally { by_plugin: self.counts(tenant)?, counted_to: None });
        }
        let Some(filter) = caller.narrow(Right::Read, JobFilter::default()) else { return Ok(Tally::default()) };
        let query = JobQuery { tenant, filter, before: None, limit: OWN_COUNTED };
        let found = self.search(&query, Sort::Newest)?;
        let mut by_plugin: BTreeMap<&PluginName, Counts> = BTreeMap::new();
        for job in &found.jobs {
            by_plugin.entry(&job.submission.plugin).or_default().add(job.state.status);
        }
        let by_plugin = by_plugin.into_iter().map(|(name, counts)| (name.clone(), counts)).collect();
        Ok(Tally { by_plugin, counted_to: found.looked_to })
    }
}
