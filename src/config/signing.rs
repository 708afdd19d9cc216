//! `[[http.sign]]`: which receivers get signed requests, and the keys that sign them. No message shows a key.

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::problem::{Place, Position, Problem};
use super::section::Section;
use super::value::{self, Entry, Given, Reading, Value, list, parsed};
use super::{Problems, Settings, SignSettings, pattern};
use crate::domain::advice;
use crate::domain::code;
use crate::domain::outbound::{BadKeys, KEY_BYTES, Origin, SigningKey, SigningKeys, coverage, http_plugin};
use crate::domain::plugin::Grant;

/// How the text of a key begins.
const PREFIX: &str = "whsec_";

/// What to write in place of something that is no key.
const FORM: &str = "write `whsec_` and the base64 of 24 to 64 random bytes: echo whsec_$(openssl rand -base64 32)";

/// What is read of a file of keys: more than so many have.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Base64 with its padding or without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the receivers: tables of a file, or `ORIGIN=KEY` for each key where a variable gives them.
pub(super) fn read_sign(section: &mut Section<'_>, sign: &mut Vec<SignSettings>) {
    const REMEDY: &str = "write a table for each receiver: [[http.sign]], origin = \"https://hooks.example.com\", \
                          keys = [\"whsec_...\"]";
    section.refuse("signing_key", "signed for every receiver with the same key, which is no longer done", REMEDY);
    if section.is_of_variables() {
        section.set("sign", sign, |given| list(of_word)(given).map(together));
    } else if section.has("sign") {
        let tables = section.tables("sign");
        *sign = tables.into_iter().filter_map(|(place, entries)| read_receiver(section, place, entries)).collect();
    }
}

fn read_receiver(section: &mut Section<'_>, place: Place, entries: Vec<Entry>) -> Option<SignSettings> {
    let mut table = section.item(&named(&entries), entries);
    if !table.has("origin") {
        let remedy = "add the line origin = \"https://hooks.example.com\"";
        table.problem(place.clone(), "a [[http.sign]] has no `origin`", remedy);
    }
    let origin = table.read("origin", origin);
    let place = table.place_of("origin").unwrap_or(place);
    let keys = table.read("keys", keys);
    let key_file = table.read("key_file", |given| not_a_key(given).and_then(|()| value::path(given)));
    table.finish();
    Some(SignSettings { origin: origin?, keys: keys.unwrap_or_default(), key_file, place })
}

/// What messages call the table of a receiver.
fn named(entries: &[Entry]) -> String {
    match entries.iter().find(|entry| entry.key == "origin").map(|entry| &entry.given.value) {
        Some(Value::Text(origin)) if !origin.contains(PREFIX) => format!("sign[{origin}]"),
        _ => "sign".to_owned(),
    }
}

fn origin(given: &Given) -> Reading<Origin> {
    not_a_key(given)?;
    parsed(parse_receiver, "write the origin of one receiver, such as \"https://hooks.example.com\"")(given)
}

fn parse_receiver(text: &str) -> Result<Origin, String> {
    let text = pattern::parse_origin(text)?;
    if text.contains('*') {
        return Err("it stands for many receivers, and each has keys of its own".to_owned());
    }
    let (scheme, authority) = text.split_once("://").unwrap_or_default();
    Origin::of(scheme, authority).ok_or_else(|| "it has no host".to_owned())
}

/// A key in the wrong place would be shown with it.
fn not_a_key(given: &Given) -> Reading<()> {
    match &given.value {
        Value::Text(text) | Value::Word(text) if text.contains(PREFIX) => {
            Err(vec![Problem::new(given.place.clone(), "holds a key, which belongs under `keys`", FORM)])
        }
        _ => Ok(()),
    }
}

/// One key, or a list of them.
fn keys(given: &Given) -> Reading<Vec<SigningKey>> {
    match &given.value {
        Value::Text(_) => key(given).map(|key| vec![key]),
        _ => list(key)(given),
    }
}

fn key(given: &Given) -> Reading<SigningKey> {
    let text = value::text(given)?;
    parse_key(&text).map_err(|why| vec![Problem::new(given.place.clone(), why, FORM)])
}

