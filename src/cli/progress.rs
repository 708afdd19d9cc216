//! Bars and spinners: how far something is, how fast it goes and how long it takes still. Only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// A line on standard error that says how far something is. In a pipe there is none.
#[derive(Debug)]
pub(crate) struct Bar {
    drawn: ProgressBar,
}

impl Bar {
    /// None.
    pub(crate) fn hidden() -> Self {
        Self { drawn: ProgressBar::hidden() }
    }

    /// One that shows that time passes.
    pub(crate) fn spinner() -> Self {
        let drawn = ProgressBar::new_spinner().with_style(style("{spinner} {elapsed} {msg}"));
        drawn.enable_steady_tick(TICK);
        Self { drawn }
    }

    /// One that shows that time passes while this is done.
    pub(crate) fn while_doing(what: &str) -> Self {
        let bar = Self::spinner();
        bar.drawn.set_message(what.to_owned());
        bar
    }

    /// One over so many bytes.
    pub(crate) fn of_bytes(total: u64) -> Self {
        let template = "{percent:>3}% {bar:24} {bytes}/{total_bytes}  {bytes_per_sec}  {left} left  {msg}";
        Self { drawn: ProgressBar::new(total).with_style(style(template)) }
    }

    /// Shows how far it is; of how much, where that is known.
    pub(crate) fn show(&self, done: u64, total: Option<u64>, note: &str) {
        let template = match total {
            Some(_) => "{percent:>3}% {bar:24} {human_pos}/{human_len}  {per_sec}  {left} left  {msg}",
            None => "{spinner} {elapsed} {human_pos}  {per_sec}  {msg}",
        };
        self.drawn.set_style(style(template));
        if let Some(total) = total {
            self.drawn.set_length(total);
        }
        self.drawn.set_position(done);
        self.drawn.set_message(note.to_owned());
    }

    /// So many more.
    pub(crate) fn add(&self, more: u64, note: String) {
        self.drawn.inc(more);
        self.drawn.set_message(note);
    }

    /// Does something while the line is out of the way.
    pub(crate) fn suspend(&self, write: impl FnOnce()) {
        self.drawn.suspend(write);
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        self.drawn.finish_and_clear();
    }

    /// The line itself.
    pub(crate) fn drawn(&self) -> &ProgressBar {
        &self.drawn
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the templates of this file are right");
    style.with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A failed write shows less, and nothing can be done about it.
        let _written = write!(out, "{}", left(state.eta()));
    })
}

/// How long it takes still, in the two greatest units.
fn left(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_two_units() {
        for (seconds, expected) in [(0, "0s"), (59, "59s"), (61, "1m 01s"), (3_599, "59m 59s"), (7_260, "2h 01m")] {
            assert_eq!(left(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn every_line_can_be_drawn() {
        for bar in [Bar::hidden(), Bar::spinner(), Bar::while_doing("x"), Bar::of_bytes(10)] {
            bar.show(3, Some(10), "note");
            bar.show(3, None, "note");
            bar.add(1, String::new());
            bar.clear();
        }
    }
}
