//! Write a plug-in for Backroom in ten lines of Rust.
//!
//! A **handler** is a function from an input to a result. Input and output are any types that serde knows, as JSON;
//! [`Bytes`] passes them through untouched. `?` works on any error, and an error without a class is transient: the host
//! tries again.
//!
//! ```
//! use backroom_sdk::prelude::*;
//!
//! #[derive(serde::Deserialize)]
//! struct Order { quantity: u32, unit_price: u32 }
//!
//! #[derive(serde::Serialize)]
//! struct Invoice { total: u32 }
//!
//! fn invoice(order: Order) -> Result<Invoice> {
//!     if order.quantity == 0 {
//!         return Err(Failure::business("an order needs at least one piece").code("empty-order"));
//!     }
//!     info!("{} pieces", order.quantity);
//!     Ok(Invoice { total: order.quantity * order.unit_price })
//! }
//!
//! backroom_sdk::export!(invoice);
//! # fn main() {}
//! ```
//!
//! What a handler can reach:
//!
//! | need | see |
//! | --- | --- |
//! | which job this is, which attempt, what caused it | take a [`&Job`](Job) as the first argument |
//! | say why it failed, and whether to try again | [`Failure`], [`Classify`] |
//! | end in another way than with an output | [`Outcome`] |
//! | write to the job's log | [`info!`], [`warn!`] and so on, or the `log` crate with the feature `log` |
//! | show progress, hear of a cancel, keep a checkpoint | [`control`] |
//! | read settings that the operator made | [`config`] |
//! | test it with plain `cargo test` | `testing` |
//! | several handlers in one plug-in | [`export!`] |
//!
//! A component imports only what its code uses: a handler that never logs does not import the log.
//!
//! A panic ends the attempt, and the job shows its message with file and line: Rust's own panic message goes to
//! standard error, which is where the host reads it. A handler that installs another panic hook loses that.

pub mod config;
pub mod control;
pub mod logging;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

mod export;
mod failure;
mod handler;
mod job;
mod outcome;
mod payload;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod component;

/// The host's side of every call: the real one in a component, a fake one in native tests.
#[cfg(target_family = "wasm")]
use component as host;
#[cfg(not(target_family = "wasm"))]
use testing as host;

pub use failure::{Classify, ErrorClass, Failure, Result};
pub use handler::{Handler, Plugin, check_names, name_in, run, section, section_bytes, unknown_handler};
pub use job::{Event, Job, UnixMillis};
pub use outcome::{Outcome, Wake};
pub use payload::{Bytes, Input, Output};

/// Everything that most handlers need: `use backroom_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Bytes, Classify, Failure, Job, Outcome, Result, Wake, config, control, debug, error, info, trace, warn,
    };
}
