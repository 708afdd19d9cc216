//! The store: one conformance suite over every implementation, and what only a store on a disk can suffer.

mod common;

mod blobs;
mod counts;
mod feed;
mod guards;
mod lists;
mod numbers;
mod order;
mod records;

#[cfg(feature = "host")]
mod agreement;
#[cfg(feature = "host")]
mod backup;
#[cfg(feature = "host")]
mod broken_thread;
#[cfg(feature = "host")]
mod damage;
#[cfg(feature = "host")]
mod reopen;
#[cfg(feature = "host")]
mod verify;
