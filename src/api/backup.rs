//! The whole store as one file, while the host works.

use std::io::{self, Write};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::mpsc;

use super::ApiState;
use super::error::ApiError;
use super::params::Params;
use super::turns::Turn;
use super::view::form;
use crate::domain::access::Caller;
use crate::domain::time::Timestamp;
use crate::store::backup::{self, BackupError, Blobs, Packing};
use crate::store::frozen::Frozen;
use crate::store::warrant::carried;

/// Bytes that are sent at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// So many of those wait for the reader at the most.
const CHUNKS_AHEAD: usize = 8;

/// The ways in which it is compressed, by the words for them.
const WORDS: [(&str, Packing); 3] = [("none", Packing::Plain), ("gzip", Packing::Gzip), ("zstd", Packing::Zstd)];

/// Everything that the host remembers as of one moment, as NDJSON (docs/backup.md), while it goes on working. One at a time. An
/// answer whose last line is not the end record was cut off.
#[utoipa::path(
    post,
    path = "/v1/store/backup",
    tag = "service",
    operation_id = "store_backup",
    params(
        ("compress" = inline(Option<form::Compression>), Query, description = "How the file is compressed, as a file: the answer has no `Content-Encoding`"),
    ),
    responses(
        (status = 200, description = "The backup; with `compress` compressed", content(
            (String = "application/x-ndjson"),
            (String = "application/gzip"),
            (String = "application/zstd"),
        )),
    )
)]
pub(super) async fn make(State(state): State<ApiState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri, &["compress"])?;
    let packing = params.read("compress", packing_of)?.unwrap_or_default();
    let turn = state.turns().backup()?;
    let frozen = state.blocking(crate::app::Host::freeze_store).await?;
    let created_on = state.host().now();
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tracing::info!(lsn = frozen.moment().lsn, by = ?caller.name, "a backup begins");
    tokio::task::spawn_blocking(carried(move || send(frozen, packing, created_on, sender, turn)));
    let chunks = stream::unfold(receiver, |mut receiver| async move {
        let next: io::Result<Bytes> = receiver.recv().await?;
        Some((next, receiver))
    });
    let (content_type, extension) = match packing {
        Packing::Plain => ("application/x-ndjson", ""),
        Packing::Gzip => ("application/gzip", ".gz"),
        Packing::Zstd => ("application/zstd", ".zst"),
    };
    let mut response = Body::from_stream(chunks).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let disposition = format!("attachment; filename=\"backroom.ndjson{extension}\"");
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

fn packing_of(text: &str) -> Result<Packing, String> {
    let known = WORDS.iter().find(|(word, _)| *word == text).map(|(_, packing)| *packing);
    known.ok_or_else(|| format!("expected one of: {}", WORDS.map(|(word, _)| word).join(", ")))
}

/// Writes it all to a reader; lets go of the frozen store as soon as nobody reads any more.
fn send(
    mut frozen: Box<dyn Frozen>,
    packing: Packing,
    created_on: Timestamp,
    sender: mpsc::Sender<io::Result<Bytes>>,
    _turn: Turn,
) {
    let began = Instant::now();
    let written = (|| {
        let out = Chunks { sender: sender.clone(), chunk: Vec::with_capacity(CHUNK_BYTES) };
        let mut packed = packing.pack(out)?;
        let contents = backup::write(&mut *frozen, &mut packed, created_on, Blobs::Included, &mut |_, _| Ok(()))?;
        packed.finish()?.end()?;
        Ok::<_, BackupError>(contents)
    })();
    match written {
        Ok(contents) => tracing::info!(jobs = contents.jobs, took = ?began.elapsed(), "a backup was sent"),
        Err(error) => {
            tracing::warn!(%error, took = ?began.elapsed(), "a backup was not sent to its end");
            // Breaks the answer off, so that nobody takes it for a whole one.
            let _heard = sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
    }
}

/// Hands on what is written in pieces; waits for a reader who lags behind, as long as his connection lives.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Chunks {
    fn end(mut self) -> io::Result<()> {
        self.hand_on()
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader has gone");
        self.sender.blocking_send(Ok(chunk.into())).map_err(gone)
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.hand_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
