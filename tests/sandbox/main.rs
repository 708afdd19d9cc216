//! The sandbox against real components: what is taken, what runs, and what is stopped.

mod fixtures;
mod runs;

#[path = "../support/mod.rs"]
mod support;
