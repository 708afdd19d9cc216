use std::fmt::{self, Display};
use std::hint::black_box;

use serde::Deserialize;

use crate::MIB;

/// How a stack is overflowed. Which stack that is, and what is touched first past its end, the compiler decides.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    /// Calls that write to the beginning of a frame.
    #[default]
    Frames,
    /// Calls that fill a frame in one instruction.
    FilledFrames,
    /// Calls of functions that call one another.
    ManyFunctions,
    /// One frame that is larger than the stack, written to at its beginning.
    LargeFrame,
    /// The same, filled in one instruction.
    FilledLargeFrame,
    /// A long list that ends node by node.
    List,
    /// Text within text within text.
    Text,
}

pub fn stack(how: Stack) -> u64 {
    match how {
        Stack::Frames => frames(0),
        Stack::FilledFrames => filled_frames(0),
        Stack::ManyFunctions => many_functions(0),
        Stack::LargeFrame => large_frame(),
        Stack::FilledLargeFrame => filled_large_frame(),
        Stack::List => list(),
        Stack::Text => Nested.to_string().len() as u64,
    }
}

// The sums after the calls keep the compiler from turning recursions into loops.

#[expect(unconditional_recursion, reason = "that is the point")]
#[inline(never)]
fn frames(depth: u64) -> u64 {
    let mut frame = std::mem::MaybeUninit::<[u64; 128]>::uninit();
    let start = black_box(frame.as_mut_ptr()).cast::<u64>();
    // SAFETY: the first number of the frame is written before it is read.
    let kept = unsafe {
        start.write(depth);
        start.read()
    };
    frames(black_box(depth + 1)) + black_box(kept)
}

#[expect(unconditional_recursion, reason = "that is the point")]
#[inline(never)]
fn filled_frames(depth: u64) -> u64 {
    let frame = black_box([depth as u8; 1024]);
    filled_frames(black_box(depth + 1)) + u64::from(black_box(&frame)[7])
}

#[inline(never)]
fn many_functions(depth: u64) -> u64 {
    fn first(depth: u64) -> u64 {
        let frame = black_box([depth; 100]);
        second(black_box(depth + 1)) + black_box(&frame)[1]
    }
    #[inline(never)]
    fn second(depth: u64) -> u64 {
        let frame = black_box([depth; 60]);
        third(black_box(depth + 1)) + black_box(&frame)[2]
    }
    #[inline(never)]
    fn third(depth: u64) -> u64 {
        let frame = black_box([depth; 200]);
        fourth(black_box(depth + 1)) + black_box(&frame)[3]
    }
    #[inline(never)]
    fn fourth(depth: u64) -> u64 {
        let frame = black_box([depth; 80]);
        fifth(black_box(depth + 1)) + black_box(&frame)[4]
    }
    #[inline(never)]
    fn fifth(depth: u64) -> u64 {
        let frame = black_box([depth; 90]);
        many_functions(black_box(depth + 1)) + black_box(&frame)[5]
    }
    first(depth)
}

#[inline(never)]
fn large_frame() -> u64 {
    let mut frame = [1_u8; 4 * MIB];
    for (index, byte) in frame.iter_mut().enumerate() {
        *byte = black_box(index as u8);
    }
    black_box(&frame).iter().map(|byte| u64::from(*byte)).sum()
}

#[inline(never)]
fn filled_large_frame() -> u64 {
    let frame = black_box([0_u8; 4 * MIB]);
    u64::from(black_box(&frame)[9])
}

fn list() -> u64 {
    struct Node {
        _next: Option<Box<Node>>,
    }
    let mut list = Node { _next: None };
    for _ in 0..1_000_000 {
        list = Node { _next: Some(Box::new(list)) };
    }
    drop(black_box(list));
    0
}

/// Its text is the text of itself.
struct Nested;

impl Display for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = black_box(format!("({Nested})"));
        f.write_str(&within)
    }
}
