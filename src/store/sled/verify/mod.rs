//! Looks at everything that a store at rest holds, and says what does not fit together.

mod entries;
mod jobs;
mod rows;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::blobs::Blobs;
use super::codec;
use super::journal::scan;
use super::keys;
use super::recover::number;
use super::values::Values;
use super::{INDEX, JOURNAL, OpenError, SledSettings, SledStore};
use crate::domain::family::Row;
use crate::domain::id::{Digest, PluginName, Sequence, TenantId};
use crate::domain::query::Counts;
use crate::store::Store;
use crate::stored::Registry;

/// A report names this many findings; of the others it says how many they are.
pub const FINDINGS_MAX: usize = 1_000;

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it is.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

/// What a look at a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Segments of the journal.
    pub segments: u64,
    /// Groups of commits that the journal holds.
    pub groups: u64,
    /// Entries of the index.
    pub entries: u64,
    /// Jobs, with their submissions and states.
    pub jobs: u64,
    /// Closed runs that are rows of their own.
    pub runs: u64,
    /// Rows, by the names of their families.
    pub rows: BTreeMap<String, u64>,
    /// Blobs, each read and hashed.
    pub blobs: u64,
    /// Bytes of all blobs.
    pub blob_bytes: u64,
    /// Entries that nothing needs any more. They take a little room and do no harm.
    pub leftovers: u64,
    /// What does not fit, up to [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many findings there are beyond those.
    pub more_findings: u64,
}

impl Report {
    /// Whether nothing was found that does not fit.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// How many rows it has of a family.
    pub fn rows_of<T: Row>(&self) -> u64 {
        self.rows.get(T::ROWS.name).copied().unwrap_or_default()
    }

    fn find(&mut self, place: impl Display, what: impl Display) {
        match self.findings.len() < FINDINGS_MAX {
            true => self.findings.push(Finding { place: place.to_string(), what: what.to_string() }),
            false => self.more_findings += 1,
        }
    }
}

/// Opens the store of a directory as a host does, replay included, closes it again, and looks at all that it holds.
pub fn verify(settings: SledSettings) -> Result<Report, OpenError> {
    let path = settings.path.clone();
    if !path.join(JOURNAL).exists() {
        return Err(OpenError::Format { path, found: "no journal".to_owned() });
    }
    let aside_before = set_aside(&path)?;
    let store = SledStore::open(settings)?;
    let mut report = Report::default();
    // Before the last checkpoint, which lets segments go.
    let checkpoint = number(&*store.shared.tree()?, keys::META_CHECKPOINT).unwrap_or(0);
    let last = check_journal(&path.join(JOURNAL), checkpoint, store.families(), &mut report);
    // What only memory has goes into the index, which from here on nobody changes; the lock is still ours.
    store.close();
    for aside in set_aside(&path)?.into_iter().filter(|aside| !aside_before.contains(aside)) {
        let what = format!("it was damaged, was kept as {}, and was made again from the journal", aside.display());
        report.find(INDEX, what);
    }
    if let Some(why) = store.shared.failure() {
        report.find("store", format!("it could not be written: {why}"));
    }
    let tree = store.shared.tree()?;
    let mut walk = Walk::new(Values::stored(&*tree), store.families(), report);
    walk.blobs(&store.shared.blobs);
    // Bad bytes can make the tree panic.
    if catch_unwind(AssertUnwindSafe(|| walk.index(last))).is_err() {
        walk.report.find(INDEX, "reading it broke off");
    }
    Ok(walk.report)
}

