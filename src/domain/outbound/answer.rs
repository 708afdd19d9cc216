//! What the status of an answer means for the job that asked (domain.md 4.4).

use std::time::Duration;

use super::HttpRequest;
use super::date::http_date;
use crate::domain::failure::ErrorClass;
use crate::domain::retry::{THROTTLE_CAP, THROTTLE_WAIT_MIN};
use crate::domain::time::Timestamp;

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The job succeeded.
    Success,
    /// The other side asks to slow down; for how long, where it says so.
    SlowDown(Option<Duration>),
    /// The job failed, with this class.
    Failure(ErrorClass),
    /// The job failed, and may be tried again after this wait, as the other side says.
    Later(Duration),
}

impl Meaning {
    /// What `status` means as the answer to `request`; `wait` is what its `Retry-After` asks for. A status that says nothing of
    /// whether it passes is final, whatever stands beside it.
    pub fn of(request: &HttpRequest, status: u16, wait: Option<Duration>) -> Self {
        let is_success = match request.expected.is_empty() {
            true => (200..300).contains(&status),
            false => request.expects(status),
        };
        match (status, wait) {
            _ if is_success => Self::Success,
            (429, _) | (503, Some(_)) => Self::SlowDown(wait),
            // With a `Retry-After`, what is too large now is not so for ever (RFC 9110 section 15.5.14).
            (408 | 413 | 425 | 500..=599, Some(wait)) => Self::Later(wait.max(THROTTLE_WAIT_MIN)),
            (408 | 425 | 500..=599, None) => Self::Failure(ErrorClass::Transient),
            (401 | 403 | 407, _) => Self::Failure(ErrorClass::UserFixable),
            _ => Self::Failure(ErrorClass::Business),
        }
    }
}

/// Whether a status says to ask elsewhere (RFC 9110 section 15.4). Nobody does: a redirect is a failure, as Standard Webhooks
/// has it, because whoever answers would choose who gets a request that was granted, and perhaps signed, for him alone.
pub fn leads_elsewhere(status: u16) -> bool {
    (300..400).contains(&status) && status != 304
}

/// The wait that a `Retry-After` header asks for (RFC 9110 section 10.2.3): seconds, or a date. At most as long as
/// throttling may go on without counting an attempt. None where it says neither.
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    let wait = match header.bytes().all(|byte| byte.is_ascii_digit()) && !header.is_empty() {
        // More digits than fit are a very long wait.
        true => Duration::from_secs(header.parse().unwrap_or(u64::MAX)),
        false => http_date(header, now)?.since(now),
    };
    Some(wait.min(THROTTLE_CAP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_whether_to_try_again() {
        let plain = HttpRequest::parse(br#"{"url": "https://example.com"}"#).expect("a request");
        let seconds = Duration::from_secs;
        let wait = Some(seconds(7));
        let failure = Meaning::Failure;
        for (status, after, meaning) in [
            (200, None, Meaning::Success),
            (204, None, Meaning::Success),
            (304, None, failure(ErrorClass::Business)),
            (410, None, failure(ErrorClass::Business)),
            (400, None, failure(ErrorClass::Business)),
            (404, wait, failure(ErrorClass::Business)),
            (401, None, failure(ErrorClass::UserFixable)),
            (403, None, failure(ErrorClass::UserFixable)),
            (408, None, failure(ErrorClass::Transient)),
            (425, None, failure(ErrorClass::Transient)),
            (429, None, Meaning::SlowDown(None)),
            (429, wait, Meaning::SlowDown(wait)),
            (413, None, failure(ErrorClass::Business)),
            (503, None, failure(ErrorClass::Transient)),
            (503, wait, Meaning::SlowDown(wait)),
            (302, wait, failure(ErrorClass::Business)),
            (401, wait, failure(ErrorClass::UserFixable)),
            (408, wait, Meaning::Later(seconds(7))),
            (413, wait, Meaning::Later(seconds(7))),
            (500, wait, Meaning::Later(seconds(7))),
            (502, Some(seconds(0)), Meaning::Later(seconds(1))),
            (504, Some(seconds(86_400)), Meaning::Later(seconds(86_400))),
        ] {
            assert_eq!(Meaning::of(&plain, status, after), meaning, "{status}");
        }
        let expecting = HttpRequest { expected: [404].into(), ..plain };
        assert_eq!(Meaning::of(&expecting, 404, None), Meaning::Success);
        assert_eq!(Meaning::of(&expecting, 200, None), failure(ErrorClass::Business));
    }

    #[test]
    fn a_wait_is_seconds_or_a_date_and_bounded() {
        let now: Timestamp = "1994-11-06T08:49:30Z".parse().expect("a time");
        let seconds = |header| retry_after(header, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:49:37 GMT"), Some(7));
        assert_eq!(seconds("Sun Nov  6 08:49:37 1994"), Some(7));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "it has passed");
        assert_eq!(seconds("99999999999999999999999"), Some(86_400));
        assert_eq!(seconds("Sun, 06 Nov 2094 08:49:37 GMT"), Some(86_400));
        for header in ["", "soon", "-1", "1.5"] {
            assert_eq!(seconds(header), None, "{header}");
        }
    }
}
