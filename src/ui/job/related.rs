//! What a job belongs to and what was done with it: keys, batch, schedule, other jobs, and the commands of people.

use crate::domain::audit::AuditRow;
use crate::domain::id::JobId;
use crate::domain::job::{FollowUp, Job};
use crate::domain::time::Timestamp;
use crate::store::ReadError;
use crate::ui::Console;
use crate::ui::text::{self, LINE_CHARS, When};
use crate::ui::trouble::Trouble;
use crate::ui::why::JobLink;

/// How many other jobs one line names.
const NAMED: usize = 20;

/// One line about a relation: words, or links to jobs.
pub(in crate::ui) struct Relation {
    pub(in crate::ui) name: &'static str,
    pub(in crate::ui) value: String,
    /// Where the value leads.
    pub(in crate::ui) address: Option<String>,
    pub(in crate::ui) jobs: Vec<JobLink>,
}

/// One command that somebody gave.
pub(in crate::ui) struct Deed {
    pub(in crate::ui) when: When,
    pub(in crate::ui) what: String,
    pub(in crate::ui) reason: Option<String>,
}

/// Everything that a job is tied to; only what there is.
pub(super) fn relations(console: &Console, job: &Job) -> Result<Vec<Relation>, Trouble> {
    let submission = &job.submission;
    let ties = submission.ties();
    let mut relations = Vec::new();
    let mut say = |name, value: Option<String>| {
        relations.extend(value.map(|value| Relation { name, value, address: None, jobs: Vec::new() }));
    };
    let shown = |text: &str| text::line(text, LINE_CHARS);
    say("Submitted by", submission.created_by.as_deref().map(shown));
    say("Owner", submission.owner.as_ref().map(ToString::to_string));
    say("Ordering key", ties.ordering_key.as_ref().map(|key| shown(&key.to_string())));
    say("Concurrency key", ties.concurrency_key.as_ref().map(|key| shown(&key.to_string())));
    say("Dedup key", ties.dedup_key.as_ref().map(|key| shown(&key.to_string())));
    say("About", ties.regarding.as_ref().map(|record| shown(&record.to_string())));
    say("If a job before it fails", ties.is_ordered().then(|| ties.on_predecessor_failure.word().to_owned()));
    let opens = console.opens(submission);
    say("Followed by", ties.on_complete.as_ref().map(|follow_up| shown(&follower(follow_up, opens))));
    let of_jobs = |name, jobs| of_jobs(console, name, jobs);
    relations.extend(ties.batch.map(|batch| of_jobs("Batch", vec![batch])).transpose()?);
    relations.extend(ties.occurrence.as_ref().map(|occurrence| Relation {
        name: "Schedule",
        value: format!("{}, for {}", occurrence.schedule, occurrence.scheduled_for),
        address: Some(format!("/jobs?schedule={}", occurrence.schedule)),
        jobs: Vec::new(),
    }));
    if !ties.after.is_empty() {
        relations.push(of_jobs("After", ties.after.iter().copied().take(NAMED).collect())?);
    }
    relations.extend(ties.retry_of.map(|earlier| of_jobs("Runs again", vec![earlier])).transpose()?);
    let later = console.host.jobs.run_again_as(job)?;
    relations.extend(later.map(|later| of_jobs("Run again as", vec![later])).transpose()?);
    let first = submission.correlation_id.filter(|first| *first != submission.id);
    relations.extend(first.map(|first| of_jobs("First of its chain", vec![first])).transpose()?);
    Ok(relations)
}

fn follower(follow_up: &FollowUp, opens: bool) -> String {
    let FollowUp { plugin, handler, .. } = follow_up;
    follow_up.url_for(opens).unwrap_or_else(|| format!("{plugin}/{handler}"))
}

fn of_jobs(console: &Console, name: &'static str, jobs: Vec<JobId>) -> Result<Relation, ReadError> {
    let jobs = jobs.into_iter().map(|id| JobLink::to(console, id)).collect::<Result<_, _>>()?;
    Ok(Relation { name, value: String::new(), address: None, jobs })
}

/// What people did with it, oldest first.
pub(super) fn deeds(rows: Vec<AuditRow>, now: Timestamp) -> Vec<Deed> {
    let deed = |row: AuditRow| Deed {
        when: When::new(row.on, now),
        what: format!("{}: {} ({} → {})", text::line(&row.by, LINE_CHARS), row.action, row.from, row.to),
        reason: row.reason.as_deref().map(|reason| text::line(reason, 1_000)),
    };
    rows.into_iter().map(deed).collect()
}
