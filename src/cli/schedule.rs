//! `backroom schedule`: rules that make jobs, and what they yield.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::client::{Answer, Client, ClientArgs};
use super::failure::{Exit, Failure};
use super::table::{Columns, Field};
use super::terminal::Terminal;
use super::{input, job_view};
use crate::api::view::{
    BackfillBody, HttpBody, PostponeScheduleBody, ScheduleBody, ScheduleView, SubmitBody, TargetView,
};
use crate::clock::{Clock as _, SystemClock};
use crate::domain::code;
use crate::domain::schedule::{Recurrence, RuleError, Start};
use crate::domain::time::Timestamp;

/// What to do with schedules.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Make a schedule, or replace what one of that name says
    Add(Box<AddArgs>),
    /// List the schedules
    List,
    /// Show a schedule with what comes next
    Show {
        /// The schedule
        name: String,
    },
    /// Make no jobs until it is resumed
    Pause {
        /// The schedule
        name: String,
    },
    /// Go on from now; what fell into the pause stays undone
    Resume {
        /// The schedule
        name: String,
    },
    /// Make a job now, beside the rule
    Run {
        /// The schedule
        name: String,
    },
    /// Let the next occurrence run at another time; later ones keep the rule
    Postpone {
        /// The schedule
        name: String,
        /// When, such as 2030-01-31T08:00:00Z, or how long from now, such as 15m
        time: String,
    },
    /// Make the jobs of past occurrences that have none yet
    Backfill {
        /// The schedule
        name: String,
        /// From this time on
        #[arg(long, value_name = "TIME")]
        from: String,
        /// To before this time
        #[arg(long, value_name = "TIME")]
        to: String,
        /// Make occurrences again whose jobs may have been removed
        #[arg(long)]
        again: bool,
    },
    /// Remove a schedule; jobs that it has made stay
    Remove {
        /// The schedule
        name: String,
    },
    /// Print what a rule yields, without a host
    Preview(PreviewArgs),
}

/// What to make.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("when").required(true).args(["rule", "cron", "at"])))]
#[command(group(clap::ArgGroup::new("what").required(true).args(["plugin", "http"])))]
pub(crate) struct AddArgs {
    /// The schedule's name
    name: String,
    /// A rule of RFC 5545, such as FREQ=WEEKLY;BYDAY=MO,TH
    #[arg(long, value_name = "RRULE")]
    rule: Option<String>,
    /// Cron text: five fields, six with the second in front, or a word such as @daily
    #[arg(long, value_name = "EXPR")]
    cron: Option<String>,
    /// Once, at this time
    #[arg(long, value_name = "TIME", conflicts_with = "start")]
    at: Option<String>,
    /// When the rule starts, such as 2030-01-31T08:00; unless given, after now, and as before for a schedule that exists
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Make the first job at once when the schedule is new
    #[arg(long, conflicts_with = "at")]
    now: bool,
    /// The time zone that the rule is meant in, such as Europe/Berlin; UTC unless given
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// A time, or a whole day, to leave out; may be given several times
    #[arg(long, value_name = "TIME")]
    except: Vec<String>,
    /// What becomes of missed occurrences: run_once, run_all(3) or skip
    #[arg(long, value_name = "POLICY")]
    misfire: Option<String>,
    /// What comes while a job of it is unfinished: skip, queue, allow or cancel_previous
    #[arg(long, value_name = "POLICY")]
    overlap: Option<String>,
    /// Put each occurrence off by a share of this, such as 30s
    #[arg(long, value_name = "SPAN")]
    jitter: Option<String>,
    /// The plug-in to run
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// The entry point; the plug-in's first unless given
    #[arg(long, value_name = "NAME", conflicts_with = "http")]
    handler: Option<String>,
    /// The input of its jobs: JSON, @FILE or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", conflicts_with = "http")]
    input: Option<String>,
    /// The input of its jobs as plain text
    #[arg(long, conflicts_with_all = ["input", "http"])]
    text: Option<String>,
    /// A request to send instead
    #[arg(long, num_args = 2, value_names = ["METHOD", "URL"])]
    http: Option<Vec<String>>,
    /// A header of the request; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", conflicts_with = "plugin")]
    headers: Vec<String>,
    /// The body of the request: JSON, @FILE or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", conflicts_with = "plugin")]
    data: Option<String>,
    /// The queue: default, bulk, maintenance, or one of the settings
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Greater runs first; -100 to 100
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i64>,
    /// A word to find its jobs by; may be given several times
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// Jobs that share it run one after another
    #[arg(long, value_name = "KEY")]
    ordering_key: Option<String>,
    /// Attempts in all
    #[arg(long, value_name = "NUMBER")]
    max_attempts: Option<u64>,
    /// Call a job off that has not started so long after it was made, such as 1h
    #[arg(long, value_name = "SPAN")]
    expires_after: Option<String>,
}

