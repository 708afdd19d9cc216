//! Tests of the rules: the transition table, its side effects and invariants, when a failed attempt is tried again, and
//! when schedules make jobs.

mod cron;
mod diagram;
mod effects;
mod fixtures;
mod properties;
mod recurrence;
mod retry;
mod schedule;
mod table;
