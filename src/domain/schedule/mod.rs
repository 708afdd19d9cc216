//! Schedules: what makes jobs again and again, and what is due when (domain.md 4.2).

mod calendar;
mod cron;
mod error;
mod fire;
mod moment;
mod parse;
mod policy;
mod record;
mod recurrence;
mod rule;
mod series;
mod steer;
mod walk;
mod zone;

/// How many schedules a tenant may have.
pub const SCHEDULES_MAX: usize = 10_000;

pub use error::RuleError;
pub use fire::{FIRING_MAX, Firing, fire};
pub use moment::Start;
pub use policy::{InvalidPolicy, MISSED_AFTER, Misfire, Overlap};
pub use record::{Definition, JobTemplate, Schedule, ScheduleState};
pub use recurrence::Recurrence;
pub use steer::ScheduleRefusal;
