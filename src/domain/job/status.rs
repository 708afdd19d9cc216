//! The four states and ten statuses of a job, with the numeric codes that migration tools depend on (domain.md 2.2).

use std::fmt;

/// The coarse state; a function of the status (invariant I1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateCode {
    /// May run as soon as a slot is free.
    Ready = 0,
    /// Waits for a time, an event or a person.
    Suspended = 1,
    /// Held by one host.
    Locked = 2,
    /// Final.
    Completed = 3,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// Waits for a slot.
    #[default]
    Queued = 0,
    /// Waits for what its [`WaitReason`] says.
    Waiting = 10,
    /// A failed attempt waits for its next try.
    Retrying = 11,
    /// A person has stopped it for now.
    Paused = 12,
    /// A host runs it.
    Running = 20,
    /// Asked to pause; the handler is not yet at a safe point.
    Pausing = 21,
    /// Asked to cancel, likewise.
    Canceling = 22,
    /// Done.
    Succeeded = 30,
    /// Given up.
    Failed = 31,
    /// Called off.
    Canceled = 32,
}

impl Status {
    /// Every status, by code.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Waiting,
        Self::Retrying,
        Self::Paused,
        Self::Running,
        Self::Pausing,
        Self::Canceling,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
    ];

    /// Every status of a job that has not ended, by code.
    pub fn unfinished() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|status| !status.is_final())
    }

    /// The numeric code.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The status of a numeric code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// The one word that people see.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Paused => "paused",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Canceling => "canceling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// The shape that stands beside the word, so that nobody needs colours to tell states apart: the same in the console and on
    /// a terminal.
    pub const fn shape(self) -> &'static str {
        match self {
            Self::Queued => "○",
            Self::Waiting => "⧗",
            Self::Retrying => "◕",
            Self::Paused => "‖",
            Self::Running => "▶",
            // They still run.
            Self::Pausing | Self::Canceling => "▷",
            Self::Succeeded => "✓",
            Self::Failed => "✗",
            Self::Canceled => "–",
        }
    }

    /// The status that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// The position of this status in [`Status::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Queued => 0,
            Self::Waiting => 1,
            Self::Retrying => 2,
            Self::Paused => 3,
            Self::Running => 4,
            Self::Pausing => 5,
            Self::Canceling => 6,
            Self::Succeeded => 7,
            Self::Failed => 8,
            Self::Canceled => 9,
        }
    }

    /// The coarse state.
    pub const fn state(self) -> StateCode {
        match self {
            Self::Queued => StateCode::Ready,
            Self::Waiting | Self::Retrying | Self::Paused => StateCode::Suspended,
            Self::Running | Self::Pausing | Self::Canceling => StateCode::Locked,
            Self::Succeeded | Self::Failed | Self::Canceled => StateCode::Completed,
        }
    }

    /// Whether nothing but deletion can follow.
    pub const fn is_final(self) -> bool {
        matches!(self.state(), StateCode::Completed)
    }

    /// Whether it neither runs nor has ended.
    pub const fn waits(self) -> bool {
        !self.is_final() && !self.is_locked()
    }

    /// Whether stores keep a list of the jobs of this status: those that wait for something, run, or went wrong. Of those that
    /// are queued or have succeeded there may be very many.
    pub const fn is_looked_up(self) -> bool {
        !matches!(self, Self::Queued | Self::Succeeded)
    }

    /// Whether a host holds the job.
    pub const fn is_locked(self) -> bool {
        matches!(self.state(), StateCode::Locked)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a job of status 10 waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// Its first start lies in the future.
    Scheduled,
    /// A person postponed it.
    Postponed,
    /// The handler asked to be woken at a time.
    Sleep,
    /// The handler waits for an event.
    Event,
    /// It waits for jobs that it made.
    Children,
    /// A person must mend something first.
    Error,
    /// Its plug-in, or the version that it needs, is not there.
    MissingComponent,
    /// A person must resume it.
    Manual,
}

impl WaitReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::Postponed,
        Self::Sleep,
        Self::Event,
        Self::Children,
        Self::Error,
        Self::MissingComponent,
        Self::Manual,
    ];

    /// The reason that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }

    /// Whether the passing of time alone ends the wait (I10).
    pub const fn is_timed(self) -> bool {
        matches!(self, Self::Scheduled | Self::Postponed | Self::Sleep)
    }

    /// The word in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Postponed => "postponed",
            Self::Sleep => "sleep",
            Self::Event => "event",
            Self::Children => "children",
            Self::Error => "error",
            Self::MissingComponent => "missing-component",
            Self::Manual => "manual",
        }
    }
}
