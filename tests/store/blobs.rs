//! Blobs: bytes under their digest.

use backroom::domain::id::Digest;
use backroom::domain::job::Payload;
use backroom::store::{Store, payload_bytes, put_payload};
use bytes::Bytes;

use crate::common::*;

on_every_store!(a_blob_is_read_back, payloads_choose_their_place);

fn a_blob_is_read_back(store: &dyn Store) {
    let bytes = Bytes::from(vec![7; 100_000]);
    let digest = store.put_blob(bytes.clone()).expect("there is room");
    assert_eq!(store.blob(digest), Ok(Some(bytes.clone())));
    assert_eq!(store.put_blob(bytes), Ok(digest));
    assert_eq!(store.blob(Digest([1; 32])), Ok(None));
    let empty = store.put_blob(Bytes::new()).expect("there is room");
    assert_eq!(empty.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(store.blob(empty), Ok(Some(Bytes::new())));
}

fn payloads_choose_their_place(store: &dyn Store) {
    for size in [0, Payload::INLINE_BYTES_MAX, Payload::INLINE_BYTES_MAX + 1] {
        let bytes = Bytes::from(vec![1; size]);
        let payload = put_payload(store, bytes.clone()).expect("there is room");
        assert_eq!(payload.digest().is_some(), size > Payload::INLINE_BYTES_MAX);
        assert_eq!(payload.len(), size as u64);
        assert_eq!(payload_bytes(store, &payload), Ok(bytes));
    }
}
