//! What the built-in handler `http` is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Url;

/// Bounds of what a job may ask for.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 << 10;
const EXPECTED_MAX: usize = 32;
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);

/// The content type of a body that is given as JSON.
pub const BODY_KIND_JSON: &str = "application/json";

const BODY_KIND_TEXT: &str = "text/plain; charset=utf-8";

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Headers that belong to the connection or that the host writes itself.
const OURS: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Likewise, by how they begin.
const OUR_PREFIXES: [&str; 2] = ["backroom-", "webhook-"];

/// A request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// Where it goes.
    pub url: Url,
    /// In capitals.
    pub method: String,
    /// Names in lower case, each once.
    pub headers: BTreeMap<String, String>,
    /// What is sent.
    pub body: Option<Vec<u8>>,
    /// How long the answer may take; the plug-in's wall-clock limit holds beside it.
    pub timeout: Option<Duration>,
    /// The statuses that mean success; any 2xx when empty.
    pub expected: BTreeSet<u16>,
}

/// What is wrong with the input of a job for `http`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct BadRequest {
    /// Which field; empty when the whole is at fault.
    pub field: &'static str,
    /// What is wrong with it and what to write instead.
    pub why: String,
}

/// The input as it stands in JSON.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `url`, `method`, `headers`, `body`, `body_text`, `timeout`, `expect`"
)]
struct Given<'a> {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    body_text: Option<String>,
    timeout: Option<String>,
    #[serde(default)]
    expect: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    Status(u16),
    Class(String),
}

impl HttpRequest {
    /// Reads the input of a job for `http`: `{url, method?, headers?, body? | body_text?, timeout?, expect?}`.
    pub fn parse(input: &[u8]) -> Result<Self, BadRequest> {
        let given: Given<'_> = serde_json::from_slice(input).map_err(|error| bad("", not_taken(input, &error)))?;
        let url = Url::parse(&given.url).map_err(|why| bad("url", format!("`url` is not acceptable: {why}")))?;
        let mut headers = checked_headers(given.headers)?;
        let body = match (given.body, given.body_text) {
            (Some(_), Some(_)) => return Err(bad("body", "give `body` or `body_text`, not both")),
            (Some(json), None) => Some((BODY_KIND_JSON, json.get().as_bytes().to_vec())),
            (None, Some(text)) => Some((BODY_KIND_TEXT, text.into_bytes())),
            (None, None) => None,
        };
        let method = checked_method(given.method, body.is_some())?;
        if let Some((kind, _)) = body {
            headers.entry("content-type".to_owned()).or_insert_with(|| kind.to_owned());
        }
        Ok(Self {
            url,
            method,
            headers,
            body: body.map(|(_, bytes)| bytes),
            timeout: given.timeout.as_deref().map(checked_timeout).transpose()?,
            expected: checked_expectations(given.expect)?,
        })
    }

    /// Whether a status is one that the caller named himself, so that it means success.
    pub fn expects(&self, status: u16) -> bool {
        self.expected.contains(&status)
    }
}

fn bad(field: &'static str, why: impl Into<String>) -> BadRequest {
    BadRequest { field, why: why.into() }
}

fn not_taken(input: &[u8], error: &serde_json::Error) -> String {
    const FORM: &str = r#"{"url": "https://...", "method"?, "headers"?, "body"? or "body_text"?, "timeout"?: "30s", "expect"?: [200, "2xx"]}"#;
    if input.is_empty() {
        return format!("the handler `http` needs an input such as {FORM}");
    }
    format!("the input is not what the handler `http` takes: {error}. It takes {FORM}")
}

fn checked_method(method: Option<String>, has_body: bool) -> Result<String, BadRequest> {
    let Some(method) = method else { return Ok(if has_body { "POST" } else { "GET" }.to_owned()) };
    let capitals = method.to_ascii_uppercase();
    if !METHODS.contains(&capitals.as_str()) {
        let shown: String = method.chars().take(40).collect();
        return Err(bad("method", format!("`method` is {shown:?}; it may be {}", METHODS.join(", "))));
    }
    if has_body && (capitals == "GET" || capitals == "HEAD") {
        return Err(bad("method", format!("a {capitals} carries no body; leave `body` out, or use POST")));
    }
    Ok(capitals)
}

