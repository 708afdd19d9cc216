use std::net::TcpStream;
use std::{env, fs};

use serde_json::{Value, json};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, FutureIncomingResponse, IncomingResponse, OutgoingRequest, Scheme};

pub fn environment() -> Value {
    let variables: Vec<(String, String)> = env::vars().collect();
    let arguments: Vec<String> = env::args().collect();
    let files = fs::read_dir("/").and_then(|entries| {
        entries.map(|entry| Ok(entry?.path().display().to_string())).collect::<Result<Vec<_>, std::io::Error>>()
    });
    json!({ "arguments": arguments, "variables": variables, "files": told(files) })
}

pub fn open_file(path: &str) -> Value {
    told(fs::read(path).map(|content| content.len()))
}

pub fn connect(address: &str) -> Value {
    told(TcpStream::connect(address).map(|stream| stream.peer_addr().ok()))
}

pub fn http(authority: &str, path: &str) -> Value {
    told(response(authority, path).map(|response| response.status()))
}

pub fn read(authority: &str, path: &str, between_ms: Option<u64>) -> Value {
    told(crate::hold::read(authority, path, between_ms))
}

/// A request that may be sent.
pub fn request(authority: &str, path: &str) -> Result<OutgoingRequest, String> {
    let request = OutgoingRequest::new(Fields::new());
    let malformed = |()| format!("`{authority}{path}` is no address");
    request.set_scheme(Some(&Scheme::Http)).map_err(malformed)?;
    request.set_authority(Some(authority)).map_err(malformed)?;
    request.set_path_with_query(Some(path)).map_err(malformed)?;
    Ok(request)
}

pub fn response(authority: &str, path: &str) -> Result<IncomingResponse, String> {
    answer(&outgoing_handler::handle(request(authority, path)?, None).map_err(|error| error.to_string())?)
}

/// Waits for the head of an answer.
pub fn answer(future: &FutureIncomingResponse) -> Result<IncomingResponse, String> {
    future.subscribe().block();
    let response = future.get().expect("the response is ready").expect("nobody took it before");
    response.map_err(|error| error.to_string())
}

/// Whether something was allowed, and what came of it.
fn told<T: serde::Serialize>(result: Result<T, impl ToString>) -> Value {
    match result {
        Ok(result) => json!({ "allowed": true, "result": result }),
        Err(error) => json!({ "allowed": false, "error": error.to_string() }),
    }
}
