//! The token of a person with a browser: the console asks for it once and keeps it in a cookie that only this host sees.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

/// The cookie's name.
const NAME: &str = "backroom-token";

/// The longest token that a cookie carries, in bytes.
const TOKEN_BYTES_MAX: usize = 1_024;

/// How long a browser keeps it, in seconds: a week.
const KEPT_SECONDS: u32 = 7 * 24 * 3_600;

/// The `Set-Cookie` value that keeps `token`: not for scripts, and not sent along by pages of other sites. None when the token
/// is longer than any cookie should be.
pub fn keep(token: &str) -> Option<String> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    // Hexadecimal, because a token may hold what a cookie may not.
    let value: String = token.bytes().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{NAME}={value}; Path=/; Max-Age={KEPT_SECONDS}; HttpOnly; SameSite=Strict"))
}

/// The `Set-Cookie` value that forgets the token.
pub fn forget() -> String {
    format!("{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")
}

/// The token that a browser sent.
pub(super) fn token(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == NAME)?;
    unhex(value)
}

fn unhex(value: &str) -> Option<String> {
    let is_hex = value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !value.len().is_multiple_of(2) || value.len() > 2 * TOKEN_BYTES_MAX {
        return None;
    }
    let bytes = (0..value.len()).step_by(2).map(|at| u8::from_str_radix(value.get(at..at + 2)?, 16).ok());
    String::from_utf8(bytes.collect::<Option<_>>()?).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn sent(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookie).expect("a header"))])
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        for kept in ["secret", "with space; and=signs, \u{fc}", ""] {
            let cookie = keep(kept).expect("it is short");
            assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
            let pair = cookie.split(';').next().expect("it has a value");
            assert_eq!(token(&sent(&format!("other=1; {pair}; last=2"))).as_deref(), Some(kept));
        }
        assert_eq!(keep(&"x".repeat(2_000)), None);
    }

    #[test]
    fn a_strange_cookie_is_no_token() {
        for cookie in ["backroom-token=xyz", "backroom-token=abc", "backroom-token=ff", "other=61", "backroom-token"] {
            assert_eq!(token(&sent(cookie)), None, "{cookie}");
        }
    }
}
