//! The job's log. Use the macros [`trace!`](crate::trace) to [`error!`](crate::error); they take what `format!` takes.

use std::fmt;

use crate::host;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step, for the author.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What a person who looks at the job wants to know.
    Info,
    /// Something is odd, and the work goes on.
    Warn,
    /// Something failed.
    Error,
    /// Something failed that concerns more than this job.
    Critical,
}

/// Writes one line. `context` says where it comes from; the macros pass the module.
pub fn log(level: Level, context: &str, message: fmt::Arguments<'_>) {
    match message.as_str() {
        Some(text) => host::log(level, context, text),
        None => host::log(level, context, &message.to_string()),
    }
}

/// Writes to the job's log what only the author wants to see.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::logging::log($crate::logging::Level::Trace, module_path!(), format_args!($($message)+)) };
}

/// Writes to the job's log what helps to find a fault.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::logging::log($crate::logging::Level::Debug, module_path!(), format_args!($($message)+)) };
}

/// Writes to the job's log what a person who looks at the job wants to know.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::logging::log($crate::logging::Level::Info, module_path!(), format_args!($($message)+)) };
}

/// Writes to the job's log what is odd but does not stop the work.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::logging::log($crate::logging::Level::Warn, module_path!(), format_args!($($message)+)) };
}

/// Writes to the job's log what failed.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::logging::log($crate::logging::Level::Error, module_path!(), format_args!($($message)+)) };
}

/// The records of the `log` crate go to the same place.
#[cfg(feature = "log")]
pub(crate) mod facade {
    use super::Level;

    struct JobLog;

    pub fn install() {
        // Only the first call in a process can succeed; in native tests there are many.
        if log::set_logger(&JobLog).is_ok() {
            log::set_max_level(log::LevelFilter::Trace);
        }
    }

    impl log::Log for JobLog {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            let level = match record.level() {
                log::Level::Trace => Level::Trace,
                log::Level::Debug => Level::Debug,
                log::Level::Info => Level::Info,
                log::Level::Warn => Level::Warn,
                log::Level::Error => Level::Error,
            };
            super::log(level, record.target(), *record.args());
        }

        fn flush(&self) {}
    }
}
