//! The transition function against the table of domain.md 3.2, cell by cell. `transitions.csv` is that table, verbatim.

use std::collections::{BTreeMap, BTreeSet};

use backroom::domain::failure::ErrorClass;
use backroom::domain::job::transition::{self, Next};
use backroom::domain::job::{Event, JobState, JobType, Outcome, Status, WaitReason, Wake};
use backroom::domain::loops;
use backroom::domain::retry::{RUNS_MAX, RetryPolicy};
use backroom::domain::time::Timestamp;

use crate::fixtures::{
    CREATED, Situation, after, at, changed, claim, events, failed, failure, me, report, seconds, situations,
    submission, table_name, with_checkpoint,
};

/// One row of the table.
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) from: &'static str,
    pub(crate) event: &'static str,
    pub(crate) guard: &'static str,
    pub(crate) to: &'static str,
}

pub(crate) fn rows() -> Vec<Row> {
    include_str!("transitions.csv")
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [id, from, event, guard, to, _actor, _origin] = fields[..] else { panic!("not seven fields: {line}") };
            Row { id, from, event, guard, to }
        })
        .collect()
}

/// The kinds of event that a row's `event` column stands for.
fn kinds(event: &str) -> BTreeSet<String> {
    let without_details = match event.split_once('(') {
        Some((before, _)) => before,
        None => event,
    };
    let returned = ["ok", "canceled", "err", "retryable err", "user-fixable err", "retry", "suspended", "yielded"];
    without_details
        .split(" or ")
        .map(|kind| kind.trim_start_matches("return "))
        .map(|kind| match kind {
            "retryable err" | "user-fixable err" => "return err".to_owned(),
            kind if returned.contains(&kind) => format!("return {kind}"),
            kind => kind.to_owned(),
        })
        .collect()
}

fn row_of(rule: &str) -> Row {
    rows().into_iter().find(|row| row.id == rule).unwrap_or_else(|| panic!("the table has no row {rule}"))
}

/// What every situation and every event make of each other.
pub(crate) struct Observed {
    pub(crate) situation: Situation,
    pub(crate) event: Event,
    pub(crate) next: Result<Next, transition::Refused>,
}

pub(crate) fn observe_everything() -> Vec<Observed> {
    let mut all = Vec::new();
    for situation in situations() {
        for event in events(situation.now) {
            let Situation { submission, policy, state, now, .. } = &situation;
            let next = transition::apply(submission, state, policy, event.clone(), *now);
            all.push(Observed { situation: situation.clone(), event, next });
        }
    }
    all
}

fn outcome_of(next: &Next, from: Status) -> Option<(&'static str, String)> {
    match next {
        Next::Changed { rule, state, .. } => Some((rule, state.status.code().to_string())),
        Next::Gone { rule } => Some((rule, "gone".to_owned())),
        Next::Unchanged => {
            assert!(matches!(from, Status::Pausing | Status::Canceling), "only repeated wishes change nothing");
            None
        }
    }
}

#[test]
fn every_change_is_the_row_that_it_names() {
    for Observed { situation, event, next } in observe_everything() {
        let status = situation.state.status;
        let Some((rule, to)) = next.as_ref().ok().and_then(|next| outcome_of(next, status)) else { continue };
        let row = row_of(rule);
        let context = format!("{rule}: {} + {event:?}", situation.name);
        assert_eq!(row.from, status.code().to_string(), "from, {context}");
        assert_eq!(row.to, to, "to, {context}");
        assert!(kinds(row.event).contains(table_name(status, &event)), "event {}, {context}", row.event);
    }
}

#[test]
fn every_row_is_produced() {
    let observed: BTreeSet<&str> = observe_everything()
        .iter()
        .filter_map(|seen| outcome_of(seen.next.as_ref().ok()?, seen.situation.state.status))
        .map(|(rule, _)| rule)
        .collect();
    let at_submit = ["T00", "T01", "T02"];
    let missing: Vec<_> =
        rows().into_iter().map(|row| row.id).filter(|id| !at_submit.contains(id) && !observed.contains(id)).collect();
    assert!(missing.is_empty(), "no situation and event produce {missing:?}");
}

