//! A recurrence: a start, a time zone, rules, and dates that are added or left out; and the instants that it yields.

use std::collections::BTreeSet;
use std::fmt;
use std::iter::Peekable;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::calendar::DAY;
use super::cron;
use super::error::{RuleError, shortened};
use super::moment::{self, Kind, Moment, Start};
use super::parse;
use super::rule::{End, Rule};
use super::walk::{HORIZON_YEARS, Plan, Walk};
use super::zone::{GAP_MAX, LAST_SECOND, Zone};
use crate::domain::time::Timestamp;

/// Bytes of a rule's text.
const RULE_BYTES_MAX: usize = 4_096;
/// Bytes of a whole recurrence's text.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Rules of one recurrence.
const RULES_MAX: usize = 10;
/// Dates that are added, and dates that are left out.
const DATES_MAX: usize = 1_000;

/// When something happens again and again (RFC 5545, domain.md 4.2): the instants of its rules and added dates, less
/// the dates that are left out. Without a rule and an added date, once, at the start.
///
/// Rules are expanded on the clock of the time zone, and DTSTART counts when a rule yields it. A time of the clock that
/// does not exist is counted with the offset before the gap; of one that exists twice, the first is meant. That holds
/// for rules of hours and minutes, too, as the RFC asks: where those must come at even distances all year, use UTC.
///
/// Its text is that of iCalendar, one property a line, and that is how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurrence {
    start: Moment,
    zone: Zone,
    plans: Vec<Plan>,
    added: Vec<Moment>,
    left_out: Vec<Moment>,
    /// The instants of `added`, in order.
    added_at: Vec<i64>,
    /// The instants of `left_out`, in order, without whole days.
    left_out_at: Vec<i64>,
    /// The whole days of `left_out`, in order.
    days_left_out: Vec<i64>,
}

impl Recurrence {
    /// Reads a rule: one `RRULE` text, with or without its name in front and a `;` behind; several lines of `RRULE`,
    /// `RDATE` and `EXDATE`; or nothing, for once. `tz` is an IANA name; without one, that of the start, or else UTC.
    /// An exception without a time leaves out a whole day.
    pub fn parse(
        rule: &str,
        start: Start<'_>,
        tz: Option<&str>,
        exceptions: &[impl AsRef<str>],
    ) -> Result<Self, RuleError> {
        let mut lines = Lines::read(rule, RULE_BYTES_MAX)?;
        if lines.start.is_some() {
            return Err(RuleError::conflict("DTSTART", "the start is given by itself; leave it out of the rule"));
        }
        let (start, zone) = read_start(start, tz)?;
        for text in exceptions {
            lines.add_date("EXDATE", text.as_ref(), None)?;
        }
        Self::build(start, zone, lines)
    }

    /// Reads cron text: five fields, six with the seconds in front, or a word such as `@daily`. It becomes rules: two
    /// when both the day of the month and the weekday are given, either of which is enough.
    pub fn from_cron(
        text: &str,
        start: Start<'_>,
        tz: Option<&str>,
        exceptions: &[impl AsRef<str>],
    ) -> Result<Self, RuleError> {
        let (start, zone) = read_start(start, tz)?;
        let mut lines = Lines { rules: cron::rules(text)?, ..Lines::default() };
        for text in exceptions {
            lines.add_date("EXDATE", text.as_ref(), None)?;
        }
        Self::build(start, zone, lines)
    }

    /// Reads whichever it is: a rule as [`Self::parse`] takes it, or cron text as [`Self::from_cron`] does.
    pub fn parse_any(
        text: &str,
        start: Start<'_>,
        tz: Option<&str>,
        exceptions: &[impl AsRef<str>],
    ) -> Result<Self, RuleError> {
        if cron::looks_like_cron(text) {
            Self::from_cron(text, start, tz, exceptions)
        } else {
            Self::parse(text, start, tz, exceptions)
        }
    }

