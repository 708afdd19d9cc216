//! Who may do what: callers, their rights, and the tokens that stand for them (domain.md 2.1, F006, F007).
//!
//! A right to read, to steer or to see payloads reaches to all jobs or to the caller's own: those that he submitted, and
//! what followed from them. A job that somebody may not read does not exist for him.

use std::fmt;
use std::str::FromStr;

use super::family::{Family, KeyForm, Row, RowKey};
use super::id::{Digest, TenantId, TokenName};
use super::job::Submission;
use super::query::JobFilter;
use super::time::Timestamp;

/// How far a right reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// To no job.
    #[default]
    None,
    /// To the caller's own jobs.
    Own,
    /// To all jobs of the tenant.
    All,
}

impl Reach {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Own => ":own",
            Self::None | Self::All => "",
        }
    }
}

/// What a caller may do with jobs that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See its record: state, times, errors, what was done with it and why it waits.
    Read,
    /// Change its life: cancel, pause, resume, postpone, run again, remove.
    Write,
    /// See and replace what goes in and comes out: input, output, logs, and the details of errors.
    Payload,
}

impl Right {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Payload];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Payload => "payload",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// All that a caller may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rights {
    /// Make new jobs.
    pub submit: bool,
    /// Which jobs he may see.
    pub read: Reach,
    /// Which jobs he may steer.
    pub write: Reach,
    /// Of which jobs he may see the payloads.
    pub payload: Reach,
    /// Everything about plug-ins, queues, schedules, the service and tokens.
    pub admin: bool,
    /// Whose keys he shares: of all jobs, or of his own alone.
    pub keys: Reach,
}

/// What is noted of callers without a name of their own, by where they came in: the API, the console. No token is called so.
pub const UNNAMED_IN_API: &str = "api";
/// See [`UNNAMED_IN_API`].
pub const UNNAMED_IN_CONSOLE: &str = "console";

/// The words that rights are written in.
pub const RIGHT_WORDS: [&str; 9] =
    ["submit", "read", "read:own", "write", "write:own", "payload", "payload:own", "keys:all", "admin"];

/// The right to the keys that all share.
const KEYS: &str = "keys";

/// Why rights cannot be given like that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRights {
    /// There is no such word.
    #[error("`{0}` is no right; there are {list}", list = RIGHT_WORDS.join(", "))]
    Unknown(String),
    /// The same right with two reaches.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// Nobody steers or opens what he may not see.
    #[error("`{right}` reaches farther than `read`: add `read{suffix}`", suffix = .reach.suffix())]
    Blind {
        /// The right that reaches too far.
        right: Right,
        /// How far it reaches.
        reach: Reach,
    },
    /// Without any right there is nothing to do with a token.
    #[error("give at least one right: {list}", list = RIGHT_WORDS.join(", "))]
    None,
}

impl Rights {
    /// Nothing.
    pub const NONE: Self = Self {
        submit: false,
        read: Reach::None,
        write: Reach::None,
        payload: Reach::None,
        admin: false,
        keys: Reach::None,
    };

    /// Everything.
    pub const ALL: Self =
        Self { submit: true, read: Reach::All, write: Reach::All, payload: Reach::All, admin: true, keys: Reach::All };

    /// Reads rights from their words, such as `submit`, `read`, `write:own`. `admin` stands for everything; without `keys:all`
    /// the keys are one's own.
    pub fn read<S: AsRef<str>>(words: &[S]) -> Result<Self, BadRights> {
        let mut rights = Self::default();
        for word in words {
            rights.add(word.as_ref())?;
        }
        match rights {
            Self { admin: true, .. } => Ok(Self::ALL),
            // Keys alone open nothing.
            rights if (Self { keys: Reach::None, ..rights }) == Self::default() => Err(BadRights::None),
            rights => Self { keys: rights.keys.max(Reach::Own), ..rights }.seeing(),
        }
    }

