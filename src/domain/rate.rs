//! How many attempts may start in a time: a token bucket, kept as the one instant of the generic cell rate algorithm.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::time::Timestamp;

/// The units of a period, in milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest period.
const PER_MAX: Duration = Duration::from_secs(31 * 86_400);

/// The largest burst.
const BURST_MAX: u32 = 1_000_000;

/// The time whose starts make the default burst: about what a host may be late by, so that the full rate is reached.
const LATENESS: Duration = Duration::from_millis(100);

/// At most so many starts in a time, evenly spread, and at most so many at once. Written `100/s`, `10/min`, `5/2h` or
/// `100/s burst 20`; the units are `ms`, `s`, `min`, `h` and `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateLimit {
    starts: u32,
    per: Duration,
    burst: u32,
}

/// What is wrong with a rate limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRate {
    /// It does not have the form of one.
    #[error("`{0}` is not a rate: write for example `100/s`, `10/min`, `5/2h` or `100/s burst 20`")]
    Form(String),
    /// The number before the `/` is none, or is zero.
    #[error("`{0}` is not a number of starts: it must be a whole number from 1 to 4294967295")]
    Starts(String),
    /// What follows the `/` is not a period.
    #[error("`{0}` is not a period: it must be ms, s, min, h or d, with a whole number before it if it is not one")]
    Period(String),
    /// The period is zero, too long, or not in whole milliseconds.
    #[error("a period of {0:?} is not possible: it must be whole milliseconds, from 1 ms to 31 d")]
    PeriodRange(Duration),
    /// More than one start per microsecond.
    #[error("{starts} starts in {per:?} are too many: at most one in a microsecond can be told apart")]
    TooFast {
        /// The starts.
        starts: u32,
        /// The period.
        per: Duration,
    },
    /// The number after `burst` is none, or out of range.
    #[error("`{0}` is not a burst: it must be a whole number from 1 to 1000000")]
    Burst(String),
}

impl RateLimit {
    /// `starts` in each `per`, with the default burst: what the rate gives in 100 ms, at least one.
    pub fn new(starts: u32, per: Duration) -> Result<Self, InvalidRate> {
        if starts == 0 {
            return Err(InvalidRate::Starts(starts.to_string()));
        }
        if per.is_zero() || per > PER_MAX || !per.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(InvalidRate::PeriodRange(per));
        }
        if per.as_micros() < u128::from(starts) {
            return Err(InvalidRate::TooFast { starts, per });
        }
        Ok(Self { starts, per, burst: default_burst(starts, per) })
    }

    /// The same rate with `burst` starts at once after a rest, 1 to 1,000,000.
    pub fn with_burst(self, burst: u32) -> Result<Self, InvalidRate> {
        if (1..=BURST_MAX).contains(&burst) {
            Ok(Self { burst, ..self })
        } else {
            Err(InvalidRate::Burst(burst.to_string()))
        }
    }

    /// Starts in each period.
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// The period.
    pub fn per(&self) -> Duration {
        self.per
    }

    /// How many may start at once after a rest.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// From one start to the next at the full rate, in nanoseconds, rounded up so that the limit holds.
    fn interval(&self) -> i128 {
        nanos(self.per).saturating_add(i128::from(self.starts) - 1) / i128::from(self.starts)
    }

    /// How long after a full use of the burst all of it is there again, in nanoseconds.
    fn refill(&self) -> i128 {
        self.interval() * i128::from(self.burst)
    }
}

fn default_burst(starts: u32, per: Duration) -> u32 {
    let burst = u128::from(starts) * LATENESS.as_millis() / per.as_millis().max(1);
    u32::try_from(burst).unwrap_or(BURST_MAX).clamp(1, BURST_MAX.min(starts.max(1)))
}

fn nanos(span: Duration) -> i128 {
    i128::try_from(span.as_nanos()).unwrap_or(i128::MAX)
}

