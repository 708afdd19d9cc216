//! What callers do with schedules: create, change, steer, run now, fill back. Decisions come from the domain, this reads and
//! commits; the scheduler fires them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Clock;
use crate::domain::change::Change;
use crate::domain::id::{JobId, ScheduleName, TenantId};
use crate::domain::idempotency::{Answered, IdempotencyKey, KeyError};
use crate::domain::job::Job;
use crate::domain::outbound::is_built_in;
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::schedule::{Definition, RuleError, SCHEDULES_MAX, Schedule, ScheduleRefusal};
use crate::domain::time::Timestamp;
use crate::registry::{Registry, Unfit};
use crate::store::{CommitError, Pending, ReadError, Store, payload_bytes, put_payload};
use crate::worker::Identities;

/// How often a command is decided again when the schedule changed between reading and writing.
const ATTEMPTS: usize = 16;

/// How many occurrences one back-fill makes at most.
pub const BACKFILL_MAX: usize = 1_000;

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// There is no such schedule.
    #[error("there is no schedule `{0}`")]
    Unknown(ScheduleName),
    /// There is one of that name already.
    #[error("there is a schedule `{0}` already")]
    Exists(ScheduleName),
    /// There are too many.
    #[error("there are {SCHEDULES_MAX} schedules, and no more are taken")]
    TooMany,
    /// Its rule is not acceptable.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Its state does not allow it.
    #[error(transparent)]
    Refused(#[from] ScheduleRefusal),
    /// The `Idempotency-Key` does not answer it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The plug-in, the handler or the input do not fit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The commands and questions about schedules, as every edge uses them.
pub struct Schedules {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    registry: Arc<Registry>,
    identities: Identities,
}

impl Schedules {
    /// Joins the parts.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, registry: Arc<Registry>, identities: Identities) -> Self {
        Self { store, clock, registry, identities }
    }

    /// Every schedule of a tenant, by name.
    pub fn list(&self, tenant: TenantId) -> Result<Vec<Schedule>, ReadError> {
        Ok(self.store.schedules()?.into_iter().filter(|schedule| schedule.tenant == tenant).collect())
    }

    /// One schedule.
    pub fn get(&self, tenant: TenantId, name: &ScheduleName) -> Result<Schedule, ScheduleError> {
        let found = self.list(tenant)?.into_iter().find(|schedule| schedule.name == *name);
        found.ok_or_else(|| ScheduleError::Unknown(name.clone()))
    }

    /// Makes a schedule, as asked for at `asked_on`: nothing before that fires. What it runs is checked as a submit would be; `input` becomes the input of its jobs.
    pub async fn create(
        &self,
        tenant: TenantId,
        name: ScheduleName,
        definition: Definition,
        input: Bytes,
        by: &str,
        asked_on: Timestamp,
    ) -> Result<Schedule, ScheduleError> {
        self.check_room(tenant, &name)?;
        let definition = self.checked(tenant, definition, input)?;
        let at_once = definition.at_once;
        let schedule = Schedule::new(tenant, name.clone(), definition, Some(by.to_owned()), asked_on)?;
        // What the rule does not yield now is made beside it.
        let (schedule, pending) = match at_once && !schedule.is_due(asked_on) {
            true => {
                let (_, next, pending) = self.make_extra(&schedule, schedule.revision, None);
                (next, pending)
            }
            false => (schedule.clone(), self.store.commit(vec![Change::put(schedule)])),
        };
        if let Err(error) = pending.await {
            // Where somebody else was first, there is one of the name now, or no room any more.
            return Err(self.check_room(tenant, &name).err().unwrap_or(error.into()));
        }
        Ok(schedule)
    }

    /// Whether a schedule of the name can be made. The store looks at that again when it is written.
    fn check_room(&self, tenant: TenantId, name: &ScheduleName) -> Result<(), ScheduleError> {
        let schedules = self.list(tenant)?;
        if schedules.iter().any(|schedule| schedule.name == *name) {
            return Err(ScheduleError::Exists(name.clone()));
        }
        if schedules.len() >= SCHEDULES_MAX { Err(ScheduleError::TooMany) } else { Ok(()) }
    }

    /// Changes what a schedule says, as asked for at `asked_on`; jobs that it has made stay as they are. To say the same again
    /// changes nothing.
    pub async fn edit(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        definition: Definition,
        input: Bytes,
        by: &str,
        asked_on: Timestamp,
    ) -> Result<Schedule, ScheduleError> {
        let definition = self.checked(tenant, definition, input)?;
        self.change(tenant, name, |schedule, _| schedule.edit(definition.clone(), Some(by.to_owned()), asked_on)).await
    }

    /// Makes no jobs until the schedule is resumed.
    pub async fn pause(&self, tenant: TenantId, name: &ScheduleName, by: &str) -> Result<Schedule, ScheduleError> {
        self.change(tenant, name, |schedule, now| schedule.pause(Some(by.to_owned()), now)).await
    }

    /// Goes on with the next occurrence from now; what was missed while it was paused stays undone.
    pub async fn resume(&self, tenant: TenantId, name: &ScheduleName, by: &str) -> Result<Schedule, ScheduleError> {
        self.change(tenant, name, |schedule, now| schedule.resume(Some(by.to_owned()), now)).await
    }

    /// Lets the next occurrence run at another time; later ones keep the rule (F019).
    pub async fn postpone(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        until: Timestamp,
        by: &str,
    ) -> Result<Schedule, ScheduleError> {
        self.change(tenant, name, |schedule, now| schedule.postpone(until, Some(by.to_owned()), now)).await
    }

    /// Removes a schedule; jobs that it has made stay.
    pub async fn remove(&self, tenant: TenantId, name: &ScheduleName) -> Result<(), ScheduleError> {
        let mut conflict = CommitError::Conflict { index: 0 };
        for _ in 0..ATTEMPTS {
            let present = self.get(tenant, name)?;
            match self.store.commit(vec![Change::remove(&present)]).await {
                Err(error @ CommitError::Conflict { .. }) => conflict = error,
                removed => return Ok(removed?),
            }
        }
        Err(conflict.into())
    }

    /// What the first request of a key was answered with; nothing when this is the first.
    fn first_answer(
        &self,
        tenant: TenantId,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Answered<Vec<JobId>>>, ScheduleError> {
        let Some(key) = key else { return Ok(None) };
        let first = key.first(self.store.remembered(tenant, key.kept())?, self.clock.now())?;
        Ok(first.map(|first| Answered::again(first.jobs)))
    }

    /// Makes a job beside the rule. With a key, a repeated call returns the job of the first.
    pub async fn run_now(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        key: Option<&IdempotencyKey>,
    ) -> Result<Answered<JobId>, ScheduleError> {
        let mut conflict = CommitError::Conflict { index: 0 };
        for _ in 0..ATTEMPTS {
            if let Some(first) = self.first_answer(tenant, key)? {
                return Ok(Answered::again(first.made.first().copied().unwrap_or_default()));
            }
            let schedule = self.get(tenant, name)?;
            let (id, _, pending) = self.make_extra(&schedule, schedule.revision.saturating_add(1), key);
            match pending.await {
                Err(error @ CommitError::Conflict { .. }) => conflict = error,
                written => return Ok(written.map(|()| Answered::anew(id))?),
            }
        }
        Err(conflict.into())
    }

    /// A job beside the rule and the schedule after it, in this revision, on their way to the store.
    fn make_extra(
        &self,
        schedule: &Schedule,
        revision: u32,
        key: Option<&IdempotencyKey>,
    ) -> (JobId, Schedule, Pending) {
        let now = self.clock.now();
        let (scheduled_for, next) = schedule.run_now(now);
        let _turn = self.identities.turn();
        let id = self.identities.next(now);
        let next = Schedule { revision, last_job: Some(id), ..next };
        let job = Change::Submit(Arc::new(next.job(id, scheduled_for, false, now)), Box::default());
        let mut changes = vec![job, Change::put(next.clone())];
        changes.extend(key.map(|key| key.remember(next.tenant, vec![id], None, now)));
        (id, next, self.store.commit(changes))
    }

    /// The oldest job of a schedule that has not ended: what its next occurrence meets.
    pub fn job_in_the_way(&self, schedule: &Schedule) -> Result<Option<JobId>, ReadError> {
        let first = self.store.unfinished_of(schedule.tenant, &schedule.name, 1)?.into_iter().next();
        let job = first.map(|key| self.store.job(key)).transpose()?.flatten();
        Ok(job.map(|job| job.submission.id))
    }

    /// Makes the jobs of the occurrences from `from` to before `to` which the schedule has no job of yet, one after another.
    /// Returns them, oldest first. Occurrences that are still to come are left to the schedule itself, or they would run twice;
    /// those whose jobs may be gone are made `again` only when that is said. With a key, a repeated call returns the jobs of the
    /// first.
    pub async fn backfill(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        (from, to): (Timestamp, Timestamp),
        again: bool,
        key: Option<&IdempotencyKey>,
    ) -> Result<Answered<Vec<JobId>>, ScheduleError> {
        let mut conflict = CommitError::Conflict { index: 0 };
        for _ in 0..ATTEMPTS {
            if let Some(first) = self.first_answer(tenant, key)? {
                return Ok(first);
            }
            let schedule = self.get(tenant, name)?;
            let (there, made) = self.occurrences(&schedule)?;
            let now = self.clock.now();
            if !again {
                let retention = self.registry.policy(tenant, &schedule.target.plugin).retention;
                schedule.check_remembered(from, made, retention.keeps_from(now))?;
            }
            let times = schedule.backfill(from, to.min(schedule.undecided_from(now)), BACKFILL_MAX)?;
            let missing: Vec<_> = times.into_iter().filter(|time| !there.contains(time)).collect();
            let (ids, pending) = self.number_and_commit(schedule, missing, now, key);
            match pending.await {
                Err(error @ CommitError::Conflict { .. }) => conflict = error,
                written => return Ok(written.map(|()| Answered::anew(ids))?),
            }
        }
        Err(conflict.into())
    }

    /// Jobs for the occurrences `missing`, one after another, on their way to the store.
    fn number_and_commit(
        &self,
        schedule: Schedule,
        missing: Vec<Timestamp>,
        now: Timestamp,
        key: Option<&IdempotencyKey>,
    ) -> (Vec<JobId>, Pending) {
        let _turn = self.identities.turn();
        let mut ids = Vec::with_capacity(missing.len());
        let mut changes = Vec::with_capacity(missing.len() + 1);
        for scheduled_for in missing {
            let id = self.identities.next(now);
            changes.push(Change::Submit(Arc::new(schedule.job(id, scheduled_for, true, now)), Box::default()));
            ids.push(id);
        }
        changes.extend(key.map(|key| key.remember(schedule.tenant, ids.clone(), None, now)));
        // The schedule's revision guards against another back-fill at the same time.
        let revision = schedule.revision.saturating_add(1);
        let fired = schedule.fired.saturating_add(ids.len() as u64);
        changes.push(Change::put(Schedule { revision, fired, ..schedule }));
        (ids, self.store.commit(changes))
    }

    /// The occurrences that the schedule has jobs of, and how many of these jobs it has made itself: there may be some of an
    /// earlier one of its name.
    fn occurrences(&self, schedule: &Schedule) -> Result<(BTreeSet<Timestamp>, u64), ReadError> {
        let filter = JobFilter { schedule: Some(schedule.name.clone()), ..JobFilter::default() };
        let mut query = JobQuery { tenant: schedule.tenant, filter, before: None, limit: 1_000 };
        let (mut times, mut made) = (BTreeSet::new(), 0);
        loop {
            let page = self.store.jobs(&query)?;
            let is_own = |job: &&Job| job.submission.created_on >= schedule.created_on;
            made += page.jobs.iter().filter(is_own).count() as u64;
            let occurrences = page.jobs.iter().filter_map(|job| job.submission.ties().occurrence.as_ref());
            times.extend(occurrences.map(|occurrence| occurrence.scheduled_for));
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok((times, made)),
            }
        }
    }

    /// The input that the jobs of a schedule are given.
    pub fn input(&self, schedule: &Schedule) -> Result<Bytes, ReadError> {
        payload_bytes(&*self.store, &schedule.target.input)
    }

    /// The present time, as the host sees it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A definition whose target names its handler and holds its input.
    fn checked(&self, tenant: TenantId, definition: Definition, input: Bytes) -> Result<Definition, ScheduleError> {
        let mut definition = definition;
        let target = &mut definition.target;
        let (version, handler) = (target.version.as_ref(), target.handler.as_ref());
        let handler = self.registry.check_fit(tenant, &target.plugin, version, handler, input.len() as u64)?;
        for (field, is_given) in [("args", !target.args.is_empty()), ("env", !target.env.is_empty())] {
            if is_given {
                self.registry.check_command(tenant, &target.plugin, version, field)?;
            }
        }
        if is_built_in(&target.plugin) {
            self.registry.check_call(tenant, &input)?;
        }
        target.handler = Some(handler);
        self.store.check_room()?;
        target.input = put_payload(&*self.store, input)?;
        Ok(definition)
    }

    async fn change(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        decide: impl Fn(&Schedule, Timestamp) -> Result<Schedule, ScheduleRefusal>,
    ) -> Result<Schedule, ScheduleError> {
        let mut conflict = CommitError::Conflict { index: 0 };
        for _ in 0..ATTEMPTS {
            let schedule = self.get(tenant, name)?;
            let next = decide(&schedule, self.clock.now())?;
            if next == schedule {
                return Ok(next);
            }
            match self.put(&next).await {
                Err(error @ CommitError::Conflict { .. }) => conflict = error,
                written => return Ok(written.map(|()| next)?),
            }
        }
        Err(conflict.into())
    }

    async fn put(&self, schedule: &Schedule) -> Result<(), CommitError> {
        self.store.commit(vec![Change::put(schedule.clone())]).await
    }
}
