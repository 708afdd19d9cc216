//! Backroom.
fn main() {}
