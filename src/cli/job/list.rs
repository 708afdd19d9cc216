//! Lists of jobs, page by page.

use crate::api::view::JobPageView;
use crate::cli::client::{Answer, Client, JobQuery};
use crate::cli::failure::Exit;
use crate::cli::job_view;
use crate::cli::table::Field;
use crate::cli::terminal::{self, Format, Terminal};

/// Which jobs to list.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only these states, such as failed or queued,running
    #[arg(long, value_name = "STATES")]
    state: Option<String>,
    /// Only jobs of this type: handler, batch, or the number of another
    #[arg(long = "type", value_name = "TYPE")]
    job_type: Option<String>,
    /// Only jobs of this plug-in
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// Only jobs of this entry point
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// Only jobs with this tag
    #[arg(long, value_name = "WORD")]
    tag: Option<String>,
    /// Only jobs in this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Only jobs that wait for these reasons, such as error or scheduled,postponed
    #[arg(long, value_name = "REASONS")]
    wait_reason: Option<String>,
    /// Only jobs with this ordering key
    #[arg(long, value_name = "KEY")]
    ordering_key: Option<String>,
    /// Only jobs about this record
    #[arg(long, value_name = "ENTITY/ID")]
    regarding: Option<String>,
    /// Only jobs of this batch
    #[arg(long, value_name = "ID")]
    batch: Option<String>,
    /// Only jobs that this schedule made
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Only jobs that follow from this job, directly or not
    #[arg(long, value_name = "ID")]
    chain: Option<String>,
    /// Only jobs that run this job again
    #[arg(long, value_name = "ID")]
    retry_of: Option<String>,
    /// Only jobs that failed in this way, as `backroom job failures` shows it
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
    /// Only jobs whose name or error holds this text
    #[arg(long, alias = "q", value_name = "TEXT")]
    search: Option<String>,
    /// Only jobs that this caller submitted, such as api or schedule nightly
    #[arg(long, value_name = "NAME")]
    created_by: Option<String>,
    /// Only jobs of the holder of this token
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Only jobs submitted from this time on
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only jobs submitted before this time
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Which come first: newest or oldest
    #[arg(long, value_name = "ORDER")]
    sort: Option<String>,
    /// How many, at most 200
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u32,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

/// Lists the jobs that the arguments ask for.
pub(super) fn list(client: &Client, args: &ListArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let given = [
        ("state", &args.state),
        ("type", &args.job_type),
        ("created_by", &args.created_by),
        ("owner", &args.owner),
        ("sort", &args.sort),
        ("plugin", &args.plugin),
        ("handler", &args.handler),
        ("tag", &args.tag),
        ("queue", &args.queue),
        ("wait_reason", &args.wait_reason),
        ("ordering_key", &args.ordering_key),
        ("regarding", &args.regarding),
        ("batch", &args.batch),
        ("schedule", &args.schedule),
        ("chain", &args.chain),
        ("retry_of", &args.retry_of),
        ("fingerprint", &args.fingerprint),
        ("search", &args.search),
        ("from", &args.from),
        ("before", &args.before),
        ("cursor", &args.cursor),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let params = given.chain([("limit", args.limit.to_string())]).chain(why_wanted(terminal)).collect();
    show_page(&client.jobs(&JobQuery { params })?, terminal)
}

/// For people a list says of each job that waits why it does.
pub(crate) fn why_wanted(terminal: Terminal) -> Option<(&'static str, String)> {
    (!terminal.is_json()).then(|| ("explain", true.to_string()))
}

/// Shows a page of jobs, a line each.
pub(crate) fn show_page(page: &Answer<JobPageView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json_list(&page.text, "jobs")?;
        if let (Format::Ndjson, Some(cursor)) = (terminal.format(), &page.view.next) {
            terminal::aside(&format!("there may be more: go on with --cursor {cursor}"));
        }
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<Field>> = page.view.jobs.iter().map(job_view::row).collect();
    match (rows.is_empty(), &page.view.next) {
        (true, None) => terminal.line("there are no such jobs")?,
        (true, Some(cursor)) => {
            let so_far = so_far(cursor, page.view.looked_to.as_deref());
            terminal.line(&format!("none found yet; {so_far}go on with --cursor {cursor}"))?;
        }
        (false, Some(cursor)) => {
            terminal.table(&job_view::COLUMNS, rows)?;
            let so_far = so_far(cursor, page.view.looked_to.as_deref());
            terminal.line(&format!("\nthere may be more: {so_far}go on with --cursor {cursor}"))?;
        }
        (false, None) => terminal.table(&job_view::COLUMNS, rows)?,
    }
    Ok(Exit::Done)
}

/// How far a list has looked.
fn so_far(cursor: &str, looked_to: Option<&str>) -> String {
    // The cursor of a list that starts with the oldest job says so.
    let word = if cursor.starts_with('o') { "until" } else { "since" };
    looked_to.map(|time| format!("the jobs submitted {word} {time} were looked at; ")).unwrap_or_default()
}