fn parse_key(text: &str) -> Result<SigningKey, String> {
    let encoded = text.strip_prefix(PREFIX).ok_or("has a key that does not begin with `whsec_`")?;
    let bytes = BASE64.decode(encoded).map_err(|_| "has a key that is no base64 after `whsec_`")?;
    let (count, least, most) = (bytes.len(), KEY_BYTES.start(), KEY_BYTES.end());
    SigningKey::new(bytes).ok_or_else(|| format!("has a key of {count} bytes; a key has {least} to {most}"))
}

/// One `ORIGIN=KEY` of a variable.
fn of_word(given: &Given) -> Reading<SignSettings> {
    let refuse = |why: String| {
        let remedy =
            "write ORIGIN=KEY for each key, with commas between them, such as https://hooks.example.com=whsec_...";
        Err(vec![Problem::new(given.place.clone(), why, remedy)])
    };
    let text = value::text(given)?;
    let Some((origin, key)) = text.split_once('=').filter(|(origin, _)| !origin.contains(PREFIX)) else {
        return refuse("has a key without an origin".to_owned());
    };
    match (parse_receiver(origin.trim()), parse_key(key.trim())) {
        (Err(why), _) => refuse(format!("has the origin {origin:?}, which is not acceptable: {why}")),
        (_, Err(why)) => refuse(format!("{why}, for {origin}")),
        (Ok(origin), Ok(key)) => {
            Ok(SignSettings { origin, keys: vec![key], key_file: None, place: given.place.clone() })
        }
    }
}

/// The keys of each origin together.
fn together(single: Vec<SignSettings>) -> Vec<SignSettings> {
    let mut sign: Vec<SignSettings> = Vec::new();
    for one in single {
        match sign.iter_mut().find(|known| known.origin == one.origin) {
            Some(known) => known.keys.extend(one.keys),
            None => sign.push(one),
        }
    }
    sign
}

/// What is wrong with the receivers as far as the settings alone can tell.
pub(super) fn check_sign(settings: &Settings) -> Vec<Problem> {
    let (_, mut problems) = gathered(&settings.http.sign, |_| Ok(Vec::new()));
    problems.extend(settings.http.sign.iter().filter_map(|receiver| not_granted(settings, receiver)));
    problems
}

fn not_granted(settings: &Settings, receiver: &SignSettings) -> Option<Problem> {
    let plugin = http_plugin();
    let policies = settings.policies();
    let policy = policies.of(&plugin);
    if coverage(&policy.grants, &receiver.origin).is_some() {
        return None;
    }
    let origin = receiver.origin.as_grant();
    let advice = advice::grant_in_settings(&plugin, policy, &[Grant::Http(origin.clone())]);
    let message = format!("`http.sign` has keys for {origin}, which the settings do not grant to `http`");
    Some(Problem::new(receiver.place.clone(), message, format!("to grant it:\n{advice}")))
}

/// The keys of all receivers, those in files among them.
pub fn signing_keys(sign: &[SignSettings]) -> Result<SigningKeys, Problems> {
    let (keys, problems) = gathered(sign, keys_of_file);
    if problems.is_empty() { Ok(keys) } else { Err(Problems(problems)) }
}

fn gathered(
    sign: &[SignSettings],
    read: impl Fn(&SignSettings) -> Reading<Vec<SigningKey>>,
) -> (SigningKeys, Vec<Problem>) {
    let (mut keys, mut problems) = (SigningKeys::default(), Vec::new());
    for receiver in sign {
        let read = match read(receiver) {
            Ok(read) => read,
            Err(more) => {
                problems.extend(more);
                continue;
            }
        };
        let all: Vec<_> = receiver.keys.iter().cloned().chain(read).collect();
        // Its file has not been looked into.
        if all.is_empty() && receiver.key_file.is_some() {
            continue;
        }
        if let Err(why) = keys.give(&receiver.origin, all) {
            let remedy = match why {
                BadKeys::None => "add the line keys = [\"whsec_...\"], or key_file = \"FILE\"",
                BadKeys::TooMany(_) => "remove those that the receiver no longer needs",
                BadKeys::Repeated => "remove one of both",
                BadKeys::Shared(_) => "make a key for each: echo whsec_$(openssl rand -base64 32)",
                BadKeys::Again => "put both into one [[http.sign]]",
            };
            let message = format!("`http.sign` of {} {why}", receiver.origin.as_grant());
            problems.push(Problem::new(receiver.place.clone(), message, remedy));
        }
    }
    (keys, problems)
}

