//! Pauses that a handler asks for, by grant: what it may hold up, how far ahead, and how often. A provider's limit that
//! resets at midnight holds up all jobs that would call it; one pause spares each of them its own refusal.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::advice::{self, Sides};
use super::id::JobId;
use super::plugin::Grant;
use super::queue::Pause;
use super::time::Timestamp;

/// How far ahead such a pause ends at the most: what a handler gets wrong must not hold up its jobs for ever.
pub const AHEAD_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How many pauses one run may ask for.
pub const PER_RUN_MAX: u32 = 8;

/// Characters of a reason that are kept.
pub const REASON_CHARS_MAX: usize = 200;

/// What a handler may pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pausable {
    /// Its own plug-in.
    Plugin,
    /// The queue that its job is in, with the jobs of all plug-ins there.
    Queue,
}

impl Pausable {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plugin, Self::Queue];

    /// As it appears in `grants = { pause = [...] }`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Queue => "queue",
        }
    }

    /// The one of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pausable| pausable.word() == word)
    }

    /// What a list of these accepts, for messages.
    pub const FORM: &'static str = "expected one of: plugin, queue";
}

impl fmt::Display for Pausable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// When a pause ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseEnd {
    /// At this time.
    At(Timestamp),
    /// So long from now.
    After(Duration),
}

/// A pause that a handler asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseRequest {
    /// Of what.
    pub what: Pausable,
    /// When it ends.
    pub end: PauseEnd,
    /// Why.
    pub reason: String,
}

/// Why a handler did not get its pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseRefusal {
    /// It is not granted; what to add, and where.
    NotGranted(String),
    /// The request itself is not acceptable; what is wrong.
    Unacceptable(String),
    /// The host could not write it down just now; why.
    Unavailable(String),
}

/// The pause that a handler gets for its request, if nothing of the kind holds already.
///
/// `asked_before` counts the requests of the same run.
pub fn granted(
    request: &PauseRequest,
    grants: &BTreeSet<Grant>,
    sides: Sides<'_>,
    job: JobId,
    asked_before: u32,
    now: Timestamp,
) -> Result<Pause, PauseRefusal> {
    let needed = Grant::Pause(request.what);
    if !grants.contains(&needed) {
        let advice = advice::grant(sides, &[needed]);
        let (plugin, what) = (sides.plugin, request.what);
        return Err(PauseRefusal::NotGranted(format!(
            "plug-in `{plugin}` may not pause its {what}; to allow it:\n{advice}"
        )));
    }
    if asked_before >= PER_RUN_MAX {
        let detail = format!("this run has asked for {PER_RUN_MAX} pauses already (limit {PER_RUN_MAX})");
        return Err(PauseRefusal::Unacceptable(detail));
    }
    let until = match request.end {
        PauseEnd::At(until) => until,
        PauseEnd::After(span) => now.after(span),
    };
    if until <= now {
        return Err(PauseRefusal::Unacceptable(format!("the pause would end at {until}, which has passed")));
    }
    let latest = now.after(AHEAD_MAX);
    if until > latest {
        let detail = format!("the pause would end at {until}, and may end 7 days from now at the latest ({latest})");
        return Err(PauseRefusal::Unacceptable(detail));
    }
    let reason = request.reason.trim();
    let reason = (!reason.is_empty()).then(|| reason.chars().take(REASON_CHARS_MAX).collect());
    let by = format!("plug-in {} (job {job})", sides.plugin);
    Ok(Pause { since: now, by: Some(by), reason, until: Some(until) })
}

