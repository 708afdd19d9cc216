//! Who waits for whom, against a plain reading of the rule: a job waits while an older unfinished one has its ordering key,
//! and while one that it names is unfinished.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use backroom::domain::dependencies::{self, Bond, Ended, Facts, KeyMark, Release};
use backroom::domain::id::{JobId, JobKey, OrderingKey, Sequence, TenantId};
use backroom::domain::job::{Status, Ties};
use backroom::domain::query::Counts;
use backroom::domain::time::Timestamp;
use proptest::prelude::*;

const TENANT: TenantId = TenantId(1);

fn key_of(sequence: u64) -> JobKey {
    JobKey { tenant: TENANT, sequence: Sequence(sequence) }
}

fn id_of(sequence: u64) -> JobId {
    JobId::new(Timestamp(0), Sequence(sequence), 0)
}

/// A store as small as can be: it keeps bonds and marks, and knows nothing of the rule.
#[derive(Default)]
struct Kept {
    jobs: BTreeMap<JobKey, (Status, Ties)>,
    ordered: BTreeMap<OrderingKey, BTreeSet<JobKey>>,
    after: BTreeSet<(JobKey, JobKey)>,
    broken: BTreeMap<OrderingKey, JobKey>,
    batches: BTreeMap<JobKey, Counts>,
}

impl Kept {
    fn submit(&mut self, job: JobKey, ties: Ties) {
        for bond in dependencies::bonds(job, &ties) {
            match bond {
                Bond::Ordered(key) => drop(self.ordered.entry(key.clone()).or_default().insert(job)),
                Bond::After(named) => drop(self.after.insert((named, job))),
                Bond::Dedup(_) | Bond::Scheduled(_) => {}
            }
        }
        if let Some(batch) = ties.batch {
            self.batches.entry(dependencies::named_by(job, batch)).or_default().add(Status::Queued);
        }
        self.jobs.insert(job, (Status::Queued, ties));
    }

    /// Returns the jobs that it sets free, and the batches that it ends.
    fn end(&mut self, job: JobKey, status: Status) -> (BTreeSet<JobKey>, BTreeSet<JobKey>) {
        let ties = self.jobs[&job].1.clone();
        if let Some(batch) = ties.batch {
            let counts = self.batches.entry(dependencies::named_by(job, batch)).or_default();
            counts.remove(Status::Queued);
            counts.add(status);
        }
        let Ok(Ended { mark, successors }) = dependencies::ended(job, Some(&ties), status, self);
        match mark {
            Some(KeyMark::Broken(key)) => drop(self.broken.insert(key.clone(), job)),
            Some(KeyMark::Whole(key)) => drop(self.broken.remove(key)),
            None => {}
        }
        for bond in dependencies::bonds(job, &ties) {
            match bond {
                Bond::Ordered(key) => drop(self.ordered.get_mut(key).map(|jobs| jobs.remove(&job))),
                Bond::After(named) => drop(self.after.remove(&(named, job))),
                Bond::Dedup(_) | Bond::Scheduled(_) => {}
            }
        }
        self.jobs.insert(job, (status, ties));
        let (mut free, mut batches) = (BTreeSet::new(), BTreeSet::new());
        for successor in successors {
            match self.jobs.get(&successor) {
                None => drop(batches.insert(successor)),
                Some((status, ties)) => {
                    let Ok(release) = dependencies::release(successor, *status, None, ties, self);
                    assert_ne!(release, Release::Members, "it waits for no members");
                    if release == Release::Ready {
                        free.insert(successor);
                    }
                }
            }
        }
        (free, batches)
    }

    /// The rule, read plainly.
    fn waits(&self, job: JobKey) -> bool {
        let (_, ties) = &self.jobs[&job];
        self.jobs.iter().any(|(other, (status, others))| {
            let is_before = *other < job && others.ordering_key == ties.ordering_key && ties.ordering_key.is_some();
            let is_named = ties.after.iter().any(|named| named.sequence() == other.sequence);
            !status.is_final() && (is_before || is_named)
        })
    }

    fn free(&self) -> BTreeSet<JobKey> {
        let queued = self.jobs.iter().filter(|(_, (status, _))| *status == Status::Queued);
        queued.map(|(job, _)| *job).filter(|job| !self.waits(*job)).collect()
    }
}

impl Facts for Kept {
    type Error = Infallible;

    fn status(&self, job: JobKey) -> Result<Option<Status>, Infallible> {
        Ok(self.jobs.get(&job).map(|(status, _)| *status))
    }

    fn oldest_of(&self, _: TenantId, key: &OrderingKey, behind: Option<JobKey>) -> Result<Option<JobKey>, Infallible> {
        let jobs = self.ordered.get(key).into_iter().flatten();
        Ok(jobs.copied().find(|job| behind.is_none_or(|behind| *job > behind)))
    }

    fn broken_by(&self, _: TenantId, key: &OrderingKey) -> Result<Option<JobKey>, Infallible> {
        Ok(self.broken.get(key).copied())
    }

