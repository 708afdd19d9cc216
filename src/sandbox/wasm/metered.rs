//! The calls of stock interfaces that make the host keep or make something for a guest: they are charged to the attempt, and
//! bounded, before the library's own code sees them. `docs/sandbox.md` lists all others and says why they keep nothing.

use std::future::Future;
use std::sync::Arc;

use tokio::task::yield_now;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentNamedList, Lift, Linker, Lower, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::io::poll::{Host as _, HostPollable as _};
use wasmtime_wasi::p2::bindings::io::streams::{self, Host as _, HostInputStream as _, HostOutputStream as _};
use wasmtime_wasi::p2::bindings::random::{insecure::Host as _, random::Host as _};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamResult};
use wasmtime_wasi::random::WasiRandomView as _;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::HeaderResult;
use wasmtime_wasi_http::p2::bindings::http::types::{self, Host as _, HostFields as _, HostOutgoingRequest as _};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{FieldMap, FieldMapError, WasiHttpCtxView, WasiHttpView};

use super::guest::{FIELDS_BYTES, Guest};
use super::limits::{Breach, Halt};
use super::wasi::PERMIT;

const HTTP_TYPES: &str = "wasi:http/types@0.2.12";
const POLL: &str = "wasi:io/poll@0.2.12";
const STREAMS: &str = "wasi:io/streams@0.2.12";
const RANDOM: &str = "wasi:random/random@0.2.12";
const INSECURE: &str = "wasi:random/insecure@0.2.12";

/// What one field costs the host beside its name and value.
const AROUND_A_FIELD: usize = 256;

/// Bytes of one part of a request's first line: as many as a set of fields, and as a URI may have.
const PART_BYTES: usize = FIELDS_BYTES;

/// Random bytes that are made between two looks at who else wants the core.
const RANDOM_BYTES: usize = 64 << 10;

type Store<'a> = StoreContextMut<'a, Guest>;
type Called<T> = wasmtime::Result<T>;

/// Puts our functions in the place of the library's, which are linked already.
pub(crate) fn link(linker: &mut Linker<Guest>) -> Called<()> {
    fields(linker)?;
    requests(linker)?;
    output_streams(linker)?;
    splices(linker)?;
    waits(linker)?;
    random(linker)
}

fn fields(linker: &mut Linker<Guest>) -> Called<()> {
    type Entries = Vec<(String, Vec<u8>)>;
    replace(linker, HTTP_TYPES, "[static]fields.from-list", |mut store, (entries,): (Entries,)| {
        let guest = store.data_mut();
        guest.charge(entries.iter().map(|(name, value)| field(name.len(), value.len())).sum())?;
        let mut http = guest.http();
        let made = http.from_list(entries);
        Ok((header(&mut http, made)?,))
    })?;
    type Set = (Resource<FieldMap>, String, Vec<Vec<u8>>);
    replace(linker, HTTP_TYPES, "[method]fields.set", |mut store, (fields, name, values): Set| {
        let guest = store.data_mut();
        guest.charge(field(name.len(), 0) + values.iter().map(|value| field(0, value.len())).sum::<usize>())?;
        let mut http = guest.http();
        let set = types::HostFields::set(&mut http, fields, name, values);
        Ok((header(&mut http, set)?,))
    })?;
    type Append = (Resource<FieldMap>, String, Vec<u8>);
    replace(linker, HTTP_TYPES, "[method]fields.append", |mut store, (fields, name, value): Append| {
        let guest = store.data_mut();
        guest.charge(field(name.len(), value.len()))?;
        let mut http = guest.http();
        let appended = http.append(fields, name, value);
        Ok((header(&mut http, appended)?,))
    })?;
    // A clone shares its fields until one of both is changed, which the guest can do at once with next to no bytes.
    replace(linker, HTTP_TYPES, "[method]fields.clone", |mut store, (fields,): (Resource<FieldMap>,)| {
        let guest = store.data_mut();
        let shared = Arc::clone(&guest.shared);
        let mut http = guest.http();
        let of = http.table.get(&fields)?;
        shared.copies.charge(of.iter().map(|(name, value)| field(name.as_str().len(), value.len())).sum())?;
        Ok((types::HostFields::clone(&mut http, fields)?,))
    })
}

fn field(name: usize, value: usize) -> usize {
    name.saturating_add(value).saturating_add(AROUND_A_FIELD)
}

