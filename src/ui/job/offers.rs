//! The buttons of a job: one for each command that would be carried out, as `domain::offers` says.

use crate::domain::job::{Job, Status};
use crate::domain::offers::Offer;

/// One button.
pub(in crate::ui) struct Button {
    pub(in crate::ui) word: &'static str,
    pub(in crate::ui) label: &'static str,
    pub(in crate::ui) title: &'static str,
    /// Whether it is what most people want now.
    pub(in crate::ui) is_first: bool,
    /// What to say before it is pressed, where that is worth a question.
    pub(in crate::ui) question: Option<&'static str>,
    /// Whether it ends or removes something.
    pub(in crate::ui) is_danger: bool,
    /// Whether it asks for a time.
    pub(in crate::ui) takes_time: bool,
}

/// The buttons of `offers`.
pub(super) fn buttons(job: &Job, offers: &[Offer]) -> Vec<Button> {
    let mut buttons: Vec<_> = offers.iter().map(|offer| button(*offer, job)).collect();
    if let Some(first) = buttons.first_mut().filter(|first| !first.is_danger && !first.takes_time) {
        first.is_first = true;
    }
    buttons
}

fn button(offer: Offer, job: &Job) -> Button {
    let plain = |label, title| Button {
        word: offer.word(),
        label,
        title,
        is_first: false,
        question: None,
        is_danger: false,
        takes_time: false,
    };
    let asking = |label, question, is_danger| Button { question: Some(question), is_danger, ..plain(label, "") };
    match offer {
        Offer::Resume if job.state.status == Status::Paused => plain("Resume", "Let it continue"),
        Offer::Resume => plain("Run now", "Start it without waiting any longer"),
        Offer::Retry => plain("Run again", "Submit a new job with the same input"),
        Offer::RetryFailed => plain("Run failed again", "Submit a new batch of the jobs that failed"),
        Offer::Pause => plain("Pause", "Stop it for now; a running handler stops at its next safe point"),
        Offer::Postpone => {
            Button { takes_time: true, ..asking("Postpone", "It does not start before this time.", false) }
        }
        Offer::Cancel => asking("Cancel", "The job ends without a result. This cannot be undone.", true),
        Offer::Delete => {
            asking("Delete", "The job is removed with its attempts, log and output. This cannot be undone.", true)
        }
    }
}
