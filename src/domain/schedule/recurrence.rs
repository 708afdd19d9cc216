//! A recurrence: a start, a time zone, rules, and dates that are added or left out; and the instants that it yields.

use std::fmt;
use std::iter::Peekable;
use std::str::FromStr;

use super::calendar::DAY;
use super::cron::{self, Cron};
use super::error::{RuleError, shortened};
use super::moment::{self, Kind, Moment, Start};
use super::parse;
use super::rule::Rule;
use super::series::{Instants, Series, Times};
use super::walk::Budget;
use super::zone::{LAST_SECOND, Zone};
use crate::domain::time::Timestamp;

/// Bytes of a rule's text.
const RULE_BYTES_MAX: usize = 4_096;
/// Bytes of a whole recurrence's text.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Rules of one recurrence.
const RULES_MAX: usize = 10;
/// Dates that are added, and dates that are left out.
const DATES_MAX: usize = 1_000;
/// A rule whose first occurrence lies further ahead is refused (domain.md 4.2).
const YEARS_AHEAD_MAX: i64 = 50;

/// When something happens again and again (RFC 5545, domain.md 4.2): the instants of its rules and added dates, less
/// the dates that are left out. Without a rule and an added date, once, at the start.
///
/// Rules are expanded on the clock of the time zone, and DTSTART counts when a rule yields it; a DTSTART that is a day is
/// the midnight that it starts with. (The RFC asks to ignore BYHOUR beside such a day, which would run at midnight what was
/// meant for nine.) A time of the clock that does not exist is counted with the offset before the gap, where the RFC leaves
/// it out (see [`super::series`]); of one that exists twice, the first is meant. That holds for rules of hours and minutes,
/// too: where those must come at even distances all year, use UTC. Cron texts with a star in the minute or the hour run
/// whenever the clock shows their times, as crons do.
///
/// Its text is that of iCalendar, one property a line, and that is how it is stored. Cron text has a property of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurrence {
    start: Moment,
    zone: Zone,
    series: Vec<Series>,
    /// What the rules were given as.
    cron: Option<String>,
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
        lines.start_as(start, tz)?;
        lines.add_exceptions(exceptions)?;
        lines.build()
    }

    /// Reads cron text: five fields, six with the seconds in front, or a word such as `@daily`. It becomes rules: two
    /// when both the day of the month and the weekday are given, either of which is enough.
    pub fn from_cron(
        text: &str,
        start: Start<'_>,
        tz: Option<&str>,
        exceptions: &[impl AsRef<str>],
    ) -> Result<Self, RuleError> {
        let mut lines = Lines::default();
        lines.add_cron(text)?;
        lines.start_as(start, tz)?;
        lines.add_exceptions(exceptions)?;
        lines.build()
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

    /// The same rules, zone and dates with the start of `other`.
    pub(super) fn with_start_of(&self, other: &Self) -> Result<Self, RuleError> {
        let start = match other.start.kind {
            Kind::Local if self.zone != other.zone => Moment::of(other.start()),
            Kind::Date | Kind::Local | Kind::Utc => other.start,
        };
        let rules = self.series.iter().map(|series| (series.rule().clone(), series.times())).collect();
        let moments = (self.added.clone(), self.left_out.clone());
        Self::of(start, self.zone.clone(), rules, self.cron.clone(), moments)
    }

    /// Whether both yield the same for the same reasons. Cron text may be written in several ways.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let parts =
            |one: &Self| (one.start, one.zone.clone(), one.series.clone(), one.added.clone(), one.left_out.clone());
        parts(self) == parts(other)
    }

    fn of(
        start: Moment,
        zone: Zone,
        rules: Vec<(Rule, Times)>,
        cron: Option<String>,
        (added, left_out): (Vec<Moment>, Vec<Moment>),
    ) -> Result<Self, RuleError> {
        let start = start.on_clock_of(&zone);
        let series = rules.into_iter().map(|(rule, times)| Series::new(rule, times, start, &zone));
        let series = series.collect::<Result<Vec<_>, _>>()?;
        // Where no rule says whether the start counts, it does.
        let own = series.is_empty().then_some(start);
        let added_at = sorted(added.iter().chain(&own).map(|moment| moment.instant(&zone)).collect());
        let (days, times): (Vec<Moment>, Vec<Moment>) = left_out.iter().partition(|moment| moment.kind == Kind::Date);
        let left_out_at = sorted(times.into_iter().flat_map(|moment| moment.instants(&zone)).collect());
        let days_left_out = days.into_iter().map(|moment| moment.second.div_euclid(DAY)).collect();
        Ok(Self { start, zone, series, cron, added, left_out, added_at, left_out_at, days_left_out })
    }

    /// Whether it starts where it would, had its start been left out at `now`.
    pub(super) fn starts_as_if_left_out_at(&self, now: Timestamp) -> bool {
        let rules = self.series.iter().map(|series| (series.rule().clone(), series.times())).collect();
        let moments = (self.added.clone(), self.left_out.clone());
        let anew = Self::of(Moment::of(now), self.zone.clone(), rules, self.cron.clone(), moments);
        anew.and_then(|anew| anew.starting_after(now)).is_ok_and(|anew| anew.start == self.start)
    }

    /// The same, where its start was left out at `now`: it starts with its first occurrence after that. Several rules, and
    /// cron text, which counts nothing from its start, start at `now` itself.
    fn starting_after(self, now: Timestamp) -> Result<Self, RuleError> {
        let [series] = self.series.as_slice() else { return Ok(self) };
        if self.cron.is_some() || !self.added.is_empty() {
            return Ok(self);
        }
        let second = moment::second_until(now);
        let Some(start) = series.first_after(second, years_after(second), self.start, &self.zone) else {
            return Ok(self);
        };
        let rule = (series.rule().clone(), series.times());
        Self::of(start, self.zone.clone(), vec![rule], None, (Vec::new(), self.left_out.clone()))
    }

    /// The first occurrence strictly after `t`. Takes no longer for a rule that has been running for years.
    pub fn after(&self, t: Timestamp) -> Option<Timestamp> {
        self.instants(moment::second_until(t).saturating_add(1), LAST_SECOND).next().map(moment::instant_of)
    }

    /// The occurrences at or after `t`, strictly increasing, to the last of the rule, or the year 9999. What comes at or after
    /// a later time is the end of it.
    pub fn from(&self, t: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        self.instants(moment::second_from(t), LAST_SECOND).map(moment::instant_of)
    }

    /// The occurrences at or after `t` and before `end`.
    pub(super) fn between(&self, t: Timestamp, end: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        self.instants(moment::second_from(t), moment::second_from(end).saturating_sub(1)).map(moment::instant_of)
    }

    /// The occurrences at or after `t` of the next fifty years.
    pub fn soon_from(&self, t: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        let second = moment::second_from(t);
        self.instants(second, years_after(second)).map(moment::instant_of)
    }

    /// The first occurrence at or after the whole second of `now`, within fifty years. A rule without one is refused, and so
    /// is one whose first or second cannot be found with bounded effort: it would end there although it says otherwise.
    pub fn first_from(&self, now: Timestamp) -> Result<Timestamp, RuleError> {
        if self.series.iter().any(Series::is_cut_off) {
            const WHY: &str = "the year 9999 ends before so many occurrences; take a lower COUNT or a smaller INTERVAL";
            return Err(RuleError::conflict("COUNT", WHY));
        }
        let second = moment::second_until(now);
        let mut soon = self.instants(second, years_after(second));
        let first = soon.next();
        let is_second_out_of_reach = || first.is_some_and(|first| self.is_out_of_reach(first));
        if soon.budget.is_overdrawn() || is_second_out_of_reach() {
            const WHY: &str =
                "there are more than a million periods of FREQ without an occurrence in them; use a longer FREQ";
            return Err(RuleError::conflict("FREQ", WHY));
        }
        first.map(moment::instant_of).ok_or_else(|| self.nothing_comes())
    }

    /// Whether what comes after `t`, if anything, cannot be found with bounded effort.
    pub(super) fn gives_up_after(&self, t: Timestamp) -> bool {
        self.is_out_of_reach(moment::second_until(t))
    }

    fn is_out_of_reach(&self, behind: i64) -> bool {
        let mut later = self.instants(behind.saturating_add(1), LAST_SECOND);
        later.next().is_none() && later.budget.is_overdrawn()
    }

    /// That it has no occurrence to come.
    pub(super) fn nothing_comes(&self) -> RuleError {
        match self.rule_text() {
            rule if rule.is_empty() => RuleError::OnceAndOver { years: YEARS_AHEAD_MAX },
            rule => RuleError::NoOccurrence { rule: shortened(&rule), years: YEARS_AHEAD_MAX },
        }
    }

    /// The normalised rule, without a `;` at its end: nothing for once, the bare rule for one, and otherwise a line
    /// `RRULE:...` for each and one for the added dates.
    pub fn rule_text(&self) -> String {
        match (self.series.as_slice(), self.added.is_empty()) {
            ([], true) => String::new(),
            ([one], true) => one.rule().to_string(),
            _ => {
                let mut lines: Vec<_> = self.series.iter().map(|one| format!("RRULE:{}", one.rule())).collect();
                lines.extend(self.added.iter().map(|added| self.date_line("RDATE", *added)));
                lines.join("\n")
            }
        }
    }

    /// The cron text that the rule was given as.
    pub fn cron(&self) -> Option<&str> {
        self.cron.as_deref()
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
        self.series.is_empty() && self.added.is_empty()
    }

    fn instants(&self, from: i64, until: i64) -> Occurrences<'_> {
        let (from, until) = (from.clamp(-LAST_SECOND, LAST_SECOND + 1), until.min(LAST_SECOND));
        let budget = Budget::new();
        let rules = self.series.iter().map(|one| one.instants(&self.zone, from, until, &budget).peekable()).collect();
        let dates = &self.added_at[self.added_at.partition_point(|date| *date < from)..];
        Occurrences { of: self, rules, dates, until, budget }
    }

    /// The day of an instant, if the whole of it is left out.
    fn day_left_out(&self, instant: i64) -> Option<i64> {
        let days = &self.days_left_out;
        let day = || self.zone.local(instant).div_euclid(DAY);
        (!days.is_empty()).then(day).filter(|day| days.binary_search(day).is_ok())
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
    /// One property a line: `DTSTART`, `RRULE` or else `X-CRON`, `RDATE`, `EXDATE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.start.kind == Kind::Date { ";VALUE=DATE" } else { "" };
        let (zone, name) = if self.zone.is_utc() { ("", "") } else { (";TZID=", self.zone.name()) };
        write!(f, "DTSTART{value}{zone}{name}:{}", self.start)?;
        match &self.cron {
            Some(text) => write!(f, "\nX-CRON:{text}")?,
            None => self.series.iter().try_for_each(|one| write!(f, "\nRRULE:{}", one.rule()))?,
        }
        let dates = |name, moments: &[Moment]| moments.iter().map(|one| self.date_line(name, *one)).collect::<Vec<_>>();
        let lines = [dates("RDATE", &self.added), dates("EXDATE", &self.left_out)].concat();
        lines.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

impl FromStr for Recurrence {
    type Err = RuleError;

    /// Reads the text of [`Self::to_string`], or that of an iCalendar file without its folded lines.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        Lines::read(text, TEXT_BYTES_MAX)?.build()
    }
}