    fn add(&mut self, word: &str) -> Result<(), BadRights> {
        match word {
            "submit" => self.submit = true,
            "admin" => self.admin = true,
            word => {
                let own = word.strip_suffix(":own").map(|name| (name, Reach::Own));
                let all = || (word.strip_suffix(":all").unwrap_or(word), Reach::All);
                let (name, reach) = own.unwrap_or_else(all);
                if name == KEYS {
                    return set(&mut self.keys, reach, name);
                }
                let right = Right::ALL.into_iter().find(|right| right.word() == name);
                let right = right.ok_or_else(|| BadRights::Unknown(word.chars().take(40).collect()))?;
                set(self.place(right), reach, name)?;
            }
        }
        Ok(())
    }

    fn seeing(self) -> Result<Self, BadRights> {
        for right in [Right::Write, Right::Payload] {
            let reach = self.reach(right);
            if reach > self.read {
                return Err(BadRights::Blind { right, reach });
            }
        }
        Ok(self)
    }

    fn place(&mut self, right: Right) -> &mut Reach {
        match right {
            Right::Read => &mut self.read,
            Right::Write => &mut self.write,
            Right::Payload => &mut self.payload,
        }
    }

    /// How far a right reaches.
    pub const fn reach(&self, right: Right) -> Reach {
        match right {
            Right::Read => self.read,
            Right::Write => self.write,
            Right::Payload => self.payload,
        }
    }

    /// The words that [`Self::read`] reads.
    pub fn words(&self) -> Vec<String> {
        if self.admin {
            return vec!["admin".to_owned()];
        }
        let mut words = Vec::new();
        words.extend(self.submit.then(|| "submit".to_owned()));
        for right in Right::ALL {
            let reach = self.reach(right);
            words.extend((reach != Reach::None).then(|| format!("{right}{}", reach.suffix())));
        }
        words.extend((self.keys == Reach::All).then(|| format!("{KEYS}:all")));
        words
    }
}

/// Sets how far a right reaches, once.
fn set(place: &mut Reach, reach: Reach, name: &str) -> Result<(), BadRights> {
    if *place != Reach::None {
        return Err(BadRights::Twice(name.to_owned()));
    }
    *place = reach;
    Ok(())
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(", "))
    }
}

impl FromStr for Rights {
    type Err = BadRights;

    /// Reads words with commas between.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<_> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        Self::read(&words)
    }
}

/// Somebody who asks something of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of his token; none when the host knows him by none.
    pub name: Option<TokenName>,
    /// The SHA-256 of the secret that he has shown; none when he was asked for none.
    pub secret: Option<Digest>,
    /// What he may do.
    pub rights: Rights,
}

/// Why somebody may not do something with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// He may not even read it: for him there is no such job.
    Unknown,
    /// He may read it, but not do this.
    Forbidden,
}

impl Caller {
    /// Somebody who may do everything, because the host asks nobody for a token.
    pub const ANYBODY: Self = Self { name: None, secret: None, rights: Rights::ALL };

    /// Somebody whom the host does not know: he sees what is open to everybody.
    pub const STRANGER: Self = Self { name: None, secret: None, rights: Rights::NONE };

    /// Somebody with the secret of the host's settings, which opens everything.
    pub const fn with_the_hosts_secret(secret: Digest) -> Self {
        Self { name: None, secret: Some(secret), rights: Rights::ALL }
    }

    /// The name under which it is noted what he does: `unnamed` when he has none of his own.
    pub fn noted_as<'a>(&'a self, unnamed: &'a str) -> &'a str {
        self.name.as_ref().map_or(unnamed, TokenName::as_str)
    }

    /// In whose space the keys are that he gives: his own, or none where he shares the keys of the host.
    pub fn key_space(&self) -> Option<&TokenName> {
        self.name.as_ref().filter(|_| self.rights.keys != Reach::All)
    }

    /// Whether a job is his own.
    pub fn owns(&self, job: &Submission) -> bool {
        job.owner.is_some() && job.owner == self.name
    }

