use std::io::Write;

use backroom_sdk::{Result, control, info};
use wasip2::clocks::monotonic_clock;
use wasip2::random::random::get_random_bytes;

pub fn log(bytes: usize, line: usize) -> usize {
    let text = "x".repeat(line.max(1));
    let lines = bytes.div_ceil(text.len());
    for _ in 0..lines {
        info!("{text}");
    }
    lines
}

pub fn talk(lines: u64, ms: u64) -> u64 {
    for number in 1..=lines {
        info!("line {number}");
        crate::time::sleep(ms);
    }
    lines
}

pub fn stream(mut stream: impl Write, bytes: usize) -> Result<usize> {
    let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
    let mut left = bytes;
    while left > 0 {
        let part = &line[..left.min(line.len())];
        stream.write_all(part)?;
        left -= part.len();
    }
    stream.flush()?;
    Ok(bytes)
}

pub fn checkpoint(bytes: usize, times: u64) -> Result<u64> {
    let state = vec![b'x'; bytes];
    for _ in 0..times {
        control::checkpoint_bytes(&state)?;
    }
    Ok(times * bytes as u64)
}

pub fn random(bytes: usize, times: u64) -> u64 {
    (0..times).map(|_| get_random_bytes(bytes as u64).len() as u64).sum()
}

pub fn host_calls(times: u64) -> u64 {
    for call in 1..=times {
        control::progress(call, Some(times));
    }
    times
}

pub fn handles(count: u64) -> usize {
    const HOUR_IN_NANOSECONDS: u64 = 3_600_000_000_000;
    let pollables: Vec<_> = (0..count).map(|_| monotonic_clock::subscribe_duration(HOUR_IN_NANOSECONDS)).collect();
    pollables.len()
}
