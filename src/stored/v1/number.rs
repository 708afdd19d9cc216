//! A number that an index keeps: how far something has come, or which job is meant.

use crate::domain::id::Sequence;
use crate::stored::shape::shape;

shape! {
    /// A number.
    Number {
        always {
            number: u64,
        }
        later {}
    }
}

impl From<&u64> for Number {
    fn from(number: &u64) -> Self {
        Self { number: *number }
    }
}

impl From<Number> for u64 {
    fn from(shape: Number) -> Self {
        shape.number
    }
}

impl From<&Sequence> for Number {
    fn from(sequence: &Sequence) -> Self {
        Self { number: sequence.0 }
    }
}

impl From<Number> for Sequence {
    fn from(shape: Number) -> Self {
        Self(shape.number)
    }
}
