//! Breaks every limit on request, so that tests can see the host hold.
//!
//! The input is `{"do": ACT, ...}`; what an act takes stands beside it, with its default. Acts that are let through succeed
//! and report what happened as JSON.
//!
//! | act | takes | what it does |
//! | --- | --- | --- |
//! | **compute** | | |
//! | `loop` | | computes without end |
//! | `burn` | `millions` 1 | computes that many million rounds, then succeeds |
//! | `recurse` | | calls itself without end |
//! | `deep-stack` | `frames` 100 | calls itself that often, 1 KiB of stack each, then succeeds |
//! | `overflow` | `stack` | overflows a stack, in one of the ways below |
//! | `trap` | | executes `unreachable` |
//! | `panic` | `message` | panics |
//! | `exit` | `exit_code` 1 | leaves through `wasi:cli/exit` |
//! | `stop` | `by` | stops by `abort`, `panic-in-drop` or `panic-in-panic` |
//! | **memory** | | |
//! | `allocate` | | allocates without end, as ordinary code does: a refusal aborts |
//! | `allocate-politely` | | allocates until refused, then succeeds and reports how much it got |
//! | `grow` | `mib` 16 | allocates and touches that much, then succeeds |
//! | **floods** | | |
//! | `flood-log` | `bytes` 16 MiB, `line` 1 KiB | writes lines to the log through `wasi:logging` |
//! | `talk` | `times` 1,000,000, `ms` 60,000 | writes a numbered line that often, and sleeps after each |
//! | `flood-stdout` | `bytes` 16 MiB | writes to standard output |
//! | `flood-stderr` | `bytes` 16 MiB | writes to standard error |
//! | `output` | `bytes` 16 MiB | returns an output of that size |
//! | `checkpoint` | `bytes` 16 MiB, `times` 1 | keeps a checkpoint of that size, that often |
//! | `random` | `bytes` 16 MiB, `times` 1 | asks for that many random bytes in one call, that often |
//! | `host-calls` | `times` 1,000,000 | shows progress that often |
//! | `handles` | `times` 1,000,000 | opens that many pollables and keeps them open |
//! | `fill` | `bytes` 16 MiB, `times` 1 | fills and copies that much memory in one instruction each, that often |
//! | `poll-list` | `times` 1,000,000 | waits for one and the same thing, named that often in one call |
//! | `splice` | `bytes` 16 MiB, `times` 1 | moves that much from standard input to standard output in one call, that often |
//! | `hold` | `what`, `bytes` 16 MiB, `times` 1 | makes the host hold that much in one piece, that often, through `wasi:http` |
//! | **time** | | |
//! | `sleep` | `ms` 60,000 | sleeps in one piece, in a host call |
//! | `sleep-politely` | `ms` 60,000, `every_ms` 10 | sleeps and polls; obeys a cancel, and a pause or shutdown with a checkpoint |
//! | `ignore-cancel` | `ms` 60,000 | computes, polls, goes on whatever it hears, and reports what it heard |
//! | **ends** | | |
//! | `count-slices` | `times` 3, `ms` 0 | keeps a checkpoint and yields until it has run that many slices, each so long; prints which it was |
//! | `suspend` | `ms` 1,000 or `event` | suspends until then; succeeds when woken |
//! | `retry` | `class`, `code`, `message`, `after_ms`, `times` 1 | asks for another try that often, then succeeds |
//! | `pause-plugin`, `pause-queue` | `ms` 60,000, `message`, `class`, `code`, `after_ms` | pauses that for so long, then succeeds, or with a class fails, or with `after_ms` asks for another try |
//! | `fail` | `class`, `code`, `message` | fails; without a class as an error that nobody classified |
//! | `cancel` | `message` | ends as canceled |
//! | **reach** | | |
//! | `say` | `stdout`, `stderr` | writes these texts |
//! | `environment` | | reports the arguments, the variables and the files in `/` that it sees |
//! | `open-file` | `path` `/etc/passwd` | tries to read a file |
//! | `connect` | `address` `127.0.0.1:7171` | tries to open a TCP connection |
//! | `http` | `address` `127.0.0.1:7171`, `path` `/` | tries to send `GET` over plain HTTP |
//! | `setting` | `key` `key` | returns a setting, and fails where that is missing |
//! | `read` | `address`, `path`, `between_ms` | the same, reads the answer, and wants no longer pause in it |
//!
//! What can be held: `methods`, `schemes`, `authorities` and `paths` of requests, `fields`, `field-lists`, `clones` of fields,
//! `small-fields` (as many as `bytes` in each set), `bodies` and `zeroes` (bodies that are written and never sent),
//! `answers` of `address` that nobody reads, and `splices` of such an answer into bodies that are never sent; also names of
//! `settings` and of hosts (`lookups`), which are asked for.
//!
//! A stack is overflowed by `frames`, `filled-frames`, `many-functions`, one `large-frame`, one `filled-large-frame`, the end of
//! a long `list`, or `text` within text.
//!
//! A class is one of `transient`, `throttled`, `user-fixable`, `business`, `fatal`. Growing a table is missing: no stable
//! Rust can.

