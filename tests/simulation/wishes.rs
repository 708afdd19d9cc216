//! What callers ask for and what the operator allows, drawn from the seed.

use std::time::Duration;

use backroom::domain::admission::{AdmissionPolicy, QueuePolicy, StartLimits};
use backroom::domain::breaker::BreakerPolicy;
use backroom::domain::id::{
    ConcurrencyKey, DedupKey, HandlerName, JobId, JobKey, OrderingKey, PluginName, QueueName, TenantId,
};
use backroom::domain::job::{FollowUp, OnPredecessorFailure, Ties};
use backroom::domain::time::Timestamp;
use backroom::jobs::NewJob;

use crate::draw::Draw;

pub(crate) const QUEUES: [&str; 3] = ["default", "bulk", "maintenance"];

/// A plug-in that is there from the start, and one that comes late or not at all.
pub(crate) const PLUGINS: [&str; 2] = ["early", "late"];

pub(crate) fn key(job: JobId) -> JobKey {
    JobKey { tenant: TenantId::DEFAULT, sequence: job.sequence() }
}

pub(crate) fn plugin_name(name: &str) -> PluginName {
    PluginName::new(name).expect("a slug")
}

pub(crate) fn queue_name(name: &str) -> QueueName {
    QueueName::new(name).expect("a slug")
}

/// What the operator allows in this life: some have no limits at all.
pub(crate) fn policy(draw: &mut Draw) -> AdmissionPolicy {
    let mut policy = AdmissionPolicy::default();
    for (name, weight) in QUEUES.into_iter().zip([4, 1, 2]) {
        if draw.chance(70) {
            policy.queues.insert(queue_name(name), QueuePolicy { weight, limits: limits(draw) });
        }
    }
    for name in PLUGINS {
        if draw.chance(40) {
            policy.plugins.insert(plugin_name(name), limits(draw));
        }
        if draw.chance(40) {
            policy.per_key.insert(plugin_name(name), 1 + u32::try_from(draw.below(3)).expect("small"));
        }
    }
    policy.breaker = draw.chance(40).then_some(BreakerPolicy {
        window: 6,
        failed_percent: 60,
        least_failures: 4,
        first_pause: Duration::from_secs(20),
        longest_pause: Duration::from_secs(120),
    });
    policy
}

fn limits(draw: &mut Draw) -> StartLimits {
    let rates = ["1/s", "30/min burst 3", "6/min", "10/min burst 2"];
    StartLimits {
        concurrency: draw.chance(40).then(|| 1 + u32::try_from(draw.below(3)).expect("small")),
        rate: draw.chance(30).then(|| rates[draw.index(rates.len())].parse().expect("a good rate")),
    }
}

/// A request, with its `Idempotency-Key` if it has one. The same key stands for the same request. `known` are the jobs
/// that it may name.
pub(crate) fn new_job(draw: &mut Draw, known: &[JobId], now: Timestamp) -> (NewJob, Option<String>) {
    let key = draw.chance(25).then(|| format!("key {}", draw.below(6)));
    let plain = NewJob::new(plugin_name("early"), key.clone().unwrap_or_default());
    let new = match key {
        Some(_) => plain,
        None => wish(draw, known, now, plain),
    };
    (new, key)
}

fn wish(draw: &mut Draw, known: &[JobId], now: Timestamp, plain: NewJob) -> NewJob {
    let name = if draw.chance(85) { PLUGINS[0] } else { PLUGINS[1] };
    let queue = draw.choose(&[(6, QUEUES[0]), (3, QUEUES[1]), (2, QUEUES[2])]);
    let later =
        |draw: &mut Draw, percent, span| draw.chance(percent).then(|| now.after(Duration::from_secs(draw.below(span))));
    NewJob {
        plugin: plugin_name(name),
        queue: queue_name(queue),
        priority: i8::try_from(draw.below(5)).expect("small") - 2,
        at: later(draw, 15, 900),
        expires_on: later(draw, 10, 900),
        max_attempts: draw.chance(20).then(|| 1 + u32::try_from(draw.below(5)).expect("small")),
        auto_delete: draw.chance(15),
        ties: ties(draw, known),
        ..plain
    }
}

fn ties(draw: &mut Draw, known: &[JobId]) -> Ties {
    let named = match draw.chance(20) && !known.is_empty() {
        true => 1 + draw.below(3),
        false => 0,
    };
    let on_failure =
        [(2, OnPredecessorFailure::Continue), (1, OnPredecessorFailure::Block), (1, OnPredecessorFailure::Cancel)];
    Ties {
        ordering_key: draw.chance(45).then(|| ordering_key(draw.below(3))),
        concurrency_key: draw.chance(25).then(|| concurrency_key(draw.below(2))),
        after: (0..named).map(|_| known[draw.index(known.len())]).collect(),
        on_predecessor_failure: draw.choose(&on_failure),
        dedup_key: draw.chance(12).then(|| DedupKey::new(&format!("once {}", draw.below(2))).expect("a good key")),
        on_complete: draw.chance(15).then(|| FollowUp {
            plugin: plugin_name(if draw.chance(80) { PLUGINS[0] } else { PLUGINS[1] }),
            handler: HandlerName::default_handle(),
            queue: queue_name(QUEUES[draw.index(QUEUES.len())]),
            url: None,
        }),
        ..Ties::default()
    }
}

fn concurrency_key(number: u64) -> ConcurrencyKey {
    ConcurrencyKey::new(&format!("region {number}")).expect("a good key")
}

fn ordering_key(number: u64) -> OrderingKey {
    OrderingKey::new(&format!("key {number}")).expect("a good key")
}
