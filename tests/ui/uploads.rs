//! The upload form: what it takes and how it refuses.

use std::sync::Arc;

use backroom::clock::SimulatedClock;
use backroom::domain::id::TenantId;
use backroom::domain::time::Timestamp;

use crate::page;
use crate::site::Site;

/// A part of the form: its name and what it holds.
type Part = (&'static str, &'static [u8]);

const MANIFEST: &[u8] =
    b"name = \"mailer\"\nversion = \"1.2.3\"\ndescription = \"Sends mail\"\nhandlers = [\"send\"]\n";

async fn empty() -> Site {
    Site::empty(Arc::new(SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000)))).await
}

#[tokio::test]
async fn a_component_is_taken_by_name_or_by_manifest() {
    let site = empty().await;
    let by_name: [(&str, &[u8]); 4] =
        [("component", b"\0asm one"), ("manifest", b""), ("name", b"echo"), ("version", b"0.1.0")];
    let answer = site.post_files("/plugins", &by_name).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/plugins/echo?done=uploaded"));
    let again = site.post_files("/plugins", &by_name).await;
    assert_eq!(again.header("location"), "/plugins/echo?done=repeated");

    let by_manifest: [(&str, &[u8]); 4] =
        [("component", b"\0asm two"), ("manifest", MANIFEST), ("name", b""), ("version", b"")];
    let answer = site.post_files("/plugins", &by_manifest).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/plugins/mailer?done=uploaded"));
    let page = site.get("/plugins/mailer").await;
    assert!(page.text().contains("Sends mail") && page.text().contains("1.2.3 active"), "{}", page.text());

    let wishful = [MANIFEST, b"[wants]\nhttp = [\"https://api.example.com\"]\n"].concat();
    let wishful = String::from_utf8(wishful).expect("it is text").replace("1.2.3", "1.3.0");
    let pending: [(&str, &[u8]); 2] = [("component", b"\0asm three"), ("manifest", wishful.as_bytes())];
    let answer = site.post_files("/plugins", &pending).await;
    assert_eq!(answer.header("location"), "/plugins/mailer?done=pending");
}

#[tokio::test]
async fn a_bad_upload_is_explained_and_leaves_nothing() {
    let site = empty().await;
    let wasm: Part = ("component", b"\0asm");
    let named: [Part; 2] = [("name", b"echo"), ("version", b"0.1.0")];
    let bad_manifest: &'static [u8] = b"name = \"Mailer\"\nversion = \"1\"\ncolour = \"red\"\n";
    let cases: Vec<(Vec<Part>, u16, &str, &str)> = vec![
        (vec![("component", b"MZ not wasm"), named[0], named[1]], 422, "BR0201", "does not start like WebAssembly"),
        (vec![("component", b""), named[0], named[1]], 422, "BR0102", "choose a .wasm file"),
        (vec![wasm, ("name", b"Bad Name!"), named[1]], 422, "BR0102", "Bad Name!"),
        (vec![wasm, named[0]], 422, "BR0102", "the version"),
        (vec![wasm, ("manifest", bad_manifest)], 422, "BR0212", "plugin.toml:3"),
        (
            vec![wasm, ("manifest", MANIFEST), named[0]],
            422,
            "BR0102",
            "<code>echo</code> in the form and <code>mailer</code> in plugin.toml",
        ),
        (vec![wasm, ("colour", b"red")], 422, "BR0102", "no field <code>colour</code>"),
    ];
    for (form, status, code, told) in cases {
        let answer = site.post_files("/plugins", &form).await;
        page::read(answer.text());
        let page = page::unescaped(answer.text());
        assert_eq!(answer.status, status, "{page}");
        assert!(page.contains(code) && page.contains(told), "{code} {told}: {page}");
    }
    let answer = site.post("/plugins", "name=echo").await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(site.host.registry.list(TenantId::DEFAULT).is_empty());
}

#[tokio::test]
async fn other_bytes_of_a_version_are_refused() {
    let site = empty().await;
    let form = |content: &'static [u8]| -> [(&str, &[u8]); 3] {
        [("component", content), ("name", b"echo"), ("version", b"0.1.0")]
    };
    assert_eq!(site.post_files("/plugins", &form(b"\0asm one")).await.status, 303);
    let answer = site.post_files("/plugins", &form(b"\0asm two")).await;
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("BR0209"), "{}", answer.text());
}
