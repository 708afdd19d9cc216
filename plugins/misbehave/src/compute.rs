use std::hint::black_box;

pub fn forever() -> ! {
    let mut round = 0_u64;
    loop {
        round = black_box(round.wrapping_add(1));
    }
}

pub fn burn(millions: u64) -> u64 {
    (0..millions.saturating_mul(1_000_000)).fold(1, |sum, round| black_box(sum ^ round.rotate_left(5)))
}

// The addition after the call keeps the compiler from turning the recursion into a loop.
#[expect(unconditional_recursion, reason = "that is the point")]
pub fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + 1
}

pub fn deep_stack(frames: u64) -> u64 {
    if frames == 0 {
        return 0;
    }
    let frame = black_box([frames as u8; 1024]);
    let below = deep_stack(frames - 1);
    below + u64::from(black_box(&frame).iter().all(|byte| *byte == frames as u8))
}

pub fn trap() -> ! {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    std::process::abort()
}
