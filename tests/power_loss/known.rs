//! What was asked for and what was acknowledged up to a moment, and whether a store agrees.

use std::collections::BTreeMap;

use backroom::domain::id::{JobKey, Sequence, TenantId};
use backroom::domain::job::{Job, Payload, Status};
use backroom::domain::query::{JobFilter, JobQuery};
use backroom::store::{ReadError, Store, payload_bytes};

use crate::child::bytes_of;
use crate::common;

/// One change of a commit.
#[derive(Clone, Debug)]
enum Step {
    Submit(u64, u64),
    Advance(u64, u32, u8),
    Delete(u64),
    Plugin(String, u32),
    Key(String),
}

#[derive(Clone, Debug, Default)]
struct KnownJob {
    bytes: u64,
    /// The status at each revision that was asked for.
    tried: BTreeMap<u32, u8>,
    acknowledged: Option<u32>,
    is_deletion_tried: bool,
    is_deletion_acknowledged: bool,
}

/// What the traced process has said so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    commits: BTreeMap<u64, Vec<Step>>,
    jobs: BTreeMap<u64, KnownJob>,
    /// The revisions that were acknowledged and asked for.
    plugins: BTreeMap<String, (u32, u32)>,
    /// Whether it was acknowledged.
    keys: BTreeMap<String, bool>,
    pub(crate) acknowledged: usize,
}

