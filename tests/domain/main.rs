//! Tests of the rules: the transition table, its side effects and invariants, when a failed attempt is tried again, and
//! what guards the host from plug-ins that fail or start too often.

mod breaker;
mod diagram;
mod effects;
mod fingerprint;
mod fixtures;
mod properties;
mod rate;
mod retry;
mod table;
