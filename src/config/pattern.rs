//! The origins that a plug-in may call: `https://api.example.com`, `https://*.example.com`, with a port if need be.

/// What an origin pattern may look like, for messages.
pub(crate) const FORM: &str =
    "write an origin such as \"https://api.example.com\", \"https://*.example.com\" or \"http://10.0.0.7:8080\"";

/// Checks an origin pattern and returns it in lower case. `*` stands for one or more labels and only in front.
pub(crate) fn parse_origin(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let Some((scheme, rest)) = text.split_once("://") else { return Err("it has no scheme".to_owned()) };
    if scheme != "http" && scheme != "https" {
        return Err(format!("`{scheme}` is not a scheme that can be granted"));
    }
    if rest.contains('@') {
        return Err("it must not hold a user name or password".to_owned());
    }
    if let Some(path) = rest.find(['/', '?', '#']) {
        return Err(format!("it must end before `{}`: an origin has no path", &rest[path..]));
    }
    let host = without_port(rest)?;
    check_host(host)?;
    Ok(text)
}

fn without_port(authority: &str) -> Result<&str, String> {
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => (&authority[..colon], Some(&authority[colon + 1..])),
        _ => (authority, None),
    };
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(host),
        Some(_) => Err(format!("`{}` is not a port", port.unwrap_or_default())),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = address.parse::<std::net::Ipv6Addr>();
        return address.map(|_| ()).map_err(|_| format!("`{host}` is not an address"));
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    if name == "*" || name.contains('*') {
        return Err("`*` stands for whole labels in front, as in `*.example.com`".to_owned());
    }
    if host != name && !name.contains('.') {
        return Err(format!("`*.{name}` would allow every host below `{name}`; name at least two labels"));
    }
    let is_label = |label: &str| {
        let allowed = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (1..=63).contains(&label.len()) && allowed && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(format!("`{name}` is not a host name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse_origin;

    #[test]
    fn origins() {
        for (text, problem) in [
            ("https://api.example.com", None),
            ("https://*.example.com", None),
            ("HTTPS://API.Example.com:8443", None),
            ("http://127.0.0.1:8080", None),
            ("http://[::1]:8080", None),
            ("http://localhost", None),
            ("api.example.com", Some("it has no scheme")),
            ("ftp://example.com", Some("`ftp` is not a scheme that can be granted")),
            ("https://user:pw@example.com", Some("it must not hold a user name or password")),
            ("https://example.com/v1", Some("it must end before `/v1`: an origin has no path")),
            ("https://example.com:0", Some("`0` is not a port")),
            ("https://example.com:http", Some("`http` is not a port")),
            ("https://*", Some("`*` stands for whole labels in front, as in `*.example.com`")),
            ("https://a.*.com", Some("`*` stands for whole labels in front, as in `*.example.com`")),
            ("https://*.com", Some("`*.com` would allow every host below `com`; name at least two labels")),
            ("https://exa mple.com", Some("`exa mple.com` is not a host name")),
            ("https://", Some("`` is not a host name")),
            ("http://[::zz]", Some("`[::zz]` is not an address")),
        ] {
            let expected = problem.map_or_else(|| Ok(text.to_ascii_lowercase()), |why| Err(why.to_owned()));
            assert_eq!(parse_origin(text), expected, "{text}");
        }
    }
}
