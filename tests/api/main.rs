//! The HTTP API, through a real listener: what it answers, and how it refuses.

mod bad_input;
mod bulk;
mod guard;
mod idempotency;
mod jobs;
mod lists;
mod pages;
mod plugins;
mod service;
mod stream;
mod support;
mod ties;
