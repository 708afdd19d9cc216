//! What is known when no answer comes, or one that is not the host's. Nothing here is a guess: each case says what happened,
//! whether the request may have been carried out, and what helps.

use std::io;

use tokio_rustls::rustls;
use ureq::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use ureq::http::{HeaderMap, StatusCode};
use ureq::{Error, Timeout};

use super::failure::{Exit, Failure, Fate};
use crate::domain::code;

/// How much of a foreign answer is shown, in characters.
const SHOWN_CHARS: usize = 200;

/// The other side as far as messages name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer<'a> {
    /// Its address.
    pub(crate) server: &'a str,
    /// Whether a proxy of the environment is in between.
    pub(crate) by_proxy: bool,
    /// Whether a connection came about.
    pub(crate) is_connected: bool,
    /// Whether it stopped listening before the whole request was sent.
    pub(crate) is_cut: bool,
}

impl Peer<'_> {
    /// What may have become of a request that was sent and not answered.
    fn fate(self) -> Fate {
        if self.is_cut { Fate::NotDone } else { Fate::Unknown }
    }
}

/// Why there is no answer.
pub(crate) fn explained(peer: Peer<'_>, error: &Error) -> Failure {
    let server = peer.server;
    match error {
        Error::HostNotFound => unreached(
            peer,
            format!("no host answers at {server}: its name is not known"),
            "check the name in `--server`",
        ),
        Error::Timeout(Timeout::Resolve) => unreached(
            peer,
            format!("no host answers at {server}: looking its name up took too long"),
            "check the network, or give an IP address with `--server`",
        ),
        Error::Timeout(Timeout::Connect) => unreached(
            peer,
            format!("no host answers at {server}: no connection came about in time"),
            "check the address, and that no firewall drops the connection",
        ),
        Error::ConnectProxyFailed(_) | Error::InvalidProxyUrl => unreached(
            peer,
            format!("the proxy of the environment does not connect to {server}"),
            "correct HTTPS_PROXY, or name the host in NO_PROXY",
        ),
        Error::Rustls(error) => tls(peer, error),
        Error::Io(error) => match of_tls(error) {
            Some(error) => tls(peer, error),
            None => of_io(peer, error),
        },
        Error::Protocol(_) | Error::LargeResponseHeader(..) | Error::TlsRequired => {
            let next = match server.starts_with("http://") {
                true => "give the address of a host; where TLS is in front of it, the address begins with https://",
                false => "give the address of a host with `--server`",
            };
            foreign(format!("what listens at {server} does not answer in HTTP"), next, peer.fate())
        }
        Error::Timeout(_) => lost(peer, format!("the host at {server} took too long to answer")),
        Error::ConnectionFailed => no_host(peer),
        _ => lost(peer, format!("the connection to {server} failed before the answer was there")),
    }
}

fn of_io(peer: Peer<'_>, error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
    let server = peer.server;
    match error.kind() {
        Kind::ConnectionRefused => no_host(peer),
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown | Kind::AddrNotAvailable => unreached(
            peer,
            format!("no host answers at {server}: there is no way to this address"),
            "check the network and the address in `--server`",
        ),
        // Such as a name that cannot be looked up, for which there is no kind.
        _ if !peer.is_connected => unreached(
            peer,
            format!("no host answers at {server}: no connection came about ({error})"),
            "check the name and the port in `--server`, and the network",
        ),
        _ if peer.is_cut => lost(
            peer,
            format!("{server} stopped reading before the whole request was sent and gave no reason; nothing was done"),
        ),
        _ => lost(peer, format!("the connection to {server} ended before the answer was there")),
    }
}

fn no_host(peer: Peer<'_>) -> Failure {
    let next = "start one with `backroom serve`, or give its address with `--server`";
    unreached(peer, format!("no host answers at {}", peer.server), next)
}

/// No connection came about, so nothing was asked.
fn unreached(peer: Peer<'_>, message: String, next: &str) -> Failure {
    let next = match peer.by_proxy {
        true => format!("{next} (a proxy is in between: HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is set)"),
        false => next.to_owned(),
    };
    Failure::new(code::NO_HOST, message).with_next(next)
}

