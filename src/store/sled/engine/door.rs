//! The door to an engine that may panic: what breaks behind it comes back as an error of one sentence. The engine's own
//! threads break without anybody who could catch it, so that is noted, and who waits for them looks here.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::EngineError;
use crate::domain::code;

/// How the engine names its own threads.
const ENGINE_THREADS: &str = "sled-io-";
/// Who waits for a thread that has broken, or that waits for one that has, gives up after this long.
const UNWINDING: Duration = Duration::from_secs(2);
/// How long the end of a thread may take that works with an engine of which a thread has broken.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// How often somebody who waits looks whether something has broken.
const LOOK: Duration = Duration::from_millis(20);
/// What a panic says is cut to this many characters: some print a whole page.
const SAID_MAX: usize = 240;

/// How many threads of the engine have broken. They do not come back as long as the process lives.
static BROKEN_THREADS: AtomicUsize = AtomicUsize::new(0);
/// What the last panic behind the door has said.
static SAID: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    /// Whether this thread is behind the door.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Where to note that it has broken there, for who waits for it.
    static WATCHED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Makes panics of the engine silent: whoever had called it says what has happened, in one sentence.
pub(super) fn keep_quiet() {
    static ONCE: Once = Once::new();
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !note(panic) {
                before(panic);
            }
        }));
    });
}

/// Whether it was a panic of the engine.
fn note(panic: &PanicHookInfo<'_>) -> bool {
    let is_of_engine = std::thread::current().name().is_some_and(|name| name.starts_with(ENGINE_THREADS));
    if !is_of_engine && !INSIDE.get() {
        return false;
    }
    let said = sentence(panic);
    *SAID.lock() = Some(said.clone());
    if is_of_engine {
        let code = code::INDEX_BROKE;
        tracing::error!(code = code.name, "{}: {said}", code.title);
        BROKEN_THREADS.fetch_add(1, Ordering::AcqRel);
    } else {
        WATCHED.with_borrow(|watched| watched.iter().for_each(|broke| broke.store(true, Ordering::Release)));
    }
    true
}

/// What a panic says, in one line, and where it was.
fn sentence(panic: &PanicHookInfo<'_>) -> String {
    let text = panic.payload_as_str().unwrap_or("no reason was given");
    let mut line = String::with_capacity(SAID_MAX);
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() > SAID_MAX {
            line.push_str(" ...");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match panic.location() {
        // Where its sources lay when it was built says nothing to anybody.
        Some(place) => format!("{line} ({}:{})", place.file().rsplit("/src/").next().unwrap_or_default(), place.line()),
        None => line,
    }
}

/// How many threads of the engine have broken so far.
pub(super) fn broken_threads() -> usize {
    BROKEN_THREADS.load(Ordering::Acquire)
}

/// What to say of an engine that broke.
pub(super) fn broke() -> EngineError {
    let said = SAID.lock().clone();
    EngineError::Broke(said.unwrap_or_else(|| "no reason was given".to_owned()))
}

/// Does something with the engine. When it breaks, that is an error.
pub(super) fn behind<T>(work: impl FnOnce() -> T) -> Result<T, EngineError> {
    let before = INSIDE.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(before);
    done.map_err(|_| broke())
}

/// Does something with the engine on a thread of its own, and waits for it at most for `patience`, and not for long once that
/// thread has broken, whose unwinding may wait for what it holds itself, or one of the engine's own, which may have been what
/// it waits for. A thread that is given up is left to itself.
pub(super) fn on_thread<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EngineError> {
    let broken_before = broken_threads();
    let broke_here = Arc::new(AtomicBool::new(false));
    let (done, is_done) = mpsc::sync_channel(1);
    let watched = Arc::clone(&broke_here);
    let thread = move || {
        WATCHED.set(Some(watched));
        // Nobody waits any more where it took too long.
        let _sent = done.send(behind(work));
    };
    std::thread::Builder::new().name("store-engine".to_owned()).spawn(thread).map_err(EngineError::Io)?;
    let started = Instant::now();
    let mut broke_at = None;
    loop {
        match is_done.recv_timeout(LOOK) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(broke()),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        let has_broken = broke_here.load(Ordering::Acquire) || broken_threads() != broken_before;
        if has_broken && broke_at.get_or_insert_with(Instant::now).elapsed() > UNWINDING {
            return Err(broke());
        }
        if started.elapsed() > patience {
            let seconds = patience.as_secs();
            return Err(EngineError::Broke(format!("it did not answer within {seconds} seconds")));
        }
    }
}

/// Waits for a thread that works with the engine, and not for ever once one of the engine's own has broken: it may wait for
/// that one. None when it was left to itself.
pub(in crate::store::sled) fn join<T>(thread: JoinHandle<T>) -> Option<std::thread::Result<T>> {
    let mut broke_at = None;
    while !thread.is_finished() {
        if broken_threads() > 0 && broke_at.get_or_insert_with(Instant::now).elapsed() > END_PATIENCE {
            return None;
        }
        std::thread::park_timeout(LOOK);
    }
    Some(thread.join())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_behind_the_door_is_one_sentence() {
        keep_quiet();
        let EngineError::Broke(said) =
            behind(|| panic!("page 7\n  is {:?}", "gone ".repeat(900))).expect_err("it breaks")
        else {
            panic!("it is told as it is")
        };
        assert!(said.starts_with("page 7 is ") && said.lines().count() == 1, "{said}");
        assert!(said.len() < SAID_MAX + 80 && said.contains("door.rs:"), "{said}");
        assert_eq!(behind(|| 7).expect("the next one is not concerned"), 7);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_hangs_while_it_unwinds() {
        struct Hangs(mpsc::Receiver<()>);
        impl Drop for Hangs {
            fn drop(&mut self) {
                // The other end lives as long as the test.
                let _never = self.0.recv();
            }
        }
        keep_quiet();
        let (_kept, never) = mpsc::sync_channel(0);
        let started = Instant::now();
        let work = move || {
            let _hangs = Hangs(never);
            panic!("it holds what it waits for");
        };
        let result: Result<(), _> = on_thread(Duration::from_secs(600), work);
        assert!(matches!(result, Err(EngineError::Broke(_))), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(60), "it was waited for");
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (_kept, never) = mpsc::sync_channel::<()>(0);
        let result = on_thread(Duration::from_millis(50), move || never.recv());
        let Err(EngineError::Broke(said)) = result else { panic!("nothing came") };
        assert!(said.contains("did not answer"), "{said}");
    }
}
