//! Schedules (domain.md 4.2; F019, F030, F032, F033): what is due, what was missed, what overlaps, and how they are
//! steered.

use std::collections::BTreeSet;
use std::time::Duration;

use backroom::domain::id::{PluginName, ScheduleName, TenantId};
use backroom::domain::schedule::{
    Definition, FIRING_MAX, Firing, JobTemplate, MISSED_AFTER, Misfire, Overlap, Recurrence, Schedule, ScheduleRefusal,
    ScheduleState, Start, fire,
};
use backroom::domain::time::Timestamp;
use proptest::prelude::*;

use crate::fixtures::seconds;
use crate::recurrence::{recurrence, time};

/// When the schedules were made: a minute before their first occurrence.
const MADE: &str = "2026-01-01T08:59:00";

/// The host was there before anything came due.
const ALWAYS: Timestamp = Timestamp(i64::MIN);

fn definition(rule: &str) -> Definition {
    Definition {
        recurrence: recurrence(rule, "2026-01-01T09:00", None),
        target: JobTemplate::new(PluginName::new("echo").expect("a good name")),
        misfire: Misfire::default(),
        overlap: Overlap::default(),
        jitter: Duration::ZERO,
        start_left_out: false,
        at_once: false,
    }
}

fn schedule_of(definition: Definition) -> Schedule {
    let name = ScheduleName::new("nightly").expect("a good name");
    Schedule::new(TenantId::DEFAULT, name, definition, None, time(MADE)).expect("a good rule")
}

fn schedule(rule: &str) -> Schedule {
    schedule_of(definition(rule))
}

fn hour(hour: u64) -> Timestamp {
    time("2026-01-01T00:00:00").after(seconds(hour * 3_600))
}

fn fired(schedule: &Schedule, now: Timestamp) -> Firing {
    fire(schedule, now, ALWAYS, false).expect("it is due")
}

#[test]
fn an_occurrence_fires_at_its_time_and_once() {
    let hourly = schedule("FREQ=HOURLY");
    assert_eq!(hourly.next_run, Some(hour(9)));
    assert_eq!(fire(&hourly, Timestamp(hour(9).0 - 1), ALWAYS, false), None, "not yet");
    let Firing { create, next, missed, overlapped, .. } = fired(&hourly, hour(9).after(seconds(2)));
    assert_eq!((create, missed, overlapped), (vec![hour(9)], false, 0));
    assert_eq!((next.revision, next.fired, next.next_run), (2, 1, Some(hour(10))));
    assert_eq!(next.last_run, Some(hour(9).after(seconds(2))));
    assert_eq!(fire(&next, hour(9).after(seconds(2)), ALWAYS, false), None, "once");
}

#[test]
fn f030_an_empty_rule_fires_once_and_ends() {
    let next = fired(&schedule(""), hour(9)).next;
    assert_eq!((next.state, next.next_run, next.fired), (ScheduleState::Ended, None, 1));
    assert_eq!(fire(&next, hour(1_000), ALWAYS, false), None);
}

#[test]
fn a_rule_that_yields_nothing_is_refused() {
    let name = ScheduleName::new("nightly").expect("a good name");
    for (rule, why) in [
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "no occurrence in the next 50 years"),
        ("FREQ=DAILY;COUNT=2", "no occurrence in the next 50 years"),
        ("", "it runs once, at its start; that has passed"),
    ] {
        let late = Schedule::new(TenantId::DEFAULT, name.clone(), definition(rule), None, time("2026-02-01T00:00:00"));
        assert!(late.expect_err(rule).to_string().contains(why), "{rule}");
    }
}

#[test]
fn f032_five_missed_occurrences_fire_as_the_policy_says() {
    // Down from before 9 until half past 13: five occurrences.
    let now = hour(13).after(seconds(1_800));
    let of = |misfire| {
        let firing = fired(&schedule_of(Definition { misfire, ..definition("FREQ=HOURLY") }), now);
        assert_eq!(firing.next.next_run, Some(hour(14)), "{misfire}");
        assert!(firing.missed);
        firing.create
    };
    assert_eq!(of(Misfire::RunOnce), [hour(13)]);
    assert_eq!(of(Misfire::RunAll(3)), [hour(11), hour(12), hour(13)]);
    assert_eq!(of(Misfire::RunAll(9)), [9, 10, 11, 12, 13].map(hour));
    assert_eq!(of(Misfire::Skip), []);
}