/// The keys that a file holds, one a line; empty lines and those that begin with `#` do not count.
fn keys_of_file(receiver: &SignSettings) -> Reading<Vec<SigningKey>> {
    let Some(file) = &receiver.key_file else { return Ok(Vec::new()) };
    let (origin, shown) = (receiver.origin.as_grant(), file.display());
    let text = read_bounded(file).map_err(|why| {
        let message = format!("`key_file` of {origin} names {shown}, which cannot be read: {why}");
        let problem = Problem::new(receiver.place.clone(), message, "name a file with a key on each line");
        vec![Problem { code: code::MISSING_FILE, ..problem }]
    })?;
    let (mut keys, mut problems) = (Vec::new(), Vec::new());
    for (line, text) in (1..).zip(text.lines().map(str::trim)).filter(|(_, text)| !is_remark(text)) {
        match parse_key(text) {
            Ok(key) => keys.push(key),
            Err(why) => {
                let place = Place { source: shown.to_string().into(), position: Some(Position { line, column: 1 }) };
                problems.push(Problem::new(place, format!("the line {why}"), FORM));
            }
        }
    }
    if keys.is_empty() && problems.is_empty() && receiver.keys.is_empty() {
        let message = format!("`key_file` of {origin} names {shown}, which holds no key");
        problems.push(Problem::new(receiver.place.clone(), message, FORM));
    }
    if problems.is_empty() { Ok(keys) } else { Err(problems) }
}

/// Whether a line of a file of keys holds none.
fn is_remark(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}

