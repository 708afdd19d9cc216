//! Everything in the index beside blocks of submissions: each entry belongs to something, and says what that says.

use super::Walk;
use super::jobs::name;
use crate::domain::id::{JobKey, Sequence, TenantId};
use crate::domain::job::Run;
use crate::domain::query::Counts;
use crate::store::sled::codec::{self, bucket};
use crate::store::sled::index::Role;
use crate::store::sled::keys::{self, ReadyKind};
use crate::store::sled::values::parts_of_entry;

pub(super) const BAD_KEY: &str = "its key cannot be read";

impl Walk<'_> {
    /// A record of a job belongs to a job that exists.
    pub(super) fn belongs(&mut self, place: &str, job: Option<JobKey>) {
        match job {
            None => self.report.find(place, BAD_KEY),
            Some(job) if !self.exists(job) => self.report.find(place, format!("there is no {}", name(job))),
            Some(_) => {}
        }
    }

    /// An entry that must follow from a job.
    pub(super) fn secondary(&mut self, place: &str, key: &[u8], job: Option<JobKey>) {
        let Some(job) = job else { return self.report.find(place, BAD_KEY) };
        let follows = self.held(job).is_some_and(|held| held.secondary().iter().any(|entry| entry == key));
        if !follows {
            self.report.find(place, format!("it does not follow from {}", name(job)));
        }
    }

    pub(super) fn ready(&mut self, place: &str, key: &[u8]) {
        match keys::ready_entry(key) {
            Some(entry) if entry.kind == ReadyKind::Block => {
                if !self.is_fresh_block(entry.job, key) {
                    self.report.find(place, format!("no new job is in the block of {}", name(entry.job)));
                }
            }
            entry => self.secondary(place, key, entry.map(|entry| entry.job)),
        }
    }

    pub(super) fn run(&mut self, place: &str, key: &[u8], value: &[u8]) {
        self.report.runs += 1;
        let Some((job, number)) = keys::run_entry(key) else { return self.report.find(place, BAD_KEY) };
        self.belongs(place, Some(job));
        let Some(run) = self.take(place, codec::decode::<Run>(value)) else { return };
        if run.number != number {
            self.report.find(place, format!("it says that it is run {}", run.number));
        }
        if let Some(log) = &run.log {
            self.payload(place, job, log, Role::Result);
        }
    }

    pub(super) fn bucket(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some(bucket) = keys::job_of(key) else { return self.report.find(place, BAD_KEY) };
        let Some(value) = self.take(place, bucket::of_any_version(value.to_vec())) else { return };
        let Some(entries) = self.take(place, bucket::read(&value)) else { return };
        for (offset, entry) in entries {
            let sequence = Sequence(bucket.sequence.0 * keys::BUCKET_JOBS + u64::from(offset));
            let job = JobKey { tenant: bucket.tenant, sequence };
            match entry {
                _ if u64::from(offset) >= keys::BUCKET_JOBS => {
                    self.report.find(place, format!("it has a job {offset}"))
                }
                bucket::Entry::Ended(_) | bucket::Entry::Elsewhere => self.belongs(place, Some(job)),
                bucket::Entry::Gone => {}
            }
        }
    }

    pub(super) fn counts(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some(of): Option<(TenantId, _)> = keys::named_of(key) else { return self.report.find(place, BAD_KEY) };
        if let Some(counts) = self.take(place, codec::decode::<Counts>(value)) {
            self.stored.insert(of, counts);
        }
    }

    /// The entry of a dedup key follows from the job that it names.
    pub(super) fn dedup(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some(sequence) = self.take(place, codec::decode::<Sequence>(value)) else { return };
        self.secondary(place, key, keys::tenant_of(key).map(|tenant| JobKey { tenant, sequence }));
    }

    pub(super) fn batch(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some(batch) = keys::job_of(key) else { return self.report.find(place, BAD_KEY) };
        if let Some(counts) = self.take(place, codec::decode::<Counts>(value)) {
            self.stored_of_batches.insert((batch.tenant, batch.sequence), counts);
        }
    }

    /// That a job names a blob keeps the blob. A name may outlast what it stood for, as long as the job is there.
    pub(super) fn blob_name(&mut self, place: &str, key: &[u8]) {
        match keys::blob_entry(key) {
            None => self.report.find(place, BAD_KEY),
            Some((_, job)) if !self.exists(job) => self.report.leftovers += 1,
            Some(_) => {}
        }
    }

    pub(super) fn number(&mut self, place: &str, key: &[u8], value: &[u8]) {
        const NUMBERS: [&[u8]; 5] =
            [keys::META_LSN, keys::META_CHECKPOINT, keys::META_FORMAT, keys::META_SEQUENCE, keys::META_HOST];
        if NUMBERS.contains(&key) {
            self.take(place, codec::decode::<u64>(value));
        } else {
            self.report.find(place, "this version does not know such entries");
        }
    }

    /// A part belongs to a value; one behind the end of its value is left over from a longer one.
    pub(super) fn part(&mut self, key: &[u8]) {
        let Some((of, number)) = keys::part_entry(key) else {
            return self.report.find(super::place(key), BAD_KEY);
        };
        if let Some(entry) = self.take(&super::place(key), self.values.entry(of)) {
            let parts = entry.map_or(0, |entry| parts_of_entry(&entry));
            self.report.leftovers += u64::from(number >= parts);
        }
    }
}