#[test]
fn f032_late_by_less_than_the_tolerance_is_on_time() {
    let skip = schedule_of(Definition { misfire: Misfire::Skip, ..definition("FREQ=HOURLY") });
    assert_eq!(fired(&skip, hour(9).after(MISSED_AFTER)).create, [hour(9)]);
    let late = fired(&skip, hour(9).after(MISSED_AFTER + Duration::from_micros(1)));
    assert_eq!((late.create.len(), late.missed, late.next.next_run), (0, true, Some(hour(10))));
    let last_count = schedule_of(Definition { misfire: Misfire::Skip, ..definition("FREQ=HOURLY;COUNT=1") });
    assert_eq!(fired(&last_count, hour(20)).next.state, ScheduleState::Ended);
}

#[test]
fn f032_a_host_that_was_started_by_a_clock_ahead_was_there() {
    let skip = schedule_of(Definition { misfire: Misfire::Skip, ..definition("FREQ=HOURLY") });
    let firing = fire(&skip, hour(9), hour(80), false).expect("it is due");
    assert_eq!((firing.create, firing.missed), (vec![hour(9)], false));
}

#[test]
fn f032_years_of_missed_seconds_are_decided_at_once() {
    let now = time("2036-01-01T00:00:00.5");
    let rule = "FREQ=SECONDLY;BYMONTH=1,12;BYHOUR=3";
    let all = schedule_of(Definition { misfire: Misfire::RunAll(3), overlap: Overlap::Queue, ..definition(rule) });
    let expected = [57, 58, 59].map(|second| time(&format!("2035-12-31T03:59:{second}")));
    let firing = fired(&all, now);
    assert_eq!(firing.create, expected);
    assert_eq!(firing.next.next_run, Some(time("2036-01-01T03:00:00")));
}

#[test]
fn f032_one_firing_is_bounded() {
    let misfire = Misfire::RunAll(u32::MAX);
    let dense = schedule_of(Definition { overlap: Overlap::Allow, misfire, ..definition("FREQ=SECONDLY") });
    let now = hour(9).after(seconds(50_000));
    let firing = fired(&dense, now);
    let on_time = MISSED_AFTER.as_secs() as usize + 1;
    assert_eq!(firing.create.len(), Misfire::RUN_ALL_MAX as usize + on_time);
    assert!(firing.create.windows(2).all(|pair| pair[1].since(pair[0]) == seconds(1)));
    assert_eq!(firing.create.last(), Some(&now));
    assert!(on_time <= FIRING_MAX);
}

#[test]
fn f033_overlap_does_what_its_name_says() {
    let of = |overlap, unfinished| {
        fire(&schedule_of(Definition { overlap, ..definition("FREQ=HOURLY") }), hour(9), ALWAYS, unfinished)
            .expect("it is due")
    };
    for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Allow, Overlap::CancelPrevious] {
        let free = of(overlap, false);
        assert_eq!((free.create.len(), free.overlapped, free.cancel_previous), (1, 0, false), "{overlap}");
    }
    let skip = of(Overlap::Skip, true);
    assert_eq!((skip.create.len(), skip.overlapped, skip.next.next_run), (0, 1, Some(hour(10))));
    assert_eq!((skip.next.fired, skip.next.last_run), (0, None));
    let queue = of(Overlap::Queue, true);
    assert_eq!((queue.create.len(), queue.in_order, queue.cancel_previous), (1, true, false));
    let allow = of(Overlap::Allow, true);
    assert_eq!((allow.create.len(), allow.in_order, allow.cancel_previous), (1, false, false));
    let cancel = of(Overlap::CancelPrevious, true);
    assert_eq!((cancel.create.len(), cancel.cancel_previous), (1, true));
}

#[test]
fn f033_occurrences_that_are_due_together_overlap_too() {
    let now = hour(9).after(seconds(5));
    let of = |overlap| fired(&schedule_of(Definition { overlap, ..definition("FREQ=SECONDLY;INTERVAL=2") }), now);
    let at = |second| hour(9).after(seconds(second));
    assert_eq!(of(Overlap::Skip).create, [at(0)]);
    assert_eq!(of(Overlap::Queue).create, [0, 2, 4].map(at));
    assert_eq!(of(Overlap::CancelPrevious).create, [at(4)]);
    assert_eq!((of(Overlap::CancelPrevious).overlapped, of(Overlap::Skip).overlapped), (2, 2));
    assert!([Overlap::Skip, Overlap::Allow].map(of).iter().all(|firing| firing.next.next_run == Some(at(6))));
}