/// The instant fifty years after another.
fn years_after(second: i64) -> i64 {
    second.saturating_add(YEARS_AHEAD_MAX * 366 * DAY)
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}

/// The properties of a recurrence's text.
#[derive(Debug, Default)]
struct Lines {
    start: Option<(Moment, Option<Zone>)>,
    /// When the start was left out.
    left_out_on: Option<Timestamp>,
    rules: Vec<(Rule, Times)>,
    cron: Option<String>,
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
        if name.eq_ignore_ascii_case("X-CRON") && rest.starts_with(':') {
            return self.add_cron(&rest[1..]);
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
        if self.cron.is_some() {
            return Err(RuleError::Twice { part: "RRULE" });
        }
        if self.rules.len() >= RULES_MAX {
            return Err(RuleError::TooMany { part: "RRULE", max: RULES_MAX, unit: "rules" });
        }
        self.rules.push((parse::rule(text)?, Times::Once));
        Ok(())
    }

    fn add_cron(&mut self, text: &str) -> Result<(), RuleError> {
        if !self.rules.is_empty() {
            return Err(RuleError::conflict(
                "X-CRON",
                "cron text is all the rules that there are; leave the others out",
            ));
        }
        let Cron { text, rules, times } = cron::read(text)?;
        self.rules = rules.into_iter().map(|rule| (rule, times)).collect();
        self.cron = Some(text);
        Ok(())
    }

