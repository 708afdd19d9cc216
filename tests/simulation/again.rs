//! Jobs in batches, and finished jobs that run again.

use std::sync::Arc;

use backroom::clock::Clock;
use backroom::domain::id::{JobId, TenantId};
use backroom::domain::job::{JobType, Status};
use backroom::jobs::{NewBatch, Rerun};

use crate::tasks::{Note, Task};
use crate::wishes;
use crate::world::{JOBS_MAX, World};

impl World {
    /// Somebody submits some jobs as one.
    pub(crate) fn submit_batch(&mut self) {
        let known: Vec<JobId> = self.ledger.lock().records().map(|(_, record)| record.submission.id).collect();
        let count = 1 + self.draw.index(4);
        if self.submits + count > JOBS_MAX {
            return;
        }
        self.submits += count;
        let now = self.clock.now();
        let members: Vec<_> = (0..count).map(|_| wishes::new_job(&mut self.draw, &known, now).0).collect();
        let new = NewBatch { allowed_failures: self.draw.below(3), ..NewBatch::default() };
        self.note(|_| format!("batch of {count}"));
        let jobs = Arc::clone(&self.host.jobs);
        self.tasks.push(Task::new("submit of a batch", async move {
            match jobs.submit_batch(new, members).await {
                Ok((batch, members)) => Note::Batched(batch.submission.id, members),
                // A dedup key may be taken, a job that it names may be gone, the store may fail.
                Err(_) => Note::Done,
            }
        }));
        self.go_on(self.tasks.len() - 1);
    }

    /// Somebody has a finished job, or the failed ones of a batch, run again.
    pub(crate) fn run_again(&mut self) {
        let finished: Vec<_> = {
            let ledger = self.ledger.lock();
            let finished = ledger.records().filter(|(_, record)| record.state().status.is_final());
            finished.map(|(_, record)| (record.submission.id, record.submission.job_type)).collect()
        };
        if finished.is_empty() || self.submits >= JOBS_MAX {
            return;
        }
        self.submits += 1;
        let (id, job_type) = finished[self.draw.index(finished.len())];
        self.note(|_| format!("{} runs again", id.sequence().0));
        let jobs = Arc::clone(&self.host.jobs);
        let rerun = Rerun::new("somebody");
        self.tasks.push(Task::new(format!("{} runs again", id.sequence().0), async move {
            // It may be deleted meanwhile, its state may not allow it, the store may fail.
            match job_type {
                JobType::BATCH => match jobs.retry_failed(TenantId::DEFAULT, id, rerun).await {
                    Ok((batch, members)) => Note::Batched(batch.submission.id, members),
                    Err(_) => Note::Done,
                },
                _ => match jobs.rerun(TenantId::DEFAULT, id, rerun).await {
                    Ok(job) => Note::Reran(id, job),
                    Err(_) => Note::Done,
                },
            }
        }));
        self.go_on(self.tasks.len() - 1);
    }

    /// A batch and its members were acknowledged together.
    pub(crate) fn batched(&mut self, batch: JobId, members: Vec<JobId>) {
        let mut ledger = self.ledger.lock();
        for job in members.into_iter().chain([batch]) {
            ledger.acknowledge(wishes::key(job), Some(0));
        }
    }

    /// A finished job runs again as a new one that names it.
    pub(crate) fn reran(&mut self, finished: JobId, job: &backroom::domain::job::Job) {
        assert_eq!(job.submission.ties().retry_of, Some(finished));
        assert_ne!(job.state.status, Status::Running);
        let mut ledger = self.ledger.lock();
        ledger.acknowledge(job.submission.key(), Some(job.state.revision));
        ledger.meet("a finished job runs again");
    }
}
