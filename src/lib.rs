//! Backroom: an asynchronous service for WebAssembly plug-ins.
//!
//! ```text
//! 4  edges      main  cli  api  ui             speak a protocol; hold no rules
//! 3  assembly   app  config  embedded  telemetry  bench    read settings, wire, shut down in order
//! 2  runtime    jobs  schedules  scheduler  retention  worker  registry    loops and commands: tick(now) -> next wake
//! 1  adapters   store  stored  sandbox         hold no rules
//! 0  domain                                    pure: no IO, no async, no clock, no randomness
//! ```
//!
//! Imports point down only; `tests/architecture.rs` reads the `use` lines and says which edge is wrong.

pub mod domain;

pub mod clock;
#[cfg(feature = "host")]
pub mod descriptors;
pub mod resources;
pub mod sandbox;
pub mod store;
pub mod stored;

pub mod jobs;
pub mod registry;
pub mod retention;
pub mod scheduler;
pub mod schedules;
pub mod worker;

pub mod app;
#[cfg(feature = "host")]
pub mod config;
#[cfg(feature = "host")]
pub mod embedded;
#[cfg(feature = "host")]
pub mod telemetry;

#[cfg(feature = "host")]
pub mod bench;

#[cfg(feature = "host")]
pub mod api;
#[cfg(feature = "host")]
pub mod cli;
#[cfg(feature = "host")]
pub mod ui;
