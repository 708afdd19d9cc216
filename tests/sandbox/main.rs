//! The sandbox against real components: what is taken, what runs, and what is stopped.

mod admission;
mod fixtures;
mod held;
mod limits;
mod outbound;
mod runs;

#[path = "../support/mod.rs"]
mod support;
