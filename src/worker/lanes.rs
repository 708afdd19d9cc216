//! The lanes of ready jobs that the window holds: which of them may give a job next, and which want more from the store.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::admission::Admission;
use crate::domain::id::Sequence;
use crate::domain::job::{Job, Rank, Status};
use crate::domain::queue::Lane;

/// How many jobs are held at most in all lanes without a key together: some tenths of a second of work for a fast host, some
/// megabytes.
const JOBS_MAX: usize = 16_384;

/// How many jobs such a lane holds at most, and may hold however many there are.
const LANE_JOBS_MAX: usize = 8_192;
const LANE_JOBS_MIN: usize = 32;

/// How many jobs the lane of a concurrency key holds: only so many run at a time anyway.
const KEYED_LANE_JOBS: usize = 8;

/// How many lanes are held. There may be as many as there are concurrency keys; the others are on disk until their turn.
const LANES_MAX: usize = 8_192;

/// The place of a job in its lane.
pub(super) type Place = (Rank, Sequence);

/// What is held of a lane.
#[derive(Default)]
struct Waiting {
    ready: BTreeMap<Place, Job>,
    /// Whether the store holds ready jobs of this lane that sort behind the last one here.
    more_on_disk: bool,
    /// Whether a job was left to the store since the last look at it: that look may be too old to know the job.
    left_since_look: bool,
    /// The place under which it is in [`Lanes::open`].
    open_at: Option<Place>,
}

/// See the module.
pub(super) struct Lanes {
    lanes: BTreeMap<Lane, Waiting>,
    /// How many lanes have no key.
    unkeyed: usize,
    /// Those that hold jobs and whose key may start one, by their pool and their first job.
    open: BTreeMap<Lane, BTreeMap<Place, Lane>>,
    /// Those whose key has as many runs as it may, by that key in its pools.
    full: BTreeMap<Lane, BTreeSet<Lane>>,
    /// Those that should be filled up.
    short: BTreeSet<Lane>,
    /// Whether the store may hold lanes that are not known here: at the start, and when there were too many.
    unknown: bool,
    /// Behind which lane the next look at the store goes on.
    looked_up_to: Option<Lane>,
}

impl Lanes {
    /// None, but the store may have some.
    pub(super) fn new() -> Self {
        Self {
            lanes: BTreeMap::new(),
            unkeyed: 0,
            open: BTreeMap::new(),
            full: BTreeMap::new(),
            short: BTreeSet::new(),
            unknown: true,
            looked_up_to: None,
        }
    }

    /// Puts those lanes aside that would come first, but whose key has become full by the starts of another queue.
    pub(super) fn put_full_aside(&mut self, admission: &Admission) {
        loop {
            let full = self.firsts().map(|(_, lane)| lane).find(|lane| admission.is_key_full(lane)).cloned();
            match full {
                Some(lane) => self.settle(&lane, admission),
                None => return,
            }
        }
    }

    /// The first job of each pool of lanes that holds any whose key may start one.
    pub(super) fn firsts(&self) -> impl Iterator<Item = (Place, &Lane)> {
        self.open.values().filter_map(|open| open.first_key_value().map(|(place, lane)| (*place, lane)))
    }

    /// Takes a ready job, unless it sorts behind jobs that are only on disk.
    pub(super) fn offer(&mut self, job: Job, admission: &Admission) {
        if job.state.status != Status::Queued {
            return;
        }
        let lane = Lane::of(&job.submission);
        if !self.lanes.contains_key(&lane) && self.lanes.len() >= LANES_MAX {
            self.unknown = true;
            return;
        }
        let room = self.room(&lane);
        self.waiting(&lane).offer(job, room);
        self.settle(&lane, admission);
    }

    /// Gives out the first job of a lane. Called once `admission` knows that it starts.
    pub(super) fn pop(&mut self, lane: &Lane, admission: &Admission) -> Option<Job> {
        let job = self.lanes.get_mut(lane)?.ready.pop_first()?.1;
        self.settle(lane, admission);
        Some(job)
    }

    /// A job of the lane's key has ended, as `admission` knows: others may start.
    pub(super) fn freed(&mut self, lane: &Lane, admission: &Admission) {
        for lane in self.full.remove(&lane.in_any_queue()).into_iter().flatten() {
            self.settle(&lane, admission);
        }
    }

    /// Puts in what the store knows to be ready of a lane, read with `limit`. True when the store should be looked at again.
    pub(super) fn refill(&mut self, lane: &Lane, ready: Vec<Job>, limit: usize, admission: &Admission) -> bool {
        let waiting = self.waiting(lane);
        let look_again = waiting.left_since_look;
        waiting.more_on_disk = ready.len() >= limit || look_again;
        ready.into_iter().for_each(|job| waiting.insert(job, limit));
        self.settle(lane, admission);
        look_again
    }

    /// The lanes that should be filled up, and to how many jobs. Called right before the store is read.
    pub(super) fn wanted(&mut self) -> Vec<(Lane, usize)> {
        let short: Vec<Lane> = self.short.iter().cloned().collect();
        for lane in &short {
            self.waiting(lane).left_since_look = false;
        }
        short.into_iter().map(|lane| (lane.clone(), self.room(&lane))).collect()
    }

