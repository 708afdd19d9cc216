//! What on the host needs a person: what is paused, slowed down, not granted, or held until somebody fixes something.

use super::Console;
use super::lookout::{HELD_COUNTED, Look};
use super::text;
use crate::domain::id::TenantId;
use crate::domain::service::ServiceState;

/// One thing, with what is done about it.
pub(super) struct Need {
    pub(super) id: String,
    pub(super) sentence: String,
    /// Where to look closer, and what it is called there.
    pub(super) look: Option<(String, &'static str)>,
    /// Where a button posts to, and what stands on it.
    pub(super) button: Option<(String, &'static str)>,
}

/// Everything that needs a person, the gravest first: of the host for those who see all jobs, and of jobs what `look` found
/// among the `waiting` ones.
pub(super) fn needs(console: &Console, look: &Look, waiting: u64) -> Vec<Need> {
    let mut needs = if console.sees_all() { of_the_host(console) } else { Vec::new() };
    needs.extend(held(look, waiting).map(|sentence| Need {
        id: "need-held".to_owned(),
        sentence,
        look: Some(("/jobs?state=waiting".to_owned(), "See what waits")),
        button: None,
    }));
    needs
}

fn of_the_host(console: &Console) -> Vec<Need> {
    let host = &console.host;
    let mut needs = Vec::new();
    let mut need =
        |id: String, sentence: String, look: Option<(String, &'static str)>, button: Option<(String, &'static str)>| {
            let button = button.filter(|_| console.administers());
            needs.push(Need { id: format!("need-{id}"), sentence, look, button });
        };
    let resume = || Some(("/service/resume".to_owned(), "Resume"));
    match host.service() {
        ServiceState::Running => {}
        ServiceState::Draining => {
            let sentence = "The host is draining: no new job starts.".to_owned();
            need("service".to_owned(), sentence, None, resume());
        }
        ServiceState::Paused(pause) => {
            need("service".to_owned(), format!("The service is paused {pause}. No new job starts."), None, resume());
        }
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
    needs
}

/// How many jobs are held until a person does something, and where there was no time to look at all of them, how far the look
/// came.
fn held(look: &Look, waiting: u64) -> Option<String> {
    let Look { held, held_looked_to, .. } = *look;
    let is_all = held_looked_to.is_none() || waiting <= held as u64;
    match (held, held_looked_to.filter(|_| !is_all)) {
        (0, None) => None,
        (HELD_COUNTED.., _) => Some(format!("Held until a person fixes something: {held} jobs or more.")),
        (_, None) => Some(format!("Held until a person fixes something: {}.", text::jobs(held as u64))),
        (0, Some(on)) => Some(format!(
            "None of the jobs submitted since {on} is held for a person. Older ones have not been looked at."
        )),
        (_, Some(on)) => Some(format!(
            "Held until a person fixes something: {} of those submitted since {on}. Older ones have not been looked at.",
            text::jobs(held as u64)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn what_was_not_looked_at_is_not_denied() {
        let on = Timestamp::from_millis(1_700_000_000_000);
        let said =
            |found, held_looked_to, waiting| held(&Look { held: found, held_looked_to, ..Look::default() }, waiting);
        assert_eq!(said(0, None, 70_000), None);
        assert_eq!(said(3, Some(on), 3).as_deref(), Some("Held until a person fixes something: 3 jobs."));
        let none = said(0, Some(on), 70_000).expect("it is not known");
        assert!(none.contains("since 2023-11-14T22:13:20.000Z") && none.contains("not been looked at"), "{none}");
        let some = said(3, Some(on), 70_000).expect("there are some");
        assert!(some.contains("3 jobs of those submitted since 2023") && some.contains("not been looked at"), "{some}");
        let many = said(HELD_COUNTED, None, 70_000).expect("there are many");
        assert!(many.contains("50 jobs or more"), "{many}");
    }
}