#[test]
fn what_the_table_does_not_list_is_refused() {
    let listed: BTreeSet<(String, String)> = rows()
        .into_iter()
        .flat_map(|row| kinds(row.event).into_iter().map(move |kind| (row.from.to_owned(), kind)))
        .collect();
    let mut refused_cells = BTreeSet::new();
    for Observed { situation, event, next } in observe_everything() {
        let status = situation.state.status;
        let name = table_name(status, &event);
        let context = format!("{} + {event:?} -> {next:?}", situation.name);
        let is_repeated = matches!((status, name), (Status::Pausing, "pause") | (Status::Canceling, "cancel"));
        if is_repeated {
            assert_eq!(next, Ok(Next::Unchanged), "{context}");
        } else if listed.contains(&(status.code().to_string(), name.to_owned())) {
            let guarded = ["expire", "timer", "event matched", "children done", "component available"];
            let minds_nothing = matches!(event, Event::ClaimAfterFailure { .. });
            let awaited = situation.state.wait().and_then(|wait| wait.ends_only_by());
            let stands_in = awaited.is_some() && matches!(name, "resume" | "postpone");
            let may_refuse = minds_nothing || stands_in || guarded.contains(&name);
            assert!(next.is_ok() || may_refuse, "refused without a guard: {context}");
        } else {
            refused_cells.insert((status, name));
            let refused = next.expect_err(&context);
            assert_eq!(refused.status, status);
            assert!(!refused.why.is_empty() && !refused.event.is_empty(), "not explained: {context}");
        }
    }
    assert!(refused_cells.len() > 120, "only {} cells were tried", refused_cells.len());
}

#[test]
fn a_submit_starts_a_job() {
    let plain = submission();
    let (t00, t01, t02) = (row_of("T00"), row_of("T01"), row_of("T02"));

    let mut early = submission();
    early.not_before = Some(at(0));
    for submission in [&plain, &early] {
        let state = transition::submitted(submission, at(1));
        assert_eq!(state.status.code().to_string(), t00.to);
        assert_eq!(state, backroom::domain::job::JobState::default(), "the store derives it");
    }

    let mut later = submission();
    later.not_before = Some(at(2));
    let state = transition::submitted(&later, at(1));
    assert_eq!(state.status.code().to_string(), t01.to);
    assert_eq!(state.postpone_until, Some(at(2)));
    assert_eq!(transition::submitted(&later, at(2)).status, Status::Queued, "its time has come");

    let mut deep = submission();
    deep.depth = 9;
    let state = transition::refused(&deep, &loops::too_deep(&deep).expect("it is too deep"), at(1));
    assert_eq!(state.status.code().to_string(), t02.to);
    assert_eq!(state.completed_on, Some(at(1)));
    let failure = state.failure().expect("it says why");
    assert_eq!(failure.code.as_deref(), Some("BR0315"));
    assert!(failure.message.contains("9 deep") && failure.message.contains('8'), "{}", failure.message);
}

