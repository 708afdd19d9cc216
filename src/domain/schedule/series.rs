//! The instants of one rule: what it yields on the clock of a zone, over the changes of that clock.
//!
//! RFC 5545 says two things of times that the clock skips: one that is written down counts with the offset before the gap
//! (section 3.3.5), and one that a rule yields is left out and not counted (section 3.3.10). We differ from the second and
//! let the first hold for rules as well: a nightly job that is left out is worse than one that runs an hour off. Where the
//! shifted time is one that the rule yields anyway, both are one occurrence, and COUNT counts it once.

use std::collections::BTreeSet;

use super::calendar::DAY;
use super::error::RuleError;
use super::moment::{Kind, Moment};
use super::rule::{End, Rule};
use super::walk::{Budget, Plan, Walk};
use super::zone::{CHANGE_MAX, Gap, LAST_SECOND, Placed, Zone};

/// Periods that are looked at to find where COUNT ends a rule, at most.
const COUNT_PERIODS_MAX: u32 = 200_000;

/// Which instants of a time of the clock are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Times {
    /// One: the first of a time that comes twice, and of a skipped one, that after the gap.
    #[default]
    Once,
    /// The same, whenever it starts: cron texts of fixed times take nothing from their start, so that a later start yields the
    /// rest of what an earlier one yields. A rule compares the time of the clock with that of its start.
    OnceFromAnyStart,
    /// All at which the clock shows it: both of a time that comes twice, and none of a skipped one. So run cron texts with
    /// a star: on in real time, whatever the clock does.
    AsShown,
}

/// One rule with its start and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series {
    plan: Plan,
    times: Times,
    /// The instant that it starts at.
    start: i64,
    /// Nothing comes after this instant, ...
    last: i64,
    /// ... nor from a later time of the clock than this.
    last_local: i64,
    /// Whether the years that are reckoned with end before COUNT does.
    is_cut_off: bool,
}

impl Series {
    /// A rule from `start` on; to the end that it says.
    pub(super) fn new(rule: Rule, times: Times, start: Moment, zone: &Zone) -> Result<Self, RuleError> {
        rule.check_until(start.kind == Kind::Date, !zone.is_utc())?;
        let end = rule.end;
        let endless = Self::endless(rule, times, start, zone);
        let mut is_cut_off = false;
        let (last, last_local) = match end {
            End::Never => return Ok(endless),
            End::Count(count) => {
                let (last, missing) = endless.number(count, zone)?;
                is_cut_off = missing > 0 && last >= endless.start;
                (last, last.saturating_add(CHANGE_MAX + DAY))
            }
            // A day ends with its last second on the clock, whenever that comes.
            End::Until(until) if until.kind == Kind::Date => (LAST_SECOND, until.second + DAY - 1),
            End::Until(until) => (until.instant(zone), until.local(zone) + CHANGE_MAX),
        };
        Ok(Self { last, last_local: last_local.min(LAST_SECOND), is_cut_off, ..endless })
    }

    /// A rule from `start` on, whatever end it says.
    fn endless(rule: Rule, times: Times, start: Moment, zone: &Zone) -> Self {
        let (instant, local) = (start.instant(zone), start.local(zone));
        let first = match times {
            Times::Once => local,
            Times::OnceFromAnyStart => zone.earliest_skipped(instant),
            Times::AsShown => zone.earliest_local(instant),
        };
        let plan = Plan::new(rule, local, first.min(local));
        Self { plan, times, start: instant, last: LAST_SECOND, last_local: LAST_SECOND, is_cut_off: false }
    }

    pub(super) fn rule(&self) -> &Rule {
        &self.plan.rule
    }

    /// Whether it ends with the year 9999 although its COUNT says otherwise.
    pub(super) fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    pub(super) fn times(&self) -> Times {
        self.times
    }

    /// The instants from `from` to `until`, both included; as many as are found within `budget`.
    pub(super) fn instants<'a>(&'a self, zone: &'a Zone, from: i64, until: i64, budget: &Budget) -> Instants<'a> {
        let (from, until) = (from.max(self.start), until.min(self.last));
        let last_local = self.last_local.min(zone.local(until).saturating_add(CHANGE_MAX));
        let walk = Walk::new(&self.plan, zone.earliest_local(from), last_local, budget.clone());
        Instants { of: self, zone, walk, held: BTreeSet::new(), passed: i64::MIN, from, until }
    }

