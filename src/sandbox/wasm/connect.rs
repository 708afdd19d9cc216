//! One outbound request: resolve, check every address, connect to the one that was checked, and speak HTTP/1.1.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody};

use super::guest::Shared;
use super::origin::{Coverage, Origin, may_connect};

/// Bounds of what a guest may ask for; the slice's own wall-clock limit holds beside them.
const CONNECT: Duration = Duration::from_secs(10);
const FIRST_BYTE: Duration = Duration::from_secs(60);

/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Sends a request whose origin is granted.
pub(crate) async fn send(
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
    origin: &Origin,
    coverage: Coverage,
    shared: Arc<Shared>,
) -> Result<(Response<WasiBody>, Driver)> {
    let asked = |limit: Option<Duration>, most: Duration| limit.map_or(most, |limit| limit.min(most));
    let connect_limit = asked(options.as_ref().and_then(|options| options.connect_timeout), CONNECT);
    let answer_limit = asked(options.as_ref().and_then(|options| options.first_byte_timeout), FIRST_BYTE);

    let stream =
        timeout(connect_limit, open(origin, coverage, &shared)).await.map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = Box::pin(connection);
    let request = in_origin_form(request, shared)?;
    let mut is_open = true;
    let answer = async {
        let answered = sender.send_request(request);
        tokio::pin!(answered);
        tokio::select! {
            answer = &mut answered => answer,
            // The connection is done before the answer was taken, or it failed and the answer says how.
            _ = &mut connection => {
                is_open = false;
                answered.await
            }
        }
    };
    let answer = timeout(answer_limit, answer).await.map_err(|_| Error::ConnectionReadTimeout)??;
    let driver: Driver = Box::new(async move { if is_open { connection.await.map_err(Error::from) } else { Ok(()) } });
    Ok((answer.map(|body| body.map_err(Error::from).boxed_unsync()), driver))
}

/// The path alone, as it goes to a server, and the host that was checked.
fn in_origin_form(request: Request<WasiBody>, shared: Arc<Shared>) -> Result<Request<CountedBody>> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Error::HttpRequestUriInvalid)?;
    parts.headers.insert(header::HOST, host);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(Request::from_parts(parts, CountedBody { body, shared }))
}

async fn open(origin: &Origin, coverage: Coverage, shared: &Shared) -> Result<Box<dyn Stream>> {
    let stream = connect_checked(origin, coverage, shared).await?;
    if !origin.is_tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(origin.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let stream = TlsConnector::from(tls()).connect(name, stream).await.map_err(Error::Tls)?;
    Ok(Box::new(stream))
}

/// Resolves once, and connects to the very addresses that were checked.
async fn connect_checked(origin: &Origin, coverage: Coverage, shared: &Shared) -> Result<TcpStream> {
    let found = tokio::net::lookup_host((origin.host.as_str(), origin.port)).await;
    let found: Vec<SocketAddr> = found.map_err(|_| Error::DestinationNotFound)?.take(ADDRESSES).collect();
    if let Some(forbidden) = found.iter().find(|address| !may_connect(origin, coverage, address.ip())) {
        shared.note(&format!(
            "refused {}: it leads to {}, inside a network that a name may not lead to. Grant the address itself if it is meant",
            origin.as_grant(),
            forbidden.ip()
        ));
        return Err(Error::DestinationIpProhibited);
    }
    let mut last = Error::DestinationNotFound;
    for address in found {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Error::Connect(error),
        }
    }
    Err(last)
}

fn tls() -> Arc<ClientConfig> {
    static TLS: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let make = || {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.expect("the provider speaks TLS 1.2 and 1.3");
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    };
    Arc::clone(TLS.get_or_init(make))
}

/// A request's body, counted as what host calls copy out of the guest.
struct CountedBody {
    body: WasiBody,
    shared: Arc<Shared>,
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && self.shared.copies.charge(data.len()).is_err()
        {
            return Poll::Ready(Some(Err(Error::HttpRequestBodySize(None))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
