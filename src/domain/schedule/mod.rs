//! Schedules: what makes jobs again and again, and what is due when (domain.md 4.2).

mod calendar;
mod cron;
mod error;
mod moment;
mod parse;
mod recurrence;
mod rule;
mod walk;
mod zone;

pub use error::RuleError;
pub use moment::Start;
pub use recurrence::Recurrence;