#[test]
fn f019_a_postponed_occurrence_runs_at_the_new_time_and_later_ones_keep_the_rule() {
    let daily = schedule("FREQ=DAILY");
    let earlier = daily.postpone(time("2026-01-01T08:59:30"), Some("me".to_owned()), time(MADE)).expect("it is active");
    let firing = fired(&earlier, time("2026-01-01T08:59:31"));
    assert_eq!((firing.create, firing.missed), (vec![hour(9)], false));
    assert_eq!(firing.next.next_run, Some(hour(33)), "the 2nd at 9");
    let later = daily.postpone(hour(11), None, time(MADE)).expect("it is active");
    assert!(later.is_postponed());
    assert_eq!(fire(&later, hour(10), ALWAYS, false), None);
    let firing = fired(&later, hour(11));
    assert_eq!((firing.create, firing.missed, firing.next.next_run), (vec![hour(9)], false, Some(hour(33))));
    assert!(!firing.next.is_postponed());
    let past_others = daily.postpone(hour(9 + 72 + 1), None, time(MADE)).expect("it is active");
    let firing = fired(&past_others, hour(9 + 72 + 1));
    assert_eq!((firing.create, firing.next.next_run), (vec![hour(9)], Some(hour(9 + 96))), "those between are dropped");
    let at_once = daily.postpone(hour(1), None, time(MADE)).expect("it is active");
    assert_eq!(at_once.next_run, Some(time(MADE)), "a time that has passed is now");
    let down = fired(&later, hour(50));
    assert_eq!((down.create, down.missed), (vec![hour(33)], true), "missed ones collapse, the postponed one with them");
}

#[test]
fn what_falls_into_a_pause_does_not_fire() {
    let hourly = schedule("FREQ=HOURLY");
    let paused = hourly.pause(Some("me".to_owned()), hour(9)).expect("it is active");
    assert_eq!((paused.state, paused.next_run, paused.revision), (ScheduleState::Paused, None, 2));
    assert_eq!(paused.modified_by.as_deref(), Some("me"));
    assert_eq!(fire(&paused, hour(12), ALWAYS, false), None);
    assert!(matches!(paused.pause(None, hour(12)), Err(ScheduleRefusal::State { .. })));
    assert!(matches!(paused.postpone(hour(15), None, hour(12)), Err(ScheduleRefusal::State { .. })));
    let resumed = paused.resume(None, hour(12).after(seconds(1))).expect("it is paused");
    assert_eq!((resumed.state, resumed.next_run), (ScheduleState::Active, Some(hour(13))));
    assert!(resumed.resume(None, hour(13)).expect_err("it is active").to_string().contains("active already"));
    let once = schedule("").pause(None, hour(8)).expect("it is active").resume(None, hour(10)).expect("it is paused");
    assert_eq!(once.state, ScheduleState::Ended, "its only time has passed");
    assert!(once.pause(None, hour(10)).is_err() && once.postpone(hour(12), None, hour(10)).is_err());
}

#[test]
fn an_edit_counts_from_now_and_fires_nothing_twice() {
    let next = fired(&schedule("FREQ=HOURLY"), hour(9)).next;
    let edited = next.edit(definition("FREQ=MINUTELY;INTERVAL=20"), None, hour(9)).expect("a good rule");
    assert_eq!(edited.next_run, Some(hour(9).after(seconds(1_200))), "9:00 has been");
    let in_vain = next.edit(definition("FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=31"), None, hour(9));
    assert!(matches!(in_vain, Err(ScheduleRefusal::Rule(_))));
    let paused = next.pause(None, hour(9)).expect("it is active");
    let edited = paused.edit(definition("FREQ=DAILY"), None, hour(9)).expect("a good rule");
    assert_eq!((edited.state, edited.next_run), (ScheduleState::Paused, None), "it stays paused");
    let ended = fired(&schedule(""), hour(9)).next;
    let again = ended.edit(definition("FREQ=DAILY"), None, hour(10)).expect("a good rule");
    assert_eq!((again.state, again.next_run), (ScheduleState::Active, Some(hour(33))));
}

