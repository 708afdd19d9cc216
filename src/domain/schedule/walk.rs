//! The expansion of one rule on the clock of its zone, period by period (RFC 5545 section 3.3.10).
//!
//! A period is a year, month, week, day, hour, minute or second, as FREQ says. What a rule yields in one is a product
//! of days, hours, minutes and seconds, which is indexed and never written out; so a rule that yields every second of
//! a year needs no memory for it. A walk starts at the period that it is asked for, not at DTSTART, and jumps over
//! what BY parts rule out. It ends where the pattern of the rule has come round without a find: nothing is to come then,
//! however far apart the periods are. It gives up where its [`Budget`] does not reach as far.

use std::cell::Cell;
use std::rc::Rc;

use super::calendar::{Bits, DAY, Date, days_in_month, first_of_year, week_numbers, weekday};
use super::rule::{ByDay, Frequency, Rule};
use super::zone::LAST_SECOND;

/// After so many days, four hundred years, the calendar comes round, weekdays and numbers of weeks included.
const CALENDAR: i64 = 146_097;

/// How many periods are looked at from one occurrence of a recurrence to the next, by all its rules together. A rule of seconds
/// that is met once in thousands of years would otherwise keep a core busy for minutes.
const PERIODS_MAX: i64 = 1_000_000;

/// How many periods the rules of a recurrence may still look at, before their next occurrence is out of reach. They share it.
#[derive(Clone, Debug)]
pub(super) struct Budget(Rc<Cell<i64>>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Rc::new(Cell::new(PERIODS_MAX)))
    }

    /// There was an occurrence: it goes on from there.
    pub(super) fn renew(&self) {
        self.0.set(PERIODS_MAX);
    }

    /// Whether somebody wanted more than there was: what he did not find may be there all the same.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.0.get() < 0
    }

    /// Takes one period. Whether there was one left.
    fn spend(&self) -> bool {
        let left = self.0.get().saturating_sub(1);
        self.0.set(left);
        left >= 0
    }
}

/// A rule with its start: the parts that it leaves out are taken from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) rule: Rule,
    pub(super) start: i64,
    /// The first time that counts: times that the clock skipped just before the start lie after it.
    pub(super) first: i64,
    /// What is not found within so many seconds never comes.
    cycle: i64,
    month_days: Vec<i16>,
    months: Bits,
    /// Every such weekday.
    weekdays: Bits,
    /// Such weekdays of a month or year.
    nth_days: Vec<ByDay>,
    hours: Bits,
    minutes: Bits,
    seconds: Bits,
}

impl Plan {
    /// The plan of a rule that starts at `start` on the clock of its zone, with the times from `first` on.
    pub(super) fn new(rule: Rule, start: i64, first: i64) -> Self {
        let mut plan = Self { first, ..Self::with_defaults(rule, start) };
        plan.cycle = if plan.meets_a_time_of_day() { plan.cycle() } else { 0 };
        plan
    }

    fn with_defaults(rule: Rule, start: i64) -> Self {
        use Frequency::{Daily, Hourly, Minutely, Monthly, Secondly, Weekly, Yearly};
        let frequency = rule.frequency;
        let date = Date::of(start.div_euclid(DAY));
        let (hour, minute, second) = clock(start);
        let has_day_part =
            !(rule.weeks.is_empty() && rule.year_days.is_empty() && rule.month_days.is_empty() && rule.days.is_empty());
        let mut months = rule.months;
        let mut month_days = rule.month_days.clone();
        let mut weekdays = weekdays(&rule.days, |day| day.ordinal == 0);
        match frequency {
            Yearly if !has_day_part => {
                months = months.or_if_empty(Bits::one(date.month));
                month_days.push(i16::from(date.day));
            }
            Monthly if !has_day_part => month_days.push(i16::from(date.day)),
            Weekly if !has_day_part => weekdays = Bits::one(weekday(start.div_euclid(DAY))),
            Secondly | Minutely | Hourly | Daily | Weekly | Monthly | Yearly => {}
        }
        let or_start = |given: Bits, longest_that_limits, own, last| {
            given.or_if_empty(if frequency > longest_that_limits { Bits::one(own) } else { Bits::range(0, last) })
        };
        Self {
            start,
            first: start,
            cycle: 0,
            months: months.or_if_empty(Bits::range(1, 12)),
            month_days,
            weekdays,
            nth_days: rule.days.iter().copied().filter(|day| day.ordinal != 0).collect(),
            hours: or_start(rule.hours, Hourly, hour, 23),
            minutes: or_start(rule.minutes, Minutely, minute, 59),
            // A leap second is taken in the text and never occurs (domain.md 4.2).
            seconds: or_start(rule.seconds, Secondly, second, 59).and(Bits::range(0, 59)),
            rule,
        }
    }

