//! The complete settings file with every setting at its default, for people to start from.

/// `backroom.example.toml`: what `backroom config schema` prints.
pub const EXAMPLE: &str = include_str!("../../backroom.example.toml");
