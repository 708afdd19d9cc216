//! Where the host is and how it knows us: what the command line and the environment say, else what backroom.toml says of the
//! host of this folder, else where a host listens that was told nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

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

impl ClientArgs {
    /// Where to go.
    pub(crate) fn address(&self) -> Address {
        let of_file = if self.server.is_some() && self.token.is_some() { None } else { of_settings() };
        self.beside(of_file)
    }

    /// Where to go when the host's settings are known.
    pub(crate) fn address_of(&self, server: &Server, file: Option<PathBuf>) -> Address {
        let token = server.token.as_ref().map(|token| token.reveal().to_owned());
        self.beside(url_of(server.listen).map(|url| Address { server: url, token, file }))
    }

    fn beside(&self, of_file: Option<Address>) -> Address {
        let usual = || url_of(Server::default().listen).unwrap_or_default();
        let given = self.server.as_ref().map(|server| server.trim_end_matches('/').to_owned());
        let (named, token, file) = match of_file {
            Some(Address { server, token, file }) => (Some(server), token, file),
            None => (None, None, None),
        };
        // The secret of one host is nothing for another.
        let is_of_file = given.is_none() || given == named;
        let token = self.token.clone().or(token.filter(|_| is_of_file));
        let file = file.filter(|_| given.is_none());
        Address { server: given.or(named).unwrap_or_else(usual), token, file }
    }
}

/// What the settings file says, as far as it can be read: its mistakes are not the client's.
fn of_settings() -> Option<Address> {
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
    Some(Address { server: url_of(listen)?, token, file: Some(path.to_owned()) })
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

    #[test]
    fn the_secret_of_the_file_goes_to_its_host_alone() {
        let file = || {
            let (server, token) = ("http://127.0.0.1:9000".to_owned(), Some("secret".to_owned()));
            Some(Address { server, token, file: Some("backroom.toml".into()) })
        };
        let to = |server: Option<&str>, token: Option<&str>| {
            let args = ClientArgs { server: server.map(str::to_owned), token: token.map(str::to_owned) };
            let Address { server, token, file } = args.beside(file());
            (server, token, file.is_some())
        };
        let own = "http://127.0.0.1:9000".to_owned();
        assert_eq!(to(None, None), (own.clone(), Some("secret".to_owned()), true));
        assert_eq!(to(Some("http://127.0.0.1:9000/"), None), (own.clone(), Some("secret".to_owned()), false));
        assert_eq!(to(Some("http://other:1"), None), ("http://other:1".to_owned(), None, false));
        assert_eq!(to(None, Some("mine")), (own, Some("mine".to_owned()), true));
        assert_eq!(ClientArgs::default().beside(None).server, "http://127.0.0.1:7171");
    }
}