fn read_bounded(file: &Path) -> Result<String, String> {
    let open = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let mut text = String::new();
    match open.take(FILE_BYTES_MAX + 1).read_to_string(&mut text) {
        Ok(read) if read as u64 > FILE_BYTES_MAX => Err(format!("it has more than {} KiB", FILE_BYTES_MAX >> 10)),
        Ok(_) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loaded, Sources, read, show};

    /// 24 bytes each.
    const KEY: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
    const OTHER: &str = "whsec_b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIg";

    const GRANTED: &str = "[[plugin]]\nname = \"http\"\n\
                           grants = { http = [\"https://a.example\", \"https://*.b.example\", \"https://c.example:8443\"] }\n";

    fn from_file(text: &str) -> Result<Loaded, Problems> {
        read(&Sources { file: Some((Path::new("etc/backroom.toml"), text)), ..Sources::default() })
    }

    fn from_variable(value: &str) -> Result<Loaded, Problems> {
        let environment = vec![("BACKROOM_HTTP_SIGN".to_owned(), value.to_owned())];
        read(&Sources { file: Some((Path::new("etc/backroom.toml"), GRANTED)), environment, ..Sources::default() })
    }

    fn table(rest: &str) -> String {
        format!("[[http.sign]]\norigin = \"https://a.example\"\n{rest}\n{GRANTED}")
    }

    fn signing(loaded: &Loaded, origin: &str) -> usize {
        let keys = signing_keys(&loaded.settings.http.sign).expect("they are right");
        keys.of(&parse_receiver(origin).expect("an origin")).len()
    }

    /// The only complaint, which holds nothing of a key.
    fn complaint(read: Result<Loaded, Problems>, what: &str) -> String {
        let problems = read.expect_err(what).to_string();
        assert!(!problems.contains("MDEy") && !problems.contains("b3Ro"), "{problems}");
        assert_eq!(problems.matches("http.sign").count().min(1), 1, "{what}: {problems}");
        problems
    }

    #[test]
    fn each_receiver_has_keys_of_its_own_and_nobody_sees_them() {
        let text = format!(
            "[http]\nca_file = \"ca.pem\"\n[[http.sign]]\norigin = \"https://A.example\"\nkeys = [\"{KEY}\", \"{OTHER}\"]\n\
             [[http.sign]]\norigin = \"https://x.b.example\"\nkeys = \"whsec_bm8gcGFkZGluZyBhdCB0aGUgZW5kIGF0IGFsbA\"\n{GRANTED}"
        );
        let loaded = from_file(&text).expect("all of it is right");
        assert_eq!(signing(&loaded, "https://a.example"), 2);
        assert_eq!(signing(&loaded, "https://x.b.example"), 1);
        assert_eq!(signing(&loaded, "https://y.b.example"), 0, "a pattern is granted, one receiver has a key");
        let shown = show(&loaded);
        for secret in ["MDEy", "b3Ro", "bm8g"] {
            assert!(!shown.contains(secret) && !format!("{loaded:?}").contains(secret), "{shown}");
        }
        let receiver = "[[http.sign]]\norigin = \"https://a.example\"                 # etc/backroom.toml:4:10\n\
                        keys = [\"***\", \"***\"]\n";
        assert!(shown.contains(receiver), "{shown}");
        toml::from_str::<toml::Table>(&shown).expect("what is shown is TOML");
    }

    #[test]
    fn a_variable_gives_keys_by_their_origin() {
        let both = format!(
            "https://a.example={KEY}, https://c.example:8443={OTHER}== ,https://a.example=whsec_{}",
            "Zm9v".repeat(8)
        );
        let loaded = from_variable(&both.replace("== ", "")).expect("all of it is right");
        assert_eq!((signing(&loaded, "https://a.example"), signing(&loaded, "https://c.example:8443")), (2, 1));
        for (value, why) in [
            (KEY.to_owned(), "has a key without an origin"),
            (format!("https://a.example,{KEY}"), "has a key without an origin"),
            (format!("a.example={KEY}"), "it has no scheme"),
            ("https://a.example=whsec_MDEy".to_owned(), "has a key of 3 bytes; a key has 24 to 64"),
            (format!("https://a.example={KEY},https://c.example:8443={KEY}"), "either could pass for this host"),
            (format!("https://d.example={KEY}"), "which the settings do not grant to `http`"),
        ] {
            let told = complaint(from_variable(&value), why);
            assert!(told.contains(why) && told.contains("BACKROOM_HTTP_SIGN"), "{told}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_receiver_is_said_with_its_place() {
        let long = format!("whsec_{}", "Zm9v".repeat(22));
        for (text, why) in [
            (
                table(&format!("keys = [\"{}\"]", &KEY[..30])),
                "3:9: `http.sign[https://a.example].keys` has a key of 18 bytes",
            ),
            (table("keys = [\"whsec_?\"]"), "has a key that is no base64"),
            (table(&format!("keys = [\"{long}\"]")), "has a key of 66 bytes; a key has 24 to 64"),
            (table(&format!("keys = [\"{}\"]", &KEY[6..])), "does not begin with `whsec_`"),
            (table("keys = [\"***\"]"), "does not begin with `whsec_`"),
            (table("keys = [7]"), "must be a text"),
            (table("keys = []"), "2:10: `http.sign` of https://a.example has no key; add the line keys"),
            (table(""), "has no key"),
            (table(&format!("keys = [\"{KEY}\", \"{KEY}\"]")), "has the same key twice"),
            (table(&format!("key_file = \"{KEY}\"")), "holds a key, which belongs under `keys`"),
            (
                table(&format!("key = [\"{KEY}\"]\nkeys = [\"{OTHER}\"]")),
                "`key` is not known in `http.sign[https://a.example]`",
            ),
            (format!("[[http.sign]]\nkeys = [\"{KEY}\"]\n{GRANTED}"), "1:1: a [[http.sign]] has no `origin`"),
            (format!("[[http.sign]]\norigin = \"{KEY}\"\n{GRANTED}"), "holds a key"),
            (format!("[http]\nsign = \"{KEY}\"\n{GRANTED}"), "`http.sign` must be a list of tables"),
            (
                format!("[[http.sign]]\norigin = \"https://*.b.example\"\nkeys = [\"{KEY}\"]\n{GRANTED}"),
                "it stands for many receivers, and each has keys of its own",
            ),
            (
                format!(
                    "[[http.sign]]\norigin = \"https://x.b.example\"\nkeys = [\"{KEY}\"]\n{}",
                    table(&format!("keys = [\"{OTHER}\", \"{KEY}\"]"))
                ),
                "5:10: `http.sign` of https://a.example has a key that https://x.b.example has, too",
            ),
            (
                format!(
                    "[[http.sign]]\norigin = \"https://a.example:443\"\nkeys = [\"{OTHER}\"]\n{}",
                    table(&format!("keys = [\"{KEY}\"]"))
                ),
                "`http.sign` of https://a.example stands there for the second time; put both into one",
            ),
        ] {
            let told = complaint(from_file(&text), why);
            assert!(told.contains(why), "{told}\nand not: {why}");
        }
    }

    #[test]
    fn an_origin_is_signed_only_where_it_is_granted_and_the_complaint_says_how() {
        let receiver = format!("[[http.sign]]\norigin = \"https://d.example\"\nkeys = [\"{KEY}\"]\n");
        let told = complaint(from_file(&format!("{receiver}{GRANTED}")), "it is not granted");
        let expected = "etc/backroom.toml:2:10: `http.sign` has keys for https://d.example, which the settings do not grant to \
                        `http`; to grant it:\n# etc/backroom.toml, in place of line 6; then restart the host:\n\
                        grants = { http = [\"https://a.example\", \"https://*.b.example\", \"https://c.example:8443\", \
                        \"https://d.example\"] }";
        assert_eq!(told, expected);
        let told = complaint(from_file(&receiver), "nothing is granted");
        let (_, lines) = told.split_once("at the end; then restart the host:\n").expect("it says where");
        from_file(&format!("{receiver}{lines}")).expect("what is advised helps");
    }

    #[test]
    fn the_key_for_all_receivers_is_refused_with_what_to_write() {
        let old = format!("[http]\nsigning_key = \"{KEY}\"\n");
        let told = complaint(from_file(&old), "it signed for everybody");
        assert!(told.contains("2:1: `http.signing_key`") && told.contains("[[http.sign]]"), "{told}");
        let environment = vec![("BACKROOM_HTTP_SIGNING_KEY".to_owned(), KEY.to_owned())];
        let told = complaint(read(&Sources { environment, ..Sources::default() }), "likewise");
        assert!(told.contains("BACKROOM_HTTP_SIGN"), "{told}");
    }

    #[test]
    fn a_file_holds_more_keys_one_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = folder.path().join("backroom.toml");
        let text = table(&format!("keys = [\"{KEY}\"]\nkey_file = \"a.keys\""));
        let loaded = read(&Sources { file: Some((&settings, &text)), ..Sources::default() }).expect("it is right");
        let keys = |content: &str| {
            std::fs::write(folder.path().join("a.keys"), content).expect("it can be written");
            signing_keys(&loaded.settings.http.sign).map(|_| signing(&loaded, "https://a.example"))
        };
        let missing = signing_keys(&loaded.settings.http.sign).expect_err("there is no file").0;
        assert!(missing[0].code == code::MISSING_FILE && missing[0].message.contains("a.keys"), "{missing:?}");
        assert_eq!(keys(&format!("# the next one\n\n  {OTHER}  \n")), Ok(2));
        assert_eq!(keys(""), Ok(1));
        for (content, why) in [
            (format!("{OTHER}\nhush\n"), "a.keys:2:1: the line has a key that does not begin with `whsec_`".to_owned()),
            (KEY.to_owned(), "`http.sign` of https://a.example has the same key twice".to_owned()),
            ("#".repeat(100_000), "it has more than 64 KiB".to_owned()),
        ] {
            let told = keys(&content).expect_err("it is wrong").to_string();
            assert!(told.contains(&why) && !told.contains("hush") && !told.contains("MDEy"), "{told}");
        }
    }
}