/// Each occurrence is put off by up to half an hour.
fn jittered(rule: &str) -> Definition {
    Definition { jitter: seconds(1_800), ..definition(rule) }
}

#[test]
fn to_say_the_same_again_changes_nothing() {
    let said = jittered("FREQ=WEEKLY");
    let weekly = schedule_of(said.clone());
    let without_start = Definition {
        recurrence: Recurrence::parse("FREQ=WEEKLY", Start::LeftOut(hour(50)), None, &[] as &[&str]).expect("good"),
        start_left_out: true,
        ..said.clone()
    };
    for again in [said.clone(), without_start, Definition { at_once: true, ..said.clone() }] {
        assert_eq!(weekly.edit(again.clone(), Some("me".to_owned()), hour(50)).as_ref(), Ok(&weekly));
        // Between an occurrence and its run, ...
        let between = weekly.next_occurrence.expect("it is active").after(seconds(1));
        assert!(!weekly.is_due(between));
        assert_eq!(weekly.edit(again.clone(), None, between).as_ref(), Ok(&weekly));
        // ... overdue, while it is postponed, and while it is paused.
        assert_eq!(weekly.edit(again.clone(), None, hour(30)).as_ref(), Ok(&weekly));
        let postponed = weekly.postpone(hour(100), None, hour(8)).expect("it is active");
        assert_eq!(postponed.edit(again.clone(), None, hour(20)).as_ref(), Ok(&postponed));
        let paused = weekly.pause(None, between).expect("it is active");
        assert_eq!(paused.edit(again, None, hour(20)).as_ref(), Ok(&paused));
    }
    // A start that the clock skips stays the time that was written.
    let skipped = |start| Definition {
        recurrence: Recurrence::parse("FREQ=DAILY", start, Some("Europe/Berlin"), &[] as &[&str]).expect("good"),
        ..definition("")
    };
    let daily = schedule_of(skipped(Start::Text("2026-03-29T02:30")));
    let again = Definition { start_left_out: true, ..skipped(Start::LeftOut(hour(50))) };
    assert_eq!(daily.edit(again, None, hour(50)).as_ref(), Ok(&daily));
    let over = fired(&schedule(""), hour(9)).next;
    assert_eq!(over.edit(definition(""), None, hour(10)).as_ref(), Ok(&over), "its only time has been");
    let other = Definition { overlap: Overlap::Queue, ..said };
    let edited = weekly.edit(other, None, hour(9).after(seconds(1))).expect("a good rule");
    assert_eq!(
        (edited.next_run, edited.next_occurrence, edited.revision),
        (weekly.next_run, weekly.next_occurrence, 2)
    );
}

#[test]
fn an_occurrence_that_waits_for_its_run_survives_what_leaves_it_in_the_rule() {
    let daily = schedule_of(jittered("FREQ=DAILY"));
    let run = daily.next_run.expect("it is active");
    let between = Timestamp(run.0 - 1_000_000);
    assert!(between > hour(9), "the jitter of this name and time is longer");
    let resumed = daily.pause(None, hour(9).after(seconds(1))).and_then(|paused| paused.resume(None, between));
    assert_eq!(resumed.map(|resumed| resumed.next_run), Ok(Some(run)));
    let late =
        daily.pause(None, hour(9).after(seconds(1))).and_then(|paused| paused.resume(None, run.after(seconds(1))));
    assert_eq!(late.map(|resumed| resumed.next_occurrence), Ok(Some(hour(33))), "its run fell into the pause");
    let on_weekdays = daily.edit(jittered("FREQ=DAILY;BYDAY=TH,FR"), None, between).expect("a good rule");
    assert_eq!((on_weekdays.next_occurrence, on_weekdays.next_run), (Some(hour(9)), Some(run)));
    let on_others = daily.edit(jittered("FREQ=DAILY;BYDAY=FR"), None, between).expect("a good rule");
    assert_eq!(on_others.next_occurrence, Some(hour(33)), "the new rule does not have it");
    let postponed = daily.postpone(hour(20), None, hour(8)).expect("it is active");
    let less = Definition {
        recurrence: Recurrence::parse("FREQ=DAILY", Start::At(hour(9)), None, &["2026-02-01"]).expect("a good rule"),
        ..jittered("")
    };
    let edited = postponed.edit(less, None, hour(10)).expect("a good rule");
    assert_eq!((edited.next_occurrence, edited.next_run), (Some(hour(9)), Some(hour(20))));
}

