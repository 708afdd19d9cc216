//! The sandbox against real components: what is taken, what runs, and what is stopped.

mod admission;
mod composition;
mod ends;
mod fixtures;
mod held;
mod limits;
mod measured;
mod needs;
mod outbound;
mod python;
mod runs;

#[path = "../support/mod.rs"]
mod support;
