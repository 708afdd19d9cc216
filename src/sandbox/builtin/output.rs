//! The output of a call that succeeded.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use serde::Serialize;
use serde_json::value::RawValue;

/// The headers of an answer that are kept.
const KEPT: [HeaderName; 5] =
    [header::CONTENT_TYPE, header::ETAG, header::LAST_MODIFIED, header::LOCATION, header::RETRY_AFTER];

/// An answer in JSON. A body stands there as the JSON that it is, else as text, else in base64.
#[derive(Serialize)]
struct Output<'a> {
    status: u16,
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

/// Writes an answer as a job's output.
pub(crate) fn of(status: u16, headers: &HeaderMap, body: &Bytes) -> Bytes {
    let kept = KEPT.iter().filter_map(|name| Some((name.as_str(), headers.get(name)?.to_str().ok()?)));
    let text = std::str::from_utf8(body).ok().filter(|text| !text.is_empty());
    let json = text.filter(|_| is_json(headers)).and_then(|text| serde_json::from_str(text).ok());
    let output = Output {
        status,
        headers: kept.collect(),
        body: json.map(Body::Json).or(text.map(Body::Text)),
        body_base64: (text.is_none() && !body.is_empty()).then(|| BASE64.encode(body)),
    };
    serde_json::to_vec(&output).unwrap_or_default().into()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_keeps_its_form() {
        for (kind, body, shown) in [
            (
                "application/json; charset=utf-8",
                br#"{"b": 1.50, "a": []}"#.as_slice(),
                r#","body":{"b": 1.50, "a": []}}"#,
            ),
            ("application/problem+json", b"[1]", r#","body":[1]}"#),
            ("application/json", b"{no json", r#","body":"{no json"}"#),
            ("text/plain", b"1", r#","body":"1"}"#),
            ("image/png", b"\xff\x00\xfe", r#","body_base64":"/wD+"}"#),
            ("text/plain", b"", "}"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().expect("a header"));
            headers.insert(header::SET_COOKIE, "secret=1".parse().expect("a header"));
            let output = of(200, &headers, &Bytes::from_static(body));
            let expected = format!(r#"{{"status":200,"headers":{{"content-type":"{kind}"}}{shown}"#);
            assert_eq!(std::str::from_utf8(&output).expect("text"), expected);
        }
    }
}