#[test]
fn a_new_rule_whose_start_was_left_out_does_not_fire_at_once_unless_asked() {
    let name = || ScheduleName::new("nightly").expect("a good name");
    let made = |rule: &str, at_once: bool| {
        let start = if at_once { Start::At(hour(9)) } else { Start::LeftOut(hour(9)) };
        let recurrence = Recurrence::parse_any(rule, start, None, &[] as &[&str]).expect("a good rule");
        let left_out = Definition { recurrence, start_left_out: true, at_once, ..jittered("") };
        Schedule::new(TenantId::DEFAULT, name(), left_out, None, hour(9)).expect("a good rule")
    };
    assert_eq!(made("FREQ=WEEKLY", false).next_occurrence, Some(hour(9 + 168)));
    assert_eq!(made("0 * * * *", false).next_occurrence, Some(hour(10)));
    assert_eq!(made("", false).next_occurrence, Some(hour(9)), "once is now");
    let asked = made("FREQ=WEEKLY;COUNT=2", true);
    assert!(asked.is_due(hour(9)), "without its jitter");
    assert_eq!(fired(&asked, hour(9)).create, [hour(9)]);
    assert!(!made("0 3 * * *", true).is_due(hour(9)), "the rule does not yield it: it is made beside it");
}

#[test]
fn a_start_that_nobody_said_and_that_is_still_to_come_goes_with_its_rule() {
    let left_out = |rule: &str, now| Definition {
        recurrence: Recurrence::parse_any(rule, Start::LeftOut(now), None, &[] as &[&str]).expect("a good rule"),
        start_left_out: true,
        ..definition("")
    };
    let minutes = |count: u64| hour(10).after(seconds(60 * count));
    let name = || ScheduleName::new("nightly").expect("a good name");
    let weekly = Schedule::new(TenantId::DEFAULT, name(), left_out("FREQ=WEEKLY", hour(10)), None, hour(10));
    let weekly = weekly.expect("a good rule");
    assert_eq!(weekly.next_occurrence, Some(hour(10 + 168)));
    let soon = weekly.edit(left_out("FREQ=MINUTELY", minutes(5)), None, minutes(5)).expect("a good rule");
    assert!(soon.next_run <= Some(minutes(7)), "{:?}", soon.next_run);
    let cron = weekly.edit(left_out("*/5 * * * *", minutes(6)), None, minutes(6)).expect("a good rule");
    assert_eq!(cron.next_run, Some(minutes(10)));
    // Derived anew by an edit, it is no more somebody's word than the first.
    let monthly = weekly.edit(left_out("FREQ=MONTHLY", minutes(5)), None, minutes(5)).expect("a good rule");
    let soon = monthly.edit(left_out("FREQ=MINUTELY", minutes(9)), None, minutes(9)).expect("a good rule");
    assert!(soon.next_run <= Some(minutes(11)), "{:?}", soon.next_run);
    // What somebody has said stays, and so does what has passed.
    let said = schedule_of(definition("FREQ=WEEKLY"));
    let edited = said.edit(left_out("FREQ=MINUTELY", hour(8)), None, hour(8)).expect("a good rule");
    assert_eq!(edited.next_run, Some(hour(9)), "not before the start that was said");
    let passed = said.edit(left_out("FREQ=DAILY", hour(30)), None, hour(30)).expect("a good rule");
    assert_eq!(passed.recurrence.start(), hour(9));
}

