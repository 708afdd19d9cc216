//! What a person who stops waiting is told: the job goes on without them.

use std::sync::{OnceLock, mpsc};

use indicatif::ProgressBar;
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::{Exit, Failure};
use super::terminal::{self, Format, Terminal};

/// What this process waits for.
#[derive(Clone)]
struct Waiting {
    job: String,
    state: String,
    bar: ProgressBar,
    format: Format,
}

static WAITING: Mutex<Option<Waiting>> = Mutex::new(None);
static LISTENS: OnceLock<()> = OnceLock::new();

/// From now on an interrupt says that the job still runs, and what to do about it.
pub(crate) fn waits_for(job: &str, bar: &ProgressBar, terminal: Terminal) {
    let waiting = Waiting { job: job.to_owned(), state: String::new(), bar: bar.clone(), format: terminal.format() };
    *WAITING.lock() = Some(waiting);
    LISTENS.get_or_init(listen);
}

/// The job is in this state now.
pub(crate) fn is_in(state: &str) {
    if let Some(waiting) = &mut *WAITING.lock() {
        state.clone_into(&mut waiting.state);
    }
}

/// Nothing is waited for any more.
pub(crate) fn over() {
    *WAITING.lock() = None;
}

/// Returns once an interrupt is heard. Without a thread of its own it ends the process as ever.
fn listen() {
    let (hears, is_heard) = mpsc::sync_channel(1);
    let listening = std::thread::Builder::new().spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let mut interrupt = signal(SignalKind::interrupt())?;
            drop(hears);
            interrupt.recv().await;
            Ok::<_, std::io::Error>(())
        })?;
        // Nobody may end it twice: the lock is kept until the process is gone.
        let waiting = WAITING.lock();
        if let Some(waiting) = &*waiting {
            waiting.bar.finish_and_clear();
            tell(waiting);
        }
        std::process::exit(Exit::Interrupted.code().into());
        #[expect(unreachable_code, reason = "it names the type of the question marks above")]
        Ok::<_, std::io::Error>(())
    });
    match listening {
        // Nothing is ever sent: the other end goes when the thread listens, or has failed to.
        Ok(_) => drop::<Result<(), _>>(is_heard.recv()),
        Err(error) => tracing::debug!(%error, "an interrupt will not say what goes on"),
    }
}

fn tell(waiting: &Waiting) {
    let Waiting { job, state, format, .. } = waiting;
    let state = if state.is_empty() { "submitted" } else { state };
    let message = format!("job {job} goes on without you: it is {state}, and nothing was canceled");
    let (watch, cancel) = (format!("backroom job watch {job}"), format!("backroom job cancel {job}"));
    match format {
        Format::Table | Format::Wide => {
            terminal::aside(&message);
            terminal::aside(&format!("  watch it:  {watch}"));
            terminal::aside(&format!("  cancel it: {cancel}"));
        }
        Format::Json | Format::Ndjson => {
            let failure = Failure { notes: vec![cancel], ..Failure::bad_input(message, watch) };
            terminal::report(&failure.into(), *format);
        }
    }
}