/// The damaged indexes that lie beside the present one.
pub(super) fn set_aside(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("index.damaged-") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads the whole journal: the chain of segments and groups, their checksums, and every record. Returns the number of
/// the last group.
fn check_journal(directory: &Path, checkpoint: u64, families: &Registry, report: &mut Report) -> Option<u64> {
    let mut groups = 0;
    let scanned = scan::scan(directory, checkpoint, &mut |_, payload| {
        groups += 1;
        codec::read_records(payload, families).map(drop).map_err(|error| error.to_string())
    });
    report.groups = groups;
    match scanned {
        Ok(found) => {
            report.segments = found.segments.len() as u64;
            found.gaps.iter().for_each(|gap| report.find(JOURNAL, gap));
            Some(found.lsn)
        }
        Err(error) => {
            report.find(JOURNAL, error);
            None
        }
    }
}

/// A walk through the index of a store.
struct Walk<'a> {
    values: Values<'a>,
    families: &'a Registry,
    report: Report,
    /// The size of each blob.
    blobs: BTreeMap<Digest, u64>,
    /// How many jobs stand where, counted.
    counted: BTreeMap<(TenantId, PluginName), Counts>,
    /// And as the index says.
    stored: BTreeMap<(TenantId, PluginName), Counts>,
    /// Likewise, of batches.
    counted_in_batches: BTreeMap<(TenantId, Sequence), Counts>,
    stored_of_batches: BTreeMap<(TenantId, Sequence), Counts>,
    highest_sequence: u64,
}

impl<'a> Walk<'a> {
    fn new(values: Values<'a>, families: &'a Registry, report: Report) -> Self {
        Self {
            values,
            families,
            report,
            blobs: BTreeMap::new(),
            counted: BTreeMap::new(),
            stored: BTreeMap::new(),
            counted_in_batches: BTreeMap::new(),
            stored_of_batches: BTreeMap::new(),
            highest_sequence: 0,
        }
    }

    /// The value of a result; what keeps it from having one is a finding.
    fn take<T, E: Display>(&mut self, place: &str, result: Result<T, E>) -> Option<T> {
        result.inspect_err(|error| self.report.find(place, error)).ok()
    }

    /// Reads every blob and compares it with its name.
    fn blobs(&mut self, blobs: &Blobs) {
        let Some(listed) = self.take("blobs", blobs.list()) else { return };
        for (digest, bytes) in listed {
            self.report.blobs += 1;
            self.report.blob_bytes += bytes;
            self.blobs.insert(digest, bytes);
            self.take(&format!("blob {digest}"), blobs.get(digest));
        }
    }

    /// Looks at every entry of the index.
    fn index(&mut self, last_group: Option<u64>) {
        let mut next_block = Default::default();
        for entry in self.values.ascending(Bound::Unbounded, Bound::Unbounded) {
            let Some((key, raw)) = self.take(INDEX, entry) else { return };
            self.report.entries += 1;
            if key.first() == Some(&keys::PART) {
                self.part(&key);
                continue;
            }
            let place = place(&key);
            let Some(value) = self.take(&place, self.values.whole(&key, raw)) else { continue };
            match key.first() {
                Some(&keys::BLOCK) => next_block = self.block(&key, value, next_block),
                Some(&keys::STATE | &keys::RUNNING) => self.belongs(&place, keys::job_of(&key)),
                Some(&keys::RUN) => self.run(&place, &key, &value),
                Some(&keys::OUTCOME) => self.bucket(&place, &key, &value),
                Some(&keys::READY) => self.ready(&place, &key),
                Some(&keys::TIMER) => self.secondary(&place, &key, keys::timer_entry(&key).map(|(_, job)| job)),
                Some(&keys::LISTED) => self.secondary(&place, &key, keys::listed_job(&key)),
                Some(&keys::COUNTS) => self.counts(&place, &key, &value),
                Some(&keys::BLOB) => self.blob_name(&place, &key),
                Some(&keys::LABEL) => self.secondary(&place, &key, keys::label_entry(&key).map(|(_, job)| job)),
                Some(&keys::KEYED | &keys::OCCURRING) => self.secondary(&place, &key, keys::keyed_job(&key)),
                Some(&keys::DEPENDENT) => self.secondary(&place, &key, keys::dependent_job(&key)),
                Some(&keys::DEDUP) => self.dedup(&place, &key, &value),
                Some(&keys::BATCH) => self.batch(&place, &key, &value),
                Some(&keys::ROW) => self.row(&place, &key, &value),
                Some(&keys::ROW_INDEX) => self.row_index(&place, &key),
                Some(&keys::ROW_BLOB) => self.row_blob(&place, &key),
                Some(b'M') => self.number(&place, &key, &value),
                _ => self.report.find(place, "this version does not know such entries"),
            }
        }
        self.compare_counts();
        self.compare_numbers(last_group);
    }