/// What a guest is told of its fields; a set that is too large ends it, with a name.
fn header<T>(http: &mut WasiHttpCtxView<'_>, result: HeaderResult<T>) -> Called<Result<T, types::HeaderError>> {
    let error = match result {
        Ok(done) => return Ok(Ok(done)),
        Err(error) => error,
    };
    match http.convert_header_error(error) {
        Ok(error) => Ok(Err(error)),
        Err(trap) => match trap.downcast_ref::<FieldMapError>() {
            Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields) => {
                Err(Halt::Breach(Breach::Fields).into())
            }
            _ => Err(trap),
        },
    }
}

fn requests(linker: &mut Linker<Guest>) -> Called<()> {
    type Request = Resource<HostOutgoingRequest>;
    type Done = Result<(), ()>;
    replace(
        linker,
        HTTP_TYPES,
        "[method]outgoing-request.set-method",
        |mut store, params: (Request, types::Method)| {
            let (request, method) = params;
            let part = if let types::Method::Other(name) = &method { name.len() } else { 0 };
            let done: Done = match takes_part(store.data_mut(), "method", part)? {
                true => store.data_mut().http().set_method(request, method)?,
                false => Err(()),
            };
            Ok((done,))
        },
    )?;
    replace(
        linker,
        HTTP_TYPES,
        "[method]outgoing-request.set-scheme",
        |mut store, params: (Request, Option<types::Scheme>)| {
            let (request, scheme) = params;
            let part = if let Some(types::Scheme::Other(name)) = &scheme { name.len() } else { 0 };
            let done: Done = match takes_part(store.data_mut(), "scheme", part)? {
                true => store.data_mut().http().set_scheme(request, scheme)?,
                false => Err(()),
            };
            Ok((done,))
        },
    )?;
    type Text = (Request, Option<String>);
    replace(linker, HTTP_TYPES, "[method]outgoing-request.set-authority", |mut store, (request, text): Text| {
        let part = text.as_ref().map_or(0, String::len);
        let done: Done = match takes_part(store.data_mut(), "authority", part)? {
            true => store.data_mut().http().set_authority(request, text)?,
            false => Err(()),
        };
        Ok((done,))
    })?;
    replace(linker, HTTP_TYPES, "[method]outgoing-request.set-path-with-query", |mut store, (request, text): Text| {
        let part = text.as_ref().map_or(0, String::len);
        let done: Done = match takes_part(store.data_mut(), "path", part)? {
            true => store.data_mut().http().set_path_with_query(request, text)?,
            false => Err(()),
        };
        Ok((done,))
    })
}

/// Charges a part of a request's first line, and says whether it is short enough to be one.
fn takes_part(guest: &mut Guest, part: &str, bytes: usize) -> Called<bool> {
    guest.charge(bytes)?;
    if bytes <= PART_BYTES {
        return Ok(true);
    }
    guest.shared.note(&format!("refused the {part} of a request: it has {bytes} bytes, and may have {PART_BYTES}"));
    Ok(false)
}

fn output_streams(linker: &mut Linker<Guest>) -> Called<()> {
    type Output = Resource<DynOutputStream>;
    replace(linker, STREAMS, "[method]output-stream.write", |mut store, (stream, bytes): (Output, Vec<u8>)| {
        store.data_mut().charge(bytes.len())?;
        let table = table(&mut store);
        let written = streams::HostOutputStream::write(table, stream, bytes);
        Ok((told(table, written)?,))
    })?;
    replace(linker, STREAMS, "[method]output-stream.write-zeroes", |mut store, (stream, zeroes): (Output, u64)| {
        store.data_mut().charge(length(zeroes))?;
        let table = table(&mut store);
        let written = table.write_zeroes(stream, zeroes);
        Ok((told(table, written)?,))
    })?;
    const WRITE: &str = "[method]output-stream.blocking-write-and-flush";
    replace_async(linker, STREAMS, WRITE, |mut store, (stream, bytes): (Output, Vec<u8>)| {
        Box::new(async move {
            store.data_mut().charge(bytes.len())?;
            waits_in(&mut store, "wasi:io/streams blocking-write-and-flush");
            let table = table(&mut store);
            let written = table.blocking_write_and_flush(stream, bytes).await;
            let written = told(table, written)?;
            goes_on(&mut store);
            Ok((written,))
        })
    })?;
    const ZEROES: &str = "[method]output-stream.blocking-write-zeroes-and-flush";
    replace_async(linker, STREAMS, ZEROES, |mut store, (stream, zeroes): (Output, u64)| {
        Box::new(async move {
            store.data_mut().charge(length(zeroes))?;
            waits_in(&mut store, "wasi:io/streams blocking-write-zeroes-and-flush");
            let table = table(&mut store);
            let written = table.blocking_write_zeroes_and_flush(stream, zeroes).await;
            let written = told(table, written)?;
            goes_on(&mut store);
            Ok((written,))
        })
    })?;
    replace_async(linker, STREAMS, "[method]output-stream.blocking-flush", |mut store, (stream,): (Output,)| {
        Box::new(async move {
            waits_in(&mut store, "wasi:io/streams blocking-flush");
            let table = table(&mut store);
            let flushed = table.blocking_flush(stream).await;
            let flushed = told(table, flushed)?;
            goes_on(&mut store);
            Ok((flushed,))
        })
    })
}

