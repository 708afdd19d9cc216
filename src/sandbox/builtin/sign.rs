//! Signatures of outgoing requests, after the convention of Standard Webhooks: the receiver can tell who sent a request, that
//! nobody changed it, and when it was sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;

/// The key that signs outgoing requests; it does not show itself in logs.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

impl SigningKey {
    /// Takes the bytes of a key, as many as there are.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The signature of a message: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; the time in seconds since
    /// the Unix epoch.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64.encode(mac.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_joined_text() {
        let key = SigningKey::new(b"0123456789abcdef");
        // As another implementation of HMAC-SHA256 computes it.
        let expected = "v1,ex5zjvVx7CuUG3KzivdwX8vnNhTofjTnqf7IYrpRXYc=";
        let body = br#"{"a":1}"#;
        assert_eq!(key.sign("job-1", 1_674_087_231, body), expected);
        assert_ne!(key.sign("job-1", 1_674_087_232, body), expected);
        assert_ne!(key.sign("job-2", 1_674_087_231, body), expected);
        assert_ne!(SigningKey::new(b"0123456789abcdeF").sign("job-1", 1_674_087_231, body), expected);
        assert_eq!(format!("{key:?}"), "SigningKey(***)");
    }
}