/// What to look at.
#[derive(Debug, clap::Args)]
pub(crate) struct PreviewArgs {
    /// A rule of RFC 5545, or cron text
    rule: String,
    /// When the rule starts, such as 2030-01-31T08:00; after now unless given
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// The time zone that the rule is meant in, such as Europe/Berlin; UTC unless given
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// A time, or a whole day, to leave out; may be given several times
    #[arg(long, value_name = "TIME")]
    except: Vec<String>,
    /// How many occurrences, at most 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    count: u16,
}

/// Does something with schedules.
pub(crate) fn run(args: &ClientArgs, command: &ScheduleCommand, terminal: Terminal) -> anyhow::Result<Exit> {
    let client = || Client::new(args);
    match command {
        ScheduleCommand::Add(args) => add(&client()?, args, terminal),
        ScheduleCommand::List => list(&client()?, terminal),
        ScheduleCommand::Show { name } => show(&client()?.schedule(name)?, terminal),
        ScheduleCommand::Pause { name } => changed(&client()?.steer_schedule(name, "pause")?, terminal),
        ScheduleCommand::Resume { name } => changed(&client()?.steer_schedule(name, "resume")?, terminal),
        ScheduleCommand::Run { name } => run_now(&client()?, name, terminal),
        ScheduleCommand::Postpone { name, time } => {
            changed(&client()?.postpone_schedule(name, &PostponeScheduleBody { until: time.clone() })?, terminal)
        }
        ScheduleCommand::Backfill { name, from, to, again } => {
            let span = BackfillBody { from: from.clone(), to: to.clone(), again: *again };
            backfill(&client()?, name, &span, terminal)
        }
        ScheduleCommand::Remove { name } => remove(&client()?, name, terminal),
        ScheduleCommand::Preview(args) => preview(args, terminal),
    }
}

fn add(client: &Client, args: &AddArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let (is_new, put) = client.put_schedule(&args.name, &body(args)?)?;
    if terminal.is_json() {
        terminal.json(&put.text)?;
        return Ok(Exit::Done);
    }
    let done = if is_new { "was made" } else { "is up to date" };
    terminal.line(&format!("schedule {} {done}; {}", put.view.name, what_next(&put.view)))?;
    Ok(Exit::Done)
}

fn body(args: &AddArgs) -> anyhow::Result<ScheduleBody> {
    let mut given = SubmitBody { input_text: args.text.clone(), ..SubmitBody::default() };
    if let Some(input) = &args.input {
        input::put_input(&mut given, input)?;
    }
    Ok(ScheduleBody {
        rule: args.rule.clone(),
        cron: args.cron.clone(),
        start: args.at.clone().or_else(|| args.start.clone()),
        now: args.now,
        tz: args.tz.clone(),
        except: args.except.clone(),
        misfire: args.misfire.clone(),
        overlap: args.overlap.clone(),
        jitter: args.jitter.clone(),
        plugin: args.plugin.clone(),
        http: args.http.as_deref().map(|request| http_body(request, args)).transpose()?,
        handler: args.handler.clone(),
        input: given.input,
        input_text: given.input_text,
        input_base64: given.input_base64,
        queue: args.queue.clone(),
        priority: args.priority,
        ordering_key: args.ordering_key.clone(),
        tags: args.tags.clone(),
        max_attempts: args.max_attempts,
        expires_after: args.expires_after.clone(),
        ..ScheduleBody::default()
    })
}