    /// Whether he may do this with a job.
    pub fn may(&self, right: Right, job: &Submission) -> bool {
        self.may_with_those_of(right, job.owner.as_ref())
    }

    /// Whether he may do this with the jobs of an owner, or with those that have none.
    pub fn may_with_those_of(&self, right: Right, owner: Option<&TokenName>) -> bool {
        match self.rights.reach(right) {
            Reach::None => false,
            Reach::Own => owner.is_some() && owner == self.name.as_ref(),
            Reach::All => true,
        }
    }

    /// Whether he may do this with a job, and why not (F006).
    pub fn check(&self, right: Right, job: &Submission) -> Result<(), Denied> {
        match (self.may(Right::Read, job), self.may(right, job)) {
            (_, true) => Ok(()),
            (true, false) => Err(Denied::Forbidden),
            (false, false) => Err(Denied::Unknown),
        }
    }

    /// Whether a submit of his that was made before, or whose dedup key is taken, is answered with that job: he may read it,
    /// or it is his own.
    pub fn is_answered_with(&self, job: &Submission) -> bool {
        self.owns(job) || self.may(Right::Read, job)
    }

    /// Of the jobs that match a filter, those with which he may do this; none when there cannot be any.
    pub fn narrow(&self, right: Right, filter: JobFilter) -> Option<JobFilter> {
        match (self.rights.reach(right), &self.name) {
            (Reach::All, _) => Some(filter),
            (Reach::Own, Some(name)) if filter.owner.as_ref().is_none_or(|owner| owner == name) => {
                Some(JobFilter { owner: Some(name.clone()), ..filter })
            }
            _ => None,
        }
    }
}

/// A secret that somebody was given, as the host keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The tenant that it is about.
    pub tenant: TenantId,
    /// What its holder is called.
    pub name: TokenName,
    /// The SHA-256 of the secret. The secret itself is kept nowhere.
    pub digest: Digest,
    /// What its holder may do.
    pub rights: Rights,
    /// When it was made.
    pub created_on: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// It opens nothing from then on.
    pub expires_on: Option<Timestamp>,
}

impl Token {
    /// Whether it opens nothing any more at `now`.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_on.is_some_and(|end| end <= now)
    }

    /// Who its holder is.
    pub fn caller(&self) -> Caller {
        Caller { name: Some(self.name.clone()), secret: Some(self.digest), rights: self.rights }
    }

    /// Whether its holder can always let others in and out.
    fn is_lasting_admin(&self) -> bool {
        self.rights.admin && self.expires_on.is_none()
    }
}

/// Why a host cannot have just these tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTokens {
    /// The first token shuts everybody else out.
    #[error("from the first token on the host asks everybody for one, and this one could not let others in")]
    FirstLocksOut,
    /// The last that could change anything would be gone.
    #[error("nobody could change tokens any more: this is the last one with `admin` that does not expire")]
    LastLocksOut,
    /// Without tokens everybody is let in.
    #[error("this is the last token, and a host without any lets everybody in who reaches it")]
    OpensTheHost,
}

/// Whether a host whose settings hold no secret may have just these tokens: nobody is to be locked out of it for good, and
/// it is not to stand open because somebody tidies up. `is_first` when there was no token before.
pub fn check_tokens(tokens: &[Token], is_first: bool) -> Result<(), BadTokens> {
    match (tokens.iter().any(Token::is_lasting_admin), is_first) {
        (true, _) => Ok(()),
        (false, _) if tokens.is_empty() => Err(BadTokens::OpensTheHost),
        (false, true) => Err(BadTokens::FirstLocksOut),
        (false, false) => Err(BadTokens::LastLocksOut),
    }
}

impl Row for Token {
    const ROWS: &'static Family = &Family::new(8, "token", KeyForm::TenantAndName).resident();

    fn key(&self) -> RowKey {
        RowKey::named(self.tenant, self.name.as_str())
    }

    /// Only where there is none of the name: a token is never changed.
    fn follows(&self, present: Option<&Self>) -> bool {
        present.is_none()
    }
}