    fn build(start: Moment, zone: Zone, lines: Lines) -> Result<Self, RuleError> {
        let start = start.on_clock_of(&zone);
        let plan = |rule: Rule| {
            rule.check_until(start.kind == Kind::Date, !zone.is_utc())?;
            Plan::new(rule, start.local(&zone))
        };
        let plans = lines.rules.into_iter().map(plan).collect::<Result<Vec<_>, _>>()?;
        let resolved = |dates: Vec<Dated>| sorted(dates.into_iter().map(|date| date.resolve(&zone)).collect());
        let (added, left_out) = (resolved(lines.added), resolved(lines.left_out));
        // Where no rule says whether the start counts, it does.
        let own = plans.is_empty().then_some(start);
        let added_at = sorted(added.iter().chain(&own).map(|moment| moment.instant(&zone)).collect());
        let (days, times): (Vec<Moment>, Vec<Moment>) = left_out.iter().partition(|moment| moment.kind == Kind::Date);
        let left_out_at = sorted(times.into_iter().map(|moment| moment.instant(&zone)).collect());
        let days_left_out = days.into_iter().map(|moment| moment.second.div_euclid(DAY)).collect();
        Ok(Self { start, zone, plans, added, left_out, added_at, left_out_at, days_left_out })
    }

    /// The first occurrence strictly after `t`. Looks fifty years ahead, and takes no longer for a rule that has been
    /// running for years.
    pub fn after(&self, t: Timestamp) -> Option<Timestamp> {
        self.instants(moment::second_until(t).saturating_add(1)).next().map(moment::instant_of)
    }

    /// The occurrences at or after `t`, strictly increasing. Ends with the year 9998, or where nothing comes for fifty
    /// years; each step takes bounded time.
    pub fn from(&self, t: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        self.instants(moment::second_from(t)).map(moment::instant_of)
    }

    /// The first occurrence at or after the whole second of `now`, within fifty years; a rule without one is refused.
    pub fn first_from(&self, now: Timestamp) -> Result<Timestamp, RuleError> {
        let second = moment::second_until(now);
        let horizon = second.saturating_add(HORIZON_YEARS * 366 * DAY);
        let found = self.instants(second).next().filter(|found| *found <= horizon);
        let none = || match self.rule_text() {
            rule if rule.is_empty() => RuleError::OnceAndOver { years: HORIZON_YEARS },
            rule => RuleError::NoOccurrence { rule: shortened(&rule), years: HORIZON_YEARS },
        };
        found.map(moment::instant_of).ok_or_else(none)
    }

    /// The normalised rule, without a `;` at its end: nothing for once, the bare rule for one, and otherwise a line
    /// `RRULE:...` for each and one for the added dates.
    pub fn rule_text(&self) -> String {
        match (self.plans.as_slice(), self.added.is_empty()) {
            ([], true) => String::new(),
            ([plan], true) => plan.rule.to_string(),
            _ => {
                let mut lines: Vec<_> = self.plans.iter().map(|plan| format!("RRULE:{}", plan.rule)).collect();
                lines.extend(self.added.iter().map(|added| self.date_line("RDATE", *added)));
                lines.join("\n")
            }
        }
    }

    /// The instant that the rule starts at.
    pub fn start(&self) -> Timestamp {
        moment::instant_of(self.start.instant(&self.zone))
    }

    /// The IANA name of the time zone.
    pub fn zone(&self) -> &str {
        self.zone.name()
    }

    /// What the clock of the time zone shows at an instant, with its offset: `2026-03-08T03:30:00-04:00`.
    pub fn on_clock(&self, at: Timestamp) -> String {
        self.zone.clock_text(moment::second_until(at))
    }

    /// What is left out, in the form of RFC 5545: days, times of the zone's clock, or instants in UTC.
    pub fn exceptions(&self) -> Vec<String> {
        self.left_out.iter().map(ToString::to_string).collect()
    }

    /// Whether it is an empty rule: once, at the start.
    pub fn is_once(&self) -> bool {
        self.plans.is_empty() && self.added.is_empty()
    }

    fn instants(&self, from: i64) -> Occurrences<'_> {
        let mut all = Occurrences { of: self, rules: Vec::new(), dates: &[] };
        all.seek(from.clamp(-LAST_SECOND, LAST_SECOND));
        all
    }

    fn date_line(&self, name: &str, moment: Moment) -> String {
        match moment.kind {
            Kind::Date => format!("{name};VALUE=DATE:{moment}"),
            Kind::Local => format!("{name};TZID={}:{moment}", self.zone.name()),
            Kind::Utc => format!("{name}:{moment}"),
        }
    }
}

