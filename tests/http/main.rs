//! The built-in handler `http`, end to end: a host, a server that answers as it is told, and what becomes of the jobs.

mod callbacks;
mod calls;
mod policy;
mod signatures;
mod tls;
mod world;
