//! The rules: pure functions of facts and `now`. No IO, no async, no clock, no randomness.

pub mod access;
pub mod admission;
pub mod audit;
pub mod batch;
pub mod breaker;
pub mod change;
pub mod code;
pub mod explain;
pub mod failure;
pub mod fingerprint;
pub mod hash;
pub mod host_call;
pub mod id;
pub mod job;
pub mod limits;
pub mod loops;
pub mod outbound;
pub mod plugin;
pub mod query;
pub mod queue;
pub mod rate;
pub mod retention;
pub mod retry;
pub mod schedule;
pub mod service;
pub mod time;
