//! Sessions of people with a browser: the console asks for a token once, and the browser gets a text that stands for it here
//! and nowhere else. It ends with the token, when the person logs out, and after a while.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{COOKIE, ORIGIN};
use parking_lot::Mutex;

use super::error::ApiError;
use super::source::Source;
use super::{ApiState, tokens};
use crate::domain::access::{Caller, UNNAMED_IN_CONSOLE};
use crate::domain::id::Digest;
use crate::domain::time::Timestamp;

/// The cookie's name. Only this host itself can set one whose name begins like the other, and only over TLS.
const NAME: &str = "backroom-session";
const SECURE_NAME: &str = "__Host-backroom-session";

/// What is counted of logins.
pub(super) const LOGIN: &str = "login";
pub(super) const LOGIN_REFUSED: &str = "login_refused";

/// How long a session lasts at most, and how long while nobody uses it.
const LASTS: Duration = Duration::from_secs(7 * 24 * 3_600);
const LASTS_UNUSED: Duration = Duration::from_secs(12 * 3_600);

/// Sessions at a time, in all and with one token; a further one ends that which has been unused for longest.
const SESSIONS_MAX: usize = 4_096;
const SESSIONS_OF_TOKEN_MAX: usize = 32;

/// See the module. They are in memory: whoever was logged in logs in again after a restart of the host.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Digest, Session>>);

#[derive(Clone, Copy)]
struct Session {
    /// The digest of the token's secret.
    secret: Digest,
    opened_on: Timestamp,
    used_on: Timestamp,
}

impl Session {
    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.opened_on.after(LASTS) || now >= self.used_on.after(LASTS_UNUSED)
    }
}

impl Sessions {
    /// Opens a session of whoever has a token. What is returned stands for it.
    fn open(&self, secret: Digest, now: Timestamp) -> Result<String, ApiError> {
        let id = tokens::random_text()?;
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| !session.is_over(now));
        let own = sessions.values().filter(|session| session.secret == secret).count();
        if own >= SESSIONS_OF_TOKEN_MAX {
            remove_oldest(&mut sessions, |session| session.secret == secret);
        } else if sessions.len() >= SESSIONS_MAX {
            remove_oldest(&mut sessions, |_| true);
        }
        // Whoever reads this memory, or its dump, cannot use what he finds.
        sessions.insert(Digest::of(&id), Session { secret, opened_on: now, used_on: now });
        Ok(id)
    }

    fn secret(&self, id: &str, now: Timestamp) -> Option<Digest> {
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(&Digest::of(id)).filter(|session| !session.is_over(now))?;
        session.used_on = now;
        Some(session.secret)
    }

    fn end(&self, id: &str) {
        self.0.lock().remove(&Digest::of(id));
    }

    /// Who sends a request with the cookie of a session, if he does.
    pub(super) fn holder(&self, state: &ApiState, headers: &HeaderMap) -> Option<Result<Caller, ApiError>> {
        let now = state.host().now();
        let (id, secret) = ids(headers).find_map(|id| Some((id, self.secret(id, now)?)))?;
        Some(state.host().tokens.holder(&secret).map_err(|error| {
            self.end(id);
            error.into()
        }))
    }
}

fn remove_oldest(sessions: &mut HashMap<Digest, Session>, is_meant: impl Fn(&Session) -> bool) {
    let meant = sessions.iter().filter(|(_, session)| is_meant(session));
    if let Some(oldest) = meant.min_by_key(|(_, session)| session.used_on).map(|(id, _)| *id) {
        sessions.remove(&oldest);
    }
}

/// What a browser sent that may stand for a session, the safer ones first.
fn ids(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = |name: &'static str| {
        let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(move |(given, _)| *given == name).map(|(_, value)| value)
    };
    cookies(SECURE_NAME).chain(cookies(NAME))
}

/// Where a person with a browser comes in and goes out. The guard hands it to the console's page for that.
#[derive(Clone)]
pub(crate) struct Door {
    state: ApiState,
    source: Source,
}

impl Door {
    pub(super) fn of(state: &ApiState, source: Source) -> Self {
        Self { state: state.clone(), source }
    }