impl Known {
    /// Takes a line of the process; true when it acknowledges something.
    pub(crate) fn hear(&mut self, line: &str) -> bool {
        let mut words = line.trim_end().splitn(3, ' ');
        let (word, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match (word, number.parse::<u64>()) {
            ("TRY", Ok(number)) => {
                let steps: Vec<_> = words.next().expect("a commit has changes").split("; ").map(parse).collect();
                steps.iter().for_each(|step| self.try_step(step));
                self.commits.insert(number, steps);
                false
            }
            ("ACK", Ok(number)) => {
                let steps = self.commits.remove(&number).expect("it was asked for before");
                steps.iter().for_each(|step| self.acknowledge(step));
                self.acknowledged += 1;
                true
            }
            _ => false,
        }
    }

    fn job(&mut self, sequence: u64) -> &mut KnownJob {
        self.jobs.entry(sequence).or_default()
    }

    fn try_step(&mut self, step: &Step) {
        match step {
            Step::Submit(sequence, bytes) => {
                let job = self.job(*sequence);
                job.bytes = *bytes;
                job.tried.insert(0, Status::Queued.code());
            }
            Step::Advance(sequence, revision, status) => {
                self.job(*sequence).tried.insert(*revision, *status);
            }
            Step::Delete(sequence) => self.job(*sequence).is_deletion_tried = true,
            Step::Plugin(name, revision) => self.plugins.entry(name.clone()).or_default().1 = *revision,
            Step::Key(key) => {
                self.keys.insert(key.clone(), false);
            }
        }
    }

    fn acknowledge(&mut self, step: &Step) {
        match step {
            Step::Submit(sequence, _) => {
                let job = self.job(*sequence);
                job.acknowledged = job.acknowledged.max(Some(0));
            }
            Step::Advance(sequence, revision, _) => {
                let job = self.job(*sequence);
                job.acknowledged = job.acknowledged.max(Some(*revision));
            }
            Step::Delete(sequence) => self.job(*sequence).is_deletion_acknowledged = true,
            Step::Plugin(name, revision) => self.plugins.entry(name.clone()).or_default().0 = *revision,
            Step::Key(key) => {
                self.keys.insert(key.clone(), true);
            }
        }
    }

    /// Everything that is wrong with a store, and what it says itself that it cannot read.
    pub(crate) fn complaints(&self, store: &dyn Store) -> (Vec<String>, Vec<String>) {
        let mut found = Vec::new();
        let mut told = Vec::new();
        let listed = match list(store) {
            Ok(listed) => listed,
            Err(why) if why.contains("the store is damaged") => return (found, vec![format!("the index: {why}")]),
            Err(why) => return (vec![format!("jobs cannot be listed: {why}")], told),
        };
        for (sequence, known) in &self.jobs {
            let key = JobKey { tenant: TenantId::DEFAULT, sequence: Sequence(*sequence) };
            let stored = match store.job(key) {
                Ok(stored) => stored,
                Err(error @ ReadError::Damaged(_)) => {
                    told.push(format!("the index: job {sequence} cannot be read: {error}"));
                    continue;
                }
                Err(error) => {
                    found.push(format!("job {sequence} cannot be read: {error}"));
                    continue;
                }
            };
            if stored.as_ref() != listed.get(sequence) {
                found.push(format!("job {sequence} is not in the list as it is"));
            }
            match known.complaint(store, *sequence, stored.as_ref()) {
                Some(Complaint::Wrong(why)) => found.push(why),
                Some(Complaint::Unreadable(why)) => told.push(why),
                None => {}
            }
        }
        let unknown = listed.keys().filter(|sequence| !self.jobs.contains_key(sequence));
        found.extend(unknown.map(|sequence| format!("job {sequence} was never asked for")));
        found.extend(self.halves(&listed));
        found.extend(self.other_complaints(store, &listed));
        (found, told)
    }

    /// Commits of which a part is there.
    fn halves(&self, listed: &BTreeMap<u64, Job>) -> Vec<String> {
        let mut found = Vec::new();
        for (number, steps) in &self.commits {
            let submitted = steps.iter().filter_map(|step| match step {
                Step::Submit(sequence, _) => Some(listed.contains_key(sequence)),
                _ => None,
            });
            let there: Vec<_> = submitted.collect();
            if there.iter().any(|is_there| *is_there != there[0]) {
                found.push(format!("a part of commit {number} is there and a part is not: {steps:?}"));
            }
        }
        found
    }

    fn other_complaints(&self, store: &dyn Store, listed: &BTreeMap<u64, Job>) -> Vec<String> {
        let mut found = Vec::new();
        let plugins = store.plugins().unwrap_or_default();
        for (name, (acknowledged, tried)) in &self.plugins {
            let stored = plugins.iter().find(|plugin| plugin.name.as_str() == name).map_or(0, |plugin| plugin.revision);
            if !(*acknowledged..=*tried).contains(&stored) {
                found.push(format!("plug-in {name} is at revision {stored}, not in {acknowledged}..={tried}"));
            }
        }
        for key in self.keys.iter().filter(|(_, is_acknowledged)| **is_acknowledged).map(|(key, _)| key) {
            if !matches!(store.remembered(TenantId::DEFAULT, key), Ok(Some(_))) {
                found.push(format!("{key} was acknowledged and is not remembered"));
            }
        }
        let mut counts = [0; 10];
        listed.values().for_each(|job| counts[job.state.status.index()] += 1);
        let stored = store.counts(TenantId::DEFAULT).unwrap_or_default();
        let stored = stored.iter().fold([0; 10], |mut sum, (_, counts)| {
            sum.iter_mut().zip(counts.0).for_each(|(sum, count)| *sum += count);
            sum
        });
        if stored != counts {
            found.push(format!("the counts are {stored:?}, the jobs {counts:?}"));
        }
        found
    }

    /// Puts one more job into a store that has been opened.
    pub(crate) fn submit_another(&mut self, store: &dyn Store) -> Result<(), String> {
        let sequence = store.reserve(1).0;
        // One that was given out for a commit that did not come to be may be given out again.
        if !list(store)?.contains_key(&sequence)
            && self.jobs.get(&sequence).is_some_and(|job| job.acknowledged.is_none())
        {
            self.jobs.remove(&sequence);
            self.commits
                .retain(|_, steps| !steps.iter().any(|step| matches!(step, Step::Submit(of, _) if *of == sequence)));
        }
        if let Some(used) = self.jobs.range(sequence..).find(|(_, job)| job.acknowledged.is_some()) {
            return Err(format!("sequence {sequence} is given out, but {} is used", used.0));
        }
        let length = 400;
        let input = Payload::Inline(bytes_of(sequence, length).into());
        let submission = backroom::domain::job::Submission { input, ..common::submission(sequence) };
        store.commit(vec![common::submit_as(submission)]).wait().map_err(|error| format!("a commit: {error}"))?;
        self.hear(&format!("TRY {} S {sequence} {length}", u64::MAX));
        self.hear(&format!("ACK {}", u64::MAX));
        Ok(())
    }
}

/// What is not as it was.
enum Complaint {
    /// And nobody says so.
    Wrong(String),
    /// As the store says itself.
    Unreadable(String),
}

impl KnownJob {
    fn complaint(&self, store: &dyn Store, sequence: u64, stored: Option<&Job>) -> Option<Complaint> {
        if let Some(wrong) = self.wrong(sequence, stored) {
            return Some(Complaint::Wrong(wrong));
        }
        let job = stored?;
        let payloads = [Some(&job.submission.input), job.state.output.as_ref()];
        payloads.into_iter().flatten().find_map(|payload| match payload_bytes(store, payload) {
            Ok(bytes) if bytes == bytes_of(sequence, bytes.len()) => None,
            Ok(_) => Some(Complaint::Wrong(format!("job {sequence} has other bytes than it was given"))),
            Err(error) => Some(Complaint::Unreadable(format!("the bytes of job {sequence} are not there: {error}"))),
        })
    }