fn checked_headers(given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, BadRequest> {
    let refuse = |why: String| Err(bad("headers", why));
    if given.len() > HEADERS_MAX {
        return refuse(format!("`headers` has {} entries; at most {HEADERS_MAX} are taken", given.len()));
    }
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > HEADER_BYTES_MAX {
        return refuse(format!("`headers` has {bytes} bytes; at most {HEADER_BYTES_MAX} are taken"));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in given {
        let lower = name.to_ascii_lowercase();
        if lower.is_empty() || !lower.bytes().all(is_token_byte) {
            return refuse(format!("`headers` has the name {name:?}; use letters, digits and -"));
        }
        if OURS.contains(&lower.as_str()) || OUR_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
            return refuse(format!("`headers` has `{name}`, which the host writes itself; leave it out"));
        }
        if !value.bytes().all(|byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic()) {
            return refuse(format!("the header `{name}` holds a line break or something other than ASCII"));
        }
        if headers.insert(lower, value.trim().to_owned()).is_some() {
            return refuse(format!("`headers` has `{name}` twice"));
        }
    }
    Ok(headers)
}

/// Whether a byte may stand in a header's name (RFC 9110 section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn checked_timeout(text: &str) -> Result<Duration, BadRequest> {
    let span = text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    let span = span.filter(|span| !span.is_zero() && *span <= TIMEOUT_MAX);
    span.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        bad(
            "timeout",
            format!("`timeout` is {shown:?}; write a span such as \"500ms\", \"30s\" or \"2m\", at most \"24h\""),
        )
    })
}

fn checked_expectations(given: Vec<Expected>) -> Result<BTreeSet<u16>, BadRequest> {
    const FORM: &str = "write statuses from 200 to 599 and classes such as \"2xx\"";
    if given.len() > EXPECTED_MAX {
        return Err(bad("expect", format!("`expect` has {} entries; at most {EXPECTED_MAX} are taken", given.len())));
    }
    let mut statuses = BTreeSet::new();
    for expected in given {
        match &expected {
            Expected::Status(status @ 200..=599) => drop(statuses.insert(*status)),
            Expected::Status(status) => return Err(bad("expect", format!("`expect` holds {status}; {FORM}"))),
            Expected::Class(class) => match class.as_bytes() {
                [digit @ b'2'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                    let first = u16::from(digit - b'0') * 100;
                    statuses.extend(first..first + 100);
                }
                _ => {
                    let shown: String = class.chars().take(40).collect();
                    return Err(bad("expect", format!("`expect` holds {shown:?}; {FORM}")));
                }
            },
        }
    }
    Ok(statuses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(input: &str) -> HttpRequest {
        HttpRequest::parse(input.as_bytes()).expect("it is acceptable")
    }

    #[test]
    fn a_url_alone_is_a_get_and_a_body_makes_a_post() {
        let get = request(r#"{"url": "https://example.com/x"}"#);
        assert_eq!((get.method.as_str(), &get.body, get.headers.len()), ("GET", &None, 0));
        let post = request(r#"{"url": "https://example.com/x", "body": {"b": 1.50, "a": [null]}}"#);
        assert_eq!(post.method, "POST");
        assert_eq!(post.body.as_deref(), Some(br#"{"b": 1.50, "a": [null]}"#.as_slice()), "the bytes are the caller's");
        assert_eq!(post.headers["content-type"], "application/json");
        let text = request(
            r#"{"url": "https://example.com", "method": "put", "body_text": "a=1", "headers": {"Content-Type": "text/csv"},
                "timeout": "1m 30s", "expect": [404, "2xx"]}"#,
        );
        assert_eq!((text.method.as_str(), text.headers["content-type"].as_str()), ("PUT", "text/csv"));
        assert_eq!(text.timeout, Some(Duration::from_secs(90)));
        assert!(text.expects(404) && text.expects(299) && !text.expects(403));
    }

    #[test]
    fn what_is_not_acceptable_is_refused_by_its_field() {
        for (rest, field, why) in [
            (r#""methd": "GET""#, "", "unknown field `methd`"),
            (r#""method": "CONNECT""#, "method", "it may be GET"),
            (r#""method": "GET", "body": 1"#, "method", "a GET carries no body"),
            (r#""body": 1, "body_text": "1""#, "body", "not both"),
            (r#""headers": {"Host": "x"}"#, "headers", "which the host writes itself"),
            (r#""headers": {"Transfer-Encoding": "chunked"}"#, "headers", "which the host writes itself"),
            (r#""headers": {"Webhook-Signature": "x"}"#, "headers", "which the host writes itself"),
            (r#""headers": {"X": "a\r\nY: b"}"#, "headers", "holds a line break"),
            (r#""headers": {"X Y": "a"}"#, "headers", "has the name"),
            (r#""headers": {"x": "a", "X": "b"}"#, "headers", "twice"),
            (r#""timeout": "soon""#, "timeout", "write a span"),
            (r#""timeout": "25h""#, "timeout", "at most \"24h\""),
            (r#""timeout": "-1s""#, "timeout", "write a span"),
            (r#""expect": [100]"#, "expect", "from 200 to 599"),
            (r#""expect": ["9xx"]"#, "expect", "from 200 to 599"),
        ] {
            let input = format!(r#"{{"url": "https://example.com", {rest}}}"#);
            let refused = HttpRequest::parse(input.as_bytes()).expect_err(rest);
            assert_eq!(refused.field, field, "{rest}: {refused}");
            assert!(refused.why.contains(why), "{rest}: {refused}");
        }
        assert_eq!(HttpRequest::parse(br#"{"url": "example.com"}"#).expect_err("no scheme").field, "url");
        assert!(HttpRequest::parse(b"").expect_err("nothing").why.contains("needs an input"));
    }
}
