//! Signatures of outgoing requests as Standard Webhooks has them: the receiver can tell who sent a request, that nobody
//! changed it, and when it was sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;

use crate::domain::outbound::SigningKey;

/// The signatures of a message, one with each key, so that a receiver that knows any of them can check it: `v1,` and the
/// base64 of HMAC-SHA256 over `id.timestamp.body`; the time in seconds since the Unix epoch.
pub(crate) fn signatures(keys: &[SigningKey], id: &str, timestamp: i64, body: &[u8]) -> String {
    let of_key = |key: &SigningKey| {
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.reveal()));
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64.encode(mac.sign()))
    };
    keys.iter().map(of_key).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> SigningKey {
        SigningKey::new(bytes.to_vec()).expect("it is long enough")
    }

    #[test]
    fn a_signature_is_that_of_the_joined_text_with_each_key() {
        let keys = [key(b"0123456789abcdef01234567"), key(b"a key of 32 bytes that is random")];
        // As another implementation of HMAC-SHA256 computes them.
        let expected = "v1,uv7wAsjsTvjtbTZDGKeuUrH0qDBNuGtGARd8qHe53UU= \
                        v1,2gytbRa3vR3eHixcoZuPaM/BRS5MQaNL6VDhNPt9lig=";
        let body = br#"{"a":1}"#;
        assert_eq!(signatures(&keys, "job-1", 1_674_087_231, body), expected);
        assert_eq!(
            signatures(&keys[..1], "job-1", 1_674_087_231, body),
            expected.split(' ').next().unwrap_or_default()
        );
        assert_ne!(signatures(&keys, "job-1", 1_674_087_232, body), expected);
        assert_ne!(signatures(&keys, "job-2", 1_674_087_231, body), expected);
    }
}