    fn dependents(&self, job: JobKey) -> Result<Vec<JobKey>, Infallible> {
        Ok(self.after.iter().filter(|(named, _)| *named == job).map(|(_, waiting)| *waiting).collect())
    }

    fn members(&self, batch: JobKey) -> Result<Counts, Infallible> {
        Ok(self.batches.get(&batch).copied().unwrap_or_default())
    }
}

/// A job's ordering key, how far back the jobs are that it names, and whether it belongs to the batch.
type Drawn = (Option<u8>, Vec<u64>, bool);

fn ties(sequence: u64, (key, after, is_member): &Drawn) -> Ties {
    Ties {
        ordering_key: key.map(|key| OrderingKey::new(&format!("customer {key}")).expect("it is a key")),
        after: after.iter().filter(|back| **back < sequence).map(|back| id_of(sequence - back)).collect(),
        batch: is_member.then(|| id_of(1_000)),
        ..Ties::NONE
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    (proptest::option::of(0_u8..3), proptest::collection::vec(1_u64..8, 0..4), any::<bool>())
}

proptest! {
    /// Whatever ends in whatever order: exactly those are set free that waited for it last, and each batch ends once.
    #[test]
    fn an_end_sets_free_exactly_what_waited_for_it_last(
        jobs in proptest::collection::vec(drawn(), 1..25),
        picks in proptest::collection::vec((any::<proptest::sample::Index>(), 0_u8..3), 25),
    ) {
        let mut kept = Kept::default();
        for (sequence, job) in (1..).zip(&jobs) {
            kept.submit(key_of(sequence), ties(sequence, job));
        }
        let members = jobs.iter().filter(|(.., is_member)| *is_member).count();
        let mut batches_ended = 0;
        for (pick, status) in picks {
            let unfinished: Vec<JobKey> =
                kept.jobs.iter().filter(|(_, (status, _))| !status.is_final()).map(|(job, _)| *job).collect();
            if unfinished.is_empty() {
                break;
            }
            let job = unfinished[pick.index(unfinished.len())];
            let status = [Status::Succeeded, Status::Failed, Status::Canceled][usize::from(status)];
            let before = kept.free();
            let (free, batches) = kept.end(job, status);
            let wanted: BTreeSet<_> = kept.free().difference(&before).copied().collect();
            // A job that one named and that already waited for nothing may be told of again; it is ready all the same.
            prop_assert!(free.is_subset(&kept.free()));
            prop_assert!(wanted.is_subset(&free), "{wanted:?} should be free, and {free:?} are");
            batches_ended += batches.len();
            for (job, (_, ties)) in kept.jobs.iter().filter(|(_, (status, _))| !status.is_final()) {
                let Ok(unfinished) = dependencies::unfinished(*job, ties, &kept);
                prop_assert_eq!(dependencies::waits(*job, ties, &kept), Ok(!unfinished.is_empty()));
                prop_assert_eq!(kept.waits(*job), !unfinished.is_empty());
            }
        }
        let all_ended = kept.jobs.values().all(|(status, _)| status.is_final());
        prop_assert!(batches_ended <= 1 && (!all_ended || members == 0 || batches_ended == 1));
    }
}

/// Whoever is next on an ordering key learns of the one directly before it that did not succeed, and of no other.
#[test]
fn only_the_next_on_a_key_learns_how_the_last_one_ended() {
    let cases = [
        // How the first ends, and the second; whom the third then learns of.
        (Status::Failed, Status::Succeeded, None),
        (Status::Succeeded, Status::Failed, Some(2)),
        (Status::Failed, Status::Canceled, Some(2)),
        (Status::Succeeded, Status::Succeeded, None),
    ];
    for (first, second, wanted) in cases {
        let mut kept = Kept::default();
        (1..=3).for_each(|sequence| kept.submit(key_of(sequence), ties(sequence, &(Some(0), Vec::new(), false))));
        kept.end(key_of(1), first);
        kept.end(key_of(2), second);
        let ties = kept.jobs[&key_of(3)].1.clone();
        let Ok(predecessors) = dependencies::predecessors(key_of(3), &ties, &kept);
        assert_eq!(predecessors.unsuccessful, wanted.map(key_of).into_iter().collect::<Vec<_>>(), "{first} {second}");
        assert!(predecessors.unfinished.is_empty());
    }
}

/// Nobody is told of a broken key when nobody waited: the key starts anew.
#[test]
fn a_key_is_not_broken_for_those_that_come_later() {
    let mut kept = Kept::default();
    kept.submit(key_of(1), ties(1, &(Some(0), Vec::new(), false)));
    kept.end(key_of(1), Status::Failed);
    kept.submit(key_of(2), ties(2, &(Some(0), Vec::new(), false)));
    let later = kept.jobs[&key_of(2)].1.clone();
    let Ok(predecessors) = dependencies::predecessors(key_of(2), &later, &kept);
    assert!(predecessors.unsuccessful.is_empty() && predecessors.unfinished.is_empty());
}