    /// The moment of the first occurrence after the instant `after`, to `until`, as the start of the same rule: the phase
    /// and all that the rule takes from its start stay as they are, and COUNT counts from there. None where none comes.
    pub(super) fn first_after(&self, after: i64, until: i64, start: Moment, zone: &Zone) -> Option<Moment> {
        let uncounted = match self.rule().end {
            End::Count(_) => &Self::endless(self.rule().clone(), self.times, start, zone),
            End::Never | End::Until(_) => self,
        };
        let budget = Budget::new();
        let found = uncounted.instants(zone, after + 1, until, &budget).next()?;
        let (from, to) = (zone.earliest_local(found), zone.local(found) + CHANGE_MAX);
        let mut walk = Walk::new(&uncounted.plan, from, to, budget);
        let local = walk.find(|local| self.meant(zone.place(*local)) == found)?;
        Some(match zone.is_utc() || zone.place(local).instant != found {
            true => Moment { second: found, kind: Kind::Utc },
            false => Moment { second: local, kind: Kind::Local },
        })
    }

    /// Which instant of a time is meant, where that is one.
    fn meant(&self, placed: Placed) -> i64 {
        if self.times == Times::Once { placed.since(self.start) } else { placed.instant }
    }

    /// The instant of occurrence number `count`, or of the last one, and how many are missing when there are not so many. Between two gaps of the
    /// clock each time is an instant of its own; around a gap they are put in order one by one.
    fn number(&self, count: u32, zone: &Zone) -> Result<(i64, usize), RuleError> {
        const WHY: &str = "too many periods would have to be counted; end the rule by UNTIL";
        let budget = Budget::new();
        let mut walk = Walk::new(&self.plan, self.plan.start, LAST_SECOND, budget.clone());
        let mut gaps = zone.gaps(self.start);
        let (mut left, mut last) = (count as usize, self.start - 1);
        while left > 0 && walk.peek().is_some() {
            let gap = gaps.next().unwrap_or(Gap { first: i64::MAX, end: i64::MAX });
            while let Some((passed, local)) = walk.pass(gap.first, left) {
                budget.renew();
                left -= passed;
                last = self.meant(zone.place(local));
                if walk.periods() > COUNT_PERIODS_MAX {
                    return Err(RuleError::conflict("COUNT", WHY));
                }
                if left == 0 {
                    return Ok((last, left));
                }
            }
            let mut around = BTreeSet::new();
            while let Some(local) = walk.peek().filter(|local| *local < gap.end.saturating_add(gap.end - gap.first)) {
                around.insert(self.meant(zone.place(local)));
                walk.next();
            }
            let taken = around.iter().copied().take(left).collect::<Vec<_>>();
            left -= taken.len();
            last = taken.last().copied().unwrap_or(last);
        }
        // A rule of which nothing comes at all is refused when that is asked for.
        let has_given_up = budget.is_overdrawn() && last >= self.start;
        if has_given_up { Err(RuleError::conflict("COUNT", WHY)) } else { Ok((last, left)) }
    }
}

/// The instants of one rule, in order. A skipped time of the clock lies behind times that come later on the clock, and so
/// does the second of a time that comes twice; it is held back until those are out.
#[derive(Debug)]
pub(super) struct Instants<'a> {
    of: &'a Series,
    zone: &'a Zone,
    walk: Walk<'a>,
    held: BTreeSet<i64>,
    /// Whatever the walk still yields lies behind this.
    passed: i64,
    from: i64,
    until: i64,
}

impl Instants<'_> {
    fn hold(&mut self, placed: Placed) {
        let (one, another) = match self.of.times {
            Times::Once | Times::OnceFromAnyStart => (Some(self.of.meant(placed)), None),
            Times::AsShown => (Some(placed.instant).filter(|_| !placed.is_skipped), placed.again),
        };
        let span = self.from..=self.until;
        self.held.extend([one, another].into_iter().flatten().filter(|instant| span.contains(instant)));
    }
}

impl Iterator for Instants<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        loop {
            if self.held.first().is_some_and(|first| *first <= self.passed) {
                return self.held.pop_first();
            }
            let is_over = self.passed > self.until;
            let Some(local) = self.walk.next().filter(|_| !is_over) else { return self.held.pop_first() };
            let placed = self.zone.place(local);
            self.hold(placed);
            self.passed = self.passed.max(placed.later_from);
        }
    }
}