/// Bytes that go from one stream to another never pass through the guest. No more are moved than there is room for; that is
/// charged before, and given back as far as it was not needed.
fn splices(linker: &mut Linker<Guest>) -> Called<()> {
    type Splice = (Resource<DynOutputStream>, Resource<DynInputStream>, u64);
    replace(linker, STREAMS, "[method]output-stream.splice", |mut store, (to, from, most): Splice| {
        let most = takes_splice(&store, most)?;
        let table = table(&mut store);
        let moved = table.splice(to, from, most);
        let moved = told(table, moved)?;
        give_back(&store, most, &moved);
        Ok((moved,))
    })?;
    const BLOCKING: &str = "[method]output-stream.blocking-splice";
    replace_async(linker, STREAMS, BLOCKING, |mut store, (to, from, most): Splice| {
        Box::new(async move {
            let most = takes_splice(&store, most)?;
            waits_in(&mut store, "wasi:io/streams blocking-splice");
            let table = table(&mut store);
            let moved = table.blocking_splice(to, from, most).await;
            let moved = told(table, moved)?;
            give_back(&store, most, &moved);
            goes_on(&mut store);
            Ok((moved,))
        })
    })
}

/// Charges what may be moved.
fn takes_splice(store: &Store<'_>, most: u64) -> Result<u64, Halt> {
    store.data().check_calls()?;
    store.data().shared.copies.charge_up_to(most.min(PERMIT as u64))
}

/// An error has moved nothing.
fn give_back<E>(store: &Store<'_>, charged: u64, moved: &Result<u64, E>) {
    let moved = moved.as_ref().map_or(0, |moved| *moved);
    store.data().shared.copies.give_back(length(charged.saturating_sub(moved)));
}

/// The calls that wait: a time-out says which of them it was.
fn waits(linker: &mut Linker<Guest>) -> Called<()> {
    type Input = Resource<DynInputStream>;
    replace_async(linker, POLL, "poll", |mut store, (pollables,): (Vec<Resource<DynPollable>>,)| {
        Box::new(async move {
            // The same one again and again would keep the host busy for nothing.
            if pollables.len() > store.data().slice.limits.handles as usize {
                return Err(Halt::Breach(Breach::Handles).into());
            }
            waits_in(&mut store, "wasi:io/poll poll");
            let ready = table(&mut store).poll(pollables).await?;
            goes_on(&mut store);
            Ok((ready,))
        })
    })?;
    replace_async(linker, POLL, "[method]pollable.block", |mut store, (pollable,): (Resource<DynPollable>,)| {
        Box::new(async move {
            waits_in(&mut store, "wasi:io/poll block");
            table(&mut store).block(pollable).await?;
            goes_on(&mut store);
            Ok(())
        })
    })?;
    replace_async(linker, STREAMS, "[method]input-stream.blocking-read", |mut store, (stream, most): (Input, u64)| {
        Box::new(async move {
            waits_in(&mut store, "wasi:io/streams blocking-read");
            let table = table(&mut store);
            let read = table.blocking_read(stream, most).await;
            let read = told(table, read)?;
            goes_on(&mut store);
            Ok((read,))
        })
    })?;
    replace_async(linker, STREAMS, "[method]input-stream.blocking-skip", |mut store, (stream, most): (Input, u64)| {
        Box::new(async move {
            waits_in(&mut store, "wasi:io/streams blocking-skip");
            let table = table(&mut store);
            let skipped = table.blocking_skip(stream, most).await;
            let skipped = told(table, skipped)?;
            goes_on(&mut store);
            Ok((skipped,))
        })
    })
}

