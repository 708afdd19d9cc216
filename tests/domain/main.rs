//! Tests of the rules: the transition table, its side effects and invariants, and when a failed attempt is tried again.

mod diagram;
mod effects;
mod fixtures;
mod properties;
mod recurrence;
mod retry;
mod table;