    fn wrong(&self, sequence: u64, stored: Option<&Job>) -> Option<String> {
        let Some(job) = stored else {
            let is_lost = self.acknowledged.is_some() && !self.is_deletion_tried;
            return is_lost.then(|| format!("job {sequence} was acknowledged and is lost: {self:?}"));
        };
        if self.is_deletion_acknowledged {
            return Some(format!("job {sequence} was deleted and is there again"));
        }
        let revision = job.state.revision;
        if self.acknowledged.is_some_and(|acknowledged| revision < acknowledged) {
            return Some(format!("job {sequence} is back at revision {revision}: {self:?}"));
        }
        if self.tried.get(&revision) != Some(&job.state.status.code()) {
            return Some(format!("job {sequence} is {:?} at revision {revision}: {self:?}", job.state.status));
        }
        if job.submission.input.len() != self.bytes {
            return Some(format!("job {sequence} has an input of {} bytes: {self:?}", job.submission.input.len()));
        }
        None
    }
}

fn parse(text: &str) -> Step {
    let words: Vec<_> = text.split(' ').collect();
    let number = |at: usize| words[at].parse::<u64>().expect("a number");
    let small = |at: usize| words[at].parse::<u32>().expect("a number");
    match words[0] {
        "S" => Step::Submit(number(1), number(2)),
        "A" => Step::Advance(number(1), small(2), words[3].parse().expect("a code")),
        "D" => Step::Delete(number(1)),
        "P" => Step::Plugin(words[1].to_owned(), small(2)),
        "K" => Step::Key(words[1].to_owned()),
        other => panic!("`{other}` is no change"),
    }
}

/// Every job by its sequence.
pub(crate) fn list(store: &dyn Store) -> Result<BTreeMap<u64, Job>, String> {
    let mut query = JobQuery { tenant: TenantId::DEFAULT, filter: JobFilter::default(), before: None, limit: 500 };
    let mut found = BTreeMap::new();
    loop {
        let page = store.jobs(&query).map_err(|error| error.to_string())?;
        found.extend(page.jobs.into_iter().map(|job| (job.submission.key().sequence.0, job)));
        match page.next {
            Some(next) => query.before = Some(next),
            None => return Ok(found),
        }
    }
}
