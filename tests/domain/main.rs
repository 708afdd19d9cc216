//! Tests of the rules: the transition table, its side effects and invariants, when a failed attempt is tried again, what
//! guards the host from plug-ins that fail or start too often, and when schedules make jobs.

mod access;
mod breaker;
mod cron;
mod dependencies;
mod diagram;
mod effects;
mod explain;
mod fingerprint;
mod fixtures;
mod names;
mod properties;
mod rate;
mod recurrence;
mod retry;
mod schedule;
mod table;
mod zones;