fn lost(peer: Peer<'_>, message: String) -> Failure {
    let failure = Failure { fate: peer.fate(), ..Failure::new(code::NO_ANSWER, message) };
    match peer.is_cut {
        true => failure.with_next("try again; if that goes on, see the host's log"),
        false => failure,
    }
}

fn foreign(message: String, next: impl Into<String>, fate: Fate) -> Failure {
    Failure { exit: Exit::Failed, fate, ..Failure::new(code::NOT_A_HOST, message).with_next(next) }
}

/// What TLS says inside an error of the connection.
fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn tls(peer: Peer<'_>, error: &rustls::Error) -> Failure {
    let server = peer.server;
    match error {
        rustls::Error::InvalidMessage(_) => {
            let plain = server.replacen("https://", "http://", 1);
            foreign(
                format!("what listens at {server} does not speak TLS"),
                format!("give --server {plain}"),
                Fate::NotDone,
            )
        }
        rustls::Error::InvalidCertificate(_) => foreign(
            format!("the certificate of {server} is not trusted: {error}"),
            "give the name that the certificate is for, or use one of a public authority",
            Fate::NotDone,
        ),
        error => foreign(format!("TLS with {server} failed: {error}"), "check what listens there", Fate::NotDone),
    }
}

/// An answer that is not a document of the host.
pub(crate) fn not_ours(peer: Peer<'_>, status: StatusCode, headers: &HeaderMap, body: &str) -> Failure {
    let server = peer.server;
    let text = |name| headers.get(name).and_then(|value: &ureq::http::HeaderValue| value.to_str().ok());
    let answer = format!("what listens at {server} answers {status}");
    let mut failure = match status {
        status if status.is_redirection() => {
            let to = text(LOCATION).unwrap_or("another address");
            let origin = to.split('/').take(3).collect::<Vec<_>>().join("/");
            let next = match to.contains("://") {
                true => format!("give --server {origin}"),
                false => "give the address of the host itself with `--server`".to_owned(),
            };
            foreign(format!("{server} is elsewhere: it redirects to {to}"), next, Fate::NotDone)
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => foreign(
            format!("{answer}; the refusal is not one of a host: a proxy in front of it lets nobody through"),
            "give the proxy what it asks for, or the address of the host itself with `--server`",
            Fate::NotDone,
        ),
        StatusCode::PAYLOAD_TOO_LARGE => foreign(
            format!("{answer}; that is a proxy in front of the host: it takes no body of this size"),
            "raise the limit of the proxy, or give the address of the host itself with `--server`",
            Fate::NotDone,
        ),
        StatusCode::TOO_MANY_REQUESTS => foreign(
            format!("{answer}; that is a proxy in front of the host: it wants fewer requests"),
            "try again later",
            Fate::NotDone,
        ),
        status if status.is_server_error() => foreign(
            format!("{answer}; that is a proxy in front of the host, or another program"),
            "see that the host runs (`backroom serve`) and that the proxy reaches it",
            peer.fate(),
        ),
        status if status.is_success() => {
            let message = format!("what listens at {server} is not a host of this release: its answer is not our JSON");
            foreign(message, "give the address of a host with `--server`", Fate::Unknown)
        }
        _ => foreign(
            format!("{answer}; it is not a host of this release"),
            "give the address of a host with `--server`",
            Fate::NotDone,
        ),
    };
    failure.notes.extend(text(RETRY_AFTER).map(try_again));
    failure.notes.extend(shown(text(CONTENT_TYPE).unwrap_or_default(), body));
    failure
}

/// When to come back, as `Retry-After` says it.
pub(crate) fn try_again(retry_after: &str) -> String {
    match retry_after.parse::<u64>() {
        Ok(1) => "it asks to be tried again after one second".to_owned(),
        Ok(seconds) => format!("it asks to be tried again after {seconds} seconds"),
        Err(_) => format!("it asks to be tried again at {retry_after}"),
    }
}

/// The beginning of a foreign answer where it is text.
fn shown(content_type: &str, body: &str) -> Option<String> {
    let is_page = content_type.contains("html") || body.trim_start().starts_with('<');
    let text = if is_page { without_tags(body) } else { body.to_owned() };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = text.chars().take(SHOWN_CHARS).collect();
    (!cut.is_empty()).then(|| format!("it says: {cut}"))
}

fn without_tags(page: &str) -> String {
    let pieces = page.split('<').enumerate().map(|(index, piece)| match index {
        0 => piece,
        _ => piece.split_once('>').map_or("", |(_, text)| text),
    });
    pieces.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    const SENT: Peer<'_> = Peer { server: "http://host:1", by_proxy: false, is_connected: true, is_cut: false };

    fn io(kind: io::ErrorKind) -> Error {
        Error::Io(kind.into())
    }

    #[test]
    fn only_what_was_sent_whole_may_have_been_done() {
        let cut = Peer { is_cut: true, ..SENT };
        let apart = Peer { is_connected: false, ..SENT };
        for (peer, error, code, fate) in [
            (SENT, Error::HostNotFound, code::NO_HOST, Fate::NotDone),
            (SENT, Error::Timeout(Timeout::Connect), code::NO_HOST, Fate::NotDone),
            (SENT, io(io::ErrorKind::ConnectionRefused), code::NO_HOST, Fate::NotDone),
            (SENT, io(io::ErrorKind::NetworkUnreachable), code::NO_HOST, Fate::NotDone),
            (SENT, io(io::ErrorKind::ConnectionReset), code::NO_ANSWER, Fate::Unknown),
            (SENT, io(io::ErrorKind::UnexpectedEof), code::NO_ANSWER, Fate::Unknown),
            (SENT, Error::Timeout(Timeout::RecvResponse), code::NO_ANSWER, Fate::Unknown),
            (cut, io(io::ErrorKind::ConnectionReset), code::NO_ANSWER, Fate::NotDone),
            (cut, io(io::ErrorKind::UnexpectedEof), code::NO_ANSWER, Fate::NotDone),
            (apart, io(io::ErrorKind::Other), code::NO_HOST, Fate::NotDone),
        ] {
            let failure = explained(peer, &error);
            assert_eq!((failure.code.as_deref(), failure.fate), (Some(code.name), fate), "{error:?}: {failure}");
        }
    }

    #[test]
    fn tls_and_plain_http_are_told_apart() {
        let peer = Peer { server: "https://host:1", ..SENT };
        let mixed_up = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let failure = explained(peer, &Error::Io(io::Error::new(io::ErrorKind::InvalidData, mixed_up)));
        assert_eq!(failure.next.as_deref(), Some("give --server http://host:1"));
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(explained(peer, &Error::Rustls(unknown)).message.contains("is not trusted"));
    }

    #[test]
    fn an_answer_of_a_proxy_is_shown_as_one() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        let page = "<html><head><title>502</title></head><body><h1>Bad  Gateway</h1></body></html>";
        let failure = not_ours(SENT, StatusCode::BAD_GATEWAY, &headers, page);
        assert_eq!(failure.fate, Fate::Unknown);
        assert!(failure.message.contains("502 Bad Gateway; that is a proxy"), "{failure}");
        assert_eq!(failure.notes, ["it asks to be tried again after 7 seconds", "it says: 502 Bad Gateway"]);
        let cut = Peer { is_cut: true, ..SENT };
        assert_eq!(not_ours(cut, StatusCode::BAD_GATEWAY, &headers, page).fate, Fate::NotDone);
        for status in [StatusCode::UNAUTHORIZED, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::NOT_FOUND] {
            assert_eq!(not_ours(SENT, status, &HeaderMap::new(), "").fate, Fate::NotDone, "{status}");
        }
        headers.insert(LOCATION, HeaderValue::from_static("https://jobs.example/v1/jobs"));
        let moved = not_ours(SENT, StatusCode::MOVED_PERMANENTLY, &headers, "");
        assert_eq!(moved.next.as_deref(), Some("give --server https://jobs.example"));
    }
}