    /// The `Set-Cookie` value of a new session for whoever has the token; none where the host asks for none.
    pub(crate) async fn log_in(&self, token: &str, headers: &HeaderMap) -> Result<Option<String>, ApiError> {
        let host = self.state.host();
        if host.tokens.are_not_asked_for() {
            return Ok(None);
        }
        let secret = Digest::of(token);
        let refusals = self.state.refusals();
        let caller = match host.tokens.holder(&secret) {
            Ok(caller) => caller,
            Err(error) => {
                refusals.saw(LOGIN_REFUSED);
                return Err(refusals.wrong_token(self.source, error.into()).await);
            }
        };
        let id = self.state.sessions().open(secret, host.now())?;
        refusals.saw(LOGIN);
        let from = self.source.address.map_or_else(|| "-".to_owned(), |address| address.to_string());
        tracing::info!(by = caller.noted_as(UNNAMED_IN_CONSOLE), from, "logged in to the console");
        Ok(Some(cookie(&id, LASTS, self.is_secure(headers))))
    }

    /// Ends the session of a browser. The `Set-Cookie` values make it forget it.
    pub(crate) fn log_out(&self, headers: &HeaderMap) -> [String; 2] {
        ids(headers).for_each(|id| self.state.sessions().end(id));
        [cookie("", Duration::ZERO, false), cookie("", Duration::ZERO, true)]
    }

    /// Whether the browser speaks TLS, as far as it says so itself or a trusted proxy does.
    fn is_secure(&self, headers: &HeaderMap) -> bool {
        self.source.is_secure || headers.get(ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
    }
}

/// Not for scripts, and not sent along by pages of other sites.
fn cookie(id: &str, lasts: Duration, is_secure: bool) -> String {
    let (name, secure) = if is_secure { (SECURE_NAME, "; Secure") } else { (NAME, "") };
    format!("{name}={id}; Path=/; Max-Age={}{secure}; HttpOnly; SameSite=Strict", lasts.as_secs())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_session_stands_for_its_token_until_it_is_over() {
        let (sessions, secret) = (Sessions::default(), Digest::of("secret"));
        let id = sessions.open(secret, at(0)).expect("there are random numbers");
        assert_eq!((id.len(), id == sessions.open(secret, at(0)).expect("there are more")), (64, false));
        let hour = 3_600;
        assert_eq!(sessions.secret(&id, at(11 * hour)), Some(secret));
        assert_eq!(sessions.secret("guess", at(11 * hour)), None);
        assert_eq!(sessions.secret(&id, at(24 * hour)), None, "nobody used it for half a day");
        let id = sessions.open(secret, at(0)).expect("there are random numbers");
        let lasted = (1..1_000).take_while(|half_days| sessions.secret(&id, at(half_days * 11 * hour)).is_some());
        assert_eq!(lasted.count(), 15, "a week of them");
        let id = sessions.open(secret, at(0)).expect("there are random numbers");
        sessions.end(&id);
        assert_eq!(sessions.secret(&id, at(1)), None);
    }

    #[test]
    fn sessions_are_bounded() {
        let sessions = Sessions::default();
        let first = sessions.open(Digest::of("shop"), at(0)).expect("there are random numbers");
        for number in 0..100 {
            sessions.open(Digest::of("bank"), at(number)).expect("there are random numbers");
        }
        assert_eq!(sessions.0.lock().len(), 1 + SESSIONS_OF_TOKEN_MAX);
        assert!(sessions.secret(&first, at(100)).is_some(), "they are those of another token");
        for number in 0..10_000_u32 {
            sessions.open(Digest::of(number.to_be_bytes()), at(200)).expect("there are random numbers");
        }
        assert_eq!(sessions.0.lock().len(), SESSIONS_MAX);
    }

    #[test]
    fn the_safer_cookie_comes_first() {
        let line = "backroom-session=tossed; other=1; __Host-backroom-session=own; backroom-session=more";
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(line))]);
        assert_eq!(ids(&headers).collect::<Vec<_>>(), ["own", "tossed", "more"]);
        assert_eq!(
            cookie("x", LASTS, true),
            "__Host-backroom-session=x; Path=/; Max-Age=604800; Secure; HttpOnly; SameSite=Strict"
        );
        assert_eq!(cookie("x", LASTS, false), "backroom-session=x; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict");
    }
}
