//! Jobs that were deleted with their end (F024): whoever waits for one still hears how it went.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::domain::id::JobKey;
use crate::domain::job::Job;

/// How many are remembered: those of the last moment.
const REMEMBERED: usize = 1_024;

/// The last jobs that went with their end, latest first.
#[derive(Default)]
pub(super) struct Departed {
    jobs: Mutex<VecDeque<Job>>,
}

impl Departed {
    /// A job goes, and this is its last state. An output that is a blob of its own may go with it.
    pub(super) fn note(&self, job: Job) {
        let mut jobs = self.jobs.lock();
        // Its end may be tried again and again while the disk is full.
        jobs.retain(|earlier| earlier.submission.key() != job.submission.key());
        jobs.truncate(REMEMBERED - 1);
        jobs.push_front(job);
    }

    pub(super) fn find(&self, key: JobKey) -> Option<Job> {
        self.jobs.lock().iter().find(|job| job.submission.key() == key).cloned()
    }
}
