//! The reference model of what may start: pauses, limits and rates of queues and plug-ins, counted in plain words.

use std::collections::{BTreeMap, BTreeSet};

use backroom::domain::admission::{AdmissionPolicy, StartLimits};
use backroom::domain::change::Change;
use backroom::domain::id::{ConcurrencyKey, HostId, PluginName, QueueName};
use backroom::domain::job::Submission;
use backroom::domain::plugin::Plugin;
use backroom::domain::queue::QueueState;
use backroom::domain::rate::RateLimit;
use backroom::domain::time::Timestamp;

/// A queue, a plug-in, or a concurrency key of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Queue(QueueName),
    Plugin(PluginName),
    Key(PluginName, ConcurrencyKey),
}

impl Scope {
    /// Those that a job starts in.
    pub(crate) fn of(submission: &Submission) -> Vec<Self> {
        let plugin = &submission.plugin;
        let key = submission.ties().concurrency_key.clone().map(|key| Self::Key(plugin.clone(), key));
        [Self::Queue(submission.queue.clone()), Self::Plugin(plugin.clone())].into_iter().chain(key).collect()
    }
}

/// What started since the present host did.
#[derive(Default)]
pub(crate) struct Starts {
    policy: AdmissionPolicy,
    pub(crate) host: HostId,
    started_on: BTreeMap<Scope, Vec<Timestamp>>,
    paused: BTreeSet<Scope>,
}

impl Starts {
    pub(crate) fn new(policy: AdmissionPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Takes what a commit says of pauses and hosts.
    pub(crate) fn heard(&mut self, change: &Change) {
        if let Some(queue) = change.row::<QueueState>() {
            self.pause(Scope::Queue(queue.name.clone()), queue.pause.is_some());
        } else if let Some(plugin) = change.row::<Plugin>() {
            self.pause(Scope::Plugin(plugin.name.clone()), plugin.pause.is_some());
        } else if let Change::StartHost(host) = change {
            self.host = *host;
            self.started_on.clear();
        }
    }

    /// Sets what is paused, as a store that came back says.
    pub(crate) fn pause(&mut self, scope: Scope, paused: bool) {
        match paused {
            true => self.paused.insert(scope),
            false => self.paused.remove(&scope),
        };
    }

    pub(crate) fn forget_pauses(&mut self) {
        self.paused.clear();
    }

    pub(crate) fn is_paused(&self, scope: &Scope) -> bool {
        self.paused.contains(scope)
    }

    /// A job of the present host started at `on`; `running` jobs of the scope run now. Returns what is wrong with that.
    pub(crate) fn started(&mut self, scope: &Scope, running: usize, on: Timestamp) -> Vec<String> {
        let mut wrong = Vec::new();
        let limits = self.limits(scope);
        if let Some(limit) = limits.concurrency
            && running > limit as usize
        {
            wrong.push(format!("{running} jobs of {scope:?} run, and {limit} may"));
        }
        let starts = self.started_on.entry(scope.clone()).or_default();
        starts.push(on);
        starts.sort();
        if let Some(rate) = limits.rate {
            wrong.extend(too_fast(&rate, starts).map(|why| format!("{scope:?}: {why}")));
        }
        wrong
    }

    fn limits(&self, scope: &Scope) -> StartLimits {
        match scope {
            Scope::Queue(name) => self.policy.queues.get(name).map(|queue| queue.limits.clone()).unwrap_or_default(),
            Scope::Key(plugin, _) => {
                let concurrency = self.policy.per_key.get(plugin).copied().unwrap_or(1);
                StartLimits { concurrency: Some(concurrency), rate: None }
            }
            Scope::Plugin(name) => self.policy.plugins.get(name).cloned().unwrap_or_default(),
        }
    }
}

/// In any span there are at most as many starts as the burst and what the rate gives in that span.
fn too_fast(rate: &RateLimit, starts: &[Timestamp]) -> Option<String> {
    let last = *starts.last()?;
    for (index, first) in starts.iter().enumerate() {
        let span = last.since(*first);
        let given = span.as_micros() * u128::from(rate.starts()) / rate.per().as_micros();
        let there = (starts.len() - index) as u128;
        if there > u128::from(rate.burst()) + given {
            return Some(format!("{there} starts within {span:?} are more than {rate} gives"));
        }
    }
    None
}
