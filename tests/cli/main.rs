//! The command line through the real program: what it says, and what it ends with.

mod advice;
mod answers;
mod asking;
mod backup;
mod documents;
mod host;
mod live;
mod offline;
mod pausing;
mod private;
mod program;
mod project;
mod schedules;
mod settings;
mod small_things;
mod steer;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod tokens;
mod waiting;
