//! The HTTP API, through a real listener: what it answers, and how it refuses.

mod actions;
mod bad_input;
mod batches;
mod bulk;
mod guard;
mod holder;
mod idempotency;
mod jobs;
mod lists;
mod pages;
mod pausing;
mod plugins;
mod problems;
mod purge;
mod refused_bodies;
mod revoked;
mod rights;
mod schedules;
mod service;
mod shares;
mod short_ids;
mod steer;
mod stream;
mod support;
mod ties;
mod tokens;
