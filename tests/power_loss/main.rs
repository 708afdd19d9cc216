//! Cuts the power at every commit, on paper: a process works on a store while its writes and syncs are traced, images of
//! what the disk may hold are made of the trace, opened, and compared with what had been acknowledged by then. Then the files
//! of such images are damaged, one at a time.
//!
//! The traced process works in two patterns: jobs of all kinds that stay, and churn, where jobs come, run and are removed, so
//! that the index frees its space and uses it again. Each image is opened by a process of its own, so that nothing that
//! breaks there, hangs or aborts can pass. An image either opens with everything that was acknowledged, or the store says what
//! is lost; of a damaged file it may say so, too.
//!
//! `BACKROOM_POWER_IMAGES=5000 cargo test --test power_loss` makes as many images as asked, a third of them damaged;
//! `BACKROOM_SEED=n` repeats the choices (not the timing of the threads). It needs `strace`; without it the tests say so and
//! pass, unless `BACKROOM_REQUIRE_ALL=1` is set.

mod case;
mod child;
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "the jobs of the store's tests, of which these tests need a part"
)]
#[path = "../store/common.rs"]
mod common;
mod damage;
mod disk;
mod known;
mod recording;
mod trace;

use std::collections::BTreeMap;
use std::path::Path;

use backroom::domain::service::Durability;

use case::Verdict;
use child::Pattern;
use damage::Kind;
use recording::{Pace, Recording};

/// How many images are made when nothing else is asked for.
const IMAGES: u64 = 240;

/// Where the traced process finds its folder.
const FOLDER: &str = "BACKROOM_POWER_FOLDER";
/// Its durability: with `process` commits are acknowledged before they are on disk, which these tests must notice.
const DURABILITY: &str = "BACKROOM_POWER_DURABILITY";
/// What it does.
const PATTERN: &str = "BACKROOM_POWER_PATTERN";

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    let images = number_from_env("BACKROOM_POWER_IMAGES").unwrap_or(IMAGES);
    let runs = [(Pattern::Steady, Pace::Usual), (Pattern::Steady, Pace::SlowSyncs), (Pattern::Churn, Pace::Usual)];
    let mut failures = Vec::new();
    for (pattern, pace) in runs {
        let Some(recording) = Recording::make(Durability::Power, pattern, pace) else { return };
        failures.extend(recording.check(images.div_ceil(3), &|_| true).into_iter().filter_map(Verdict::failure));
    }
    assert!(failures.is_empty(), "{} of {images} images failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn damaged_files_lose_nothing_silently() {
    let images = number_from_env("BACKROOM_POWER_IMAGES").unwrap_or(IMAGES) / 2;
    let mut verdicts = Vec::new();
    for pattern in Pattern::ALL {
        let Some(recording) = Recording::make(Durability::Power, pattern, Pace::Usual) else { return };
        verdicts.extend(recording.damage(images / 2));
    }
    let mut table: BTreeMap<_, [u32; 3]> = BTreeMap::new();
    let mut failures = Vec::new();
    for (kind, damage, verdict) in verdicts {
        let column = match &verdict {
            Verdict::Whole => 0,
            Verdict::Told(_) => 1,
            Verdict::Failed(_) => 2,
        };
        table.entry((kind, damage)).or_default()[column] += 1;
        if let (Kind::Blob, Verdict::Told(told)) = (kind, &verdict)
            && told.len() > 1
        {
            failures.push(format!("one blob was damaged, and more cannot be read: {}", told.join("; ")));
        }
        failures.extend(verdict.failure().filter(|failure| {
            let broke = ["ended badly", "a panic was printed", "it takes too long", "without a word"];
            let is_known = kind.may_lose_silently() && !broke.iter().any(|broke| failure.contains(broke));
            if is_known {
                println!("a known fault: {failure}");
            }
            !is_known
        }));
    }
    for ((kind, damage), [whole, told, failed]) in table {
        println!("{kind:?}, {damage:?}: {whole} whole, {told} told, {failed} failed");
    }
    assert!(failures.is_empty(), "{} of {images} images failed:\n{}", failures.len(), failures.join("\n"));
}

/// These tests can fail: a store that does not sync before it acknowledges is found out.
#[test]
fn power_cuts_without_syncs_are_found_to_lose_commits() {
    let Some(recording) = Recording::make(Durability::Process, Pattern::Steady, Pace::Usual) else { return };
    let failures = recording.check(16, &|index| index % 8 == 0).into_iter().filter_map(Verdict::failure);
    let lost = failures.filter(|failure| failure.contains("was acknowledged and is lost")).count();
    assert!(lost > 0, "nothing was lost without syncs, which cannot be");
}

/// The process that the other tests trace; without their folder it has nothing to do.
#[test]
fn traced_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let durability = match std::env::var(DURABILITY).as_deref() {
        Ok("process") => Durability::Process,
        _ => Durability::Power,
    };
    let pattern = std::env::var(PATTERN).unwrap_or_default();
    let pattern = Pattern::ALL.into_iter().find(|known| known.word() == pattern).expect("it is told what to do");
    child::run(&Path::new(&folder).join("store"), durability, pattern, seed());
}

fn seed() -> u64 {
    number_from_env("BACKROOM_SEED").unwrap_or(0x5eed)
}

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// SplitMix64: enough to choose moments.
struct Random(u64);

impl Random {
    fn pick(&mut self, from: &[usize]) -> usize {
        from[usize::try_from(self.below(from.len() as u64)).expect("an index")]
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
