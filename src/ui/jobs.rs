//! The list of jobs: by state, plug-in, tag and text, page by page.

use askama::Template;
use axum::extract::Query;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::response::Response;
use serde::Deserialize;

use super::Console;
use super::given::Given;
use super::shell::{After, Done, Section, Shell};
use super::text::{self, LINE_CHARS, When};
use super::trouble::Trouble;
use super::why::Leading;
use crate::api::ids;
use crate::domain::code;
use crate::domain::explain::Reason;
use crate::domain::id::{PluginName, ScheduleName, Sequence, TenantId};
use crate::domain::job::{Job, Status};
use crate::domain::query::{Counts, JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::jobs::{Sort, Tally};
use crate::resources::blocking;
use crate::store::ReadError;
use crate::store::warrant::carried;

/// Jobs on one page.
const PAGE: usize = 50;

/// The longest text to search for, in characters.
const SEARCH_CHARS: usize = 200;

/// Statuses that people look at together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Queued,
    Running,
    Waiting,
    Retrying,
    Paused,
    Succeeded,
    Failed,
    Canceled,
}

impl Group {
    /// In the order of a job's life.
    pub(super) const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Retrying,
        Self::Paused,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
    ];

    /// The word in addresses.
    pub(super) const fn word(self) -> &'static str {
        self.statuses()[0].word()
    }

    /// The word on the page.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Waiting => "Waiting",
            Self::Retrying => "Retrying",
            Self::Paused => "Paused",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }

    const fn statuses(self) -> &'static [Status] {
        match self {
            Self::Queued => &[Status::Queued],
            Self::Running => &[Status::Running, Status::Pausing, Status::Canceling],
            Self::Waiting => &[Status::Waiting],
            Self::Retrying => &[Status::Retrying],
            Self::Paused => &[Status::Paused],
            Self::Succeeded => &[Status::Succeeded],
            Self::Failed => &[Status::Failed],
            Self::Canceled => &[Status::Canceled],
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        let status = Status::from_word(word)?;
        Self::ALL.into_iter().find(|group| group.statuses().contains(&status))
    }

    /// How many of some jobs belong to it.
    pub(super) fn count(self, counts: &Counts) -> u64 {
        self.statuses().iter().map(|status| counts.of(*status)).sum()
    }
}

/// One job in a table.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) short_id: String,
    pub(super) name: String,
    pub(super) plugin: String,
    /// Whether there is a page of the plug-in for the visitor.
    pub(super) leads_to_plugin: bool,
    pub(super) state: &'static str,
    pub(super) shape: &'static str,
    pub(super) attempt: u32,
    pub(super) created: When,
    pub(super) duration: String,
    pub(super) error: Option<String>,
    /// Of a job that waits, why it does.
    pub(super) why: Option<Leading>,
    pub(super) tags: Vec<String>,
}

impl Row {
    /// Jobs as the host sees them now.
    pub(super) fn all(console: &Console, jobs: &[Job]) -> Result<Vec<Self>, ReadError> {
        let reasons = console.host.leading_reasons(jobs)?;
        Ok(jobs.iter().zip(reasons).map(|(job, reason)| Self::new(console, job, reason)).collect())
    }

    fn new(console: &Console, job: &Job, reason: Option<Reason>) -> Self {
        let now = console.now();
        let Job { submission, state } = job;
        let id = submission.id.to_string();
        // The reason of an unfinished job holds its error.
        let error = state.failure().filter(|_| state.status != Status::Succeeded && reason.is_none());
        Self {
            short_id: short_id(&id),
            id,
            name: text::line(&submission.display_name(), LINE_CHARS),
            plugin: submission.plugin.to_string(),
            leads_to_plugin: console.leads_to_plugin(&submission.plugin),
            state: state.status.word(),
            shape: state.status.shape(),
            attempt: state.attempt,
            created: When::new(submission.created_on, now),
            duration: duration(job, now).map_or_else(|| "–".to_owned(), text::span),
            error: error.map(|failure| text::line(first_line(&failure.message), LINE_CHARS)),
            why: reason.map(|reason| Leading::new(&reason, now)),
            tags: submission.tags.iter().take(4).map(|tag| text::line(tag, 32)).collect(),
        }
    }
}

/// The end of an identity: the part that differs most between neighbours.
pub(super) fn short_id(id: &str) -> String {
    let from = id.len().saturating_sub(8);
    id.get(from..).unwrap_or(id).to_owned()
}

/// The time from the first start to the end, or to now.
pub(super) fn duration(job: &Job, now: Timestamp) -> Option<std::time::Duration> {
    let started_on = job.state.started_on?;
    match job.state.completed_on {
        Some(completed_on) => Some(completed_on.since(started_on)),
        None => job.state.status.is_locked().then(|| now.since(started_on)),
    }
}

fn first_line(message: &str) -> &str {
    message.lines().find(|line| !line.trim().is_empty()).unwrap_or(message)
}