impl fmt::Display for Recurrence {
    /// One property a line: `DTSTART`, `RRULE`, `RDATE`, `EXDATE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.start.kind == Kind::Date { ";VALUE=DATE" } else { "" };
        let (zone, name) = if self.zone.is_utc() { ("", "") } else { (";TZID=", self.zone.name()) };
        write!(f, "DTSTART{value}{zone}{name}:{}", self.start)?;
        self.plans.iter().try_for_each(|plan| write!(f, "\nRRULE:{}", plan.rule))?;
        let dates = |name, moments: &[Moment]| moments.iter().map(|one| self.date_line(name, *one)).collect::<Vec<_>>();
        let lines = [dates("RDATE", &self.added), dates("EXDATE", &self.left_out)].concat();
        lines.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

impl FromStr for Recurrence {
    type Err = RuleError;

    /// Reads the text of [`Self::to_string`], or that of an iCalendar file without its folded lines.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut lines = Lines::read(text, TEXT_BYTES_MAX)?;
        let Some((start, zone)) = lines.start.take() else {
            return Err(RuleError::Missing { part: "DTSTART", example: "DTSTART;TZID=Europe/Berlin:20260131T020000" });
        };
        Self::build(start, zone.unwrap_or(Zone::UTC), lines)
    }
}

impl Serialize for Recurrence {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Recurrence {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}

fn read_start(start: Start<'_>, tz: Option<&str>) -> Result<(Moment, Zone), RuleError> {
    let (moment, own_zone) = match start {
        Start::At(instant) => (Moment::of(instant), None),
        Start::Text(text) => Moment::read("DTSTART", text)?,
    };
    let zone = tz.map(Zone::named).transpose()?;
    match (zone, own_zone) {
        (Some(zone), Some(own)) if zone != own => {
            Err(RuleError::conflict("DTSTART", "it names another time zone than the rule; leave one of them out"))
        }
        (Some(zone), _) | (None, Some(zone)) => Ok((moment, zone)),
        (None, None) => Ok((moment, Zone::UTC)),
    }
}

/// The properties of a recurrence's text.
#[derive(Debug, Default)]
struct Lines {
    start: Option<(Moment, Option<Zone>)>,
    rules: Vec<Rule>,
    added: Vec<Dated>,
    left_out: Vec<Dated>,
}

/// A date that is added or left out, on the clock of its own zone, or else of the rule's.
#[derive(Debug)]
struct Dated {
    moment: Moment,
    zone: Option<Zone>,
}

impl Dated {
    /// The same on the clock of the rule's zone, or as an instant.
    fn resolve(self, rule_zone: &Zone) -> Moment {
        match self.zone {
            Some(own) if self.moment.kind == Kind::Local && own != *rule_zone => {
                Moment { second: self.moment.instant(&own), kind: Kind::Utc }
            }
            _ if self.moment.kind == Kind::Utc => self.moment,
            _ => self.moment.on_clock_of(rule_zone),
        }
    }
}

impl Lines {
    fn read(text: &str, bytes_max: usize) -> Result<Self, RuleError> {
        if text.len() > bytes_max {
            return Err(RuleError::TooMany { part: "RRULE", max: bytes_max, unit: "bytes" });
        }
        let mut lines = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != ";") {
            lines.read_line(line)?;
        }
        Ok(lines)
    }

    fn read_line(&mut self, line: &str) -> Result<(), RuleError> {
        let end = line.find([':', ';', '=']).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        if rest.starts_with('=') {
            return self.add_rule(line);
        }
        if name.eq_ignore_ascii_case("RRULE") && rest.starts_with(':') {
            return self.add_rule(&rest[1..]);
        }
        let Some(name) = ["DTSTART", "RDATE", "EXDATE"].into_iter().find(|known| known.eq_ignore_ascii_case(name))
        else {
            // What is neither is a rule with a fault in it.
            return self.add_rule(line);
        };
        let Some((parameters, value)) = rest.split_once(':') else {
            return Err(RuleError::value(name, line, "has no value; write it as in EXDATE:20260131T020000Z"));
        };
        let zone = read_parameters(name, parameters)?;
        if name == "DTSTART" {
            return self.set_start(value, zone);
        }
        value.split(',').try_for_each(|value| self.add_date(name, value, zone.as_ref()))
    }

    fn add_rule(&mut self, text: &str) -> Result<(), RuleError> {
        if self.rules.len() >= RULES_MAX {
            return Err(RuleError::TooMany { part: "RRULE", max: RULES_MAX, unit: "rules" });
        }
        self.rules.push(parse::rule(text)?);
        Ok(())
    }

