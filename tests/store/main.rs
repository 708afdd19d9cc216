//! The store: one conformance suite over every implementation, and what only a store on a disk can suffer.

mod common;

mod blobs;
mod counts;
mod dedup;
mod families;
mod feed;
mod guards;
mod labels;
mod lists;
mod numbers;
mod order;
mod ordering;
mod records;
mod steered;
mod warrants;

#[cfg(feature = "host")]
mod agreement;
#[cfg(feature = "host")]
mod backup;
#[cfg(feature = "host")]
mod broken_thread;
#[cfg(feature = "host")]
mod damage;
#[cfg(feature = "host")]
mod frozen;
#[cfg(feature = "host")]
mod reopen;
#[cfg(feature = "host")]
mod resources;
#[cfg(feature = "host")]
mod snapshots;
#[cfg(feature = "host")]
mod verify;
