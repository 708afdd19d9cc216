//! Where the host's own log goes: people's lines on a terminal, JSON where machines read.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("the log filter `{filter}` cannot be read: {why}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// A log was started before.
    #[error("the log was started before")]
    Started,
}

/// What guests run into stands in the logs of their jobs; the libraries that they call are silent in the operator's, unless the
/// filter names them.
const QUIET: &str = "wasmtime_wasi=off";

/// Starts the log of this process, on standard error. `filter` is a level such as `info`, or levels by module such as
/// `info,backroom::worker=debug`.
pub fn start(filter: &str, format: LogFormat) -> Result<(), LogError> {
    let filter =
        filter_of(filter).map_err(|error| LogError::Filter { filter: filter.to_owned(), why: error.to_string() })?;
    let is_terminal = std::io::stderr().is_terminal();
    let is_json = match format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let registry = tracing_subscriber::registry().with(filter);
    let started = if is_json {
        registry.with(json(std::io::stderr)).try_init()
    } else {
        registry.with(human(std::io::stderr, colours)).try_init()
    };
    started.map_err(|_| LogError::Started)
}

fn filter_of(filter: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("{QUIET},{filter}"))
}

fn json<S, W>(writer: W) -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(writer)
}

fn human<S, W>(writer: W, colours: bool) -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer().compact().with_target(false).with_ansi(colours).with_writer(writer)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn log_of(filter: &str, event: fn()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let layer = human(move || writer.clone(), false);
        let registry = tracing_subscriber::registry().with(filter_of(filter).expect("a filter")).with(layer);
        tracing::subscriber::with_default(registry, event);
        String::from_utf8(written.0.lock().clone()).expect("text")
    }

    #[test]
    fn what_a_guest_runs_into_is_in_the_operators_log_only_when_asked_for() {
        let event = || tracing::warn!(target: "wasmtime_wasi_http::ctx", "hyper error");
        assert_eq!(log_of("info", event), "");
        let asked = || tracing::warn!(target: "wasmtime_wasi_http::p2", "hyper error");
        assert!(log_of("info,wasmtime_wasi=warn", asked).contains("hyper error"));
        let ours = || tracing::warn!(target: "backroom::worker", "ours");
        assert!(log_of("info", ours).contains("ours"));
    }
}