/// What the address of the list says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    state: String,
    plugin: String,
    tag: String,
    q: String,
    /// The batch that they belong to.
    batch: String,
    /// The schedule that made them.
    schedule: String,
    before: Option<u64>,
    done: Option<Done>,
}

impl Asked {
    /// The same without what cannot be typed, and no longer than what is searched for.
    fn typed(self) -> Self {
        let typed = |text: String| -> String {
            let shown = text.trim().chars().filter(|c| text::is_shown(*c));
            shown.take(SEARCH_CHARS).collect()
        };
        let Self { state, plugin, tag, q, batch, schedule, before, done } = self;
        Self {
            state: typed(state),
            plugin: typed(plugin),
            tag: typed(tag),
            q: typed(q),
            batch: typed(batch),
            schedule: typed(schedule),
            before,
            done,
        }
    }

    /// The address of the list with another state and from the start.
    fn with_state(&self, state: &str) -> String {
        self.address(state, None)
    }

    fn address(&self, state: &str, before: Option<Sequence>) -> String {
        let before = before.map(|sequence| sequence.0.to_string()).unwrap_or_default();
        let fields = [
            ("state", state),
            ("plugin", &self.plugin),
            ("tag", &self.tag),
            ("q", &self.q),
            ("batch", &self.batch),
            ("schedule", &self.schedule),
            ("before", &before),
        ];
        let given: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        match url_encoded(&given) {
            query if query.is_empty() => "/jobs".to_owned(),
            query => format!("/jobs?{query}"),
        }
    }

    fn is_filtered(&self) -> bool {
        let fields = [&self.plugin, &self.tag, &self.q, &self.batch, &self.schedule];
        fields.into_iter().any(|field| !field.is_empty())
    }
}

/// Fields as the query of an address (`application/x-www-form-urlencoded`).
fn url_encoded(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        let one = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        text.bytes().map(one).collect()
    };
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    pairs.join("&")
}

struct Tab {
    label: &'static str,
    address: String,
    count: String,
    full_count: String,
    is_current: bool,
    word: &'static str,
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct List {
    shell: Shell,
    tabs: Vec<Tab>,
    /// How far back the jobs of the tabs were counted, where not all were.
    counted_to: Option<When>,
    asked: Asked,
    plugins: Vec<String>,
    rows: Vec<Row>,
    next: Option<String>,
    /// How far the search has come whose time was up before the page was full.
    looked_to: Option<When>,
    newest: Option<String>,
    cleared: String,
    has_jobs: bool,
    /// What a job can be submitted to, as far as the visitor may know and do it.
    example_plugin: Option<String>,
    /// Where the host answers.
    address: String,
}

/// The page.
pub(super) async fn show(console: Console, headers: HeaderMap, Given(Query(asked)): Given<Query<Asked>>) -> Response {
    let address = address(&headers);
    let asked = match completed(&console, asked.typed()).await {
        Ok(asked) => asked,
        Err(trouble) => return console.refuse(&trouble.at(Section::Jobs)),
    };
    let turn = match query_of(&console, &asked) {
        Ok((_, query)) => console.host.jobs.search_turn(&query.filter).await,
        // The page says what is wrong with it.
        Err(_) => Ok(None),
    };
    let turn = match turn {
        Ok(turn) => turn,
        Err(busy) => return console.refuse(&Trouble::from(busy).at(Section::Jobs)),
    };
    let page = console.page(move |console| {
        let list = list(console, asked, address).map_err(|trouble| trouble.at(Section::Jobs));
        drop(turn);
        list
    });
    page.await
}

/// The same with the whole id of the batch where its end stands for it.
async fn completed(console: &Console, asked: Asked) -> Result<Asked, Trouble> {
    if ids::ending(&asked.batch).is_none() {
        return Ok(asked);
    }
    let console = console.clone();
    let completed = blocking(carried(move || {
        let batch = ids::of_address(&console.host, TenantId::DEFAULT, &console.caller, &asked.batch)?;
        Ok(Asked { batch: batch.to_string(), ..asked })
    }));
    completed.await.map_err(Trouble::host)?
}

/// The address by which the browser knows the host; the usual one where it has characters that a shell would obey.
fn address(headers: &HeaderMap) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-');
    let given = headers.get(HOST).and_then(|value| value.to_str().ok());
    let given = given.filter(|host| !host.is_empty() && !host.starts_with('-') && host.chars().all(is_plain));
    given.unwrap_or("127.0.0.1:7171").to_owned()
}

