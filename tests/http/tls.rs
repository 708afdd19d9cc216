//! Calls over TLS, to a server whose certificate an authority of our own has signed. Both are made by `openssl` for each
//! run; where that is missing these tests are skipped, unless `BACKROOM_REQUIRE_ALL=1` is set.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

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

/// The folder that holds `authority.pem`, `server.pem` and `server-key.pem`; none where they cannot be made.
fn certificates() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    let made = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let is_made = make_certificates(folder.path());
        let is_required = std::env::var("BACKROOM_REQUIRE_ALL").is_ok_and(|value| value == "1");
        assert!(is_made || !is_required, "openssl is missing");
        is_made.then_some(folder)
    });
    made.as_ref().map(tempfile::TempDir::path)
}

fn make_certificates(folder: &Path) -> bool {
    const KEY: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(folder).output();
        output.is_ok_and(|output| output.status.success())
    };
    let authority = ["req", "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca-key.pem", "-out"];
    let request = ["req", "-subj", "/CN=127.0.0.1", "-keyout", "server-key.pem", "-out", "server.csr"];
    let signed = ["x509", "-req", "-in", "server.csr", "-CA", "authority.pem", "-CAkey", "ca-key.pem"];
    let named = ["-CAcreateserial", "-days", "2", "-extfile", "names.cnf", "-out", "server.pem"];
    std::fs::write(folder.join("names.cnf"), "subjectAltName=IP:127.0.0.1\n").expect("it can be written");
    run(&[&authority[..], &["authority.pem"], KEY].concat())
        && run(&[&request[..], KEY].concat())
        && run(&[&signed[..], &named[..]].concat())
}

/// A server that answers every request with two words.
async fn serve(folder: &Path) -> String {
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("server-key.pem")).expect("a key");
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
    let Some(folder) = certificates() else { return };
    let origin = serve(folder).await;
    let trusting = Connector::with_authorities(&folder.join("authority.pem")).expect("it holds a certificate");
    let world = World::reaching(trusting, Limits::default(), &[&origin]).await;
    let job = world.run(world.call("", json!({ "url": format!("{origin}/secure") }))).await;
    assert!(world.output(&job).ends_with(r#""body":"well known"}"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_other_certificate_is_refused() {
    let Some(folder) = certificates() else { return };
    let origin = serve(folder).await;
    let world = World::with(Limits::default(), &[&origin]).await;
    let job = world.run(world.call("", json!({ "url": format!("{origin}/secure") }))).await;
    let why = failure(&job);
    assert_eq!((why.class, why.code.as_deref()), (ErrorClass::Transient, Some("BR0604")), "{why:?}");
    assert!(why.message.contains("TLS failed"), "{}", why.message);
}

#[test]
fn a_file_without_certificates_is_refused() {
    let Some(folder) = certificates() else { return };
    for (name, message) in [("server-key.pem", "holds no certificate"), ("missing.pem", "cannot be read")] {
        let refused = Connector::with_authorities(&folder.join(name)).expect_err(name).to_string();
        assert!(refused.contains(message), "{refused}");
    }
}
