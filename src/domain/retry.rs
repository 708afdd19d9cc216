//! Whether and when a failed attempt is tried again (domain.md 4.4, with the corrections of design section 4).

use std::time::Duration;

use super::code;
use super::failure::{ErrorClass, Failure};
use super::hash;
use super::id::JobId;
use super::time::Timestamp;

/// How long throttling may go on before it counts an attempt.
pub const THROTTLE_CAP: Duration = Duration::from_secs(24 * 3_600);

/// A throttled attempt waits at least this long: it counts no attempt, so nothing else would slow it down.
pub const THROTTLE_WAIT_MIN: Duration = Duration::from_secs(1);

/// The least time for which a handler can put its job off without counting an attempt.
pub const PUT_OFF_MIN: Duration = Duration::from_secs(1);

/// A job ends after so many runs: each is a row that people can see, and more look like a handler that never comes to an end.
pub const RUNS_MAX: u32 = 10_000;

/// How often and how fast a job is tried again. Set per plug-in, with a host-wide default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// The longest wait after the first failure.
    pub base: Duration,
    /// What the wait is multiplied with from failure to failure.
    pub factor: u32,
    /// No wait is longer.
    pub cap: Duration,
    /// Whether a wall-clock timeout is tried again (T17) or final (T18).
    pub retry_timeouts: bool,
    /// Whether a user-fixable failure waits for a person (T12) or ends the job.
    pub hold_user_fixable: bool,
    /// Lost leases that a job survives; one more finalises it, because it kills its host (T19, T20).
    pub max_crashes: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            base: Duration::from_secs(15),
            factor: 4,
            cap: Duration::from_secs(3_600),
            retry_timeouts: true,
            hold_user_fixable: false,
            max_crashes: 2,
        }
    }
}

impl RetryPolicy {
    /// The longest wait after failure number `attempt` (1 for the first): `base * factor^(attempt - 1)`, at most `cap`.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let steps = attempt.saturating_sub(1);
        let multiplier = self.factor.max(1).checked_pow(steps).unwrap_or(u32::MAX);
        self.base.checked_mul(multiplier).unwrap_or(Duration::MAX).min(self.cap)
    }

    /// The wait after failure number `attempt` of `job`: a share of the ceiling between nothing and all of it. It is
    /// drawn from a hash of the two, so that jobs that failed together do not come back together, and a replay does
    /// the same again.
    pub fn delay(&self, attempt: u32, job: JobId) -> Duration {
        let ceiling = u64::try_from(self.ceiling(attempt).as_micros()).unwrap_or(u64::MAX);
        let share = u128::from(draw(job, attempt));
        let micros = (u128::from(ceiling) * share) >> 64;
        Duration::from_micros(u64::try_from(micros).unwrap_or(ceiling))
    }
}

/// Why an attempt did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause<'a> {
    /// The handler asked to be tried again, after a delay or by policy.
    Asked(Option<Duration>, &'a Failure),
    /// The handler returned an error or broke.
    Failed(&'a Failure),
    /// The wall-clock limit stopped it.
    TimedOut,
}

/// What is known of a job's earlier tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// The job.
    pub job: JobId,
    /// The attempt that has just ended.
    pub attempt: u32,
    /// Attempts in all.
    pub max_attempts: u32,
    /// Runs so far.
    pub runs: u32,
    /// Since when the present attempt has been throttled, if it was before.
    pub throttled_since: Option<Timestamp>,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Another attempt after this wait.
    NextAttempt(Duration),
    /// The same attempt after this wait: it was throttled.
    SameAttempt(Duration),
    /// A person must mend something first.
    Hold,
    /// Another attempt would end the same way.
    Final,
    /// Another attempt might help, but there is none left.
    Exhausted,
}

/// What follows from the failure `cause` at `now`.
pub fn decide(policy: &RetryPolicy, tries: &Tries, cause: Cause<'_>, now: Timestamp) -> Decision {
    match by_cause(policy, tries, cause, now) {
        Decision::Final => Decision::Final,
        _ if tries.runs >= RUNS_MAX => Decision::Exhausted,
        decision => decision,
    }
}

fn by_cause(policy: &RetryPolicy, tries: &Tries, cause: Cause<'_>, now: Timestamp) -> Decision {
    match cause {
        Cause::Asked(delay, failure) if failure.class == ErrorClass::Throttled => throttled(policy, tries, delay, now),
        Cause::Asked(delay, _) => again(policy, tries, delay),
        Cause::Failed(failure) => match class_of(failure) {
            ErrorClass::Transient => again(policy, tries, None),
            ErrorClass::Throttled => throttled(policy, tries, None, now),
            ErrorClass::UserFixable if policy.hold_user_fixable => Decision::Hold,
            ErrorClass::UserFixable | ErrorClass::Business | ErrorClass::Fatal => Decision::Final,
        },
        Cause::TimedOut if policy.retry_timeouts => again(policy, tries, None),
        Cause::TimedOut => Decision::Final,
    }
}

fn again(policy: &RetryPolicy, tries: &Tries, delay: Option<Duration>) -> Decision {
    if tries.attempt >= tries.max_attempts {
        return Decision::Exhausted;
    }
    Decision::NextAttempt(delay.unwrap_or_else(|| policy.delay(tries.attempt, tries.job)))
}

fn throttled(policy: &RetryPolicy, tries: &Tries, delay: Option<Duration>, now: Timestamp) -> Decision {
    let throttled_for = tries.throttled_since.map(|since| now.since(since)).unwrap_or_default();
    if throttled_for >= THROTTLE_CAP {
        return again(policy, tries, delay);
    }
    // The attempt stays the same while it is throttled, so the wait grows with the runs.
    let wait = delay.unwrap_or_else(|| policy.delay(tries.runs, tries.job));
    // Longer than the cap leaves, it would be uncounted for longer than a day.
    let left = THROTTLE_CAP.saturating_sub(throttled_for);
    Decision::SameAttempt(wait.min(left).max(THROTTLE_WAIT_MIN))
}

/// The class that counts: a used-up limit would be used up again, whatever class it was reported with, and a trap may
/// be worth another try (design section 4).
fn class_of(failure: &Failure) -> ErrorClass {
    const USED_UP: [code::Code; 5] =
        [code::OUT_OF_FUEL, code::OUT_OF_MEMORY, code::STACK_OVERFLOW, code::HOST_CALL_LIMIT, code::OUTPUT_TOO_LARGE];
    const BROKE: [code::Code; 2] = [code::GUEST_TRAP, code::GUEST_PANIC];
    let is_one_of = |codes: &[code::Code]| codes.iter().any(|code| failure.is(*code));
    match failure.class {
        // The host's fault is no try of the handler's: the same attempt goes on later, for a day at most (T10, T28, T56).
        _ if failure.is(code::HOST_FAULT) => ErrorClass::Throttled,
        _ if is_one_of(&USED_UP) => ErrorClass::Fatal,
        ErrorClass::Fatal if is_one_of(&BROKE) => ErrorClass::Transient,
        class => class,
    }
}

/// The draw for one failure of one job.
fn draw(job: JobId, attempt: u32) -> u64 {
    hash::even(job.0.as_bytes().iter().copied().chain(attempt.to_le_bytes()))
}