    /// After how many seconds the pattern of the rule comes round: a whole number of its periods and of turns of the
    /// calendar.
    fn cycle(&self) -> i64 {
        let per_turn = match self.rule.frequency {
            Frequency::Secondly => CALENDAR * DAY,
            Frequency::Minutely => CALENDAR * 1_440,
            Frequency::Hourly => CALENDAR * 24,
            Frequency::Daily => CALENDAR,
            Frequency::Weekly => CALENDAR / 7,
            Frequency::Monthly => 4_800,
            Frequency::Yearly => 400,
        };
        let interval = i64::from(self.rule.interval);
        let turns = interval / greatest_common_divisor(interval, per_turn);
        turns.saturating_mul(CALENDAR * DAY)
    }

    /// Whether INTERVAL ever reaches one of the times of a day, where periods are shorter than one. Those that come up are
    /// as far from each other as the greatest common divisor says, on whatever day.
    fn meets_a_time_of_day(&self) -> bool {
        if self.seconds.is_empty() {
            return false;
        }
        let (hour, minute, second) = clock(self.start);
        let [hour, minute, second] = [hour, minute, second].map(i64::from);
        let interval = i64::from(self.rule.interval);
        let meets =
            |value: i64, start: i64, in_a_day: i64| (value - start) % greatest_common_divisor(interval, in_a_day) == 0;
        let mut minutes = self.hours.iter().flat_map(|hour| self.minutes.iter().map(move |minute| (hour, minute)));
        match self.rule.frequency {
            Frequency::Hourly => self.hours.iter().any(|value| meets(value.into(), hour, 24)),
            Frequency::Minutely => {
                minutes.any(|(h, m)| meets(i64::from(h) * 60 + i64::from(m), hour * 60 + minute, 1_440))
            }
            Frequency::Secondly => {
                let start = hour * 3_600 + minute * 60 + second;
                let at = |(h, m)| i64::from(h) * 3_600 + i64::from(m) * 60;
                minutes.any(|time: (u8, u8)| self.seconds.iter().any(|s| meets(at(time) + i64::from(s), start, DAY)))
            }
            Frequency::Daily | Frequency::Weekly | Frequency::Monthly | Frequency::Yearly => true,
        }
    }

    /// The number of the period that a time lies in.
    fn period_of(&self, local: i64) -> i64 {
        let day = local.div_euclid(DAY);
        match self.rule.frequency {
            Frequency::Secondly => local,
            Frequency::Minutely => local.div_euclid(60),
            Frequency::Hourly => local.div_euclid(3_600),
            Frequency::Daily => day,
            // Day 0 was a Thursday: shifted so that weeks change where they start.
            Frequency::Weekly => (day + 3 - i64::from(self.rule.week_start)).div_euclid(7),
            Frequency::Monthly => month_index(Date::of(day)),
            Frequency::Yearly => Date::of(day).year,
        }
    }

    /// The first second of a period.
    fn first_of(&self, period: i64) -> i64 {
        match self.rule.frequency {
            Frequency::Secondly => period,
            Frequency::Minutely => period * 60,
            Frequency::Hourly => period * 3_600,
            Frequency::Daily => period * DAY,
            Frequency::Weekly => (period * 7 - 3 + i64::from(self.rule.week_start)) * DAY,
            Frequency::Monthly => first_of_month(period) * DAY,
            Frequency::Yearly => first_of_year(period) * DAY,
        }
    }

    /// The first period at or after the one of `local` that INTERVAL counts, from that of the start.
    fn aligned(&self, local: i64) -> i64 {
        let base = self.period_of(self.start);
        let interval = i64::from(self.rule.interval);
        let ahead = self.period_of(local) - base;
        base + (ahead + interval - 1).div_euclid(interval) * interval
    }