#[test]
fn a_schedule_whose_rule_gives_up_is_refused_and_one_that_has_ended_so_says_it() {
    let rare = "FREQ=SECONDLY;INTERVAL=86399;BYHOUR=1;BYMINUTE=0;BYSECOND=0;BYMONTHDAY=13;BYDAY=FR";
    let start = time("2026-02-13T01:00:00");
    let rare = Definition {
        recurrence: Recurrence::parse(rare, Start::At(start), None, &[] as &[&str]).expect("it is well formed"),
        ..definition("")
    };
    let name = || ScheduleName::new("nightly").expect("a good name");
    let refused = Schedule::new(TenantId::DEFAULT, name(), rare.clone(), None, start).expect_err("nothing comes later");
    assert_eq!(refused.part(), "FREQ", "{refused}");
    let edited = schedule("FREQ=HOURLY").edit(rare.clone(), None, start);
    assert!(matches!(edited, Err(ScheduleRefusal::Rule(_))), "{edited:?}");
    // One that was made before, or comes from a backup.
    let kept = Schedule { recurrence: rare.recurrence, ..schedule("FREQ=HOURLY") };
    let kept = Schedule { next_run: Some(start), next_occurrence: Some(start), ..kept };
    let ended = fired(&kept, start).next;
    assert_eq!(ended.state, ScheduleState::Ended);
    let warning = ended.warning(start).expect("it says why");
    assert!(warning.contains("longer FREQ") && warning.contains("backroom schedule add nightly"), "{warning}");
    assert_eq!(fired(&schedule(""), hour(9)).next.warning(hour(9)), None, "one that its rule has ended is no trouble");
}

#[test]
fn a_clock_that_was_ahead_and_came_back_is_told_of_and_an_edit_or_a_resume_starts_from_now() {
    let hourly = schedule("FREQ=HOURLY");
    let ahead = fired(&hourly, hour(9 + 72)).next;
    assert_eq!(ahead.next_occurrence, Some(hour(10 + 72)));
    let now = hour(10).after(seconds(5));
    assert_eq!((ahead.warning(hour(9 + 72)), hourly.warning(now)), (None, None));
    assert_eq!(fired(&hourly, hour(9).after(seconds(30))).next.warning(hour(9)), None, "a clock that is set right");
    let warning = ahead.warning(now).expect("the clock was ahead");
    assert!(warning.contains("backroom schedule resume nightly") && warning.contains("no job before 2026-01-04T10"));
    let resumed = ahead.resume(None, now).expect("it is to start from now");
    let edited = ahead.edit(definition("FREQ=HOURLY"), None, now).expect("a good rule");
    let paused = ahead.pause(None, now).and_then(|paused| paused.resume(None, now)).expect("it is paused");
    for healed in [resumed, edited, paused] {
        assert_eq!((healed.next_run, healed.warning(now)), (Some(hour(11)), None));
        assert_eq!(fired(&healed, hour(11)).create, [hour(11)]);
    }
}

#[test]
fn what_overlap_leaves_out_is_counted() {
    let skip = schedule("FREQ=HOURLY");
    let first = fire(&skip, hour(9), ALWAYS, true).expect("it is due").next;
    assert_eq!((first.left_out, first.last_left_out), (1, Some(hour(9))));
    let second = fire(&first, hour(10), ALWAYS, false).expect("it is due").next;
    assert_eq!((second.left_out, second.last_left_out, second.fired), (1, Some(hour(9)), 1));
    let cancel = Definition { overlap: Overlap::CancelPrevious, ..definition("FREQ=SECONDLY;INTERVAL=2") };
    let firing = fired(&schedule_of(cancel), hour(9).after(seconds(5)));
    assert_eq!((firing.next.left_out, firing.next.last_left_out), (2, Some(hour(9).after(seconds(2)))));
}

#[test]
fn extra_occurrences_have_times_of_their_own() {
    let mut hourly = schedule("FREQ=HOURLY");
    let mut times = BTreeSet::from([hour(9)]);
    for _ in 0..3 {
        let (scheduled_for, next) = hourly.run_now(hour(9));
        assert!(times.insert(scheduled_for), "{scheduled_for} is new");
        assert_eq!(next.next_run, hourly.next_run, "the rule goes on");
        hourly = next;
    }
    assert_eq!((hourly.fired, hourly.revision), (3, 4));
    assert_eq!(fired(&hourly, hour(9)).create, [hour(9)]);
}

#[test]
fn a_back_fill_lists_the_rule_and_is_bounded() {
    let hourly = schedule("FREQ=HOURLY");
    assert_eq!(hourly.backfill(hour(0), hour(12), 10), Ok([9, 10, 11].map(hour).to_vec()));
    assert_eq!(hourly.backfill(hour(0), hour(12), 3).map(|found| found.len()), Ok(3));
    let error = hourly.backfill(hour(0), hour(12), 2).expect_err("too many");
    assert!(matches!(error, ScheduleRefusal::TooMany { max: 2, up_to, .. } if up_to == hour(11)), "{error}");
    assert_eq!(hourly.backfill(hour(12), hour(0), 3), Ok(Vec::new()));
}

