//! Remembers the last ten minutes, second by second: how many jobs had ended and how many were waiting.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use crate::app::Host;
use crate::domain::id::TenantId;
use crate::domain::job::Status;
use crate::domain::query::Counts;
use crate::domain::time::Timestamp;
use crate::resources::{Quiet, blocking};

/// Samples kept: ten minutes and the one before.
const SAMPLES: usize = 601;

/// How far apart samples are.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was known at one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    on: Timestamp,
    ended: u64,
    failed: u64,
}

/// Jobs that ended over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    /// A second, of all that ended.
    pub(super) ended: f64,
    /// A second, of those that failed.
    pub(super) failed: f64,
}

/// The samples of a host, filled by a loop that ends with the host.
#[derive(Default)]
pub(super) struct Sampler {
    samples: Mutex<VecDeque<Sample>>,
}

impl Sampler {
    /// Starts to sample. Must be called within a Tokio runtime.
    pub(super) fn start(host: &Arc<Host>) -> Arc<Self> {
        let sampler = Arc::new(Self::default());
        tokio::spawn(sample_for_ever(Arc::downgrade(host), Arc::downgrade(&sampler)));
        sampler
    }

    fn take(&self, on: Timestamp, counts: &Counts) {
        let sample = Sample {
            on,
            ended: [Status::Succeeded, Status::Failed, Status::Canceled].into_iter().map(|s| counts.of(s)).sum(),
            failed: counts.of(Status::Failed),
        };
        let mut samples = self.samples.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The rate over the last `span`, or over what is known of it. None before two samples are there.
    pub(super) fn rate(&self, span: Duration) -> Option<Rate> {
        let samples = self.samples.lock();
        let last = *samples.back()?;
        let within = |sample: &&Sample| last.on.since(sample.on) <= span;
        let kept: Vec<_> = samples.iter().filter(within).copied().collect();
        let seconds = last.on.since(kept.first()?.on).as_secs_f64();
        let sum = |of: fn(&Sample) -> u64| -> u64 { steps(&kept, of).sum() };
        (seconds > 0.0).then(|| Rate {
            ended: per_second(sum(|sample| sample.ended), seconds),
            failed: per_second(sum(|sample| sample.failed), seconds),
        })
    }

    /// Jobs that ended in each of the last `buckets` spans of `seconds` seconds, oldest first; 0 where nothing is known.
    pub(super) fn history(&self, buckets: usize, seconds: usize) -> Vec<u64> {
        let samples = self.samples.lock();
        let all: Vec<_> = samples.iter().copied().collect();
        drop(samples);
        let ended: Vec<_> = steps(&all, |sample| sample.ended).collect();
        let mut history: Vec<u64> = ended.rchunks(seconds.max(1)).take(buckets).map(|part| part.iter().sum()).collect();
        history.resize(buckets, 0);
        history.reverse();
        history
    }
}

/// What was added from sample to sample. Deleting jobs lowers the totals, which is no negative work.
fn steps(samples: &[Sample], of: fn(&Sample) -> u64) -> impl Iterator<Item = u64> + '_ {
    samples.windows(2).map(move |pair| match pair {
        [earlier, later] => of(later).saturating_sub(of(earlier)),
        _ => 0,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a rate is rounded for people")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

async fn sample_for_ever(host: Weak<Host>, sampler: Weak<Sampler>) {
    static NOT_COUNTED: Quiet = Quiet::new();
    static STUMBLED: Quiet = Quiet::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (Some(host), Some(sampler)) = (host.upgrade(), sampler.upgrade()) else { return };
        let sampled = blocking(move || {
            let counts = host.jobs.counts(TenantId::DEFAULT)?;
            let total = counts.iter().fold(Counts::default(), |total, (_, counts)| total.plus(counts));
            sampler.take(host.now(), &total);
            Ok::<_, crate::store::ReadError>(())
        });
        match sampled.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                if let Some(unsaid) = NOT_COUNTED.say() {
                    tracing::warn!(%error, unsaid, "the console could not count jobs");
                }
            }
            Err(error) => {
                if let Some(unsaid) = STUMBLED.say() {
                    tracing::warn!(%error, unsaid, "the console stumbled over counting jobs");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(succeeded: u64, failed: u64) -> Counts {
        let mut counts = Counts::default();
        counts.0[Status::Succeeded.index()] = succeeded;
        counts.0[Status::Failed.index()] = failed;
        counts
    }

    fn sampler(totals: impl IntoIterator<Item = (u64, u64)>) -> Sampler {
        let sampler = Sampler::default();
        for (second, (succeeded, failed)) in totals.into_iter().enumerate() {
            let on = Timestamp::default().after(INTERVAL * u32::try_from(second).expect("few samples"));
            sampler.take(on, &counts(succeeded, failed));
        }
        sampler
    }

    #[test]
    fn a_rate_is_over_what_is_known() {
        assert_eq!(sampler([]).rate(INTERVAL * 60), None);
        assert_eq!(sampler([(5, 0)]).rate(INTERVAL * 60), None);
        let rate = sampler([(5, 0), (15, 2), (25, 2)]).rate(INTERVAL * 60);
        assert_eq!(rate, Some(Rate { ended: 11.0, failed: 1.0 }));
    }

    #[test]
    fn a_deletion_is_no_negative_work() {
        let rate = sampler([(100, 0), (0, 0), (10, 0)]).rate(INTERVAL * 60);
        assert_eq!(rate, Some(Rate { ended: 5.0, failed: 0.0 }));
    }

    #[test]
    fn history_ends_now_and_is_bounded() {
        let sampler = sampler((0..2_000).map(|second| (second, 0)));
        assert_eq!(sampler.history(3, 10), vec![10, 10, 10]);
        assert_eq!(sampler.history(100, 10).iter().sum::<u64>(), 600);
        assert_eq!(sampler.rate(INTERVAL * 600), Some(Rate { ended: 1.0, failed: 0.0 }));
    }
}