fn http_body(request: &[String], args: &AddArgs) -> anyhow::Result<HttpBody> {
    let [method, url] = request else {
        return Err(Failure::bad_input("--http needs a method and an address", "give --http METHOD URL").into());
    };
    let mut headers = BTreeMap::new();
    for header in &args.headers {
        let Some((name, value)) = header.split_once(':') else {
            return Err(Failure::bad_input(format!("`{header}` is not a header"), "give --header 'NAME: VALUE'").into());
        };
        headers.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    let body = args.data.as_deref().map(json_of).transpose()?;
    Ok(HttpBody { method: Some(method.clone()), url: url.clone(), headers, body })
}

fn json_of(data: &str) -> anyhow::Result<Box<RawValue>> {
    let text = match input::source_of(data)? {
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => data.to_owned(),
    };
    RawValue::from_string(text).map_err(|error| {
        Failure::bad_input(format!("--data is not JSON: {error}"), "quote the JSON for the shell, or use --data @FILE")
            .into()
    })
}

fn list(client: &Client, terminal: Terminal) -> anyhow::Result<Exit> {
    let listed = client.schedules()?;
    if terminal.is_json() {
        terminal.json_list(&listed.text, "schedules")?;
        return Ok(Exit::Done);
    }
    if listed.view.schedules.is_empty() {
        terminal.line("there are no schedules; make one with: backroom schedule add")?;
        return Ok(Exit::Done);
    }
    let row = |schedule: &ScheduleView| {
        vec![
            Field::new(&schedule.name),
            Field::state(&schedule.state),
            Field::new(shown_rule(schedule)),
            Field::new(&schedule.tz),
            Field::or_dash(schedule.next_run.as_deref().map(job_view::short_time)),
            Field::or_dash(schedule.last_run.as_deref().map(job_view::short_time)),
            Field::new(schedule.fired.to_string()),
            Field::new(shown_target(&schedule.target)),
        ]
    };
    let rows = listed.view.schedules.iter().map(row).collect();
    let columns = Columns {
        headings: &["NAME", "STATE", "RULE", "ZONE", "NEXT (UTC)", "LAST (UTC)", "JOBS", "RUNS"],
        spare: &["JOBS", "LAST (UTC)", "ZONE", "RUNS", "RULE"],
    };
    terminal.table(&columns, rows)?;
    Ok(Exit::Done)
}

fn show(schedule: &Answer<ScheduleView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&schedule.text)?;
        return Ok(Exit::Done);
    }
    let view = &schedule.view;
    let target = &view.target;
    let postponed = if view.postponed { " (postponed)" } else { "" };
    let last = view.last_run.as_ref().map(|last| {
        let job = view.last_job.as_ref().map(|job| format!(", job {job}")).unwrap_or_default();
        format!("{last}{job}")
    });
    terminal.facts(&[
        ("schedule", Some(view.name.clone())),
        ("state", Some(view.state.clone())),
        ("rule", Some(shown_rule(view))),
        ("cron", view.cron.clone()),
        ("start", Some(format!("{} in {}", view.start, view.tz))),
        ("except", (!view.except.is_empty()).then(|| view.except.join(", "))),
        ("misfire", Some(view.misfire.clone())),
        ("overlap", Some(view.overlap.clone())),
        ("jitter", (view.jitter != "0s").then(|| view.jitter.clone())),
        ("next", view.next_run.as_ref().map(|next| format!("{next}{postponed}"))),
        ("upcoming", (!view.upcoming.is_empty()).then(|| view.upcoming.join("\n"))),
        ("last", last),
        ("jobs", Some(view.fired.to_string())),
        ("left out", left_out(view)),
        ("in the way", view.in_the_way.clone()),
        ("runs", Some(shown_target(target))),
        ("queue", Some(format!("{}, priority {}", target.queue, target.priority))),
        ("order", target.ordering_key.clone()),
        ("tags", (!target.tags.is_empty()).then(|| target.tags.join(", "))),
        ("attempts", target.max_attempts.map(|attempts| attempts.to_string())),
        ("expires", target.expires_after.as_ref().map(|span| format!("{span} after it was made"))),
        ("changed", Some(view.modified_on.clone())),
        ("warning", view.warning.clone()),
    ])?;
    Ok(Exit::Done)
}

/// How many occurrences were left out because of a job that had not ended.
fn left_out(view: &ScheduleView) -> Option<String> {
    let last = view.last_left_out.as_ref()?;
    Some(format!("{} because a job of it had not ended, the last that of {last}", view.left_out))
}

fn changed(schedule: &Answer<ScheduleView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&schedule.text)?;
    } else {
        terminal.line(&format!("schedule {} is {}", schedule.view.name, what_next(&schedule.view)))?;
    }
    Ok(Exit::Done)
}

fn run_now(client: &Client, name: &str, terminal: Terminal) -> anyhow::Result<Exit> {
    let job = client.run_schedule(name)?;
    if terminal.is_json() {
        terminal.json(&job.text)?;
    } else {
        terminal.line(&job.view.id)?;
    }
    Ok(Exit::Done)
}

fn backfill(client: &Client, name: &str, span: &BackfillBody, terminal: Terminal) -> anyhow::Result<Exit> {
    let made = client.backfill_schedule(name, span)?;
    if terminal.is_json() {
        terminal.json(&made.text)?;
        return Ok(Exit::Done);
    }
    match made.view.count {
        0 => terminal.line("there was nothing to fill back")?,
        count => {
            terminal.line(&format!("{count} jobs were made; see them with: backroom job list --schedule {name}"))?;
        }
    }
    Ok(Exit::Done)
}