    fn compare_counts(&mut self) {
        let (counted, stored) = (std::mem::take(&mut self.counted), std::mem::take(&mut self.stored));
        self.compare(&counted, &stored, |key| format!("counts of plug-in {} of {}", key.1, key.0));
        let (counted, stored) =
            (std::mem::take(&mut self.counted_in_batches), std::mem::take(&mut self.stored_of_batches));
        self.compare(&counted, &stored, |key| format!("counts of batch {} of {}", key.1.0, key.0));
    }

    fn compare<K: Ord>(
        &mut self,
        counted: &BTreeMap<K, Counts>,
        stored: &BTreeMap<K, Counts>,
        place: impl Fn(&K) -> String,
    ) {
        let all: std::collections::BTreeSet<_> = counted.keys().chain(stored.keys()).collect();
        for key in all {
            let (counted, stored) = (counted.get(key), stored.get(key));
            if counted != stored {
                let show = |counts: Option<&Counts>| counts.map_or_else(|| "none".to_owned(), |c| format!("{:?}", c.0));
                let what = format!("by status they say {}, but there are {}", show(stored), show(counted));
                self.report.find(place(key), what);
            }
        }
    }

    fn compare_numbers(&mut self, last_group: Option<u64>) {
        let number = |key: &[u8]| self.values.number(key);
        let (lsn, sequence) = (number(keys::META_LSN), number(keys::META_SEQUENCE));
        let (checkpoint, format) = (number(keys::META_CHECKPOINT), number(keys::META_FORMAT));
        if let (Some(lsn), Some(last)) = (self.take(INDEX, lsn), last_group)
            && lsn != last
        {
            self.report.find(INDEX, format!("it holds groups up to {lsn}, the journal up to {last}"));
        }
        if let (Some(checkpoint), Some(last)) = (self.take(INDEX, checkpoint), last_group)
            && checkpoint > last
        {
            self.report.find(INDEX, format!("its checkpoint is group {checkpoint}, but the journal ends with {last}"));
        }
        let highest = self.highest_sequence;
        if let Some(sequence) = self.take(INDEX, sequence).filter(|sequence| *sequence < highest) {
            self.report.find(INDEX, format!("sequences up to {sequence} are taken, but there is a job {highest}"));
        }
        if self.take(INDEX, format) == Some(0) {
            self.report.find(INDEX, "it does not say which format it has");
        }
    }
}

/// An entry of the index, in words.
fn place(key: &[u8]) -> String {
    let kind = match key.first() {
        Some(&keys::BLOCK) => "submissions",
        Some(&keys::STATE) => "state",
        Some(&keys::RUNNING) => "running job",
        Some(&keys::RUN) => "run",
        Some(&keys::OUTCOME) => "outcomes",
        Some(&keys::READY) => "ready entry",
        Some(&keys::TIMER) => "timer",
        Some(&keys::LISTED) => "list entry",
        Some(&keys::COUNTS) => "counts",
        Some(&keys::BLOB) => "name of a blob",
        Some(&keys::LABEL) => "label",
        Some(&keys::KEYED) => "job of an ordering key",
        Some(&keys::OCCURRING) => "unfinished job of a schedule",
        Some(&keys::DEPENDENT) => "job that waits for another",
        Some(&keys::DEDUP) => "job of a dedup key",
        Some(&keys::BATCH) => "counts of a batch",
        Some(&keys::ROW) => "row",
        Some(&keys::ROW_INDEX) => "entry of a row",
        Some(&keys::ROW_BLOB) => "name that a row has for a blob",
        Some(b'M') => "number",
        _ => "entry",
    };
    format!("index: {kind} at {}", key.escape_ascii())
}
