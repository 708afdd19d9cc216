//! Which failures fall into one group (domain.md 10, number 25).

use std::collections::{BTreeMap, BTreeSet};

use backroom::domain::failure::{ErrorClass, Failure};
use backroom::domain::fingerprint::{Fingerprint, SHAPE_MAX, shape};
use backroom::domain::id::PluginName;
use proptest::prelude::*;

fn plugin(name: &str) -> PluginName {
    PluginName::new(name).expect("a good name")
}

fn failure(class: ErrorClass, code: Option<&str>, message: &str) -> Failure {
    Failure { class, code: code.map(str::to_owned), message: message.to_owned(), detail: None }
}

/// The messages of each line are one group, whose shape comes first.
const GROUPS: &[&[&str]] = &[
    &[
        "row <n>: no country named <text>",
        "row 17: no country named 'Atlantis'",
        "row 4: no country named \"Côte d'Ivoire\"",
        "row 1,000: no country named “Mu”",
        "row -1: no country named ''",
        "row 9: no country named `it's here`",
        "  row   9:\tno country\nnamed «it»  ",
    ],
    &["took <n>ms, limit is <n>s", "took 30ms, limit is 5s", "took 1.5ms, limit is 12.25s"],
    &["usage at <n>% of <n>", "usage at 95% of 10", "usage at 7.5% of +100"],
    &["panicked at src/main.rs:<n>:<n>", "panicked at src/main.rs:12:30", "panicked at src/main.rs:7:3"],
    &[
        "order <id> is gone",
        "order 67e55044-10b1-426f-9247-bb680e5fe0c8 is gone",
        "order 67E55044-10B1-426F-9247-BB680E5FE0C8 is gone",
        "order 67e5504410b1426f9247bb680e5fe0c8 is gone",
        "order 0xdeadbeef is gone",
        "order 01ARZ3NDEKTSV4RRFFQ69G5FAV is gone",
        "order a1b2c3 is gone",
        "order fe80::1 is gone",
        "order 00:1b:44:11:3a:b7 is gone",
    ],
    &["order_<n> and job<n>-<n>", "order_42 and job7-1", "order_1 and job12345-678"],
    &[
        "expired on <time>.",
        "expired on 2024-02-29.",
        "expired on 2024-02-29T12:30:05Z.",
        "expired on 2024-02-29 12:30:05.123456+01:00.",
        "expired on 2024/02/29 12:30.",
        "expired on 12:30:05.",
    ],
    &["mail to <email> bounced", "mail to a@example.org bounced", "mail to first.last+tag@mail.example.co.uk bounced"],
    &["cannot mail <email>.", "cannot mail a@example.org.", "cannot mail b-c@d.example."],
    &[
        "GET https://api.example.org/v<n>/users/<n>: gone",
        "GET https://api.example.org/v1/users/17: gone",
        "GET https://api.example.org/v2/users/3: gone",
    ],
    &[
        "GET https://example.org/find<query> failed",
        "GET https://example.org/find?q=cats&page=2 failed",
        "GET https://example.org/find?q=dogs failed",
        "GET https://example.org/find#top failed",
    ],
    &[
        "(see https://<text>@db.example.org:<n>/main)",
        "(see https://admin:secret@db.example.org:5432/main)",
        "(see https://me@db.example.org:1/main)",
    ],
    &["connect to <n>:<n> refused", "connect to 10.0.0.1:8080 refused", "connect to 192.168.7.12:80 refused"],
    &["it's a dog's life, isn't it", "it's a dog's life, isn't it"],
    &["E1042: duplicate key <n>", "E1042: duplicate key 7"],
    &["", "", "   ", "\r\n"],
];

#[test]
fn messages_of_a_group_have_its_shape() {
    for group in GROUPS {
        for message in &group[1..] {
            assert_eq!(shape(message), group[0], "the shape of {message:?}");
        }
    }
}

#[test]
fn messages_of_different_kinds_differ() {
    let messages = [
        "row 1: no country named 'a'",
        "row 1: no town named 'a'",
        "Row 1: no country named 'a'",
        "row 'a': no country named 1",
        "row 1: no country named a",
        "E1042: it failed",
        "E1043: it failed",
        "BR0301: it failed",
        "GET https://a.example.org/x: refused",
        "GET https://b.example.org/x: refused",
        "GET https://a.example.org/y: refused",
        "GET http://a.example.org/y: refused",
        "connection reset",
        "connection refused",
        "",
    ];
    let shapes: BTreeSet<String> = messages.iter().map(|message| shape(message)).collect();
    assert_eq!(shapes.len(), messages.len(), "{shapes:#?}");
}

#[test]
fn five_thousand_failures_are_three_groups() {
    let mut groups = BTreeMap::new();
    for i in 0..5_000_u64 {
        let failed = match i % 3 {
            0 => failure(ErrorClass::Business, None, &format!("row {i}: no country named \"land-{}\"", i * 7)),
            1 => {
                let id = uuid::Uuid::from_u128(u128::from(i) << 77 | u128::from(i * i));
                failure(ErrorClass::Transient, Some("http"), &format!("GET https://x.example/users/{id}?n={i}: {i} ms"))
            }
            _ => failure(ErrorClass::Fatal, Some("BR0301"), &format!("trap at 0x{:x} in user{i}@example.org's job", i)),
        };
        *groups.entry(Fingerprint::of(&plugin("import"), &failed)).or_insert(0) += 1;
    }
    assert_eq!(groups.into_values().collect::<BTreeSet<_>>(), BTreeSet::from([1_666, 1_667]));
}