/// The guards, row by row where several rows share a cell.
#[test]
fn guards_choose_the_row() {
    let plain = submission();
    let policy = RetryPolicy::default();
    let running = after(&plain, &policy, vec![claim(at(1))]);
    let pausing = after(&plain, &policy, vec![claim(at(1)), Event::Pause { by: me() }]);
    let postponing = after(&plain, &policy, vec![claim(at(1)), Event::Postpone { until: at(99), by: me() }]);
    let last = |state: &backroom::domain::job::JobState| {
        let mut state = state.clone();
        state.attempt = policy.max_attempts;
        state
    };
    let doomed = |state: &JobState| JobState { crashes: policy.max_crashes, ..state.clone() };
    let stopped = |safe_point| Event::GracefulStop { safe_point, report: report() };
    let retry = Event::Returned(Outcome::Retry(None, failure(ErrorClass::Business)), report());
    let deadline = Event::Deadline(failure(ErrorClass::Transient), report());
    let suspended = |wake| Event::Returned(Outcome::Suspended(wake), report());
    let hold = RetryPolicy { hold_user_fixable: true, ..policy.clone() };
    let strict = RetryPolicy { retry_timeouts: false, ..policy.clone() };
    let cases = [
        ("T09", &running, &policy, failed(ErrorClass::Business)),
        ("T09", &running, &policy, failed(ErrorClass::Fatal)),
        ("T09", &running, &policy, failed(ErrorClass::UserFixable)),
        ("T12", &running, &hold, failed(ErrorClass::UserFixable)),
        ("T12", &last(&running), &hold, failed(ErrorClass::UserFixable)),
        ("T10", &running, &policy, failed(ErrorClass::Transient)),
        ("T10", &running, &policy, failed(ErrorClass::Throttled)),
        ("T10", &last(&running), &policy, failed(ErrorClass::Throttled)),
        ("T10", &running, &policy, retry.clone()),
        ("T11", &last(&running), &policy, failed(ErrorClass::Transient)),
        ("T11", &last(&running), &policy, retry.clone()),
        ("T13", &running, &policy, suspended(Wake::Event("x".to_owned()))),
        ("T13", &running, &policy, suspended(Wake::Children)),
        ("T13", &running, &policy, suspended(Wake::Manual)),
        ("T14", &running, &policy, suspended(Wake::At(at(50)))),
        ("T15", &running, &policy, Event::Returned(Outcome::Yielded, with_checkpoint(b"x"))),
        ("T09", &running, &policy, Event::Returned(Outcome::Yielded, report())),
        ("T16", &running, &policy, Event::GracefulStop { safe_point: true, report: report() }),
        ("T63", &running, &policy, Event::GracefulStop { safe_point: false, report: report() }),
        ("T17", &running, &policy, deadline.clone()),
        ("T18", &last(&running), &policy, deadline.clone()),
        ("T18", &running, &strict, deadline.clone()),
        ("T24", &pausing, &policy, Event::SafePoint(report())),
        ("T25", &postponing, &policy, Event::SafePoint(report())),
        ("T27", &pausing, &policy, failed(ErrorClass::Business)),
        ("T27", &last(&postponing), &policy, retry.clone()),
        ("T28", &pausing, &policy, retry.clone()),
        ("T28", &pausing, &hold, failed(ErrorClass::UserFixable)),
        ("T28", &pausing, &policy, suspended(Wake::Manual)),
        ("T56", &postponing, &policy, retry),
        ("T56", &postponing, &policy, suspended(Wake::Children)),
        ("T59", &pausing, &policy, deadline.clone()),
        ("T60", &postponing, &policy, deadline.clone()),
        ("T61", &last(&pausing), &policy, deadline.clone()),
        ("T61", &postponing, &strict, deadline),
        ("T19", &running, &policy, Event::LeaseLost),
        ("T20", &doomed(&running), &policy, Event::LeaseLost),
        ("T30", &pausing, &policy, Event::LeaseLost),
        ("T71", &postponing, &policy, Event::LeaseLost),
        ("T72", &doomed(&pausing), &policy, Event::LeaseLost),
        ("T72", &doomed(&postponing), &policy, Event::LeaseLost),
        ("T64", &pausing, &policy, stopped(true)),
        ("T64", &pausing, &policy, stopped(false)),
        ("T73", &postponing, &policy, stopped(true)),
        ("T73", &postponing, &policy, stopped(false)),
    ];
    for (rule, state, policy, event) in cases {
        let context = format!("{:?} + {event:?}", state.status);
        let (actual, _) = changed(transition::apply(&plain, state, policy, event, at(10)));
        assert_eq!(actual, rule, "{context} (guard of {rule}: {})", row_of(rule).guard);
    }
}