    fn set_start(&mut self, text: &str, zone: Option<Zone>) -> Result<(), RuleError> {
        if self.start.is_some() {
            return Err(RuleError::Twice { part: "DTSTART" });
        }
        let (moment, own_zone) = Moment::read("DTSTART", text)?;
        self.start = Some((moment, zone.or(own_zone)));
        Ok(())
    }

    /// Adds an `RDATE` or `EXDATE`, by the clock of `zone`; of the rule's zone when there is none.
    fn add_date(&mut self, part: &'static str, text: &str, zone: Option<&Zone>) -> Result<(), RuleError> {
        let (moment, own_zone) = Moment::read(part, text)?;
        let dates = if part == "RDATE" { &mut self.added } else { &mut self.left_out };
        if dates.len() >= DATES_MAX {
            return Err(RuleError::TooMany { part, max: DATES_MAX, unit: "dates" });
        }
        dates.push(Dated { moment, zone: own_zone.or_else(|| zone.cloned()) });
        Ok(())
    }
}

/// The zone of `;TZID=...`; `;VALUE=...` says nothing that the value does not show.
fn read_parameters(part: &'static str, text: &str) -> Result<Option<Zone>, RuleError> {
    let mut zone = None;
    for parameter in text.split(';').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("TZID") => zone = Some(Zone::named(value)?),
            Some((name, _)) if name.eq_ignore_ascii_case("VALUE") => {}
            _ => return Err(RuleError::value(part, parameter, "is not taken; there are TZID and VALUE")),
        }
    }
    Ok(zone)
}

/// The instants of one rule, in order. A skipped time of the clock lies behind times that come later on the clock; it
/// is held back until those are out.
#[derive(Debug)]
struct Instants<'a> {
    zone: &'a Zone,
    walk: Walk<'a>,
    held: BTreeSet<i64>,
    /// Whatever the walk still yields lies behind this.
    passed: i64,
    from: i64,
    until: i64,
}

impl<'a> Instants<'a> {
    fn new(zone: &'a Zone, plan: &'a Plan, from: i64) -> Self {
        let (until, last_local) = match plan.rule.end {
            End::Until(until) => {
                let local = until.local(zone) + if until.kind == Kind::Date { DAY - 1 } else { 0 };
                let instant = if until.kind == Kind::Utc { until.second } else { zone.place(local).instant };
                (instant, local + GAP_MAX)
            }
            End::Never | End::Count(_) => (LAST_SECOND, LAST_SECOND),
        };
        let walk = Walk::new(plan, zone.earliest_local(from), last_local);
        Self { zone, walk, held: BTreeSet::new(), passed: i64::MIN, from, until }
    }
}

impl Iterator for Instants<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        loop {
            if self.held.first().is_some_and(|first| *first <= self.passed) {
                return self.held.pop_first();
            }
            let Some(local) = self.walk.next() else { return self.held.pop_first() };
            let placed = self.zone.place(local);
            if (self.from..=self.until).contains(&placed.instant) {
                self.held.insert(placed.instant);
            }
            self.passed = self.passed.max(placed.later_from);
        }
    }
}

/// The instants of a recurrence: those of its rules and dates, less what is left out.
#[derive(Debug)]
struct Occurrences<'a> {
    of: &'a Recurrence,
    rules: Vec<Peekable<Instants<'a>>>,
    dates: &'a [i64],
}

impl Occurrences<'_> {
    fn seek(&mut self, from: i64) {
        let Recurrence { zone, plans, added_at, .. } = self.of;
        self.rules = plans.iter().map(|plan| Instants::new(zone, plan, from).peekable()).collect();
        self.dates = &added_at[added_at.partition_point(|date| *date < from)..];
    }
}

impl Iterator for Occurrences<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        loop {
            let of_rules = self.rules.iter_mut().filter_map(|rule| rule.peek().copied()).min();
            let next = of_rules.into_iter().chain(self.dates.first().copied()).min()?;
            for rule in &mut self.rules {
                rule.next_if_eq(&next);
            }
            self.dates = &self.dates[usize::from(self.dates.first() == Some(&next))..];
            if self.of.left_out_at.binary_search(&next).is_ok() {
                continue;
            }
            if self.of.days_left_out.is_empty() {
                return Some(next);
            }
            let day = self.of.zone.local(next).div_euclid(DAY);
            if self.of.days_left_out.binary_search(&day).is_err() {
                return Some(next);
            }
            let morrow = self.of.zone.place((day + 1) * DAY).instant;
            self.seek(morrow.max(next + 1));
        }
    }
}