fn list(console: &Console, asked: Asked, address: String) -> Result<List, Trouble> {
    let (group, query) = query_of(console, &asked)?;
    let tally = console.host.jobs.tally(TenantId::DEFAULT, &console.caller)?;
    let counts = query.filter.plugin.as_ref().map_or_else(|| tally.total(), |plugin| tally.of(plugin));
    let page = console.host.jobs.search(&query, Sort::Newest)?;
    let now = console.now();
    let plugins = plugins(console, &tally);
    let state = group.map_or("", Group::word);
    Ok(List {
        tabs: tabs(&asked, group, &counts),
        counted_to: tally.counted_to.map(|on| When::new(on, now)),
        rows: Row::all(console, &page.jobs)?,
        looked_to: page.looked_to.filter(|_| page.jobs.len() < PAGE).map(|looked_to| When::new(looked_to, now)),
        next: page.next.map(|next| asked.address(state, Some(next))),
        newest: asked.before.map(|_| asked.address(state, None)),
        cleared: Asked::default().with_state(state),
        has_jobs: counts != Counts::default(),
        example_plugin: plugins.first().cloned().filter(|_| console.caller.rights.submit),
        address,
        plugins,
        shell: console.shell(Section::Jobs, "Jobs", After { done: asked.done }),
        asked,
    })
}

/// The plug-ins to choose from: all, or those of his own jobs for whoever sees no others.
fn plugins(console: &Console, tally: &Tally) -> Vec<String> {
    match console.sees_all() {
        true => console.host.registry.list(TenantId::DEFAULT).iter().map(|plugin| plugin.name.to_string()).collect(),
        false => tally.by_plugin.iter().map(|(name, _)| name.to_string()).collect(),
    }
}

/// What an address asks for, of the jobs that the visitor may see.
fn query_of(console: &Console, asked: &Asked) -> Result<(Option<Group>, JobQuery), Trouble> {
    let group = match asked.state.as_str() {
        "" => None,
        word => Some(Group::from_word(word).ok_or_else(|| Trouble::field(unknown_state(word)))?),
    };
    let filter = console.visible(filter(asked, group)?);
    // The pages are for those only who may see some.
    let filter = filter.ok_or_else(|| Trouble::new(code::FORBIDDEN, "there are no jobs that you may see"))?;
    Ok((group, JobQuery { tenant: TenantId::DEFAULT, filter, before: asked.before.map(Sequence), limit: PAGE }))
}

fn unknown_state(word: &str) -> String {
    let words: Vec<_> = Group::ALL.into_iter().map(Group::word).collect();
    format!("`{word}` is not a state of a job; expected one of: {}", words.join(", "))
}

fn filter(asked: &Asked, group: Option<Group>) -> Result<JobFilter, Trouble> {
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let plugin = given(&asked.plugin).map(|name| PluginName::new(&name)).transpose();
    Ok(JobFilter {
        statuses: group.map(|group| group.statuses().to_vec()).unwrap_or_default(),
        plugin: plugin.map_err(|error| Trouble::field(error.to_string()))?,
        tag: given(&asked.tag),
        text: given(&asked.q),
        batch: given(&asked.batch).map(|id| id.parse()).transpose().map_err(|_| bad_batch(&asked.batch))?,
        schedule: given(&asked.schedule)
            .map(|name| ScheduleName::new(&name))
            .transpose()
            .map_err(|error| Trouble::field(error.to_string()))?,
        ..JobFilter::default()
    })
}

fn bad_batch(id: &str) -> Trouble {
    Trouble::field(format!("`{}` is not the id of a batch", text::line(id, 80)))
}

fn tabs(asked: &Asked, current: Option<Group>, counts: &Counts) -> Vec<Tab> {
    let tab = |label, word, count: u64, is_current| Tab {
        label,
        address: asked.with_state(word),
        count: text::short_count(count),
        full_count: text::count(count),
        is_current,
        word,
    };
    let all = tab("All", "", counts.0.iter().sum(), current.is_none());
    let groups = Group::ALL
        .into_iter()
        .map(|group| tab(group.label(), group.word(), group.count(counts), current == Some(group)));
    std::iter::once(all).chain(groups).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_belongs_to_one_group() {
        for status in Status::ALL {
            let groups = Group::ALL.into_iter().filter(|group| group.statuses().contains(&status)).count();
            assert_eq!(groups, 1, "{status}");
        }
    }

    #[test]
    fn the_example_holds_nothing_that_a_shell_obeys() {
        for (host, expected) in [
            ("localhost:9", "localhost:9"),
            ("jobs.example", "jobs.example"),
            ("a;id.localhost", "127.0.0.1:7171"),
            ("$(id).localhost", "127.0.0.1:7171"),
            ("-o.localhost", "127.0.0.1:7171"),
        ] {
            let headers = HeaderMap::from_iter([(HOST, host.parse().expect("a value"))]);
            assert_eq!(address(&headers), expected);
        }
        assert_eq!(address(&HeaderMap::new()), "127.0.0.1:7171");
    }

    #[test]
    fn an_address_carries_the_filter() {
        let asked = Asked { q: "a&b=c \"ü\"".to_owned(), plugin: "echo".to_owned(), ..Asked::default() };
        assert_eq!(asked.with_state("failed"), "/jobs?state=failed&plugin=echo&q=a%26b%3Dc%20%22%C3%BC%22");
        assert_eq!(Asked::default().with_state(""), "/jobs");
        assert_eq!(asked.address("", Some(Sequence(7))), "/jobs?plugin=echo&q=a%26b%3Dc%20%22%C3%BC%22&before=7");
    }
}