mod compute;
mod ends;
mod flood;
mod hold;
mod memory;
mod overflow;
mod reach;
mod time;

use std::time::Duration;

use backroom_sdk::control::Pausable;
use backroom_sdk::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

backroom_sdk::export!(misbehave);

const MIB: usize = 1024 * 1024;

fn misbehave(job: &Job, ask: Ask) -> Result<Outcome> {
    let address = || ask.address.as_deref().unwrap_or("127.0.0.1:7171");
    let message = || ask.message.clone().unwrap_or_else(|| "on request".into());
    let bytes = ask.bytes.unwrap_or(16 * MIB);
    let ms = ask.ms.unwrap_or(60_000);
    report(match ask.act {
        Act::Loop => compute::forever(),
        Act::Burn => json!({ "result": compute::burn(ask.millions.unwrap_or(1)) }),
        Act::Recurse => json!({ "depth": compute::recurse(0) }),
        Act::DeepStack => json!({ "depth": compute::deep_stack(ask.frames.unwrap_or(100)) }),
        Act::Overflow => json!({ "depth": overflow::stack(ask.stack.unwrap_or_default()) }),
        Act::Stop => ends::stop(ask.by.unwrap_or_default()),
        Act::Trap => compute::trap(),
        Act::Panic => panic!("{}", message()),
        Act::Exit => std::process::exit(ask.exit_code.unwrap_or(1)),

        Act::Allocate => memory::allocate(),
        Act::AllocatePolitely => json!({ "mib": memory::allocate_politely() }),
        Act::Grow => json!({ "mib": memory::grow(ask.mib.unwrap_or(16)) }),

        Act::FloodLog => json!({ "lines": flood::log(bytes, ask.line.unwrap_or(1024)) }),
        Act::Talk => json!({ "lines": flood::talk(ask.times.unwrap_or(1_000_000), ms) }),
        Act::FloodStdout => json!({ "bytes": flood::stream(std::io::stdout(), bytes)? }),
        Act::FloodStderr => json!({ "bytes": flood::stream(std::io::stderr(), bytes)? }),
        Act::Output => return Ok(Outcome::Succeeded(Bytes(vec![b'x'; bytes]))),
        Act::Checkpoint => json!({ "bytes": flood::checkpoint(bytes, ask.times.unwrap_or(1))? }),
        Act::Random => json!({ "bytes": flood::random(bytes, ask.times.unwrap_or(1)) }),
        Act::HostCalls => json!({ "calls": flood::host_calls(ask.times.unwrap_or(1_000_000)) }),
        Act::Handles => json!({ "handles": flood::handles(ask.times.unwrap_or(1_000_000)) }),

        Act::Fill => json!({ "sum": hold::fill(bytes, ask.times.unwrap_or(1)) }),
        Act::PollList => json!({ "ready": hold::poll_list(ask.times.unwrap_or(1_000_000)) }),
        Act::Splice => hold::splice(bytes, ask.times.unwrap_or(1)),
        Act::Hold => hold::hold(ask.what.unwrap_or(hold::What::Bodies), bytes, ask.times.unwrap_or(1), address()),

        Act::Sleep => json!({ "slept_ms": time::sleep(ms) }),
        Act::SleepPolitely => return time::sleep_politely(ms, ask.every_ms.unwrap_or(10)),
        Act::IgnoreCancel => json!({ "heard": time::ignore_cancel(ms) }),

        Act::CountSlices => return ends::count_slices(ask.times.unwrap_or(3), ask.ms.unwrap_or(0)),
        Act::Suspend => return ends::suspend(ask.ms.unwrap_or(1_000), ask.event),
        Act::Retry => return ends::retry(job, ends::failure(ask.class, ask.code, message()), ask.after_ms, ask.times),
        Act::PausePlugin | Act::PauseQueue => {
            let what = if matches!(ask.act, Act::PauseQueue) { Pausable::Queue } else { Pausable::Plugin };
            let paused = control::pause(what, Duration::from_millis(ms), &message())?;
            if ask.class.is_some() {
                let failure = ends::failure(ask.class, ask.code, message());
                return ends::again(failure, ask.after_ms);
            }
            json!({ "ends": paused.is_some() })
        }
        Act::Fail => return Err(ends::failure(ask.class, ask.code, message())),
        Act::Cancel => return Ok(Outcome::Canceled(message())),

        Act::Say => {
            print!("{}", ask.stdout);
            eprint!("{}", ask.stderr);
            json!({})
        }
        Act::Environment => reach::environment(),
        Act::OpenFile => reach::open_file(ask.path.as_deref().unwrap_or("/etc/passwd")),
        Act::Connect => reach::connect(address()),
        Act::Http => reach::http(address(), ask.path.as_deref().unwrap_or("/")),
        Act::Setting => json!({ "value": config::require(ask.key.as_deref().unwrap_or("key"))? }),
        Act::Read => reach::read(address(), ask.path.as_deref().unwrap_or("/"), ask.between_ms),
    })
}