#[test]
fn a_sleep_ends_in_the_future_and_when_the_handler_says() {
    let plain = submission();
    let policy = RetryPolicy::default();
    let running = after(&plain, &policy, vec![claim(at(1))]);
    let asleep_until = |time| {
        let event = Event::Returned(Outcome::Suspended(Wake::At(time)), report());
        changed(transition::apply(&plain, &running, &policy, event, at(10))).1.postpone_until
    };
    assert_eq!(asleep_until(at(500)), Some(at(500)));
    assert_eq!(asleep_until(Timestamp(i64::MIN)), Some(at(11)));
    let four_centuries = seconds(400 * 366 * 86_400);
    let years = at(10).after(four_centuries);
    assert_eq!(asleep_until(years), Some(years), "nothing is cut");
    assert_eq!(asleep_until(Timestamp(i64::MAX)), Some(Timestamp::LAST));
    let retry_at = |delay| {
        let event = Event::Returned(Outcome::Retry(Some(delay), failure(ErrorClass::Transient)), report());
        changed(transition::apply(&plain, &running, &policy, event, at(10))).1.postpone_until
    };
    assert_eq!(retry_at(four_centuries), Some(years));
    assert_eq!(retry_at(seconds(u64::MAX)), Some(Timestamp::LAST));
}

#[test]
fn a_job_does_not_run_for_ever() {
    let plain = submission();
    let policy = RetryPolicy::default();
    let ended = |runs, event| {
        let mut running = after(&plain, &policy, vec![claim(at(1))]);
        running.runs = runs;
        changed(transition::apply(&plain, &running, &policy, event, at(10)))
    };
    let dozing = || Event::Returned(Outcome::Suspended(Wake::At(at(50))), report());
    let yielded = || Event::Returned(Outcome::Yielded, with_checkpoint(b"x"));
    let throttled = || failed(ErrorClass::Throttled);
    for (event, goes_on, is_last) in [(dozing(), "T14", "T09"), (yielded(), "T15", "T09"), (throttled(), "T10", "T11")]
    {
        assert_eq!(ended(RUNS_MAX - 1, event.clone()).0, goes_on, "{event:?}");
        let (rule, state) = ended(RUNS_MAX, event.clone());
        assert_eq!((rule, state.status), (is_last, Status::Failed), "{event:?}");
    }
    assert_eq!(ended(RUNS_MAX, dozing()).1.failure().and_then(|why| why.code.clone()).as_deref(), Some("BR0330"));
    assert_eq!(ended(RUNS_MAX, Event::Returned(Outcome::succeeded("done"), report())).0, "T07");
}

#[test]
fn guards_refuse_what_has_not_come() {
    let policy = RetryPolicy::default();
    let mut expiring = submission();
    expiring.expires_on = Some(at(50));
    let queued = transition::submitted(&expiring, CREATED);
    let dozing = Event::Returned(Outcome::Suspended(Wake::At(at(50))), report());
    let sleeping = after(&expiring, &policy, vec![claim(at(1)), dozing]);
    let retrying = after(&expiring, &policy, vec![claim(at(1)), failed(ErrorClass::Throttled)]);
    let for_event = Event::Returned(Outcome::Suspended(Wake::Event("paid".to_owned())), report());
    let for_event = after(&expiring, &policy, vec![claim(at(1)), for_event]);
    let too_early = [
        (&queued, Event::Expire, "has not come"),
        (&sleeping, Event::Expire, "has not come"),
        (&retrying, Event::Expire, "has not come"),
        (&sleeping, Event::Timer, "has not come"),
        (&retrying, Event::Timer, "has not come"),
        (&for_event, Event::Timer, "waits for no time"),
        (&for_event, Event::ChildrenDone, "does not wait for jobs"),
        (&for_event, Event::ComponentAvailable, "does not wait for a plug-in"),
        (&sleeping, Event::EventMatched, "does not wait for an event"),
    ];
    for (state, event, why) in too_early {
        let now = state.last_run.as_ref().map_or(at(2), |run| run.ended_on);
        let refused = transition::apply(&expiring, state, &policy, event.clone(), now).expect_err("too early");
        assert!(refused.why.contains(why), "{event:?}: {refused}");
    }
    let mut forever = submission();
    forever.expires_on = None;
    assert!(transition::apply(&forever, &queued, &policy, Event::Expire, at(9_999)).is_err(), "it never expires");
}

#[test]
fn the_callers_number_of_attempts_comes_before_the_policys() {
    let mut once = submission();
    once.max_attempts = Some(1);
    let policy = RetryPolicy::default();
    let running = after(&once, &policy, vec![claim(at(1))]);
    let (rule, _) = changed(transition::apply(&once, &running, &policy, failed(ErrorClass::Transient), at(2)));
    assert_eq!(rule, "T11");
}

