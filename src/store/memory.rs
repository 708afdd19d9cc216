//! The reference store: everything in memory, gone with the process.
