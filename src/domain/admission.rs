//! What may start now: the limits, pauses and breakers of queues and plug-ins (`runnable(job)`, domain.md 3.2). Whoever
//! starts jobs tells this of every start and every end.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::breaker::{self, Breaker, BreakerPolicy, PluginBreaker};
use super::id::{ConcurrencyKey, PluginName, QueueName, TenantId};
use super::queue::{Lane, Pause};
use super::rate::{Bucket, RateLimit};
use super::time::Timestamp;

/// What an operator allows a queue or a plug-in at a time and over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartLimits {
    /// Runs at a time; as many as the host has slots when absent.
    pub concurrency: Option<u32>,
    /// Starts over time.
    pub rate: Option<RateLimit>,
}

/// A named queue as the operator has set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Its share of starts while other queues wait, too.
    pub weight: u32,
    /// What may start.
    pub limits: StartLimits,
}

/// Why nothing of a lane starts now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The queue is paused.
    QueuePaused(Arc<Pause>),
    /// The plug-in is paused.
    PluginPaused(Arc<Pause>),
    /// So many jobs of the queue run, and no more may.
    QueueFull(u32),
    /// So many jobs of the plug-in run, and no more may.
    PluginFull(u32),
    /// The queue has used up its starts until then.
    QueueRate(RateLimit, Timestamp),
    /// The plug-in has used up its starts until then.
    PluginRate(RateLimit, Timestamp),
    /// So many jobs of the plug-in with this concurrency key run, and no more may.
    KeyFull(ConcurrencyKey, u32),
    /// The plug-in keeps failing: one job probes it then, unless one does already and ends well before.
    BreakerOpen(Timestamp),
}

impl Hold {
    /// Whether it holds at a later time, too, if nobody does anything meanwhile. Others make room at any time.
    pub fn lasts_until(&self, time: Timestamp) -> bool {
        match self {
            Self::QueuePaused(pause) | Self::PluginPaused(pause) => pause.holds(time),
            Self::BreakerOpen(until) => *until > time,
            Self::QueueRate(..)
            | Self::PluginRate(..)
            | Self::QueueFull(_)
            | Self::PluginFull(_)
            | Self::KeyFull(..) => false,
        }
    }

    /// When it ends by the passing of time alone.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::QueueRate(_, until) | Self::PluginRate(_, until) | Self::BreakerOpen(until) => Some(*until),
            Self::QueuePaused(pause) | Self::PluginPaused(pause) => pause.until,
            Self::QueueFull(_) | Self::PluginFull(_) | Self::KeyFull(..) => None,
        }
    }
}

/// How a run ended, as far as the breaker of its plug-in is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The plug-in did its work.
    Succeeded,
    /// The plug-in failed.
    Failed,
    /// It says nothing about the plug-in: canceled, released, throttled, refused as business.
    None,
}

#[derive(Clone, Debug, Default)]
struct Gate {
    limits: StartLimits,
    running: u32,
    bucket: Bucket,
    pause: Option<Arc<Pause>>,
}

impl Gate {
    fn pause(&self, now: Timestamp) -> Option<&Arc<Pause>> {
        self.pause.as_ref().filter(|pause| pause.holds(now))
    }

    fn is_full(&self) -> Option<u32> {
        self.limits.concurrency.filter(|limit| self.running >= *limit)
    }

    fn spent(&self, now: Timestamp) -> Option<(RateLimit, Timestamp)> {
        let rate = self.limits.rate.as_ref()?;
        self.bucket.next(rate, now).err().map(|until| (*rate, until))
    }

    fn start(&mut self, now: Timestamp) {
        self.running += 1;
        if let Some(rate) = &self.limits.rate {
            self.bucket.take(rate, now);
        }
    }

