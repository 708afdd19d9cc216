//! The first written shapes. They never change: a value that is written differently gets a shape in a later room, and a way
//! up from the one here.

mod audit;
mod breaker;
mod broken_key;
mod counts;
mod idempotency_key;
mod job_state;
pub(super) mod leaf;
mod number;
mod outline;
mod payload;
mod plugin;
mod queue;
mod run;
mod schedule;
mod service;
mod submission;
mod ties;
mod token;

pub(super) use audit::AuditRow;
pub(super) use breaker::PluginBreaker;
pub(super) use broken_key::BrokenKey;
pub(super) use counts::Counts;
pub(super) use idempotency_key::RememberedSubmit;
pub(super) use job_state::JobState;
pub(super) use number::Number;
pub(super) use plugin::Plugin;
pub(super) use queue::QueueState;
pub(super) use run::Run;
pub(super) use schedule::Schedule;
pub(super) use service::ServiceState;
pub(super) use submission::Submission;
pub(super) use token::Token;