fn remove(client: &Client, name: &str, terminal: Terminal) -> anyhow::Result<Exit> {
    client.remove_schedule(name)?;
    match terminal.is_json() {
        true => terminal.json(&serde_json::json!({ "name": name, "removed": true }).to_string())?,
        false => terminal.line(&format!("schedule {name} was removed; its jobs stay"))?,
    }
    Ok(Exit::Done)
}

/// The state, and when it fires next.
fn what_next(schedule: &ScheduleView) -> String {
    let next = schedule.next_run.as_ref().map(|next| format!(", next at {next}")).unwrap_or_default();
    format!("{}{next}", schedule.state)
}

fn shown_rule(schedule: &ScheduleView) -> String {
    match schedule.rule.as_str() {
        "" => "once".to_owned(),
        rule => rule.to_owned(),
    }
}

fn shown_target(target: &TargetView) -> String {
    let TargetView { plugin, version, handler, .. } = target;
    let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let handler = handler.as_ref().map(|handler| format!("/{handler}")).unwrap_or_default();
    format!("{plugin}{handler}{version}")
}

fn preview(args: &PreviewArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let recurrence = recurrence(args).map_err(refused)?;
    let from = if args.start.is_some() { recurrence.start() } else { SystemClock.now() };
    let found: Vec<Timestamp> = recurrence.from(from).take(usize::from(args.count)).collect();
    if terminal.is_json() {
        let instants: Vec<_> = found.into_iter().map(to_the_second).collect();
        terminal.json(&serde_json::to_string(&instants)?)?;
    } else {
        found.into_iter().try_for_each(|at| terminal.line(&recurrence.on_clock(at)))?;
    }
    Ok(Exit::Done)
}

/// The rule, as a host would take it: one that yields nothing is none.
fn recurrence(args: &PreviewArgs) -> Result<Recurrence, RuleError> {
    let start = args.start.as_deref().map_or_else(|| Start::LeftOut(SystemClock.now()), Start::Text);
    let recurrence = Recurrence::parse_any(&args.rule, start, args.tz.as_deref(), &args.except)?;
    recurrence.first_from(recurrence.start())?;
    Ok(recurrence)
}

fn refused(error: RuleError) -> Failure {
    let code = match error {
        RuleError::NoOccurrence { .. } | RuleError::OnceAndOver { .. } => code::NO_OCCURRENCE,
        _ => code::BAD_RULE,
    };
    let failure = Failure::new(code, error.to_string()).with_next("mend the part that is named and look again");
    Failure { exit: Exit::BadInput, ..failure }
}

/// RFC 3339 in UTC. Occurrences are whole seconds.
fn to_the_second(at: Timestamp) -> String {
    at.to_string().replace(".000Z", "Z")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        verb: ScheduleCommand,
    }

    fn sent(args: &[&str]) -> anyhow::Result<String> {
        let line = Line::try_parse_from([&["schedule", "add", "nightly"], args].concat())?;
        let ScheduleCommand::Add(args) = line.verb else { panic!("it is another verb") };
        Ok(serde_json::to_string(&body(&args)?)?)
    }

    #[test]
    fn a_request_is_sent_as_it_is_written() {
        let args = ["--cron", "0 3 * * *", "--tz", "Europe/Berlin", "--http", "POST", "https://example.com/in"];
        let plain = sent(&args).expect("it is right");
        let expected =
            r#"{"cron":"0 3 * * *","tz":"Europe/Berlin","http":{"method":"POST","url":"https://example.com/in"}}"#;
        assert_eq!(plain, expected);
        let more = [args.as_slice(), &["--header", "X-A:  b:c", "--header", "Accept: */*", "--data", "{\"a\": 1.0}"]];
        let whole = sent(&more.concat()).expect("it is right");
        assert!(whole.contains(r#""headers":{"Accept":"*/*","X-A":"b:c"},"body":{"a": 1.0}}"#), "{whole}");
    }

    #[test]
    fn one_time_and_one_target_are_needed() {
        for args in [
            ["--plugin", "echo"].as_slice(),
            &["--cron", "@daily"],
            &["--cron", "@daily", "--rule", "FREQ=DAILY", "--plugin", "echo"],
            &["--cron", "@daily", "--plugin", "echo", "--http", "GET", "https://example.com"],
            &["--cron", "@daily", "--plugin", "echo", "--header", "A: b"],
            &["--at", "2030-01-01", "--start", "2030-01-01", "--plugin", "echo"],
            &["--cron", "@daily", "--http", "GET", "https://example.com", "--data", "{oops"],
        ] {
            assert!(sent(args).is_err(), "{args:?}");
        }
    }
}