/// Whether the pause that a handler gets takes the place of the present one. A handler never ends a pause earlier than who
/// made it wants, and jobs that ask for the same do not write it again.
pub fn takes_place_of(asked: &Pause, present: Option<&Pause>, now: Timestamp) -> bool {
    let Some(present) = present.filter(|present| present.holds(now)) else { return true };
    match (present.until, asked.until) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(present), Some(asked)) => asked > present,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{PluginName, Sequence, VersionName};
    use crate::domain::plugin::{Policy, Source, Wishes};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn request(end: PauseEnd, reason: &str) -> PauseRequest {
        PauseRequest { what: Pausable::Plugin, end, reason: reason.to_owned() }
    }

    fn decided(request: &PauseRequest, grants: &[Grant], asked_before: u32) -> Result<Pause, PauseRefusal> {
        let (plugin, version) =
            (PluginName::new("mailer").expect("a name"), VersionName::new("1.0.0").expect("a name"));
        let (wishes, policy) = (Wishes { source: Source::Operator, ..Wishes::default() }, Policy::default());
        let sides = Sides { plugin: &plugin, version: &version, wishes: &wishes, policy: &policy };
        let grants = grants.iter().cloned().collect();
        granted(request, &grants, sides, JobId::new(NOW, Sequence(7), 1), asked_before, NOW)
    }

    #[test]
    fn a_pause_that_is_granted_says_who_until_when_and_why() {
        let granted = [Grant::Pause(Pausable::Plugin)];
        let second = Duration::from_secs(1);
        for end in [PauseEnd::At(NOW.after(second)), PauseEnd::After(second)] {
            let pause =
                decided(&request(end, "  quota is used up "), &granted, PER_RUN_MAX - 1).expect("it is granted");
            assert_eq!((pause.since, pause.until), (NOW, Some(NOW.after(second))));
            let job = JobId::new(NOW, Sequence(7), 1);
            assert_eq!(pause.by, Some(format!("plug-in mailer (job {job})")));
            assert_eq!(pause.reason.as_deref(), Some("quota is used up"));
        }
        let long = decided(&request(PauseEnd::After(AHEAD_MAX), &"ä".repeat(201)), &granted, 0).expect("it is granted");
        assert_eq!(long.reason, Some("ä".repeat(REASON_CHARS_MAX)));
        assert_eq!(decided(&request(PauseEnd::After(second), " "), &granted, 0).expect("it is granted").reason, None);
    }

    #[test]
    fn without_the_grant_it_is_told_what_to_add() {
        let request = request(PauseEnd::After(Duration::from_secs(1)), "quota");
        for others in [&[][..], &[Grant::Pause(Pausable::Queue), Grant::Config("plugin".to_owned())]] {
            let Err(PauseRefusal::NotGranted(told)) = decided(&request, others, 0) else { panic!("it is granted") };
            assert!(told.contains("backroom plugin grant mailer --pause plugin"), "{told}");
            assert!(told.contains("grants = { pause = [\"plugin\"] }"), "{told}");
        }
    }

    #[test]
    fn a_time_that_has_passed_or_is_far_away_and_one_time_too_often_are_refused() {
        let granted = [Grant::Pause(Pausable::Plugin)];
        let beyond = Duration::from_millis(1) + AHEAD_MAX;
        let requests = [
            (PauseEnd::At(NOW), 0, "which has passed"),
            (PauseEnd::After(Duration::ZERO), 0, "which has passed"),
            (PauseEnd::At(Timestamp::from_millis(i64::MIN)), 0, "which has passed"),
            (PauseEnd::After(beyond), 0, "7 days from now"),
            (PauseEnd::At(Timestamp::from_millis(i64::MAX)), 0, "7 days from now"),
            (PauseEnd::After(Duration::MAX), 0, "7 days from now"),
            (PauseEnd::After(AHEAD_MAX), PER_RUN_MAX, "limit 8"),
        ];
        for (end, asked_before, expected) in requests {
            let refused = decided(&request(end, ""), &granted, asked_before);
            let Err(PauseRefusal::Unacceptable(told)) = &refused else { panic!("{end:?}: {refused:?}") };
            assert!(told.contains(expected), "{end:?}: {told}");
        }
    }

    #[test]
    fn a_handler_makes_a_pause_longer_and_never_shorter() {
        let until = |seconds: i64| Some(Timestamp::from_millis(NOW.as_millis() + seconds * 1_000));
        let pause = |until| Pause { since: NOW, by: None, reason: None, until };
        let cases = [
            (None, true),
            (Some(pause(until(-1))), true),
            (Some(pause(until(9))), true),
            (Some(pause(until(10))), false),
            (Some(pause(until(11))), false),
            (Some(pause(None)), false),
        ];
        for (present, expected) in cases {
            assert_eq!(takes_place_of(&pause(until(10)), present.as_ref(), NOW), expected, "{present:?}");
        }
    }
}