    fn add_exceptions(&mut self, exceptions: &[impl AsRef<str>]) -> Result<(), RuleError> {
        exceptions.iter().try_for_each(|text| self.add_date("EXDATE", text.as_ref(), None))
    }

    /// Takes the start and the zone that are given beside the rule.
    fn start_as(&mut self, start: Start<'_>, tz: Option<&str>) -> Result<(), RuleError> {
        let (moment, own_zone) = match start {
            Start::At(instant) | Start::LeftOut(instant) => (Moment::of(instant), None),
            Start::Text(text) => Moment::read("DTSTART", text)?,
        };
        let zone = tz.map(Zone::named).transpose()?;
        if zone.as_ref().zip(own_zone.as_ref()).is_some_and(|(zone, own)| zone != own) {
            const WHY: &str = "it names another time zone than the rule; leave one of them out";
            return Err(RuleError::conflict("DTSTART", WHY));
        }
        self.start = Some((moment, zone.or(own_zone)));
        self.left_out_on = match start {
            Start::LeftOut(now) => Some(now),
            Start::At(_) | Start::Text(_) => None,
        };
        Ok(())
    }

    fn build(self) -> Result<Recurrence, RuleError> {
        let Some((start, zone)) = self.start else {
            return Err(RuleError::Missing { part: "DTSTART", example: "DTSTART;TZID=Europe/Berlin:20260131T020000" });
        };
        let zone = zone.unwrap_or(Zone::UTC);
        let resolved = |dates: Vec<Dated>| sorted(dates.into_iter().map(|date| date.resolve(&zone)).collect());
        let dates = (resolved(self.added), resolved(self.left_out));
        let recurrence = Recurrence::of(start, zone, self.rules, self.cron, dates)?;
        match self.left_out_on {
            Some(now) => recurrence.starting_after(now),
            None => Ok(recurrence),
        }
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

/// The instants of a recurrence: those of its rules and dates, less what is left out.
#[derive(Debug)]
struct Occurrences<'a> {
    of: &'a Recurrence,
    rules: Vec<Peekable<Instants<'a>>>,
    dates: &'a [i64],
    until: i64,
    budget: Budget,
}

impl Occurrences<'_> {
    /// Leaves out what lies before `from`. A rule that is there already, or at its end, need not look again.
    fn seek(&mut self, from: i64) {
        let Recurrence { zone, series, added_at, .. } = self.of;
        for (rule, one) in self.rules.iter_mut().zip(series) {
            if rule.peek().is_some_and(|next| *next < from) {
                *rule = one.instants(zone, from, self.until, &self.budget).peekable();
            }
        }
        self.dates = &added_at[added_at.partition_point(|date| *date < from)..];
    }
}

impl Iterator for Occurrences<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        loop {
            let of_rules = self.rules.iter_mut().filter_map(|rule| rule.peek().copied()).min();
            let next = of_rules.into_iter().chain(self.dates.first().copied()).min()?;
            // A rule that has given up might have had an earlier one.
            if next > self.until || self.budget.is_overdrawn() {
                return None;
            }
            for rule in &mut self.rules {
                rule.next_if_eq(&next);
            }
            self.dates = &self.dates[usize::from(self.dates.first() == Some(&next))..];
            if self.of.left_out_at.binary_search(&next).is_ok() {
                continue;
            }
            let Some(day) = self.of.day_left_out(next) else {
                self.budget.renew();
                return Some(next);
            };
            let morrow = self.of.zone.place((day + 1) * DAY).instant;
            self.seek(morrow.max(next + 1));
        }
    }
}