    fn end(&mut self, has_run: bool, started_on: Timestamp) {
        self.running = self.running.saturating_sub(1);
        if let Some(rate) = self.limits.rate.as_ref().filter(|_| !has_run) {
            self.bucket.untake(rate, started_on);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct PluginGate {
    gate: Gate,
    breaker: Breaker,
}

/// What the operator allows, by name.
#[derive(Clone, Debug, Default)]
pub struct AdmissionPolicy {
    /// Of each queue; one that is not here has no limits.
    pub queues: BTreeMap<QueueName, QueuePolicy>,
    /// Of each plug-in that has limits.
    pub plugins: BTreeMap<PluginName, StartLimits>,
    /// How many jobs with the same concurrency key run at a time, of each plug-in where that is not one.
    pub per_key: BTreeMap<PluginName, u32>,
    /// When a plug-in that keeps failing is slowed down; none never does.
    pub breaker: Option<BreakerPolicy>,
}

/// The gates of all queues and plug-ins.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    policy: AdmissionPolicy,
    queues: BTreeMap<QueueName, Gate>,
    plugins: BTreeMap<(TenantId, PluginName), PluginGate>,
    /// The plug-ins whose breakers have opened or closed since [`Admission::take_turned`].
    turned: BTreeSet<(TenantId, PluginName)>,
    /// How many jobs run of each concurrency key that has any, by [`Lane::in_any_queue`].
    keys: BTreeMap<Lane, u32>,
}

impl Admission {
    /// Gates through which nothing has gone yet.
    pub fn new(policy: AdmissionPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// The queues that a job may be submitted to: those that the operator has named, and the default one. By name.
    pub fn queues(&self) -> Vec<QueueName> {
        let mut names: Vec<_> = self.policy.queues.keys().cloned().collect();
        names.push(QueueName::default_queue());
        names.sort();
        names.dedup();
        names
    }

    /// How the operator has set a queue; none when he has not.
    pub fn queue_policy(&self, queue: &QueueName) -> Option<&QueuePolicy> {
        self.policy.queues.get(queue)
    }

    /// The share of a queue.
    pub fn weight(&self, queue: &QueueName) -> u32 {
        self.policy.queues.get(queue).map_or(1, |queue| queue.weight)
    }

    /// Why nothing of a lane may start at `now`, whatever its key; none when it may.
    pub fn hold(&self, lane: &Lane, now: Timestamp) -> Option<Hold> {
        let queue = self.queues.get(&lane.queue);
        let plugin = self.plugins.get(&(lane.tenant, lane.plugin.clone()));
        if let Some(pause) = queue.and_then(|gate| gate.pause(now)) {
            return Some(Hold::QueuePaused(Arc::clone(pause)));
        }
        if let Some(pause) = plugin.and_then(|plugin| plugin.gate.pause(now)) {
            return Some(Hold::PluginPaused(Arc::clone(pause)));
        }
        if let (Some(policy), Some(plugin)) = (&self.policy.breaker, plugin)
            && let breaker::Admission::Refused { until } = plugin.breaker.may_start(policy, now)
        {
            return Some(Hold::BreakerOpen(until));
        }
        let full = queue.and_then(Gate::is_full).map(Hold::QueueFull);
        let full = full.or_else(|| plugin.and_then(|plugin| plugin.gate.is_full()).map(Hold::PluginFull));
        let spent = || queue.and_then(|gate| gate.spent(now)).map(|(rate, until)| Hold::QueueRate(rate, until));
        let plugin_spent = || {
            let spent = plugin.and_then(|plugin| plugin.gate.spent(now));
            spent.map(|(rate, until)| Hold::PluginRate(rate, until))
        };
        full.or_else(spent).or_else(plugin_spent)
    }

    /// Whether so many jobs of the lane's concurrency key run that no more may, whatever their queues.
    pub fn is_key_full(&self, lane: &Lane) -> bool {
        lane.key.is_some() && self.running_of_key(lane) >= self.per_key(lane)
    }

    fn running_of_key(&self, lane: &Lane) -> u32 {
        self.keys.get(&lane.in_any_queue()).copied().unwrap_or(0)
    }

    fn per_key(&self, lane: &Lane) -> u32 {
        self.policy.per_key.get(&lane.plugin).copied().unwrap_or(1)
    }

    /// Everything that keeps a lane from starting at `now`, for people: [`Admission::hold`] stops at the first.
    pub fn holds(&self, lane: &Lane, now: Timestamp) -> Vec<Hold> {
        let queue = self.queues.get(&lane.queue);
        let plugin = self.plugins.get(&(lane.tenant, lane.plugin.clone()));
        let gate = plugin.map(|plugin| &plugin.gate);
        let breaker =
            self.policy.breaker.as_ref().zip(plugin).map(|(policy, plugin)| plugin.breaker.may_start(policy, now));
        let opens_on = match breaker {
            Some(breaker::Admission::Refused { until }) => Some(until),
            _ => None,
        };
        let holds = [
            queue.and_then(|gate| gate.pause(now)).map(|pause| Hold::QueuePaused(Arc::clone(pause))),
            gate.and_then(|gate| gate.pause(now)).map(|pause| Hold::PluginPaused(Arc::clone(pause))),
            opens_on.map(Hold::BreakerOpen),
            queue.and_then(Gate::is_full).map(Hold::QueueFull),
            gate.and_then(Gate::is_full).map(Hold::PluginFull),
            lane.key.clone().filter(|_| self.is_key_full(lane)).map(|key| Hold::KeyFull(key, self.per_key(lane))),
            queue.and_then(|gate| gate.spent(now)).map(|(rate, until)| Hold::QueueRate(rate, until)),
            gate.and_then(|gate| gate.spent(now)).map(|(rate, until)| Hold::PluginRate(rate, until)),
        ];
        holds.into_iter().flatten().collect()
    }

    /// The pause of a queue, if there is one now.
    pub fn queue_pause(&self, queue: &QueueName, now: Timestamp) -> Option<Arc<Pause>> {
        self.queues.get(queue).and_then(|gate| gate.pause(now)).cloned()
    }

    /// Whether the queue or the plug-in of a lane is paused.
    pub fn is_paused(&self, lane: &Lane, now: Timestamp) -> bool {
        let plugin = self.plugins.get(&(lane.tenant, lane.plugin.clone()));
        let gates = [self.queues.get(&lane.queue), plugin.map(|plugin| &plugin.gate)];
        gates.into_iter().flatten().any(|gate| gate.pause(now).is_some())
    }

    /// How many jobs of a queue run.
    pub fn running_in(&self, queue: &QueueName) -> u32 {
        self.queues.get(queue).map_or(0, |gate| gate.running)
    }

    /// A job of a lane starts.
    pub fn start(&mut self, lane: &Lane, now: Timestamp) {
        if lane.key.is_some() {
            *self.keys.entry(lane.in_any_queue()).or_default() += 1;
        }
        self.queue(&lane.queue).start(now);
        let breaker = self.policy.breaker.clone();
        let plugin = self.plugin(lane.tenant, &lane.plugin);
        plugin.gate.start(now);
        if let Some(policy) = &breaker {
            plugin.breaker.started(policy, now);
        }
    }

    /// A job of a lane that started at `started_on` has ended its run, with what that says; or it did not run after all, and
    /// gives its start back where no later one may owe itself to it.
    pub fn end(&mut self, lane: &Lane, verdict: Option<Verdict>, started_on: Timestamp, now: Timestamp) {
        if lane.key.is_some() {
            self.free_key(lane.in_any_queue());
        }
        self.queue(&lane.queue).end(verdict.is_some(), started_on);
        self.plugin(lane.tenant, &lane.plugin).gate.end(verdict.is_some(), started_on);
        let Some(policy) = self.policy.breaker.clone() else { return };
        self.turn_breaker(lane.tenant, &lane.plugin, |breaker| match verdict {
            Some(Verdict::Succeeded) => breaker.ended(&policy, true, started_on, now),
            Some(Verdict::Failed) => breaker.ended(&policy, false, started_on, now),
            Some(Verdict::None) | None => breaker.abandoned(started_on),
        });
    }

    /// A person has seen to a plug-in: what failed may have been mended, so it is given a new chance. The store knows.
    pub fn forgive(&mut self, tenant: TenantId, plugin: &PluginName) {
        let name = (tenant, plugin.clone());
        if let Some(plugin) = self.plugins.get_mut(&name).filter(|plugin| plugin.breaker.is_degraded()) {
            plugin.breaker = Breaker::default();
            self.turned.remove(&name);
        }
    }

    /// Takes over a breaker that an earlier host of the store has left behind. Where plug-ins are not slowed down any more,
    /// the store is to forget it.
    pub fn take_over(&mut self, PluginBreaker { tenant, plugin, breaker }: PluginBreaker) {
        match self.policy.breaker {
            Some(_) => self.plugin(tenant, &plugin).breaker = breaker.left_behind(),
            None => drop(self.turned.insert((tenant, plugin))),
        }
    }

    /// The breakers that have opened or closed since the last call.
    pub fn take_turned(&mut self) -> Vec<PluginBreaker> {
        let turned = std::mem::take(&mut self.turned).into_iter();
        let now = |(tenant, plugin)| PluginBreaker {
            breaker: self.breaker(tenant, &plugin).cloned().unwrap_or_default(),
            tenant,
            plugin,
        };
        turned.map(now).collect()
    }

    /// Whether there are any for [`Self::take_turned`].
    pub fn has_turned(&self) -> bool {
        !self.turned.is_empty()
    }

    fn turn_breaker(&mut self, tenant: TenantId, plugin: &PluginName, turn: impl FnOnce(&mut Breaker)) {
        let breaker = &mut self.plugin(tenant, plugin).breaker;
        let before = breaker.clone();
        turn(breaker);
        if breaker.differs_from(&before) {
            self.turned.insert((tenant, plugin.clone()));
        }
    }

    /// A queue is paused, or goes on.
    pub fn pause_queue(&mut self, queue: &QueueName, pause: Option<Pause>) {
        self.queue(queue).pause = pause.map(Arc::new);
    }

    /// A plug-in is paused, or goes on.
    pub fn pause_plugin(&mut self, tenant: TenantId, plugin: &PluginName, pause: Option<Pause>) {
        self.plugin(tenant, plugin).gate.pause = pause.map(Arc::new);
    }

    /// The breaker of a plug-in.
    pub fn breaker(&self, tenant: TenantId, plugin: &PluginName) -> Option<&Breaker> {
        self.plugins.get(&(tenant, plugin.clone())).map(|plugin| &plugin.breaker)
    }

    /// The plug-ins whose breakers are not closed, by tenant and name.
    pub fn degraded(&self) -> Vec<(TenantId, PluginName)> {
        let degraded = self.plugins.iter().filter(|(_, plugin)| plugin.breaker.is_degraded());
        degraded.map(|(name, _)| name.clone()).collect()
    }

    fn free_key(&mut self, key: Lane) {
        if let Entry::Occupied(mut running) = self.keys.entry(key) {
            *running.get_mut() -= 1;
            if *running.get() == 0 {
                running.remove();
            }
        }
    }

    fn queue(&mut self, name: &QueueName) -> &mut Gate {
        let limits = || self.policy.queues.get(name).map(|queue| queue.limits.clone()).unwrap_or_default();
        self.queues.entry(name.clone()).or_insert_with(|| Gate { limits: limits(), ..Gate::default() })
    }

    fn plugin(&mut self, tenant: TenantId, name: &PluginName) -> &mut PluginGate {
        let limits = || self.policy.plugins.get(name).cloned().unwrap_or_default();
        let gate = || Gate { limits: limits(), ..Gate::default() };
        self.plugins
            .entry((tenant, name.clone()))
            .or_insert_with(|| PluginGate { gate: gate(), breaker: Breaker::default() })
    }
}
