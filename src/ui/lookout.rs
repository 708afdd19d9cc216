//! Looks for what no index tells: jobs that are held for a person, and what failed last. A look goes on within the budget of
//! a search and says how far it came. It stands for a multiple of the time that it took, so that looking takes a small part of
//! the host however many pages are open.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::Console;
use crate::domain::id::{PluginName, TenantId, TokenName};
use crate::domain::job::{Job, Status, WaitReason};
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::jobs::{Found, Sort};
use crate::store::ReadError;

/// How many held jobs are counted; more are "many".
pub(super) const HELD_COUNTED: usize = 50;

/// How many failed jobs are looked at for the last one of each plug-in.
const FAILED_LOOKED_AT: usize = 200;

/// For how many times the time that it took a look stands.
const STANDS_FOR: u32 = 10;

/// Visitors whose looks are remembered.
const VISITORS_MAX: usize = 64;

/// What a look found.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// How many jobs are held, at most [`HELD_COUNTED`].
    pub(super) held: usize,
    /// When the last job was submitted that was looked at, where there was no time for all.
    pub(super) held_looked_to: Option<Timestamp>,
    /// The last failed job of each plug-in that has one among the last failed ones.
    pub(super) last_failed: BTreeMap<PluginName, Job>,
}

/// The last look for a visitor, and until when it stands.
type Kept = Arc<Mutex<Option<(Instant, Arc<Look>)>>>;

/// The looks of all visitors; those who see all jobs share one.
#[derive(Default)]
pub(super) struct Lookout(Mutex<HashMap<Option<TokenName>, Kept>>);

impl Lookout {
    fn of(&self, visitor: Option<TokenName>) -> Kept {
        let mut looks = self.0.lock();
        if looks.len() >= VISITORS_MAX && !looks.contains_key(&visitor) {
            looks.clear();
        }
        Arc::clone(looks.entry(visitor).or_default())
    }
}

impl Console {
    /// What there is to know now, as far as the visitor may see it. Blocks the calling thread.
    pub(super) fn look(&self) -> Result<Arc<Look>, ReadError> {
        let kept = self.lookout.of(self.caller.name.clone().filter(|_| !self.sees_all()));
        // Whoever comes meanwhile waits for this look instead of taking one of his own.
        let mut kept = kept.lock();
        if let Some((stands_until, look)) = &*kept
            && Instant::now() < *stands_until
        {
            return Ok(Arc::clone(look));
        }
        let began = Instant::now();
        let look = Arc::new(self.look_anew()?);
        *kept = Some((Instant::now() + began.elapsed() * STANDS_FOR, Arc::clone(&look)));
        Ok(look)
    }

    fn look_anew(&self) -> Result<Look, ReadError> {
        let held = JobFilter {
            statuses: vec![Status::Waiting],
            wait_reasons: vec![WaitReason::Error, WaitReason::Manual],
            ..JobFilter::default()
        };
        let held = self.newest(held, HELD_COUNTED)?;
        let failed = JobFilter { statuses: vec![Status::Failed], ..JobFilter::default() };
        let mut last_failed = BTreeMap::new();
        for job in self.newest(failed, FAILED_LOOKED_AT)?.jobs {
            last_failed.entry(job.submission.plugin.clone()).or_insert(job);
        }
        Ok(Look {
            held_looked_to: held.looked_to.filter(|_| held.jobs.len() < HELD_COUNTED),
            held: held.jobs.len(),
            last_failed,
        })
    }

    /// The newest jobs that match and that the visitor may see.
    fn newest(&self, filter: JobFilter, limit: usize) -> Result<Found, ReadError> {
        let Some(filter) = self.visible(filter) else { return Ok(Found::default()) };
        let query = JobQuery { tenant: TenantId::DEFAULT, filter, before: None, limit };
        self.host.jobs.search(&query, Sort::Newest)
    }
}