#[test]
fn a_back_fill_never_makes_an_occurrence_again_that_may_have_had_its_job() {
    let schedule = Schedule { fired: 5, ..schedule("FREQ=HOURLY") };
    let check = |from, there, kept_from| schedule.check_remembered(hour(from), there, kept_from);
    assert_eq!(check(1, 5, Some(hour(7))), Ok(()), "all its jobs are there");
    assert_eq!(check(1, 4, None), Ok(()), "a person removed one, and knows");
    assert_eq!(check(7, 4, Some(hour(7))), Ok(()), "what is gone is older");
    assert_eq!(check(1, 3, Some(hour(7))), Err(ScheduleRefusal::Forgotten { gone: 2, kept_from: hour(7) }));
}

#[test]
fn jitter_puts_off_within_its_span_and_the_same_again() {
    let jittered = schedule_of(Definition { jitter: seconds(600), ..definition("FREQ=HOURLY") });
    let shares: Vec<_> = (9..1_009).map(|h| jittered.run_at(hour(h)).since(hour(h))).collect();
    assert!(shares.iter().all(|share| *share < seconds(600)));
    let low = shares.iter().filter(|share| **share < seconds(300)).count();
    assert!((400..600).contains(&low), "uneven: {low}");
    assert_eq!(jittered.next_run, Some(jittered.run_at(hour(9))));
    let next_run = jittered.next_run.expect("it is active");
    assert_eq!(fire(&jittered, Timestamp(next_run.0 - 1), ALWAYS, false), None);
    let firing = fired(&jittered, next_run);
    assert_eq!((firing.create, firing.next.next_occurrence), (vec![hour(9)], Some(hour(10))));
}

#[test]
fn policies_are_read_as_they_are_written() {
    for policy in [Misfire::RunOnce, Misfire::RunAll(3), Misfire::Skip] {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
    for policy in [Overlap::Skip, Overlap::Queue, Overlap::Allow, Overlap::CancelPrevious] {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
    for text in ["run_all", "run_all(0)", "run_all(1001)", "run_all(x)", "RUN_ONCE", ""] {
        assert!(text.parse::<Misfire>().expect_err(text).to_string().contains("use run_once, skip, or run_all(3)"));
    }
    assert!("cancel".parse::<Overlap>().is_err());
}

#[test]
fn a_schedule_is_stored_and_read() {
    let next = fired(&schedule("FREQ=HOURLY;COUNT=5"), hour(9)).next;
    assert_eq!(backroom::stored::decode(&backroom::stored::encode(&next)), Ok(next));
}

proptest! {
    /// Whatever happens between, no two jobs of a schedule have one time, and with every missed one allowed none is lost.
    #[test]
    fn no_occurrence_fires_twice_or_is_lost(
        interval in 1_u64..4_000,
        jitter in 0_u64..100,
        steps in proptest::collection::vec((0_u8..10, 0_u64..6_000), 1..40),
    ) {
        let policies = Definition {
            misfire: Misfire::RunAll(1_000),
            overlap: Overlap::Allow,
            jitter: seconds(jitter),
            ..definition(&format!("FREQ=SECONDLY;INTERVAL={interval}"))
        };
        let mut schedule = schedule_of(policies.clone());
        let mut now = time(MADE);
        let mut made = Vec::new();
        let mut is_undisturbed = interval > 10;
        for (action, passed) in steps {
            now = now.after(Duration::from_millis(passed * 1_000 + u64::from(action)));
            let steered = match action {
                0 => schedule.pause(None, now).ok(),
                1 => schedule.resume(None, now).ok(),
                2 => schedule.edit(policies.clone(), None, now).ok(),
                3 => schedule.postpone(now.after(seconds(passed)), None, now).ok(),
                _ => None,
            };
            if let Some(next) = steered {
                is_undisturbed = false;
                schedule = next;
            }
            if let Some(firing) = fire(&schedule, now, ALWAYS, false) {
                prop_assert_eq!(firing.next.revision, schedule.revision + 1);
                made.extend(firing.create);
                schedule = firing.next;
            }
        }
        prop_assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", made);
        if is_undisturbed {
            let all: Vec<_> = schedule.recurrence.from(hour(9)).take(made.len()).collect();
            prop_assert_eq!(made, all);
        }
    }
}