    /// What the rule yields in a period, before the start and the end are looked at. Of an empty period, a time before
    /// which there is nothing else may come back.
    fn fill(&self, period: i64, set: &mut Set) -> Option<i64> {
        set.days.clear();
        set.picks.clear();
        (set.hours, set.minutes, set.seconds) = (self.hours, self.minutes, self.seconds);
        let first = self.first_of(period);
        let day = first.div_euclid(DAY);
        let end = match self.rule.frequency {
            Frequency::Weekly => day + 7,
            Frequency::Monthly => first_of_month(period + 1),
            Frequency::Yearly => first_of_year(period + 1),
            _ => day + 1,
        };
        match self.rule.frequency {
            Frequency::Yearly => {
                let firsts = self.months.iter().map(|month| Date { year: period, month, day: 1 });
                let days =
                    firsts.flat_map(|first| first.number()..first.number() + days_in_month(first.year, first.month));
                set.days.extend(days.filter(|day| self.takes_day(*day)));
            }
            _ => set.days.extend((day..end).filter(|day| self.takes_day(*day))),
        }
        if set.days.is_empty() {
            let date = Date::of(day);
            let is_month_ruled_out = end == day + 1 && !self.months.has(date.month);
            return Some(if is_month_ruled_out { first_of_month(month_index(date) + 1) } else { end } * DAY);
        }
        if let Some(later) = self.narrow(first, set) {
            set.days.clear();
            return Some(later);
        }
        set.pick(&self.rule.positions);
        None
    }

    /// Narrows the times of a day to the period that starts at `first`, where it is shorter than a day; or says from
    /// when on another may fit.
    fn narrow(&self, first: i64, set: &mut Set) -> Option<i64> {
        let (hour, minute, second) = clock(first);
        let levels: [(Frequency, &mut Bits, u8, i64); 3] = [
            (Frequency::Hourly, &mut set.hours, hour, 3_600),
            (Frequency::Minutely, &mut set.minutes, minute, 60),
            (Frequency::Secondly, &mut set.seconds, second, 1),
        ];
        let mut around = DAY;
        for (frequency, values, value, unit) in levels {
            if self.rule.frequency > frequency {
                return None;
            }
            if !values.has(value) {
                let base = first.div_euclid(around) * around;
                return Some(values.above(value).map_or(base + around, |next| base + i64::from(next) * unit));
            }
            *values = Bits::one(value);
            around = unit;
        }
        None
    }

    /// Whether the parts that speak of days take a day.
    fn takes_day(&self, number: i64) -> bool {
        let date = Date::of(number);
        let rule = &self.rule;
        self.months.has(date.month)
            && (self.month_days.is_empty() || either(&self.month_days, in_month(date)))
            && (rule.year_days.is_empty() || either(&rule.year_days, in_year(number, date)))
            && (rule.weeks.is_empty() || either(&rule.weeks, week_numbers(number, rule.week_start)))
            && self.takes_weekday(number, date)
    }

    fn takes_weekday(&self, number: i64, date: Date) -> bool {
        if self.weekdays.is_empty() && self.nth_days.is_empty() {
            return true;
        }
        let weekday = weekday(number);
        if self.weekdays.has(weekday) {
            return true;
        }
        let of_month = self.rule.frequency == Frequency::Monthly || !self.rule.months.is_empty();
        let (front, back) = if of_month { in_month(date) } else { in_year(number, date) };
        let (front, back) = ((front + 6) / 7, (back - 6) / 7);
        self.nth_days.iter().any(|day| day.weekday == weekday && [front, back].contains(&i64::from(day.ordinal)))
    }
}

fn weekdays(days: &[ByDay], which: impl Fn(&ByDay) -> bool) -> Bits {
    days.iter().filter(|day| which(day)).fold(Bits::EMPTY, |all, day| all.with(day.weekday))
}

fn clock(local: i64) -> (u8, u8, u8) {
    let time = local.rem_euclid(DAY);
    ((time / 3_600) as u8, (time / 60 % 60) as u8, (time % 60) as u8)
}

fn month_index(date: Date) -> i64 {
    date.year * 12 + i64::from(date.month) - 1
}

fn first_of_month(index: i64) -> i64 {
    Date { year: index.div_euclid(12), month: index.rem_euclid(12) as u8 + 1, day: 1 }.number()
}

/// A day's number in its month, from the front and from the back.
fn in_month(date: Date) -> (i64, i64) {
    let day = i64::from(date.day);
    (day, day - days_in_month(date.year, date.month) - 1)
}

/// A day's number in its year, from the front and from the back.
fn in_year(number: i64, date: Date) -> (i64, i64) {
    (number - first_of_year(date.year) + 1, number - first_of_year(date.year + 1))
}

