//! The HTTP API, through a real listener: what it answers, and how it refuses.

mod bad_input;
mod bulk;
mod guard;
mod idempotency;
mod jobs;
mod pages;
mod plugins;
mod schedules;
mod service;
mod stream;
mod support;
