//! What on the host needs a person: what is paused, slowed down, not granted, or held until somebody fixes something.

use super::Console;
use super::text;
use super::trouble::Trouble;
use crate::domain::access::Caller;
use crate::domain::id::TenantId;
use crate::domain::job::{Status, WaitReason};
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::service::ServiceState;

/// How many held jobs are counted; more are "many".
const HELD_COUNTED: usize = 50;

/// One thing, with what is done about it.
pub(super) struct Need {
    pub(super) id: String,
    pub(super) sentence: String,
    /// Where to look closer, and what it is called there.
    pub(super) look: Option<(String, &'static str)>,
    /// Where a button posts to, and what stands on it.
    pub(super) button: Option<(String, &'static str)>,
}

/// Everything that needs a person, the gravest first.
pub(super) fn needs(console: &Console, caller: &Caller) -> Result<Vec<Need>, Trouble> {
    let host = &console.host;
    let mut needs = Vec::new();
    let mut need =
        |id: String, sentence: String, look: Option<(String, &'static str)>, button: Option<(String, &'static str)>| {
            let button = button.filter(|_| caller.rights.admin);
            needs.push(Need { id: format!("need-{id}"), sentence, look, button });
        };
    if host.service() != ServiceState::Running {
        let sentence = match host.service() {
            ServiceState::Draining => "The host is draining: no new job starts.",
            _ => "The service is paused: no new job starts.",
        };
        need("service".to_owned(), sentence.to_owned(), None, Some(("/service/resume".to_owned(), "Resume")));
    }
    for plugin in host.degraded(TenantId::DEFAULT) {
        let sentence = format!("Plug-in {plugin} keeps failing, so its jobs are held back (circuit breaker).");
        let failures = (format!("/jobs?state=failed&plugin={plugin}"), "See its failures");
        need(
            format!("breaker-{plugin}"),
            sentence,
            Some(failures),
            Some((format!("/plugins/{plugin}/resume"), "Resume")),
        );
    }
    for queue in host.queues() {
        let Some(pause) = &queue.pause else { continue };
        let sentence = format!("Queue {} is paused {pause}.", queue.name);
        need(
            format!("queue-{}", queue.name),
            sentence,
            None,
            Some((format!("/queues/{}/resume", queue.name), "Resume")),
        );
    }
    for plugin in host.registry.paused() {
        let name = &plugin.name;
        let look = (format!("/plugins/{name}"), "See the plug-in");
        let button = (format!("/plugins/{name}/resume"), "Resume");
        let pause = plugin.pause.as_ref().map(|pause| format!(" {pause}")).unwrap_or_default();
        need(format!("plugin-{name}"), format!("Plug-in {name} is paused{pause}."), Some(look), Some(button));
    }
    for plugin in host.registry.list(TenantId::DEFAULT) {
        if plugin.active.is_none() && !plugin.versions.is_empty() {
            let name = &plugin.name;
            let sentence = format!("Plug-in {name} runs nothing: it asks for what is not granted.");
            need(format!("grants-{name}"), sentence, Some((format!("/plugins/{name}"), "See what to add")), None);
        }
    }
    let held = held(console)?;
    if held > 0 {
        let count = if held >= HELD_COUNTED { format!("{held} jobs or more") } else { text::jobs(held as u64) };
        let look = ("/jobs?state=waiting".to_owned(), "See what waits");
        need("held".to_owned(), format!("Held until a person fixes something: {count}."), Some(look), None);
    }
    Ok(needs)
}

fn held(console: &Console) -> Result<usize, Trouble> {
    let filter = JobFilter {
        statuses: vec![Status::Waiting],
        wait_reasons: vec![WaitReason::Error, WaitReason::Manual],
        ..JobFilter::default()
    };
    let query = JobQuery { tenant: TenantId::DEFAULT, filter, before: None, limit: HELD_COUNTED };
    Ok(console.host.jobs.list(&query)?.jobs.len())
}
