//! The circuit breaker: a plug-in that keeps failing is started less and less often, until it succeeds again
//! (domain.md 4.4, F039).
//!
//! Closed, it lets every attempt through and remembers how the last ones ended. When too many of them failed it opens:
//! nothing starts for a pause. Then it is half-open: one attempt, the probe, may start. A success closes the breaker, a
//! failed probe opens it again for twice as long.
//!
//! Attempts that started before the breaker opened may end while it is open or half-open. Their failures are what it
//! opened for: they count nothing, so that a burst of them does not lengthen the pause. A success of any attempt is
//! news, and one success restores the rate.

use std::time::Duration;

use super::family::{Family, KeyForm, Row, RowKey};
use super::id::{PluginName, TenantId};
use super::time::Timestamp;

/// The longest window: one bit for each end.
const WINDOW_MAX: u32 = 64;

/// When a breaker opens, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// How many of the last ended attempts count, 1 to 64.
    pub window: u32,
    /// The share of failures, in per cent, that must be exceeded.
    pub failed_percent: u32,
    /// So many of the window must have failed. More than the window: the breaker never opens.
    pub least_failures: u32,
    /// The first pause; each failed probe doubles it.
    pub first_pause: Duration,
    /// No pause is longer. A probe that has not ended after this time is given up, and another may start.
    pub longest_pause: Duration,
}

impl Default for BreakerPolicy {
    /// The numbers of domain.md 4.4.
    fn default() -> Self {
        Self {
            window: 50,
            failed_percent: 80,
            least_failures: 20,
            first_pause: Duration::from_secs(60),
            longest_pause: Duration::from_secs(3_600),
        }
    }
}

/// How the attempts of one plug-in ended lately, and whether more may start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// A bit for each of the last ends, the latest lowest; set where the attempt failed.
    pub(crate) failures: u64,
    /// How many of these bits are in use.
    pub(crate) ends: u32,
    /// The pause, unless the breaker is closed.
    pub(crate) pause: Option<Pause>,
}

/// The breaker of a plug-in, as a store keeps it: a restart must not let the backlog of a failing plug-in loose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginBreaker {
    /// Whose plug-in.
    pub tenant: TenantId,
    /// Which.
    pub plugin: PluginName,
    /// What it says. Nothing is kept of a closed one.
    pub breaker: Breaker,
}

impl PluginBreaker {
    /// The breaker of a plug-in that is given a new chance: a person has seen to it.
    pub fn closed(tenant: TenantId, plugin: PluginName) -> Self {
        Self { tenant, plugin, breaker: Breaker::default() }
    }
}

/// What an open or half-open breaker waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) until: Timestamp,
    pub(crate) length: Duration,
    /// When the probe started, if there is one.
    pub(crate) probe: Option<Timestamp>,
}

/// Whether an attempt may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// As many as there are.
    All,
    /// One, as a probe.
    Probe,
    /// None. Ask again at this time, or when an attempt has ended.
    Refused {
        /// When the answer changes without any attempt's end.
        until: Timestamp,
    },
}

/// The state, in the usual words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything is let through.
    Closed,
    /// Nothing is let through.
    Open {
        /// The end of the pause.
        until: Timestamp,
    },
    /// One attempt decides.
    HalfOpen {
        /// Whether it has started.
        probing: bool,
    },
}

impl Breaker {
    /// An attempt that had started at `started_on` succeeded or failed at `now`. Ends that say nothing about the plug-in
    /// (throttled, canceled, lease lost) are not reported here, but as [`Self::abandoned`].
    pub fn ended(&mut self, policy: &BreakerPolicy, succeeded: bool, started_on: Timestamp, now: Timestamp) {
        match &self.pause {
            None => self.count(policy, succeeded, now),
            Some(_) if succeeded => *self = Self::default(),
            Some(pause) if pause.probe == Some(started_on) => self.open(policy, pause.length.saturating_mul(2), now),
            Some(_) => {}
        }
    }

    /// Whether an attempt may start at `now`.
    pub fn may_start(&self, policy: &BreakerPolicy, now: Timestamp) -> Admission {
        let Some(pause) = &self.pause else { return Admission::All };
        if !pause.is_over(now) {
            return Admission::Refused { until: pause.until };
        }
        match pause.probe_gives_up_on(policy, now) {
            Some(until) => Admission::Refused { until },
            None => Admission::Probe,
        }
    }

