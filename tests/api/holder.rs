//! Holders of tokens, in front of a host that asks for one.

use serde_json::json;

use crate::support::{Answer, Server, Setup, manifest, wasm};

pub(crate) const JOB: &str = r#"{"plugin": "echo", "input": {"card": "4111"}}"#;
pub(crate) const LATER: &str = r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z", "input": {"card": "4111"}}"#;

/// Somebody with a token, in front of a host.
pub(crate) struct Holder<'a> {
    pub(crate) server: &'a Server,
    pub(crate) secret: String,
}

impl Holder<'_> {
    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send_with(method, path, &[], body)
    }

    pub(crate) fn send_with(&self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.secret);
        let headers: Vec<_> = [("Authorization", bearer.as_str())].into_iter().chain(more.iter().copied()).collect();
        self.server.send(method, path, &headers, body.as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, body)
    }

    /// Submits a job and returns its id.
    pub(crate) fn submit(&self, body: &str) -> String {
        taken(&self.post("/v1/jobs", body))
    }

    /// Submits a job, waits for its end, and returns its id.
    pub(crate) fn run(&self, body: &str) -> String {
        taken(&self.post("/v1/jobs?wait=20", body))
    }

    pub(crate) fn listed(&self, path: &str) -> Vec<String> {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let jobs = answer.json()["jobs"].as_array().cloned().expect("jobs");
        jobs.iter().map(|job| job["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Makes a token for somebody.
    pub(crate) fn admit(&self, name: &str, rights: &str) -> Holder<'_> {
        let rights: Vec<_> = rights.split(' ').collect();
        let made = self.post("/v1/tokens", &json!({ "name": name, "rights": rights }).to_string());
        assert_eq!(made.status, 201, "{}", made.text());
        Holder { server: self.server, secret: made.json()["secret"].as_str().expect("a secret").to_owned() }
    }
}

fn taken(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// A host with the plug-in `echo` whose settings hold a secret, and who has it.
pub(crate) fn guarded() -> Server {
    let server = Server::with(Setup { token: Some("root"), ..Setup::default() });
    let manifest = base64(&manifest("echo", "1.0.0", ""));
    let headers = [("Authorization", "Bearer root"), ("Backroom-Manifest", manifest.as_str())];
    let uploaded = server.send("PUT", "/v1/plugins/echo/versions/1.0.0", &headers, &wasm(1));
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    server
}

pub(crate) fn root(server: &Server) -> Holder<'_> {
    Holder { server, secret: "root".to_owned() }
}

pub(crate) fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
