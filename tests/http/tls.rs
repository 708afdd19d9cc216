//! Calls over TLS, to a server whose certificate an authority of our own has signed. Its files, in `tls/`, are good for
//! nothing but 127.0.0.1 in these tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backroom::domain::failure::ErrorClass;
use backroom::domain::limits::Limits;
use backroom::sandbox::outbound::Connector;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::world::{World, failure};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/tls").join(name)
}

/// A server that answers every request with two words.
async fn serve() -> String {
    let certificate = CertificateDer::from_pem_file(file("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(file("server-key.pem")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 4_096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            assert!(head[..read].starts_with(b"GET /secure HTTP/1.1\r\n"));
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nwell known";
            stream.write_all(answer).await.expect("it is sent");
            stream.shutdown().await.expect("it is closed");
        }
    });
    format!("https://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_an_authority_that_the_operator_trusts_is_taken() {
    let origin = serve().await;
    let trusting = Connector::with_authorities(&file("authority.pem")).expect("it holds a certificate");
    let world = World::reaching(trusting, Limits::default(), &[&origin]).await;
    let job = world.run(world.call("", json!({ "url": format!("{origin}/secure") }))).await;
    assert!(world.output(&job).ends_with(r#""body":"well known"}"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_other_certificate_is_refused() {
    let origin = serve().await;
    let world = World::with(Limits::default(), &[&origin]).await;
    let job = world.run(world.call("", json!({ "url": format!("{origin}/secure") }))).await;
    let why = failure(&job);
    assert_eq!((why.class, why.code.as_deref()), (ErrorClass::Transient, Some("BR0604")), "{why:?}");
    assert!(why.message.contains("TLS failed"), "{}", why.message);
}

#[test]
fn a_file_without_certificates_is_refused() {
    for (name, message) in [("server-key.pem", "holds no certificate"), ("missing.pem", "cannot be read")] {
        let refused = Connector::with_authorities(&file(name)).expect_err(name).to_string();
        assert!(refused.contains(message), "{refused}");
    }
}
