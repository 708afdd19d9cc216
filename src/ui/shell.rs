//! What all pages share: the frame around them, how they are rendered, and how an action answers.

use askama::Template;
use axum::Extension;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Console;
use super::trouble::Trouble;
use crate::domain::service::ServiceState;
use crate::domain::time::Timestamp;
use crate::resources::blocking;
use crate::store::warrant::carried;

/// Which entry of the menu a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Jobs,
    Plugins,
}

/// The frame around a page.
pub(super) struct Shell {
    pub(super) title: String,
    pub(super) section: Section,
    pub(super) service: ServiceState,
    pub(super) host: String,
    pub(super) version: &'static str,
    /// Whether there is a session to end.
    pub(super) asks_for_token: bool,
    /// Whether there is a page for the visitor at all.
    pub(super) enters: bool,
    /// Whether he sees what is about all jobs.
    pub(super) sees_all: bool,
    /// Whether the buttons of the host are for him.
    pub(super) administers: bool,
    /// What the action that led here did.
    pub(super) done: Option<&'static str>,
    /// How long the page waits before it updates itself, in milliseconds; 0 when it stands still.
    pub(super) refresh_ms: u32,
}

impl Shell {
    pub(super) fn is_at(&self, section: &str) -> bool {
        let name = match self.section {
            Section::Overview => "overview",
            Section::Jobs => "jobs",
            Section::Plugins => "plugins",
        };
        name == section
    }

    pub(super) fn is_running(&self) -> bool {
        self.service == ServiceState::Running
    }

    pub(super) fn is_draining(&self) -> bool {
        self.service == ServiceState::Draining
    }
}

/// What an action did, carried through its redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Done {
    Canceled,
    Deleted,
    Resubmitted,
    JobPaused,
    JobResumed,
    Postponed,
    QueueResumed,
    PluginPaused,
    PluginResumed,
    Paused,
    Resumed,
    Uploaded,
    Repeated,
    Pending,
    Activated,
    RolledBack,
    Enabled,
    Disabled,
    Removed,
}

impl Done {
    const fn word(self) -> &'static str {
        match self {
            Self::Canceled => "canceled",
            Self::Deleted => "deleted",
            Self::Resubmitted => "resubmitted",
            Self::JobPaused => "job-paused",
            Self::JobResumed => "job-resumed",
            Self::Postponed => "postponed",
            Self::QueueResumed => "queue-resumed",
            Self::PluginPaused => "plugin-paused",
            Self::PluginResumed => "plugin-resumed",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Uploaded => "uploaded",
            Self::Repeated => "repeated",
            Self::Pending => "pending",
            Self::Activated => "activated",
            Self::RolledBack => "rolled-back",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Removed => "removed",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Canceled => "Cancel requested.",
            Self::Deleted => "The job is deleted.",
            Self::Resubmitted => "Submitted again: this is the new job.",
            Self::JobPaused => "Pause requested. A running handler stops at its next safe point.",
            Self::JobResumed => "The job is resumed.",
            Self::Postponed => "The job is postponed.",
            Self::QueueResumed => "The queue is resumed.",
            Self::PluginPaused => "The plug-in is paused: none of its jobs starts until it is resumed.",
            Self::PluginResumed => "The plug-in is resumed.",
            Self::Paused => "The service is paused. Running jobs end; nothing new starts.",
            Self::Resumed => "The service runs again.",
            Self::Uploaded => "Uploaded. The new version is active.",
            Self::Repeated => "These bytes were here under this version already; nothing changed.",
            Self::Pending => "Uploaded. The version asks for what is not granted, so it is not active yet.",
            Self::Activated => "The version is active; jobs that start from now on run it.",
            Self::RolledBack => "Rolled back to the version before.",
            Self::Enabled => "The plug-in is enabled.",
            Self::Disabled => "The plug-in is disabled. Its queued jobs are canceled when their turn comes.",
            Self::Removed => "The plug-in is removed with all its versions.",
        }
    }
}

/// The part of a page's query that says what an action did.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct After {
    pub(super) done: Option<Done>,
}

/// How long pages wait before they update themselves, in milliseconds.
pub(super) const REFRESH_MS: u32 = 2_000;

impl Console {
    /// The frame of a page.
    pub(super) fn shell(&self, section: Section, title: impl Into<String>, after: After) -> Shell {
        Shell {
            title: title.into(),
            section,
            service: self.host.service(),
            host: self.host.id.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            asks_for_token: !self.host.tokens.are_not_asked_for(),
            enters: self.enters(),
            sees_all: self.sees_all(),
            administers: self.administers(),
            done: after.done.map(Done::sentence),
            refresh_ms: REFRESH_MS,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.host.now()
    }

    /// Builds and renders a page, where reading the store holds nobody up.
    pub(super) async fn page<T, F>(&self, build: F) -> Response
    where
        T: Template,
        F: FnOnce(&Self) -> Result<T, Trouble> + Send + 'static,
    {
        let console = self.clone();
        let built = blocking(carried(move || build(&console)?.render().map_err(Trouble::host)));
        match built.await.map_err(Trouble::host).and_then(|rendered| rendered) {
            Ok(html) => Html(html).into_response(),
            Err(trouble) => self.refuse(&trouble),
        }
    }

    /// Leads on after an action, or says why it did nothing.
    pub(super) fn answer<E: Into<Trouble>>(&self, result: Result<(String, Done), E>) -> Response {
        match result.map_err(Into::into) {
            Ok((path, done)) => Redirect::to(&format!("{path}?done={}", done.word())).into_response(),
            Err(trouble) => self.refuse(&trouble),
        }
    }

    /// The page of an error.
    pub(super) fn refuse(&self, trouble: &Trouble) -> Response {
        let shell = Shell { refresh_ms: 0, ..self.shell(trouble.section, trouble.title(), After::default()) };
        match (TroublePage { shell, trouble }).render() {
            // The code is for the guard, which counts refusals.
            Ok(html) => (trouble.status, Extension(trouble.code), Html(html)).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage<'a> {
    shell: Shell,
    trouble: &'a Trouble,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_survives_a_redirect() {
        let all = [
            Done::Canceled,
            Done::RolledBack,
            Done::Pending,
            Done::Resubmitted,
            Done::Repeated,
            Done::Removed,
            Done::PluginResumed,
        ];
        for done in all {
            let read: Done = serde_json::from_value(done.word().into()).expect("the word stands for it");
            assert_eq!(read, done);
        }
    }
}
