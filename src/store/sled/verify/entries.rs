//! Everything in the index beside blocks of submissions: each entry belongs to something, and says what that says.

use super::Walk;
use super::jobs::name;
use crate::domain::access::Token;
use crate::domain::audit::AuditRow;
use crate::domain::breaker::PluginBreaker;
use crate::domain::change::RememberedSubmit;
use crate::domain::id::{JobKey, Sequence, TenantId};
use crate::domain::job::{Payload, Run};
use crate::domain::plugin::Plugin;
use crate::domain::query::Counts;
use crate::domain::queue::QueueState;
use crate::domain::schedule::Schedule;
use crate::domain::service::ServiceState;
use crate::store::sled::codec::{self, bucket};
use crate::store::sled::index::Role;
use crate::store::sled::keys::{self, ReadyKind};
use crate::store::sled::values::parts_of_entry;

const BAD_KEY: &str = "its key cannot be read";

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
        let Some(run) = self.take(place, codec::decode::<Run>("a run", value)) else { return };
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

    pub(super) fn remembered(&mut self, place: &str, key: &[u8], value: &[u8]) {
        self.report.remembered += 1;
        let submit: Option<RememberedSubmit> = self.take(place, codec::decode("a remembered submit", value));
        let Some(submit) = submit else { return };
        if keys::remembered(submit.tenant, &submit.key) != key {
            self.report.find(place, format!("it says that its key is `{}` of {}", submit.key, submit.tenant));
        }
        self.expect(place, &keys::forget(submit.until, submit.tenant, &submit.key));
    }

    pub(super) fn forget(&mut self, place: &str, key: &[u8]) {
        let Some((until, remembered)) = keys::forgotten(key) else { return self.report.find(place, BAD_KEY) };
        let Some(value) = self.take(place, self.values.get(&remembered)) else { return };
        let submit = value.map(|value| codec::decode::<RememberedSubmit>("a remembered submit", &value));
        // One that cannot be read is a finding of its own.
        if !submit.is_some_and(|submit| submit.is_ok_and(|submit| submit.until == until)) {
            self.report.find(place, "no remembered submit ends then");
        }
    }

    pub(super) fn plugin(&mut self, place: &str, key: &[u8], value: &[u8]) {
        self.report.plugins += 1;
        let Some(plugin) = self.take(place, codec::decode::<Plugin>("a plug-in", value)) else { return };
        if keys::plugin(plugin.tenant, &plugin.name) != key {
            self.report.find(place, format!("it says that it is {} of {}", plugin.name, plugin.tenant));
        }
        for version in &plugin.versions {
            let place = format!("plug-in {} {} of {}", plugin.name, version.version, plugin.tenant);
            self.blob(&place, version.inspection.digest, version.inspection.bytes);
        }
        for named in plugin.active.iter().chain(&plugin.previous) {
            if plugin.version(named).is_none() {
                self.report.find(place, format!("there is no version {named}"));
            }
        }
    }

    pub(super) fn counts(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some(of): Option<(TenantId, _)> = keys::named_of(key) else { return self.report.find(place, BAD_KEY) };
        if let Some(counts) = self.take(place, codec::decode::<Counts>("counts", value)) {
            self.stored.insert(of, counts);
        }
    }

    /// The entry of a dedup key follows from the job that it names.
    pub(super) fn dedup(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some(sequence) = self.take(place, codec::decode::<Sequence>("a sequence", value)) else { return };
        self.secondary(place, key, keys::tenant_of(key).map(|tenant| JobKey { tenant, sequence }));
    }

    /// The job may have been deleted since.
    pub(super) fn broken(&mut self, place: &str, value: &[u8]) {
        self.take(place, codec::decode::<Sequence>("a sequence", value));
    }

    pub(super) fn batch(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some(batch) = keys::job_of(key) else { return self.report.find(place, BAD_KEY) };
        if let Some(counts) = self.take(place, codec::decode::<Counts>("counts", value)) {
            self.stored_of_batches.insert((batch.tenant, batch.sequence), counts);
        }
    }

    pub(super) fn audit(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some((job, revision)) = keys::audit_entry(key) else { return self.report.find(place, BAD_KEY) };
        self.belongs(place, Some(job));
        let Some(row) = self.take(place, codec::decode::<AuditRow>("an audit row", value)) else { return };
        if (row.job, row.revision) != (job, revision) {
            self.report.find(place, format!("it says that it is revision {} of {}", row.revision, name(row.job)));
        }
    }

    pub(super) fn schedule(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some(schedule) = self.take(place, codec::decode::<Schedule>("a schedule", value)) else { return };
        if keys::schedule(schedule.tenant, &schedule.name) != key {
            self.report.find(place, format!("it says that it is {} of {}", schedule.name, schedule.tenant));
        }
        if let Payload::Blob { digest, bytes } = schedule.target.input {
            self.blob(place, digest, bytes);
        }
    }

    pub(super) fn queue(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some(queue) = self.take(place, codec::decode::<QueueState>("the state of a queue", value)) else { return };
        if keys::queue(&queue.name) != key {
            self.report.find(place, format!("it says that it is {}", queue.name));
        }
    }

    pub(super) fn breaker(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some(kept) = self.take(place, codec::decode::<PluginBreaker>("a breaker", value)) else { return };
        if keys::breaker(kept.tenant, &kept.plugin) != key {
            self.report.find(place, format!("it says that it is that of {} of {}", kept.plugin, kept.tenant));
        }
    }

    pub(super) fn token(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some(kept) = self.take(place, codec::decode::<Token>("a token", value)) else { return };
        if keys::token(kept.tenant, &kept.name) != key {
            self.report.find(place, format!("it says that it is {} of {}", kept.name, kept.tenant));
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
        if key == keys::META_SERVICE {
            self.take(place, codec::decode::<ServiceState>("the state of the service", value));
        } else if NUMBERS.contains(&key) {
            self.take(place, codec::decode::<u64>("a number", value));
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