#[test]
fn five_thousand_failures_are_not_two_groups() {
    let groups: BTreeSet<_> = ["a 1", "b 2", "c 3", "a 4"]
        .map(|message| Fingerprint::of(&plugin("import"), &failure(ErrorClass::Fatal, None, message)))
        .into();
    assert_eq!(groups.len(), 3);
}

#[test]
fn plug_in_class_and_code_tell_failures_apart() {
    let of = |name: &str, class, code, message: &str| Fingerprint::of(&plugin(name), &failure(class, code, message));
    let all = [
        of("a", ErrorClass::Fatal, None, "m"),
        of("b", ErrorClass::Fatal, None, "m"),
        of("a", ErrorClass::Business, None, "m"),
        of("a", ErrorClass::Transient, None, "m"),
        of("a", ErrorClass::Throttled, None, "m"),
        of("a", ErrorClass::UserFixable, None, "m"),
        of("a", ErrorClass::Fatal, Some(""), "m"),
        of("a", ErrorClass::Fatal, Some("m"), ""),
        of("a", ErrorClass::Fatal, Some("c"), "m"),
        of("a", ErrorClass::Fatal, Some("cm"), ""),
        of("am", ErrorClass::Fatal, None, ""),
    ];
    assert_eq!(BTreeSet::from(all).len(), all.len());
}

#[test]
fn the_detail_counts_nothing() {
    let plain = failure(ErrorClass::Fatal, None, "m");
    let detailed = plain.clone().with_detail("frame 1 at 0x17");
    assert_eq!(Fingerprint::of(&plugin("a"), &plain), Fingerprint::of(&plugin("a"), &detailed));
}

#[test]
fn stored_fingerprints_stay_what_they_are() {
    let failed = failure(ErrorClass::Business, Some("no-country"), "row 17: no country named 'Atlantis'");
    assert_eq!(Fingerprint::of(&plugin("import"), &failed).to_string(), "dbd8fb5c4a8d0dcc");
}

#[test]
fn it_is_written_and_read_as_16_digits() {
    for (number, text) in [(0, "0000000000000000"), (u64::MAX, "ffffffffffffffff"), (0xabc, "0000000000000abc")] {
        assert_eq!(Fingerprint(number).to_string(), text);
        assert_eq!(text.parse(), Ok(Fingerprint(number)));
        assert_eq!(text.to_uppercase().parse(), Ok(Fingerprint(number)));
    }
    for text in
        ["", "abc", "+00000000000000f", "00000000000000000", "000000000000000g", "äääääääääääääääää", "ääääääää"]
    {
        let error = text.parse::<Fingerprint>().expect_err("no fingerprint");
        assert_eq!(error.to_string(), format!("`{text}` is not a fingerprint: it must be 16 hexadecimal digits"));
    }
    assert!("x".repeat(100_000).parse::<Fingerprint>().expect_err("no fingerprint").text.len() == 80);
}

/// Hostile messages: each is long, and each walks another path to its end.
#[test]
fn hostile_messages_have_bounded_shapes() {
    let pieces =
        ["1 ", "'", "\"a", "a@", "a.", "://", "a://b@", "<", "<n", "<n>", "0x", "f:", "é", "2024-01-01", "a1", "x"];
    for piece in pieces {
        let message = piece.repeat(1_000_000);
        let shaped = shape(&message);
        assert!(shaped.chars().count() <= SHAPE_MAX, "{piece}");
        assert_eq!(shape(&shaped), shaped, "{piece}");
    }
}

fn nasty() -> impl Strategy<Value = String> {
    let pieces = [
        "a",
        "Z",
        "7",
        "42",
        "-",
        "+",
        ".",
        ",",
        ":",
        "::",
        "/",
        "://",
        "?",
        "#",
        "@",
        "_",
        "'",
        "\"",
        "`",
        "“",
        "”",
        "<",
        ">",
        "<n>",
        "<text>",
        "<query>",
        " ",
        "\n",
        "é",
        "0x",
        "dead",
        "E1042",
        "2024-01-01",
        "T12:30:05",
        "http://",
        "a@b.c",
        "e\u{301}",
        "\0",
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..300).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_has_a_bounded_shape_of_its_own_shape(message in any::<String>()) {
        let shaped = shape(&message);
        prop_assert!(shaped.chars().count() <= SHAPE_MAX);
        prop_assert_eq!(shape(&shaped), shaped);
    }

    #[test]
    fn nasty_text_has_a_bounded_shape_of_its_own_shape(message in nasty()) {
        let shaped = shape(&message);
        prop_assert!(shaped.chars().count() <= SHAPE_MAX);
        prop_assert_eq!(shape(&shaped), shaped);
    }

    #[test]
    fn what_differs_from_job_to_job_counts_nothing(
        row in any::<i64>(), other_row in 0_u32..10, name in "[^\"]{0,40}", id in any::<u128>(), amount in -1e6_f64..1e6
    ) {
        let message = format!("row {row} of {}: {amount:.2} for \"{name}\"", uuid::Uuid::from_u128(id));
        let other = format!("row {other_row} of {}: 1 for \"\"", uuid::Uuid::nil());
        prop_assert_eq!(shape(&message), shape(&other));
        prop_assert_eq!(shape(&message), "row <n> of <id>: <n> for <text>");
    }

    #[test]
    fn words_are_kept(message in "([A-Za-z]{1,12}[ .:;!]){0,20}[a-z]") {
        prop_assert_eq!(shape(&message), message.split_whitespace().collect::<Vec<_>>().join(" "));
    }

    #[test]
    fn every_fingerprint_reads_back(number in any::<u64>()) {
        prop_assert_eq!(Fingerprint(number).to_string().parse(), Ok(Fingerprint(number)));
    }
}
