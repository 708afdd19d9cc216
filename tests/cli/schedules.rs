//! Schedules on the command line: what a rule yields, without a host; and what a host does with them.

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::host::Host;
use super::live::steadied;
use super::program::run;

/// Longer than a host takes for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

/// The vectors of the specification: rule, start, zone, how many, and the instants that were computed elsewhere.
const VECTORS: &[(&str, &str, &str, usize, &[&str])] = &[
    (
        "FREQ=HOURLY",
        "2026-01-01T22:30",
        "UTC",
        4,
        &["2026-01-01T22:30:00Z", "2026-01-01T23:30:00Z", "2026-01-02T00:30:00Z", "2026-01-02T01:30:00Z"],
    ),
    (
        "FREQ=DAILY;INTERVAL=3",
        "2026-02-26T04:00",
        "UTC",
        4,
        &["2026-02-26T04:00:00Z", "2026-03-01T04:00:00Z", "2026-03-04T04:00:00Z", "2026-03-07T04:00:00Z"],
    ),
    (
        "FREQ=MONTHLY",
        "2026-01-31T02:00",
        "UTC",
        5,
        &[
            "2026-01-31T02:00:00Z",
            "2026-03-31T02:00:00Z",
            "2026-05-31T02:00:00Z",
            "2026-07-31T02:00:00Z",
            "2026-08-31T02:00:00Z",
        ],
    ),
    (
        "FREQ=MONTHLY;BYMONTHDAY=-1",
        "2026-01-31T02:00",
        "UTC",
        4,
        &["2026-01-31T02:00:00Z", "2026-02-28T02:00:00Z", "2026-03-31T02:00:00Z", "2026-04-30T02:00:00Z"],
    ),
    ("FREQ=YEARLY", "2024-02-29", "UTC", 3, &["2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
    (
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
        "1997-08-05T09:00",
        "UTC",
        10,
        &["1997-08-05T09:00:00Z", "1997-08-10T09:00:00Z", "1997-08-19T09:00:00Z", "1997-08-24T09:00:00Z"],
    ),
    (
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
        "1997-08-05T09:00",
        "UTC",
        10,
        &["1997-08-05T09:00:00Z", "1997-08-17T09:00:00Z", "1997-08-19T09:00:00Z", "1997-08-31T09:00:00Z"],
    ),
    (
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "2026-01-01T18:00",
        "UTC",
        5,
        &[
            "2026-01-30T18:00:00Z",
            "2026-02-27T18:00:00Z",
            "2026-03-31T18:00:00Z",
            "2026-04-30T18:00:00Z",
            "2026-05-29T18:00:00Z",
        ],
    ),
    (
        "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
        "2026-01-01",
        "UTC",
        4,
        &["2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z", "2026-11-13T00:00:00Z", "2027-08-13T00:00:00Z"],
    ),
    (
        "FREQ=MONTHLY;BYDAY=2TU;COUNT=3",
        "2026-01-01T03:00",
        "UTC",
        10,
        &["2026-01-13T03:00:00Z", "2026-02-10T03:00:00Z", "2026-03-10T03:00:00Z"],
    ),
    (
        "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
        "1997-05-12T09:00",
        "UTC",
        3,
        &["1997-05-12T09:00:00Z", "1998-05-11T09:00:00Z", "1999-05-17T09:00:00Z"],
    ),
    (
        "FREQ=YEARLY;INTERVAL=3;COUNT=5;BYYEARDAY=1,100,200",
        "1997-01-01T09:00",
        "UTC",
        10,
        &[
            "1997-01-01T09:00:00Z",
            "1997-04-10T09:00:00Z",
            "1997-07-19T09:00:00Z",
            "2000-01-01T09:00:00Z",
            "2000-04-09T09:00:00Z",
        ],
    ),
    (
        "FREQ=MINUTELY;INTERVAL=90;COUNT=4",
        "1997-09-02T09:00",
        "UTC",
        10,
        &["1997-09-02T09:00:00Z", "1997-09-02T10:30:00Z", "1997-09-02T12:00:00Z", "1997-09-02T13:30:00Z"],
    ),
    (
        "FREQ=DAILY",
        "2026-03-06T02:30",
        "America/New_York",
        4,
        &["2026-03-06T07:30:00Z", "2026-03-07T07:30:00Z", "2026-03-08T07:30:00Z", "2026-03-09T06:30:00Z"],
    ),
    (
        "FREQ=DAILY",
        "2026-10-31T01:30",
        "America/New_York",
        3,
        &["2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
    ),
];

#[test]
fn a_preview_prints_the_vectors_of_the_specification() {
    for (rule, start, zone, count, expected) in VECTORS {
        let count = count.to_string();
        let args = ["schedule", "preview", rule, "--start", start, "--tz", zone, "--count", &count, "--json"];
        let printed: Vec<String> = serde_json::from_str(&run(&args).done()).expect("a list of texts");
        assert_eq!(printed, *expected, "{rule} from {start} in {zone}");
    }
}

#[test]
fn a_preview_is_read_on_the_clock_of_the_zone() {
    let preview = |args: &[&str]| run(&[&["schedule", "preview"], args].concat()).whole();
    let new_york = ["--tz", "America/New_York", "--start", "2026-03-07T02:30", "--count", "3"];
    assert_snapshot!("preview_gap", preview(&[&["FREQ=DAILY;"], new_york.as_slice()].concat()));
    let berlin = ["--tz", "Europe/Berlin", "--start", "2026-10-24T12:00", "--count", "3"];
    assert_snapshot!("preview_cron", preview(&[&["0 3 * * *"], berlin.as_slice()].concat()));
    let except = ["RRULE:FREQ=DAILY;COUNT=4", "--start", "2026-01-01T09:00:00+01:00", "--except", "2026-01-02"];
    assert_snapshot!("preview_except", preview(&except));
}

#[test]
fn a_preview_starts_now_and_stops_at_ten() {
    let text = run(&["schedule", "preview", "FREQ=SECONDLY", "--json"]).done();
    let printed: Vec<String> = serde_json::from_str(&text).expect("a list of texts");
    assert_eq!(printed.len(), 10, "{text}");
    assert!(printed.is_sorted() && printed.iter().all(|at| at.len() == 20 && at.ends_with('Z')), "{text}");
    assert_eq!(run(&["schedule", "preview", "@daily", "--count", "1001"]).code, 2);
    assert_eq!(run(&["schedule", "preview", "@daily", "--count", "1000"]).done().lines().count(), 1_000);
}

#[test]
fn a_wrong_rule_names_its_part_and_ends_with_two() {
    let mut shown = String::new();
    for args in [
        ["FREQ=DAYLY"].as_slice(),
        &["FREQ=WEEKLY;BYDAY=XX"],
        &["FREQ=DAILY;COUNT=1;UNTIL=20300101T000000Z"],
        &["0 25 * * *"],
        &["FREQ=DAILY", "--tz", "Mars/Olympus"],
        &["FREQ=DAILY", "--start", "soon"],
        &["FREQ=DAILY", "--except", "never"],
        &["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "--start", "2026-01-01"],
    ] {
        let ran = run(&[&["schedule", "preview"], args].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.whole());
        shown.push_str(&format!("{}\n{}", args.join(" "), ran.err));
    }
    assert_snapshot!("preview_refused", shown);
}

#[test]
fn a_schedule_comes_and_goes() {
    let host = Host::start();
    host.upload("echo");
    let schedule = |args: &[&str]| host.run(&[&["schedule"], args].concat());
    steadied(|| {
        assert_snapshot!("schedule_list_nothing", schedule(&["list"]).whole());
        let add = [
            "add",
            "report",
            "--rule",
            "FREQ=YEARLY;",
            "--start",
            "2060-01-31T08:00",
            "--tz",
            "Europe/Berlin",
            "--plugin",
            "echo",
            "--input",
            "{\"a\": 1}",
            "--misfire",
            "run_all(2)",
            "--overlap",
            "queue",
            "--jitter",
            "1s",
            "--tag",
            "yearly",
            "--queue",
            "bulk",
            "--priority",
            "-3",
            "--ordering-key",
            "k",
            "--max-attempts",
            "2",
            "--expires-after",
            "1h",
            "--except",
            "2061-01-31",
        ];
        assert_snapshot!("schedule_add", schedule(&add).whole());
        assert_snapshot!("schedule_show", schedule(&["show", "report"]).whole());
        let cron = ["add", "nightly", "--cron", "0 3 * * *", "--tz", "Europe/Berlin", "--plugin", "echo"];
        assert_eq!(schedule(&cron).code, 0);
        assert_eq!(schedule(&["add", "later", "--at", "2060-06-01T00:00:00Z", "--plugin", "echo"]).code, 0);
        assert_snapshot!("schedule_list", schedule(&["list"]).whole());
        assert_snapshot!(
            "schedule_add_again",
            schedule(&["add", "later", "--at", "2060-07-01T00:00:00Z", "--plugin", "echo"]).whole()
        );
        assert_snapshot!("schedule_pause", schedule(&["pause", "report"]).whole());
        assert_snapshot!("schedule_pause_again", schedule(&["pause", "report"]).whole());
        assert_snapshot!("schedule_resume", schedule(&["resume", "report"]).whole());
        assert_snapshot!("schedule_postpone", schedule(&["postpone", "report", "2060-02-01T00:00:00Z"]).whole());
        let backfill = ["backfill", "report", "--from", "2000-01-01T00:00:00Z", "--to", "2001-01-01T00:00:00Z"];
        assert_snapshot!("schedule_backfill_nothing", schedule(&backfill).whole());
        assert_snapshot!("schedule_remove", schedule(&["remove", "report"]).whole());
        assert_snapshot!("schedule_show_removed", schedule(&["show", "report"]).whole());
        assert_snapshot!(
            "schedule_add_bad_rule",
            schedule(&["add", "x", "--rule", "FREQ=WEEKLY;BYDAY=XX", "--plugin", "echo"]).whole()
        );
        assert_snapshot!("schedule_add_without_rule", schedule(&["add", "x", "--plugin", "echo"]).whole());
    });
    let id = schedule(&["run", "later"]).done();
    let job = host.json(&["job", "show", id.trim()]);
    assert_eq!(job["schedule"]["name"], "later");
    let asked = ["schedule", "add", "asked", "--cron", "0 0 1 1 *", "--now", "--plugin", "echo"];
    assert_eq!(host.json(&asked)["fired"], 1);
    assert_eq!(host.json(&asked)["fired"], 1, "to say it again makes no other");
    assert_eq!(host.run(&asked).code, 0);
    assert_eq!(schedule(&["remove", "asked"]).code, 0);
    let listed = host.json(&["schedule", "list"]);
    assert_eq!(listed["schedules"].as_array().map(Vec::len), Some(2));
    let refused = schedule(&[
        "add",
        "x",
        "--rule",
        "FREQ=DAILY",
        "--http",
        "GET",
        "https://example.com",
        "--header",
        "oops",
        "--data",
        "1",
    ]);
    assert!(refused.code == 2 && refused.err.contains("`oops` is not a header"), "{}", refused.whole());
}

/// The times that the jobs of schedules are for, as the host lists them, newest first.
fn occurrences(host: &Host) -> Vec<String> {
    let jobs = host.json(&["job", "list", "--limit", "200"]);
    let time = |job: &Value| job["schedule"]["scheduled_for"].as_str().expect("a job of the schedule").to_owned();
    jobs["jobs"].as_array().expect("a list").iter().map(time).collect()
}

/// Waits until there are `count` jobs, and returns what they are for: each something else.
fn until_there_are(host: &Host, count: usize) -> Vec<String> {
    let started = Instant::now();
    loop {
        let times = occurrences(host);
        let mut different = times.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), times.len(), "an occurrence has two jobs: {times:?}");
        if times.len() >= count {
            return times;
        }
        assert!(started.elapsed() < PATIENCE, "only {} jobs came", times.len());
        std::thread::yield_now();
    }
}

#[test]
fn every_second_makes_a_job_and_a_restart_makes_none_twice() {
    let mut host = Host::start();
    host.upload("echo");
    let made = host.json(&[
        "schedule",
        "add",
        "tick",
        "--rule",
        "FREQ=SECONDLY",
        "--plugin",
        "echo",
        "--input",
        "7",
        "--overlap",
        "allow",
        "--misfire",
        "run_all(1000)",
    ]);
    assert_eq!(made["state"], "active");
    let before = until_there_are(&host, 3);
    host.restart();
    let after = until_there_are(&host, before.len() + 3);
    assert!(before.iter().all(|time| after.contains(time)), "{before:?} {after:?}");
    let last = host.json(&["schedule", "show", "tick"])["last_job"].as_str().expect("a job").to_owned();
    assert_eq!(host.run(&["job", "watch", &last]).done(), "7");
    assert_eq!(host.json(&["schedule", "pause", "tick"])["state"], json!("paused"));
}