/// Random bytes are made piece by piece, so that others get a turn between.
fn random(linker: &mut Linker<Guest>) -> Called<()> {
    replace_async(linker, RANDOM, "get-random-bytes", |mut store, (count,): (u64,)| {
        Box::new(async move {
            let mut bytes = Vec::with_capacity(takes_random(&store, count)?);
            for piece in pieces(count) {
                bytes.append(&mut store.data_mut().random().get_random_bytes(piece)?);
                yield_now().await;
            }
            Ok((bytes,))
        })
    })?;
    replace_async(linker, INSECURE, "get-insecure-random-bytes", |mut store, (count,): (u64,)| {
        Box::new(async move {
            let mut bytes = Vec::with_capacity(takes_random(&store, count)?);
            for piece in pieces(count) {
                bytes.append(&mut store.data_mut().random().get_insecure_random_bytes(piece)?);
                yield_now().await;
            }
            Ok((bytes,))
        })
    })
}

fn takes_random(store: &Store<'_>, count: u64) -> Result<usize, Halt> {
    store.data().check_calls()?;
    match count <= store.data().slice.limits.host_call_bytes {
        true => Ok(length(count)),
        false => Err(Halt::Breach(Breach::HostCallBytes)),
    }
}

fn pieces(count: u64) -> impl Iterator<Item = u64> {
    let piece = RANDOM_BYTES as u64;
    (0..count.div_ceil(piece)).map(move |index| piece.min(count - index * piece))
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn table<'a>(store: &'a mut Store<'_>) -> &'a mut ResourceTable {
    let WasiCtxView { table, .. } = store.data_mut().ctx();
    table
}

fn waits_in(store: &mut Store<'_>, call: &'static str) {
    store.data_mut().waits_in = Some(call);
}

fn goes_on(store: &mut Store<'_>) {
    store.data_mut().waits_in = None;
}

/// What a guest is told of a stream.
fn told<T>(table: &mut ResourceTable, result: StreamResult<T>) -> Called<Result<T, streams::StreamError>> {
    Ok(match result {
        Ok(done) => Ok(done),
        Err(error) => Err(table.convert_stream_error(error)?),
    })
}

fn replace<P, R, F>(linker: &mut Linker<Guest>, interface: &str, name: &str, function: F) -> Called<()>
where
    P: ComponentNamedList + Lift + 'static,
    R: ComponentNamedList + Lower + 'static,
    F: Fn(Store<'_>, P) -> Called<R> + Send + Sync + 'static,
{
    must_be_linked(linker, interface, name)?;
    linker.allow_shadowing(true).instance(interface)?.func_wrap(name, function)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn replace_async<P, R, F>(linker: &mut Linker<Guest>, interface: &str, name: &str, function: F) -> Called<()>
where
    P: ComponentNamedList + Lift + 'static,
    R: ComponentNamedList + Lower + 'static,
    F: Fn(Store<'_>, P) -> Box<dyn Future<Output = Called<R>> + Send + '_> + Send + Sync + 'static,
{
    must_be_linked(linker, interface, name)?;
    linker.allow_shadowing(true).instance(interface)?.func_wrap_async(name, function)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A function that the library does not have would meter nothing: another version of it may have moved or renamed it.
fn must_be_linked(linker: &mut Linker<Guest>, interface: &str, name: &str) -> Called<()> {
    match linker.instance(interface)?.func_wrap(name, |_, (): ()| Ok(())) {
        Err(_) => Ok(()),
        Ok(()) => Err(wasmtime::format_err!("`{interface}` of the library has no `{name}`, which the host meters")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_metered_takes_the_place_of_what_is_there() {
        let engine = wasmtime::Engine::new(&crate::sandbox::wasm::engine::base_config(512 << 10)).expect("an engine");
        let mut linker = Linker::new(&engine);
        let missing = link(&mut linker).expect_err("nothing is linked yet").to_string();
        assert!(missing.contains("has no `[static]fields.from-list`"), "{missing}");
    }

    #[test]
    fn pieces_add_up() {
        assert_eq!(pieces(0).count(), 0);
        assert_eq!(pieces(RANDOM_BYTES as u64 * 2 + 1).collect::<Vec<_>>(), [65_536, 65_536, 1]);
    }
}