impl fmt::Display for RateLimit {
    /// The shortest text that reads back as the same limit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.per.as_millis()).unwrap_or(u64::MAX);
        let (unit, length) =
            UNITS.iter().find(|(_, length)| millis.is_multiple_of(*length)).copied().unwrap_or(("ms", 1));
        write!(f, "{}/", self.starts)?;
        if millis != length {
            write!(f, "{}", millis / length)?;
        }
        f.write_str(unit)?;
        if self.burst != default_burst(self.starts, self.per) {
            write!(f, " burst {}", self.burst)?;
        }
        Ok(())
    }
}

impl FromStr for RateLimit {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = text.split_whitespace().take(4).collect();
        let (rate, burst) = match words[..] {
            [rate] => (rate, None),
            [rate, "burst", burst] => (rate, Some(burst)),
            _ => return Err(InvalidRate::Form(cut(text))),
        };
        let (starts, per) = rate.split_once('/').ok_or_else(|| InvalidRate::Form(cut(text)))?;
        let starts = number(starts).ok_or_else(|| InvalidRate::Starts(cut(starts)))?;
        let limit = Self::new(starts, parse_period(per)?)?;
        match burst {
            Some(burst) => limit.with_burst(number(burst).ok_or_else(|| InvalidRate::Burst(cut(burst)))?),
            None => Ok(limit),
        }
    }
}

fn parse_period(text: &str) -> Result<Duration, InvalidRate> {
    let wrong = || InvalidRate::Period(cut(text));
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (count, unit) = text.split_at(unit_at);
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let count = if count.is_empty() { 1 } else { number(count).ok_or_else(wrong)? };
    Ok(Duration::from_millis(length.saturating_mul(u64::from(count))))
}

/// Digits and nothing else: no sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Enough of a wrong text to recognise it by.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// What has started lately under one limit. New, it allows a whole burst.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When all of the burst is there again, in nanoseconds since the Unix epoch; nothing has started yet if there is
    /// none. Nanoseconds, because the interval of many rates is no whole number of microseconds.
    full_on: Option<i128>,
    /// When the last one was taken.
    taken_on: Option<Timestamp>,
}

impl Bucket {
    /// Whether one may start at `now`; if not, when.
    ///
    /// A limit that was just raised, or a clock that was set back by more than a period, leaves a bucket that no starts
    /// can have emptied so far: it counts as empty but for the one start that is asked for.
    pub fn next(&self, limit: &RateLimit, now: Timestamp) -> Result<(), Timestamp> {
        let now = in_nanos(now);
        let Some(full_on) = self.full_on.filter(|full_on| !is_out_of_reach(*full_on, limit, now)) else {
            return Ok(());
        };
        let next = full_on - limit.refill() + limit.interval();
        if now >= next { Ok(()) } else { Err(in_micros(next)) }
    }

    /// One starts at `now`. It counts even where [`Self::next`] refuses it, but makes nobody wait for more than an empty
    /// bucket.
    pub fn take(&mut self, limit: &RateLimit, now: Timestamp) {
        self.taken_on = Some(now);
        let now = in_nanos(now);
        let full_on = self.full_on.unwrap_or(now).max(now);
        let emptied_on = now + limit.refill();
        let counts = !is_out_of_reach(full_on, limit, now);
        let after = full_on + limit.interval();
        // Within a period of the past, the clock may have gone back a little: what was taken stays taken.
        self.full_on = Some(if counts { after.min(emptied_on.max(full_on)) } else { emptied_on });
    }

    /// One that was taken at `taken_on` did not start after all. It is given back unless another was taken later: that one
    /// may already owe its start to what has flowed in since.
    pub fn untake(&mut self, limit: &RateLimit, taken_on: Timestamp) {
        if self.taken_on == Some(taken_on) {
            self.full_on = self.full_on.map(|full_on| full_on - limit.interval());
        }
    }
}

/// Whether the bucket would be full later than a period after the latest that starts up to `now` can have caused.
fn is_out_of_reach(full_on: i128, limit: &RateLimit, now: i128) -> bool {
    full_on > now + limit.refill() + nanos(limit.per)
}

fn in_nanos(at: Timestamp) -> i128 {
    i128::from(at.as_micros()) * 1_000
}

/// The first microsecond that is not before `nanos`.
fn in_micros(nanos: i128) -> Timestamp {
    let micros = nanos.div_euclid(1_000) + i128::from(nanos.rem_euclid(1_000) > 0);
    Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
}