    /// Whether the scheduler should look after them.
    pub(super) fn is_short(&self) -> bool {
        !self.short.is_empty() || self.wants_lanes()
    }

    /// Whether there may be lanes that are only on disk, and room for them.
    pub(super) fn wants_lanes(&self) -> bool {
        self.unknown && self.lanes.len() <= LANES_MAX / 2
    }

    /// Behind which lane of the store's order to look for others, and how many of them.
    pub(super) fn next_look(&self) -> (Option<Lane>, usize) {
        (self.looked_up_to.clone(), LANES_MAX)
    }

    /// Takes the lanes that the store has behind the last look. Those that come later come by the feed.
    pub(super) fn note(&mut self, found: Vec<Lane>, admission: &Admission) {
        let began_at_the_first = self.looked_up_to.is_none();
        let is_all = found.len() < LANES_MAX;
        for lane in found {
            if self.lanes.len() >= LANES_MAX {
                return;
            }
            self.waiting(&lane).more_on_disk = true;
            self.settle(&lane, admission);
            self.looked_up_to = Some(lane);
        }
        if is_all {
            self.looked_up_to = None;
            self.unknown = !began_at_the_first;
        }
    }

    /// All jobs that are held.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.lanes.values().flat_map(|waiting| waiting.ready.values())
    }

    /// How many jobs of its lane are known to start before each of these. A lane is walked through once, however many of them
    /// are in it.
    pub(super) fn ahead_of(&self, jobs: &[Job]) -> Vec<usize> {
        let mut places: BTreeMap<Lane, Vec<(Place, usize)>> = BTreeMap::new();
        for (index, job) in jobs.iter().enumerate() {
            places.entry(Lane::of(&job.submission)).or_default().push((place(job), index));
        }
        let mut ahead = vec![0; jobs.len()];
        for (lane, mut places) in places {
            let Some(waiting) = self.lanes.get(&lane) else { continue };
            places.sort_unstable();
            let (mut ready, mut before) = (waiting.ready.keys().peekable(), 0);
            for (place, index) in places {
                while ready.next_if(|other| **other < place).is_some() {
                    before += 1;
                }
                ahead[index] = before;
            }
        }
        ahead
    }

    /// How many jobs a lane may hold.
    fn room(&self, lane: &Lane) -> usize {
        match lane.key {
            Some(_) => KEYED_LANE_JOBS,
            None => (JOBS_MAX / self.unkeyed.max(1)).clamp(LANE_JOBS_MIN, LANE_JOBS_MAX),
        }
    }

    fn waiting(&mut self, lane: &Lane) -> &mut Waiting {
        if !self.lanes.contains_key(lane) {
            self.unkeyed += usize::from(lane.key.is_none());
        }
        let more_on_disk = self.unknown;
        self.lanes.entry(lane.clone()).or_insert_with(|| Waiting { more_on_disk, ..Waiting::default() })
    }

    /// Brings what is known of a lane up to what it holds. One that holds nothing is forgotten.
    fn settle(&mut self, lane: &Lane, admission: &Admission) {
        let room = self.room(lane);
        let Some(waiting) = self.lanes.get_mut(lane) else { return };
        let first = waiting.ready.first_key_value().map(|(place, _)| *place);
        let is_full = first.is_some() && admission.is_key_full(lane);
        if is_full {
            self.full.entry(lane.in_any_queue()).or_default().insert(lane.clone());
        }
        let (before, open_at) = (waiting.open_at, first.filter(|_| !is_full));
        waiting.open_at = open_at;
        let (is_short, is_idle) = (waiting.is_short(room), waiting.is_idle());
        self.move_in_pool(lane, before, open_at);
        match is_short {
            true => self.short.insert(lane.clone()),
            false => self.short.remove(lane),
        };
        if is_idle {
            self.lanes.remove(lane);
            self.unkeyed -= usize::from(lane.key.is_none());
        }
    }

    fn move_in_pool(&mut self, lane: &Lane, from: Option<Place>, to: Option<Place>) {
        if from == to {
            return;
        }
        let open = self.open.entry(lane.of_any_key()).or_default();
        if let Some(from) = from {
            open.remove(&from);
        }
        if let Some(to) = to {
            open.insert(to, lane.clone());
        }
        if open.is_empty() {
            self.open.remove(&lane.of_any_key());
        }
    }
}

impl Waiting {
    fn is_short(&self, room: usize) -> bool {
        self.more_on_disk && self.ready.len() < room / 4
    }

    fn is_idle(&self) -> bool {
        self.ready.is_empty() && !self.more_on_disk
    }

    fn offer(&mut self, job: Job, room: usize) {
        let sorts_last = self.ready.last_key_value().is_none_or(|(last, _)| place(&job) > *last);
        if self.more_on_disk && sorts_last {
            self.left_since_look = true;
            return;
        }
        self.insert(job, room);
    }

    fn insert(&mut self, job: Job, room: usize) {
        self.ready.insert(place(&job), job);
        if self.ready.len() > room {
            self.ready.pop_last();
            self.more_on_disk = true;
            self.left_since_look = true;
        }
    }
}

fn place(job: &Job) -> Place {
    (job.submission.rank(), job.submission.key().sequence)
}
