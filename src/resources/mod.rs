//! What a host may run out of, and how it behaves until there is more: what wants a resource that comes back is tried again,
//! less often than the machine could, and the log says so once a minute.

mod passing;
mod quiet;
mod threads;

pub use passing::Resource;
pub use quiet::{BackOff, Quiet, QuietByKind};
pub use threads::blocking;
