use std::fmt::{self, Display};
use std::hint::black_box;
use std::time::Duration;

use backroom_sdk::{ErrorClass, Failure, Job, Outcome, Result, Wake, control};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    Transient,
    Throttled,
    UserFixable,
    Business,
    Fatal,
}

pub fn count_slices(slices: u64, ms: u64) -> Result<Outcome> {
    let done = control::resume::<u64>()?.unwrap_or(0) + 1;
    crate::time::sleep(ms);
    println!("slice {done} is done");
    if done >= slices {
        return crate::report(json!({ "slices": done }));
    }
    control::checkpoint(&done)?;
    control::progress(done, Some(slices));
    Ok(Outcome::Yielded)
}

pub fn suspend(ms: u64, event: Option<String>) -> Result<Outcome> {
    if control::resume::<bool>()?.is_some() {
        return crate::report(json!({ "woken": true }));
    }
    control::checkpoint(&true)?;
    Ok(Outcome::Suspended(match event {
        Some(name) => Wake::Event(name),
        None => Wake::after(Duration::from_millis(ms)),
    }))
}

pub fn retry(job: &Job, failure: Failure, after_ms: Option<u64>, times: Option<u64>) -> Result<Outcome> {
    // A throttled try counts no attempt, only a run.
    let tries = job.attempt.max(job.run);
    if u64::from(tries) > times.unwrap_or(1) {
        return crate::report(json!({ "tries": tries }));
    }
    Ok(Outcome::Retry(match after_ms {
        Some(ms) => failure.retry_after(Duration::from_millis(ms)),
        None => failure,
    }))
}

/// Fails, or asks for another try where it is said after how long.
pub fn again(failure: Failure, after_ms: Option<u64>) -> Result<Outcome> {
    match after_ms {
        Some(ms) => Ok(Outcome::Retry(failure.retry_after(Duration::from_millis(ms)))),
        None => Err(failure),
    }
}

pub fn failure(class: Option<Class>, code: Option<String>, message: String) -> Failure {
    let mut failure = Failure::new(message);
    failure.code = code;
    failure.class = class.map(|class| match class {
        Class::Transient => ErrorClass::Transient,
        Class::Throttled => ErrorClass::Throttled,
        Class::UserFixable => ErrorClass::UserFixable,
        Class::Business => ErrorClass::Business,
        Class::Fatal => ErrorClass::Fatal,
    });
    failure
}

/// What stops a program without an answer.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    #[default]
    Abort,
    PanicInDrop,
    PanicInPanic,
}

pub fn stop(by: By) -> ! {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            panic!("a guard was dropped");
        }
    }
    struct Unsayable;
    impl Display for Unsayable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("it cannot be said");
        }
    }
    match by {
        By::Abort => std::process::abort(),
        By::PanicInDrop => {
            drop(black_box(Guard));
            unreachable!("its drop panics")
        }
        By::PanicInPanic => panic!("{}", black_box(Unsayable)),
    }
}