#[test]
fn repeated_wishes_change_nothing() {
    let plain = submission();
    let policy = RetryPolicy::default();
    for wish in [Event::Pause { by: me() }, Event::Cancel { by: me() }] {
        let state = after(&plain, &policy, vec![claim(at(1)), wish.clone()]);
        assert_eq!(transition::apply(&plain, &state, &policy, wish, at(9)), Ok(Next::Unchanged));
    }
}

#[test]
fn the_hosts_own_jobs_are_not_steered_by_people() {
    let mut upkeep = submission();
    upkeep.job_type = JobType(16);
    let policy = RetryPolicy::default();
    let queued = transition::submitted(&upkeep, CREATED);
    let running = after(&upkeep, &policy, vec![claim(at(1))]);
    let paused = after(&submission(), &policy, vec![Event::Pause { by: me() }]);
    let refused = [
        (&queued, Event::Pause { by: me() }),
        (&queued, Event::Cancel { by: me() }),
        (&running, Event::Cancel { by: me() }),
        (&running, Event::Postpone { until: at(50), by: me() }),
        (&paused, Event::Resume { by: me(), at_once: false }),
    ];
    for (state, event) in refused {
        let refused = transition::apply(&upkeep, state, &policy, event, at(5)).expect_err("not for people");
        assert!(refused.why.contains("upkeep"), "{refused}");
    }
    let later = Event::Postpone { until: at(50), by: me() };
    let (rule, _) = changed(transition::apply(&upkeep, &queued, &policy, later, at(5)));
    assert_eq!(rule, "T51", "upkeep can be put off");
}

#[test]
fn refusals_say_what_to_do() {
    let plain = submission();
    let policy = RetryPolicy::default();
    let running = after(&plain, &policy, vec![claim(at(1))]);
    let text = |state, event| {
        transition::apply(&plain, state, &policy, event, at(5)).expect_err("not in the table").to_string()
    };
    assert_eq!(
        text(&running, Event::Delete),
        "a job that is running cannot be deleted: a host runs it; cancel it and wait until it has ended"
    );
    let canceled = after(&plain, &policy, vec![Event::Cancel { by: me() }]);
    assert_eq!(
        text(&canceled, Event::Resume { by: me(), at_once: false }),
        "a job that is canceled cannot be resumed: it has ended, and nothing but deletion follows; retry it as a new job"
    );
}

/// The edges that really occur, from code to code.
pub(crate) fn edges() -> BTreeMap<(Status, Status), BTreeSet<&'static str>> {
    let mut edges: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for seen in observe_everything() {
        if let Ok(Next::Changed { rule, state, .. }) = seen.next {
            edges.entry((seen.situation.state.status, state.status)).or_default().insert(rule);
        }
    }
    edges
}

fn reachable(start: Status) -> BTreeSet<Status> {
    let edges = edges();
    let mut seen = BTreeSet::from([start]);
    let mut frontier = vec![start];
    while let Some(from) = frontier.pop() {
        let next = edges.keys().filter(|edge| edge.0 == from).map(|edge| edge.1);
        frontier.extend(next.filter(|to| seen.insert(*to)).collect::<Vec<_>>());
    }
    seen
}

#[test]
fn the_graph_has_the_shape_that_the_table_promises() {
    let edges = edges();
    assert_eq!(reachable(Status::Queued), BTreeSet::from(Status::ALL), "every status is reachable");
    for status in Status::ALL {
        let leaves = edges.keys().any(|(from, _)| *from == status);
        assert_eq!(leaves, !status.is_final(), "{status}: nothing leaves a final status but deletion");
        assert!(reachable(status).into_iter().any(Status::is_final), "{status} reaches a final status");
    }
    let into_running: Vec<_> = edges.keys().filter(|(_, to)| *to == Status::Running).map(|(from, _)| *from).collect();
    assert_eq!(into_running, [Status::Queued], "the only way into a run is from the queue");
}