fn report(what: Value) -> Result<Outcome> {
    Ok(Outcome::Succeeded(what.to_string().into_bytes().into()))
}

/// What the input asks for. The table above says which act takes what.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    #[serde(rename = "do")]
    act: Act,
    address: Option<String>,
    after_ms: Option<u64>,
    between_ms: Option<u64>,
    by: Option<ends::By>,
    bytes: Option<usize>,
    class: Option<ends::Class>,
    code: Option<String>,
    event: Option<String>,
    every_ms: Option<u64>,
    exit_code: Option<i32>,
    frames: Option<u64>,
    key: Option<String>,
    line: Option<usize>,
    message: Option<String>,
    mib: Option<usize>,
    millions: Option<u64>,
    ms: Option<u64>,
    path: Option<String>,
    stack: Option<overflow::Stack>,
    #[serde(default)]
    stderr: String,
    #[serde(default)]
    stdout: String,
    times: Option<u64>,
    what: Option<hold::What>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Act {
    Allocate,
    AllocatePolitely,
    Burn,
    Cancel,
    Checkpoint,
    Connect,
    CountSlices,
    DeepStack,
    Environment,
    Exit,
    Fail,
    Fill,
    FloodLog,
    FloodStderr,
    FloodStdout,
    Grow,
    Handles,
    Hold,
    HostCalls,
    Http,
    IgnoreCancel,
    Loop,
    OpenFile,
    Output,
    Overflow,
    Panic,
    PausePlugin,
    PauseQueue,
    PollList,
    Random,
    Read,
    Recurse,
    Retry,
    Say,
    Setting,
    Sleep,
    SleepPolitely,
    Splice,
    Stop,
    Suspend,
    Talk,
    Trap,
}

#[cfg(test)]
mod tests {
    use super::*;
    use backroom_sdk::ErrorClass;
    use backroom_sdk::control::Signal;
    use backroom_sdk::testing::{Run, TestHost};

