//! The way out for every HTTP request, of guests and of the host itself: resolve once, check every address, connect to the
//! very one that was checked, and prove with TLS who is there.

mod head;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(crate) use self::head::{HEAD_BYTES_MAX, until_answered};
use crate::domain::outbound::{Coverage, Origin, may_connect};

/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

/// A connection that can speak HTTP.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// No address answers to the name.
    #[error("the name `{0}` leads nowhere")]
    NotFound(String),
    /// The name leads to where a name may not lead.
    #[error("{origin} leads to {address}, inside a network that a name may not lead to")]
    Forbidden {
        /// What was asked for, as it stands in a grant.
        origin: String,
        /// Where it leads.
        address: std::net::IpAddr,
    },
    /// Nobody took the connection.
    #[error("it could not be reached: {0}")]
    Refused(std::io::Error),
    /// The other side could not prove who it is, or speaks no TLS.
    #[error("TLS failed: {0}")]
    Tls(std::io::Error),
}

/// Why the certificates that the operator trusts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read as PEM.
    #[error("{path} cannot be read as certificates in PEM: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file holds no certificate.
    #[error("{0} holds no certificate")]
    Empty(String),
}

/// Opens connections to origins that are granted. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Default for Connector {
    /// Trusts the public certificate authorities.
    fn default() -> Self {
        Self::trusting(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }
}

impl Connector {
    /// Trusts the public certificate authorities and those in a PEM file.
    pub fn with_authorities(file: &Path) -> Result<Self, TrustError> {
        let path = file.display().to_string();
        let unreadable = |why: String| TrustError::Unreadable { path: path.clone(), why };
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let public = roots.len();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(error.to_string()))? {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
        }
        if roots.len() == public { Err(TrustError::Empty(path)) } else { Ok(Self::trusting(roots)) }
    }

    fn trusting(roots: RootCertStore) -> Self {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.expect("the provider speaks TLS 1.2 and 1.3");
        Self { tls: Arc::new(config.with_root_certificates(roots).with_no_client_auth()) }
    }

    /// Connects to an origin that a grant covers.
    pub(crate) async fn open(&self, origin: &Origin, coverage: Coverage) -> Result<Box<dyn Stream>, ConnectError> {
        let stream = connect_checked(origin, coverage).await?;
        if !origin.is_tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(origin.host.clone());
        let name = name.map_err(|_| ConnectError::NotFound(origin.host.clone()))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        Ok(Box::new(connector.connect(name, stream).await.map_err(ConnectError::Tls)?))
    }
}

/// Resolves once, and connects to the very addresses that were checked.
async fn connect_checked(origin: &Origin, coverage: Coverage) -> Result<TcpStream, ConnectError> {
    let nowhere = || ConnectError::NotFound(origin.host.clone());
    let found = tokio::net::lookup_host((origin.host.as_str(), origin.port)).await;
    let found: Vec<SocketAddr> = found.map_err(|_| nowhere())?.take(ADDRESSES).collect();
    if let Some(forbidden) = found.iter().find(|address| !may_connect(origin, coverage, address.ip())) {
        return Err(ConnectError::Forbidden { origin: origin.as_grant(), address: forbidden.ip() });
    }
    let mut last = nowhere();
    for address in found {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = ConnectError::Refused(error),
        }
    }
    Err(last)
}