fn either(values: &[i16], (front, back): (i64, i64)) -> bool {
    let has = |value: i64| i16::try_from(value).is_ok_and(|value| values.binary_search(&value).is_ok());
    has(front) || has(back)
}

/// What a rule yields in one period: every day with every hour, minute and second, in order; or of these the ones that
/// BYSETPOS picks.
#[derive(Debug, Default)]
struct Set {
    days: Vec<i64>,
    hours: Bits,
    minutes: Bits,
    seconds: Bits,
    is_picked: bool,
    picks: Vec<usize>,
}

impl Set {
    fn all(&self) -> usize {
        self.days.len() * self.hours.len() * self.minutes.len() * self.seconds.len()
    }

    fn len(&self) -> usize {
        if self.is_picked { self.picks.len() } else { self.all() }
    }

    fn pick(&mut self, positions: &[i16]) {
        let all = self.all();
        self.is_picked = !positions.is_empty();
        let index = |position: &i16| match usize::from(position.unsigned_abs()) {
            from_front if *position > 0 => Some(from_front - 1).filter(|index| *index < all),
            from_back => all.checked_sub(from_back),
        };
        self.picks.extend(positions.iter().filter_map(index));
        self.picks.sort_unstable();
        self.picks.dedup();
    }

    /// Element `index` of those below [`Self::len`].
    fn get(&self, index: usize) -> i64 {
        let index = if self.is_picked { self.picks[index] } else { index };
        let (index, second) = (index / self.seconds.len(), self.seconds.nth(index % self.seconds.len()));
        let (index, minute) = (index / self.minutes.len(), self.minutes.nth(index % self.minutes.len()));
        let (index, hour) = (index / self.hours.len(), self.hours.nth(index % self.hours.len()));
        self.days[index] * DAY + i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second)
    }

    /// The index of the first element at or after `local`.
    fn index_from(&self, local: i64) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.get(middle) < local {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The occurrences of a rule on the clock of its zone, in order.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    plan: &'a Plan,
    set: Set,
    at: usize,
    next_period: i64,
    from: i64,
    end: i64,
    /// Nothing comes behind this: the last find and a whole cycle.
    horizon: i64,
    periods: u32,
    budget: Budget,
}

impl<'a> Walk<'a> {
    /// The occurrences from `from` to `until`, both included.
    pub(super) fn new(plan: &'a Plan, from: i64, until: i64, budget: Budget) -> Self {
        let from = from.max(plan.first).min(LAST_SECOND);
        Self {
            plan,
            set: Set::default(),
            at: 0,
            next_period: plan.aligned(from),
            from,
            end: until.min(LAST_SECOND),
            horizon: from.saturating_add(plan.cycle),
            periods: 0,
            budget,
        }
    }

    /// How many periods were looked at.
    pub(super) fn periods(&self) -> u32 {
        self.periods
    }

    /// The next occurrence, which is kept.
    pub(super) fn peek(&mut self) -> Option<i64> {
        if self.at >= self.set.len() && !self.load() {
            return None;
        }
        Some(self.set.get(self.at)).filter(|local| *local <= self.end)
    }

    /// Passes over occurrences before `end`, at most `most`, of one period: how many, and the last of them.
    pub(super) fn pass(&mut self, end: i64, most: usize) -> Option<(usize, i64)> {
        self.peek().filter(|local| *local < end)?;
        let count = (self.set.index_from(end) - self.at).min(most);
        self.at += count;
        let last = self.set.get(self.at - 1);
        self.horizon = last.saturating_add(self.plan.cycle);
        Some((count, last))
    }

    /// Goes to the next period that yields something. Whether there is one.
    fn load(&mut self) -> bool {
        while self.plan.first_of(self.next_period) <= self.end.min(self.horizon) && self.budget.spend() {
            self.periods = self.periods.saturating_add(1);
            let later = self.plan.fill(self.next_period, &mut self.set);
            let following = self.next_period + i64::from(self.plan.rule.interval);
            self.next_period = later.map_or(following, |local| self.plan.aligned(local).max(following));
            self.at = self.set.index_from(self.from);
            if self.at < self.set.len() {
                return true;
            }
        }
        false
    }
}

impl Iterator for Walk<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        let local = self.peek()?;
        self.at += 1;
        self.horizon = local.saturating_add(self.plan.cycle);
        Some(local)
    }
}
