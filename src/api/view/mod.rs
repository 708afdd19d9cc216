//! The wire types: what the HTTP API sends and takes. The public contract; clients of the API read the same types.
//!
//! Times are RFC 3339 in UTC, sizes are bytes, and every field that may be absent says when. Conversions from the
//! domain name every field of the domain's types, so that a new one cannot be forgotten here.

mod action;
mod batch;
mod filter;
pub(super) mod form;
mod job;
mod log;
mod number;
mod plugin;
mod problem;
mod schedule;
mod service;
mod submit;
mod token;

pub use action::{
    ActionResultView, ActionsBody, ActionsView, AuditRowView, AuditView, ExplainView, FailureView, FailuresView,
    PauseBody, PostponeBody, ReasonView, ResumeBody, RetryBody, SteerBody,
};
pub use batch::{BatchView, SummaryView};
pub use filter::FilterBody;
pub use job::{
    AttemptView, AttemptsView, ErrorView, JobPageView, JobView, OccurrenceView, OutputEncoding, PluginRef,
    ProgressView, TypeView, UsageView, WaitView,
};
pub(crate) use job::{JobFacts, Output};
pub use log::LogView;
pub use plugin::{
    ActivateBody, EffectiveView, GrantBody, GrantView, GrantedView, PluginListView, PluginView, RevokeBody, UploadView,
    VersionState, VersionView,
};
pub use problem::{LineProblem, Problem};
pub use schedule::{
    BackfillBody, BackfillView, HttpBody, PostponeScheduleBody, ScheduleBody, ScheduleListView, ScheduleView,
    TargetView,
};
pub(crate) use service::service_word;
pub use service::{
    CountsView, HealthView, PauseView, PluginCountsView, PurgeView, QueueListView, QueueView, ServiceView, StateCounts,
    StoreView,
};
pub use submit::{BulkView, FollowUpBody, SubmitBody};
pub use token::{NewTokenView, TokenBody, TokenListView, TokenView};

use crate::domain::time::Timestamp;

fn time(at: Timestamp) -> String {
    at.to_string()
}

fn time_of(at: Option<Timestamp>) -> Option<String> {
    at.map(time)
}
