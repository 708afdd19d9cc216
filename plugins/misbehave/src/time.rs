use std::thread;
use std::time::{Duration, Instant};

use backroom_sdk::control::Signal;
use backroom_sdk::{Outcome, Result, control};
use serde_json::{Value, json};

pub fn sleep(ms: u64) -> u128 {
    let start = Instant::now();
    thread::sleep(Duration::from_millis(ms));
    start.elapsed().as_millis()
}

pub fn sleep_politely(ms: u64, every_ms: u64) -> Result<Outcome> {
    let mut slept: u64 = control::resume()?.unwrap_or(0);
    while slept < ms {
        match control::poll() {
            Signal::None => {}
            Signal::Cancel => return Ok(Outcome::Canceled(format!("canceled after {slept} ms"))),
            Signal::Pause | Signal::Shutdown => {
                control::checkpoint(&slept)?;
                return Ok(Outcome::Yielded);
            }
        }
        let nap = every_ms.clamp(1, ms - slept);
        thread::sleep(Duration::from_millis(nap));
        slept += nap;
        control::progress_with_note(slept, Some(ms), "sleeping");
    }
    crate::report(json!({ "slept_ms": slept }))
}

pub fn ignore_cancel(ms: u64) -> Value {
    let (mut pause, mut cancel, mut shutdown) = (0_u64, 0_u64, 0_u64);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(ms) {
        match control::poll() {
            Signal::None => {}
            Signal::Pause => pause += 1,
            Signal::Cancel => cancel += 1,
            Signal::Shutdown => shutdown += 1,
        }
        crate::compute::burn(1);
    }
    json!({ "pause": pause, "cancel": cancel, "shutdown": shutdown })
}