    fn run(ask: Value) -> Run {
        TestHost::new().run(misbehave, ask)
    }

    #[test]
    fn an_act_that_is_let_through_reports_what_it_did() {
        assert_eq!(run(json!({ "do": "grow", "mib": 2 })).output(), json!({ "mib": 2 }));
        assert_eq!(run(json!({ "do": "deep-stack", "frames": 10 })).output(), json!({ "depth": 10 }));
        assert_eq!(run(json!({ "do": "output", "bytes": 3 })).output_bytes(), b"xxx");
        assert_eq!(run(json!({ "do": "flood-log", "bytes": 100, "line": 10 })).logs.len(), 10);
        assert_eq!(run(json!({ "do": "host-calls", "times": 7 })).progress.len(), 7);
        assert_eq!(run(json!({ "do": "open-file", "path": "/no/such/file" })).output()["allowed"], false);
    }

    #[test]
    #[should_panic(expected = "as asked")]
    fn a_panic_carries_its_message() {
        run(json!({ "do": "panic", "message": "as asked" }));
    }

    #[test]
    fn an_unknown_act_is_refused_with_those_there_are() {
        let run = run(json!({ "do": "dance" }));
        let failure = run.failure();
        assert_eq!(failure.code.as_deref(), Some("invalid-input"));
        let detail = failure.detail.as_deref().unwrap_or_default();
        assert!(detail.contains("unknown variant `dance`, expected one of `allocate`"), "{detail}");
    }

    #[test]
    fn slices_go_on_where_the_last_one_ended() {
        let ask = json!({ "do": "count-slices", "times": 3 });
        let mut state = None;
        for _ in 0..2 {
            let run = TestHost::new().resume(state.take()).run(misbehave, ask.clone());
            assert_eq!(run.outcome(), &Outcome::Yielded);
            state = run.checkpoint;
        }
        assert_eq!(TestHost::new().resume(state).run(misbehave, ask).output(), json!({ "slices": 3 }));
    }

    #[test]
    fn a_suspended_job_succeeds_when_it_is_woken() {
        let ask = json!({ "do": "suspend", "event": "paid" });
        let first = TestHost::new().run(misbehave, ask.clone());
        assert_eq!(first.outcome(), &Outcome::Suspended(Wake::Event("paid".into())));
        TestHost::new().resume(first.checkpoint).run(misbehave, ask).output();
    }

    #[test]
    fn it_fails_in_every_class_and_in_none() {
        let classes = [
            (json!("transient"), Some(ErrorClass::Transient)),
            (json!("throttled"), Some(ErrorClass::Throttled)),
            (json!("user-fixable"), Some(ErrorClass::UserFixable)),
            (json!("business"), Some(ErrorClass::Business)),
            (json!("fatal"), Some(ErrorClass::Fatal)),
            (Value::Null, None),
        ];
        for (name, class) in classes {
            let ask = |act| json!({ "do": act, "class": name, "code": "asked", "message": "as asked" });
            assert_eq!(run(ask("fail")).failure().class, class);
            assert!(matches!(run(ask("retry")).outcome(), Outcome::Retry(failure) if failure.class == class));
        }
        let second = TestHost::new().job(|job| job.attempt = 2).run(misbehave, json!({ "do": "retry" }));
        assert_eq!(second.output(), json!({ "tries": 2 }));
    }

    #[test]
    fn a_polite_sleeper_hears_a_cancel_and_a_rude_one_does_not_care() {
        let host = |signals: &[Signal]| TestHost::new().signals(signals.iter().copied());
        let polite = host(&[Signal::None, Signal::Cancel])
            .run(misbehave, json!({ "do": "sleep-politely", "ms": 1_000, "every_ms": 1 }));
        assert!(matches!(polite.outcome(), Outcome::Canceled(_)));
        let rude = host(&[Signal::Cancel]).run(misbehave, json!({ "do": "ignore-cancel", "ms": 5 }));
        assert!(rude.output()["heard"]["cancel"].as_u64() > Some(0));
    }
}
