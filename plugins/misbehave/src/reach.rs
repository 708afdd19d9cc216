use std::net::TcpStream;
use std::{env, fs};

use serde_json::{Value, json};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};

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

pub fn http(authority: &str) -> Value {
    told(get(authority))
}

fn get(authority: &str) -> Result<u16, String> {
    let request = OutgoingRequest::new(Fields::new());
    let malformed = |()| format!("`{authority}` is no address");
    request.set_scheme(Some(&Scheme::Http)).map_err(malformed)?;
    request.set_authority(Some(authority)).map_err(malformed)?;
    request.set_path_with_query(Some("/")).map_err(malformed)?;
    let response = outgoing_handler::handle(request, None).map_err(|error| error.to_string())?;
    response.subscribe().block();
    let response = response.get().expect("the response is ready").expect("nobody took it before");
    response.map(|response| response.status()).map_err(|error| error.to_string())
}

/// Whether something was allowed, and what came of it.
fn told<T: serde::Serialize>(result: Result<T, impl ToString>) -> Value {
    match result {
        Ok(result) => json!({ "allowed": true, "result": result }),
        Err(error) => json!({ "allowed": false, "error": error.to_string() }),
    }
}
