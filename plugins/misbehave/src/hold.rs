use std::hint::black_box;
use std::mem::forget;

use backroom_sdk::config;
use serde::Deserialize;
use serde_json::{Value, json};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, Method, OutgoingRequest, RequestOptions, Scheme};
use wasip2::io::poll::poll;
use wasip2::io::streams::{OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;

use crate::reach;

/// What the host is made to hold.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Answers,
    Authorities,
    Bodies,
    Clones,
    FieldLists,
    Fields,
    Lookups,
    Methods,
    Paths,
    Schemes,
    Settings,
    SmallFields,
    Splices,
    Zeroes,
}

/// Makes the host hold that, that often, and lets go of nothing.
pub fn hold(what: What, bytes: usize, times: u64, authority: &str) -> Value {
    let text = "x".repeat(bytes);
    let taken = (0..times).filter(|_| once(what, &text, authority)).count() as u64;
    json!({ "taken": taken, "refused": times - taken })
}

fn once(what: What, text: &str, authority: &str) -> bool {
    match what {
        What::Answers => reach::response(authority, "/").map(forget).is_ok(),
        What::Authorities => request(|request| request.set_authority(Some(text))),
        What::Methods => request(|request| request.set_method(&Method::Other(text.to_owned()))),
        What::Paths => request(|request| request.set_path_with_query(Some(&format!("/{text}")))),
        What::Schemes => request(|request| request.set_scheme(Some(&Scheme::Other(text.to_owned())))),
        What::Fields => kept(|fields| fields.append("x-large", text.as_bytes()).is_ok()),
        What::FieldLists => {
            let list = vec![("x-large".to_owned(), text.as_bytes().to_vec())];
            Fields::from_list(&list).map(forget).is_ok()
        }
        What::SmallFields => {
            kept(|fields| (0..text.len()).all(|count| fields.append(&format!("x{count}"), b"").is_ok()))
        }
        What::Clones => kept(|fields| {
            let clone = fields.append("x-large", text.as_bytes()).map(|()| fields.clone());
            clone.and_then(|clone| clone.append("x-more", b"x").map(|()| forget(clone))).is_ok()
        }),
        What::Bodies => body(|stream, room| stream.write(&text.as_bytes()[..text.len().min(room)]).is_ok()),
        What::Splices => spliced(authority, text.len() as u64),
        What::Settings => config::get(text).is_ok(),
        What::Lookups => resolve_addresses(&instance_network(), text).map(forget).is_ok(),
        What::Zeroes => body(|stream, room| stream.write_zeroes(room.min(text.len()) as u64).is_ok()),
    }
}

fn request(change: impl Fn(&OutgoingRequest) -> Result<(), ()>) -> bool {
    let request = OutgoingRequest::new(Fields::new());
    let is_taken = change(&request).is_ok();
    forget(request);
    is_taken
}

fn kept(change: impl Fn(&Fields) -> bool) -> bool {
    let fields = Fields::new();
    let is_taken = change(&fields);
    forget(fields);
    is_taken
}

/// A body that is written as far as it can be, and never sent.
fn body(write: impl Fn(&OutputStream, usize) -> bool) -> bool {
    let request = OutgoingRequest::new(Fields::new());
    let Ok(body) = request.body() else { return false };
    let Ok(stream) = body.write() else { return false };
    let mut is_taken = false;
    while let Ok(room @ 1..) = stream.check_write() {
        if !write(&stream, usize::try_from(room).unwrap_or(usize::MAX)) {
            break;
        }
        is_taken = true;
    }
    forget((request, body, stream));
    is_taken
}

/// Moves bytes from one of the guest's own streams to the other.
pub fn splice(bytes: usize, times: u64) -> Value {
    let (from, to) = (wasip2::cli::stdin::get_stdin(), wasip2::cli::stdout::get_stdout());
    let moved: Vec<_> = (0..times).map(|_| to.splice(&from, bytes as u64)).collect();
    let closed = moved.iter().filter(|moved| matches!(moved, Err(StreamError::Closed))).count();
    json!({ "moved": moved.iter().flatten().sum::<u64>(), "closed": closed })
}

/// A body that takes an answer's as far as it can, and is never sent.
fn spliced(authority: &str, most: u64) -> bool {
    let Ok(answer) = reach::response(authority, "/") else { return false };
    let Ok(answered) = answer.consume() else { return false };
    let Ok(from) = answered.stream() else { return false };
    // The form that blocks would wait for the body to be sent.
    let is_taken = body(|to, _| {
        from.subscribe().block();
        to.splice(&from, most).is_ok()
    });
    forget((answer, answered, from));
    is_taken
}

/// Waits for the same request again and again, in one call.
pub fn poll_list(times: u64) -> usize {
    let pollable = wasip2::clocks::monotonic_clock::subscribe_duration(0);
    poll(&vec![&pollable; usize::try_from(times).unwrap_or(usize::MAX)]).len()
}

/// Fills and copies that much memory in one instruction, that often.
pub fn fill(bytes: usize, times: u64) -> u64 {
    let mut memory = vec![0_u8; bytes];
    for round in 0..times {
        black_box(&mut memory).fill(round as u8);
        let half = black_box(bytes) / 2;
        memory.copy_within(..half, half);
    }
    black_box(&memory).iter().step_by(4096).map(|byte| u64::from(*byte)).sum()
}

/// Reads an answer to its end, and says how much there was.
pub fn read(authority: &str, path: &str, between_ms: Option<u64>) -> Result<u64, String> {
    let options = RequestOptions::new();
    options.set_between_bytes_timeout(between_ms.map(|ms| ms * 1_000_000)).map_err(|()| "no such option")?;
    let request = reach::request(authority, path)?;
    let future = outgoing_handler::handle(request, Some(options)).map_err(|error| error.to_string())?;
    let response = reach::answer(&future)?;
    let body = response.consume().map_err(|()| "it has no body")?;
    let stream = body.stream().map_err(|()| "its body is taken")?;
    let mut read = 0;
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(bytes) => read += bytes.len() as u64,
            Err(StreamError::Closed) => return Ok(read),
            Err(error) => return Err(format!("after {read} bytes: {error:?}")),
        }
    }
}
