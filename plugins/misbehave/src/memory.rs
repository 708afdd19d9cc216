use std::hint::black_box;

use crate::MIB;

/// Touches what it takes, so that no page stays imaginary.
fn block() -> Vec<u8> {
    vec![1; MIB]
}

pub fn allocate() -> ! {
    let mut blocks = Vec::new();
    loop {
        blocks.push(black_box(block()));
    }
}

pub fn allocate_politely() -> usize {
    let mut blocks: Vec<Vec<u8>> = Vec::with_capacity(4096);
    loop {
        let mut next = Vec::new();
        if blocks.len() == blocks.capacity() || next.try_reserve_exact(MIB).is_err() {
            return blocks.len();
        }
        next.resize(MIB, 1);
        blocks.push(black_box(next));
    }
}

pub fn grow(mib: usize) -> usize {
    let blocks: Vec<Vec<u8>> = (0..mib).map(|_| block()).collect();
    black_box(&blocks).len()
}
