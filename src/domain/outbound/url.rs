//! Absolute `http` and `https` URLs: what is taken, and how one is shown.

use super::Origin;

/// The longest URL, in bytes.
const BYTES_MAX: usize = 8 << 10;

/// An absolute URL without a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    /// Where the path begins.
    path_at: usize,
    origin: Origin,
}

/// Why a text is no URL that can be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(String);

impl Url {
    /// Takes an absolute URL; a fragment is left out, because it is never sent.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let refuse = |why: String| Err(BadUrl(why));
        check_text(text)?;
        let text = text.split('#').next().unwrap_or(text);
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse("it must be absolute, such as `https://api.example.com/orders`".to_owned());
        };
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "https" && scheme != "http" {
            return refuse(format!("`{scheme}` is no scheme that can be called; use `https` or `http`"));
        }
        let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
        if authority.contains('@') {
            return refuse("it must hold no user name or password; send a header".to_owned());
        }
        if let Some(wrong) = authority.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._~:[]".contains(*c)) {
            return refuse(format!("`{wrong}` cannot stand in a host name"));
        }
        let Some(origin) = Origin::of(&scheme, authority) else {
            return refuse(format!("`{authority}` is no host, or its port is no number"));
        };
        let target = &rest[authority.len()..];
        let slash = if target.starts_with('/') { "" } else { "/" };
        let head = format!("{scheme}://{}", authority.to_ascii_lowercase());
        Ok(Self { path_at: head.len(), text: format!("{head}{slash}{target}"), origin })
    }

    /// Where it leads.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The whole URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and port as they stand in a `Host` header.
    pub fn authority(&self) -> &str {
        let head = &self.text[..self.path_at];
        head.split_once("://").map_or(head, |(_, authority)| authority)
    }

    /// Path and query as they stand in a request.
    pub fn target(&self) -> &str {
        &self.text[self.path_at..]
    }

    /// The URL for people: the query, which may hold a secret, is left out.
    pub fn shown(&self) -> String {
        match self.text.split_once('?') {
            Some((before, _)) => format!("{before}?..."),
            None => self.text.clone(),
        }
    }
}

fn check_text(text: &str) -> Result<(), BadUrl> {
    if text.len() > BYTES_MAX {
        return Err(BadUrl(format!("it has {} bytes; at most {BYTES_MAX} are taken", text.len())));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(*c)) {
        None => Ok(()),
        Some(wrong) if wrong.is_ascii() => {
            Err(BadUrl(format!("{wrong:?} cannot stand in a URL; write %{:02X}", u32::from(wrong))))
        }
        Some(wrong) => {
            Err(BadUrl(format!("{wrong:?} is not ASCII; write its UTF-8 bytes as %XX, or a name as xn--...")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn a_url_has_an_origin_and_a_target() {
        let url = url("HTTPS://API.Example.com:8443/a/b?key=secret#part");
        assert_eq!(url.as_str(), "https://api.example.com:8443/a/b?key=secret");
        assert_eq!((url.authority(), url.target()), ("api.example.com:8443", "/a/b?key=secret"));
        assert_eq!(url.shown(), "https://api.example.com:8443/a/b?...");
        assert_eq!(self::url("http://[::1]:80?x").as_str(), "http://[::1]:80/?x");
        assert_eq!(self::url("http://[::1]:80?x").origin().host, "::1");
    }

    #[test]
    fn what_is_no_url_is_refused_with_a_reason() {
        for (text, why) in [
            ("/orders", "it must be absolute"),
            ("", "it must be absolute"),
            ("ftp://example.com", "`ftp` is no scheme"),
            ("https://user:pw@example.com/", "no user name or password"),
            ("https://", "is no host"),
            ("https://example.com:port/", "is no host, or its port is no number"),
            ("https://example.com:70000/", "is no host, or its port is no number"),
            ("https://exa$mple.com/", "`$` cannot stand in a host name"),
            ("https://example.com/a b", "' ' cannot stand in a URL; write %20"),
            ("https://example.com/\r\nHost: x", "'\\r' cannot stand in a URL; write %0D"),
            ("https://münchen.example/", "'ü' is not ASCII"),
        ] {
            let refused = Url::parse(text).expect_err(text).to_string();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        assert!(Url::parse(&format!("https://example.com/{}", "x".repeat(BYTES_MAX))).is_err());
    }
}