#[test]
fn every_unfinished_status_but_canceling_can_be_canceled() {
    let mut tried = BTreeSet::new();
    for Situation { name, submission, policy, state, now } in situations() {
        let (status, cancel) = (state.status, Event::Cancel { by: me() });
        let next = transition::apply(&submission, &state, &policy, cancel, now);
        tried.insert(status);
        match next {
            Ok(Next::Changed { state, .. }) => {
                assert!(!status.is_final() && status != Status::Canceling, "{name}");
                let is_canceled = matches!(state.status, Status::Canceling | Status::Canceled);
                assert!(is_canceled, "{name} became {}", state.status);
            }
            Ok(Next::Unchanged) => assert_eq!(status, Status::Canceling, "{name}"),
            next => assert!(status.is_final(), "{name}: {next:?}"),
        }
    }
    assert_eq!(tried, BTreeSet::from(Status::ALL));
}

#[test]
fn a_clock_that_is_set_back_does_not_turn_the_times_of_a_job_around() {
    let plain = submission();
    let policy = RetryPolicy::default();
    let running = after(&plain, &policy, vec![claim(at(1))]);
    let done = Event::Returned(Outcome::succeeded("out"), report());
    let before = Timestamp(CREATED.0 - 5_000_000);
    let (_, state) = changed(transition::apply(&plain, &running, &policy, done, before));
    assert_eq!(state.completed_on, state.started_on);
    assert!(state.completed_on >= Some(CREATED.after(seconds(1))));
}

/// The states of jobs that wait, by every way that a run or a person brings them there.
fn waits() -> Vec<Situation> {
    let waits = |situation: &Situation| matches!(situation.state.status, Status::Waiting | Status::Retrying);
    situations().into_iter().filter(waits).collect()
}

#[test]
fn a_resume_takes_a_pause_back() {
    for Situation { name, submission, policy, state, now } in waits() {
        let (_, paused) = changed(transition::apply(&submission, &state, &policy, Event::Pause { by: me() }, now));
        assert_eq!(paused.failure, state.failure, "{name}: it is still told why");
        let later = state.postpone_until.map_or(now, |until| until.max(now));
        for moment in [now, later] {
            let resume = Event::Resume { by: me(), at_once: false };
            let (rule, resumed) = changed(transition::apply(&submission, &paused, &policy, resume, moment));
            let is_open = state.postpone_until.is_none_or(|until| until > moment);
            let wanted = match (is_open, state.status) {
                (false, _) => ("T47", Status::Queued),
                (true, Status::Retrying) => ("T70", Status::Retrying),
                (true, status) => ("T68", status),
            };
            assert_eq!((rule, resumed.status), wanted, "{name}");
            if is_open {
                let (revision, modified) = (state.revision, state.modified.clone());
                assert_eq!(JobState { revision, modified, ..resumed }, state, "{name}");
            } else {
                assert_eq!((resumed.attempt, resumed.is_overruled), (state.attempt, state.is_overruled), "{name}");
            }
        }
    }
}