    /// An attempt started at `now`; it takes the probe if there is one to take. The same time must be given to
    /// [`Self::ended`] or [`Self::abandoned`]: it tells the probe from attempts that started before.
    pub fn started(&mut self, policy: &BreakerPolicy, now: Timestamp) {
        if self.may_start(policy, now) == Admission::Probe
            && let Some(pause) = &mut self.pause
        {
            pause.probe = Some(now);
        }
    }

    /// The attempt that had started at `started_on` ended without a verdict. If it was the probe, another may start.
    pub fn abandoned(&mut self, started_on: Timestamp) {
        if let Some(pause) = &mut self.pause
            && pause.probe == Some(started_on)
        {
            pause.probe = None;
        }
    }

    /// The state at `now`.
    pub fn state(&self, policy: &BreakerPolicy, now: Timestamp) -> BreakerState {
        match &self.pause {
            None => BreakerState::Closed,
            Some(pause) if !pause.is_over(now) => BreakerState::Open { until: pause.until },
            Some(pause) => BreakerState::HalfOpen { probing: pause.probe_gives_up_on(policy, now).is_some() },
        }
    }

    /// The end of the pause, unless the breaker is closed.
    pub fn pause_ends_on(&self) -> Option<Timestamp> {
        self.pause.as_ref().map(|pause| pause.until)
    }

    /// Whether the plug-in is to be shown as degraded: it has failed too often and not succeeded since.
    pub fn is_degraded(&self) -> bool {
        self.pause.is_some()
    }

    /// Whether a store has to hear what has become of it since it was as `before`: it has opened or closed. Which attempt is
    /// the probe ends with its host.
    pub fn differs_from(&self, before: &Self) -> bool {
        self.pause_ends_on() != before.pause_ends_on()
    }

    /// The breaker that a host left behind: its probe is dead with it.
    pub fn left_behind(mut self) -> Self {
        if let Some(pause) = &mut self.pause {
            pause.probe = None;
        }
        self
    }

    fn count(&mut self, policy: &BreakerPolicy, succeeded: bool, now: Timestamp) {
        self.failures = self.failures << 1 | u64::from(!succeeded);
        self.ends = self.ends.saturating_add(1).min(WINDOW_MAX);
        if self.fails_too_often(policy) {
            self.open(policy, policy.first_pause, now);
        }
    }

    fn fails_too_often(&self, policy: &BreakerPolicy) -> bool {
        let counted = self.ends.min(policy.window).clamp(1, WINDOW_MAX);
        let failed = (self.failures & (u64::MAX >> (WINDOW_MAX - counted))).count_ones();
        let exceeds = u64::from(failed) * 100 > u64::from(counted) * u64::from(policy.failed_percent);
        exceeds && failed >= policy.least_failures
    }

    fn open(&mut self, policy: &BreakerPolicy, length: Duration, now: Timestamp) {
        let length = length.min(policy.longest_pause);
        let pause = Pause { until: now.after(length), length, probe: None };
        *self = Self { pause: Some(pause), ..Self::default() };
    }
}

impl Pause {
    /// Whether the pause is over. It also is when its end is farther away than two pauses: then the clock was set back,
    /// and nobody must wait for it to catch up.
    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until || self.until.since(now) > self.length.saturating_mul(2)
    }

    /// When the probe under way is given up, if there is one: its host may have died without a word.
    fn probe_gives_up_on(&self, policy: &BreakerPolicy, now: Timestamp) -> Option<Timestamp> {
        let started_on = self.probe?;
        let is_alive = now.since(started_on) < policy.longest_pause && started_on.since(now) <= policy.longest_pause;
        is_alive.then(|| started_on.after(policy.longest_pause))
    }
}

impl Row for PluginBreaker {
    const ROWS: &'static Family = &Family::new(9, "breaker", KeyForm::TenantAndName).resident();

    fn key(&self) -> RowKey {
        RowKey::named(self.tenant, self.plugin.as_str())
    }

    /// Always: what the host has seen last counts.
    fn follows(&self, _present: Option<&Self>) -> bool {
        true
    }

    /// Nothing is kept of a closed one.
    fn is_void(&self) -> bool {
        !self.breaker.is_degraded()
    }
}
