//! The command line through the real program: what it says, and what it ends with.

mod offline;
mod program;
mod project;