#[test]
fn nobody_stands_in_for_an_event_or_for_the_jobs_that_it_made() {
    for Situation { name, submission, policy, state, now } in waits() {
        let is_awaited = matches!(state.wait_reason, Some(WaitReason::Event | WaitReason::Children));
        let (_, paused) = changed(transition::apply(&submission, &state, &policy, Event::Pause { by: me() }, now));
        for state in [&state, &paused] {
            for event in [Event::Resume { by: me(), at_once: true }, Event::Postpone { until: at(1), by: me() }] {
                let next = transition::apply(&submission, state, &policy, event.clone(), now);
                match is_awaited {
                    false => assert!(next.is_ok(), "{name} + {event:?}: {next:?}"),
                    true => {
                        let refused = next.expect_err("only what it waits for ends that");
                        assert!(refused.why.contains("ends its wait"), "{name}: {refused}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_a_run_would_have_waited_for_is_waited_for_after_the_pause() {
    let plain = submission();
    let policy = RetryPolicy { hold_user_fixable: true, ..RetryPolicy::default() };
    let running = after(&plain, &policy, vec![claim(at(1))]);
    let pausing = after(&plain, &policy, vec![claim(at(1)), Event::Pause { by: me() }]);
    let ends = [
        Event::Returned(Outcome::Suspended(Wake::At(at(500))), report()),
        Event::Returned(Outcome::Suspended(Wake::Event("paid".to_owned())), report()),
        Event::Returned(Outcome::Suspended(Wake::Children), report()),
        Event::Returned(Outcome::Retry(Some(seconds(90)), failure(ErrorClass::Transient)), report()),
        failed(ErrorClass::UserFixable),
        failed(ErrorClass::Throttled),
        Event::Deadline(failure(ErrorClass::Transient), report()),
    ];
    for end in ends {
        let (_, would_wait) = changed(transition::apply(&plain, &running, &policy, end.clone(), at(10)));
        let (_, paused) = changed(transition::apply(&plain, &pausing, &policy, end.clone(), at(10)));
        assert_eq!((paused.status, paused.wait()), (Status::Paused, would_wait.wait()), "{end:?}");
        assert_eq!(paused.same_attempt, would_wait.same_attempt, "{end:?}");
    }
}

/// A job that started while the clock was ahead, and whose run ends after it was set right.
#[test]
fn a_clock_that_was_ahead_makes_no_wait_longer() {
    let plain = submission();
    let policy = RetryPolicy::default();
    let ahead = at(3 * 86_400);
    let (_, running) = changed(transition::apply(&plain, &JobState::default(), &policy, claim(ahead), ahead));
    let asleep = Event::Returned(Outcome::Suspended(Wake::At(at(60))), report());
    for end in [Event::LeaseLost, failed(ErrorClass::Transient), failed(ErrorClass::Throttled), asleep] {
        let (_, waiting) = changed(transition::apply(&plain, &running, &policy, end.clone(), at(10)));
        let until = waiting.postpone_until.expect("it waits for a time");
        assert!(until <= at(600), "{end:?}: until {until}");
        let run = waiting.last_run.as_ref().expect("it has ended");
        assert!(run.started_on <= run.ended_on, "what is noted stays in order");
        let (_, woken) = changed(transition::apply(&plain, &waiting, &policy, Event::Timer, until));
        assert_eq!(woken.status, Status::Queued, "{end:?}");
    }
}

/// Whatever ends a run that a person has put off, the job waits for its time, and time alone wakes it; a pause keeps it.
#[test]
fn what_was_put_off_runs_at_its_time_and_what_was_paused_does_not() {
    let plain = submission();
    let policy = RetryPolicy { hold_user_fixable: true, ..RetryPolicy::default() };
    let run_with = |wish| after(&plain, &policy, vec![claim(at(1)), wish]);
    let (pausing, postponing) =
        (run_with(Event::Pause { by: me() }), run_with(Event::Postpone { until: at(900), by: me() }));
    let mut tried = BTreeSet::new();
    for end in events(at(10)) {
        let Ok(Next::Changed { state, rule, .. }) =
            transition::apply(&plain, &postponing, &policy, end.clone(), at(10))
        else {
            continue;
        };
        let (_, paused) = changed(transition::apply(&plain, &pausing, &policy, end.clone(), at(10)));
        if state.status.is_locked() || state.wait().is_some_and(|wait| wait.ends_only_by().is_some()) {
            continue;
        }
        assert_eq!(state.status.is_final(), paused.status.is_final(), "{end:?}");
        if state.status.is_final() {
            continue;
        }
        tried.insert(rule);
        let put_off = (Status::Waiting, Some(WaitReason::Postponed), Some(at(900)));
        assert_eq!((state.status, state.wait_reason, state.postpone_until), put_off, "{end:?}");
        let (_, woken) = changed(transition::apply(&plain, &state, &policy, Event::Timer, at(900)));
        assert_eq!(woken.status, Status::Queued, "{end:?}");
        assert_eq!(paused.status, Status::Paused, "{end:?}");
        assert!(transition::apply(&plain, &paused, &policy, Event::Timer, at(9_999)).is_err(), "{end:?}");
    }
    assert_eq!(tried, BTreeSet::from(["T25", "T56", "T60", "T71", "T73"]));
}
