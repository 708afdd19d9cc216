//! Where the host is and how it knows us: what the command line and the environment say, else what backroom.toml says of the
//! host of this folder, else where a host listens that was told nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::config::{self, DEFAULT_FILE, Server};

/// Names the settings file of the host, for the client, too.
const CONFIG_VARIABLE: &str = "BACKROOM_CONFIG";

/// What the command line and the environment say.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = super::GLOBAL)]
pub(crate) struct ClientArgs {
    /// The host's address [default: `listen` of backroom.toml in this folder, else http://127.0.0.1:7171]
    #[arg(long, global = true, value_name = "URL", env = "BACKROOM_SERVER")]
    pub(crate) server: Option<String>,
    /// The token that the host asks for [default: `token` of backroom.toml, for the host of that file]
    #[arg(long, global = true, value_name = "TOKEN", env = "BACKROOM_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

/// Where to go, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The host's address, without a slash at its end.
    pub(crate) server: String,
    /// The token, if there is one.
    pub(crate) token: Option<String>,
    /// The settings file that named the address.
    pub(crate) file: Option<PathBuf>,
}

/// What a settings file says of its host.
struct Named {
    listen: SocketAddr,
    token: Option<String>,
    file: Option<PathBuf>,
}

impl ClientArgs {
    /// Where to go.
    pub(crate) fn address(&self) -> Result<Address, Failure> {
        let named = if self.server.is_some() && self.token.is_some() { None } else { of_settings() };
        self.beside(named)
    }

    /// Where to go when the host's settings are known.
    pub(crate) fn address_of(&self, server: &Server, file: Option<PathBuf>) -> Result<Address, Failure> {
        let token = server.token.as_ref().map(|token| token.reveal().to_owned());
        self.beside(Some(Named { listen: server.listen, token, file }))
    }

    fn beside(&self, named: Option<Named>) -> Result<Address, Failure> {
        let given = self.server.as_ref().map(|server| server.trim_end_matches('/').to_owned());
        let Some((url, named)) = named.and_then(|named| Some((url_of(named.listen)?, named))) else {
            let usual = || url_of(Server::default().listen).unwrap_or_default();
            return Ok(Address { server: given.unwrap_or_else(usual), token: self.token.clone(), file: None });
        };
        if given.is_none() && !is_of_this_machine(named.listen.ip()) {
            return Err(elsewhere(&url, &named));
        }
        // The secret of one host is nothing for another.
        let of_file = named.token.filter(|_| given.as_ref().is_none_or(|given| *given == url));
        let file = named.file.filter(|_| given.is_none());
        Ok(Address { server: given.unwrap_or(url), token: self.token.clone().or(of_file), file })
    }
}

/// Whoever wrote a file that lies in some folder must not draw tokens and jobs to an address of his own.
fn elsewhere(url: &str, named: &Named) -> Failure {
    let who = named.file.as_ref().map_or("the settings".to_owned(), |file| file.display().to_string());
    let message = format!("{who} names {}, which is no address of this machine; nothing was sent there", named.listen);
    Failure::bad_input(message, format!("give --server {url} if that is the host that you mean"))
}

/// What the settings file says, as far as it can be read: its mistakes are not the client's.
fn of_settings() -> Option<Named> {
    let named = std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
    let path = named.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    let text = std::fs::read_to_string(path).ok()?;
    let (listen, token) = match config::load(named.as_deref(), Vec::new()) {
        Ok(loaded) => {
            let server = loaded.settings.server;
            (server.listen, server.token.map(|token| token.reveal().to_owned()))
        }
        Err(_) => {
            let table: toml::Table = text.parse().ok()?;
            let server = table.get("server")?;
            let word = |key: &str| server.get(key).and_then(toml::Value::as_str).map(str::to_owned);
            let listen = word("listen").and_then(|listen| listen.parse().ok());
            (listen.unwrap_or(Server::default().listen), word("token"))
        }
    };
    Some(Named { listen, token, file: Some(path.to_owned()) })
}

/// Whether a host that listens there is on this machine: only addresses of its own can be bound, unless the system lets all be.
fn is_of_this_machine(ip: IpAddr) -> bool {
    let nobodys: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let binds = |ip: IpAddr| UdpSocket::bind((ip, 0)).is_ok();
    ip.is_loopback() || ip.is_unspecified() || binds(ip) && !binds(nobodys)
}

/// How to reach a host that listens there; none when it takes any free port.
fn url_of(listen: SocketAddr) -> Option<String> {
    if listen.port() == 0 {
        return None;
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(format!("http://{}", SocketAddr::new(ip, listen.port())))
}

#[cfg(test)]
mod tests {
    use super::super::failure::Exit;
    use super::*;

    #[test]
    fn a_host_that_listens_everywhere_is_reached_here() {
        for (listen, url) in [
            ("127.0.0.1:7171", Some("http://127.0.0.1:7171")),
            ("0.0.0.0:80", Some("http://127.0.0.1:80")),
            ("[::]:80", Some("http://[::1]:80")),
            ("10.0.0.7:9", Some("http://10.0.0.7:9")),
            ("127.0.0.1:0", None),
        ] {
            assert_eq!(url_of(listen.parse().expect("an address")).as_deref(), url, "{listen}");
        }
    }

    fn named(listen: &str) -> Option<Named> {
        let (listen, token) = (listen.parse().expect("an address"), Some("secret".to_owned()));
        Some(Named { listen, token, file: Some("backroom.toml".into()) })
    }

    fn args(server: Option<&str>, token: Option<&str>) -> ClientArgs {
        ClientArgs { server: server.map(str::to_owned), token: token.map(str::to_owned) }
    }

    #[test]
    fn the_secret_of_the_file_goes_to_its_host_alone() {
        let to = |server: Option<&str>, token: Option<&str>| {
            let address = args(server, token).beside(named("127.0.0.1:9000")).expect("of this machine");
            let Address { server, token, file } = address;
            (server, token, file.is_some())
        };
        let own = "http://127.0.0.1:9000".to_owned();
        assert_eq!(to(None, None), (own.clone(), Some("secret".to_owned()), true));
        assert_eq!(to(Some("http://127.0.0.1:9000/"), None), (own.clone(), Some("secret".to_owned()), false));
        assert_eq!(to(Some("http://other:1"), None), ("http://other:1".to_owned(), None, false));
        assert_eq!(to(None, Some("mine")), (own, Some("mine".to_owned()), true));
        let usual = ClientArgs::default().beside(None).expect("the usual one");
        assert_eq!(usual.server, "http://127.0.0.1:7171");
    }

    #[test]
    fn a_file_draws_nothing_to_another_machine() {
        for listen in ["203.0.113.5:80", "[2001:db8::5]:80", "[::ffff:203.0.113.5]:80"] {
            for token in [None, Some("mine")] {
                let failure = args(None, token).beside(named(listen)).expect_err(listen);
                assert!(failure.message.contains(listen) && failure.exit == Exit::BadInput, "{failure}");
                assert_eq!(
                    failure.next,
                    Some(format!("give --server http://{listen} if that is the host that you mean"))
                );
            }
            // Who names it himself means it.
            let given = args(Some(&format!("http://{listen}")), Some("mine")).beside(named(listen)).expect("given");
            assert_eq!((given.server, given.token), (format!("http://{listen}"), Some("mine".to_owned())));
        }
        for listen in ["0.0.0.0:80", "[::]:80", "127.0.0.7:80", "[::1]:80"] {
            assert!(args(None, Some("mine")).beside(named(listen)).is_ok(), "{listen}");
        }
    }
}
