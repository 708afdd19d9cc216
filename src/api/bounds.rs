//! Bounds of what callers send: kept where a request is read, and told in the description of the API.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How important a job may be.
pub(super) const PRIORITIES: RangeInclusive<i64> = -100..=100;

/// How often a job may be tried.
pub(super) const ATTEMPTS: RangeInclusive<u64> = 1..=1_000;

/// The longest display name, in characters.
pub(super) const NAME_CHARS_MAX: usize = 256;

/// The most tags of a job, and the longest, in characters.
pub(super) const TAGS_MAX: usize = 20;
pub(super) const TAG_CHARS_MAX: usize = 64;

/// The longest text that is looked for, in characters.
pub(super) const SOUGHT_CHARS_MAX: usize = 256;

/// The most arguments and the most environment variables of a command, and the bytes of both together.
pub(super) const ENTRIES_MAX: usize = 64;
pub(super) const ENTRY_BYTES_MAX: usize = 32 << 10;

/// The longest reason, in characters.
pub(super) const REASON_CHARS_MAX: usize = 1_000;

/// The farthest that a time may lie ahead when it is given as a duration.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

/// A deadline is shorter than this: a run that may take a day and more has no use for one.
pub(super) const DEADLINE_END: Duration = Duration::from_secs(86_400);

/// A job waits no longer for its start: a century.
pub(super) const EXPIRES_AFTER_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

/// The longest wait for a job's end, and the one of a caller who names none.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);

/// The longest name or URL of what follows a batch, in bytes: it stands in an address.
pub(super) const FOLLOWING_BYTES_MAX: usize = 2 << 10;

/// How many jobs a page holds when nothing is said, and how many it may hold.
pub(super) const PAGE_JOBS: u64 = 50;
pub(super) const PAGE_JOBS_MAX: u64 = 200;

/// How many groups of failures are told of when nothing is said, and how many may be.
pub(super) const GROUPS: u64 = 50;
pub(super) const GROUPS_MAX: u64 = 200;

/// How many jobs one call of a bulk action deals with when nothing is said, and how many it may.
pub(super) const ACTIONS: u64 = 1_000;
pub(super) const ACTIONS_MAX: u64 = 10_000;

/// The longest key of a plug-in's configuration and its longest value, in bytes.
pub(super) const CONFIG_KEY_BYTES_MAX: usize = 256;
pub(super) const CONFIG_VALUE_BYTES_MAX: usize = 16 << 10;

/// The largest manifest, in bytes of TOML.
pub(super) const MANIFEST_BYTES_MAX: usize = 16 << 10;
