//! Which failures are the same one (domain.md 10, number 25): jobs that failed are grouped by plug-in, class, code and
//! the shape of the message, which is the message without what differs from job to job.
//!
//! Fingerprints are stored. A change of the shape, of the hash or of what goes into it splits every group into those
//! from before and those from after.

use std::fmt;
use std::str::FromStr;

use super::failure::{ErrorClass, Failure};
use super::hash;
use super::id::PluginName;

/// So many characters of a message, a shape or a code count.
pub const SHAPE_MAX: usize = 512;

/// What stands for what differs from job to job.
const PLACEHOLDERS: [&str; 6] = [NUMBER, ID, TIME, TEXT, EMAIL, QUERY];
const NUMBER: &str = "<n>";
const ID: &str = "<id>";
const TIME: &str = "<time>";
const TEXT: &str = "<text>";
const EMAIL: &str = "<email>";
const QUERY: &str = "<query>";

/// Quotation marks, each with the one that closes it.
const QUOTES: [(char, char); 6] = [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’'), ('«', '»')];

/// A run of hexadecimal digits of this length with digits and letters is an identity.
const HEX_MIN: usize = 8;

/// A run of letters and digits of this length with both is an identity.
const OPAQUE_MIN: usize = 16;

/// The longest name before the `@` of an e-mail address (RFC 5321 section 4.5.3.1.1).
const EMAIL_NAME_MAX: usize = 64;

/// The longest scheme of a URL that is recognised.
const SCHEME_MAX: usize = 16;

/// The longest address with colons: eight groups of four digits.
const COLON_ADDRESS_MAX: usize = 39;

/// The group that a failure belongs to. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

/// A text is not a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a fingerprint: it must be 16 hexadecimal digits")]
pub struct InvalidFingerprint {
    /// What was given, cut to 80 characters.
    pub text: String,
}

impl Fingerprint {
    /// The group of `failure` of `plugin`. The detail counts nothing: it holds addresses and stacks.
    pub fn of(plugin: &PluginName, failure: &Failure) -> Self {
        let code = failure.code.as_deref().map(|code| code.chars().take(SHAPE_MAX).collect::<String>());
        let message = shape(&failure.message);
        // 0xff is in no UTF-8 text: nothing moves from one part into the next.
        let mut bytes = Vec::with_capacity(plugin.as_str().len() + message.len() + 32);
        bytes.extend_from_slice(plugin.as_str().as_bytes());
        bytes.extend_from_slice(&[0xff, class_number(failure.class), u8::from(code.is_some())]);
        bytes.extend_from_slice(code.unwrap_or_default().as_bytes());
        bytes.push(0xff);
        bytes.extend_from_slice(message.as_bytes());
        Self(hash::even(bytes))
    }
}

/// Never renumbered: the numbers are part of stored fingerprints.
fn class_number(class: ErrorClass) -> u8 {
    match class {
        ErrorClass::Transient => 1,
        ErrorClass::Throttled => 2,
        ErrorClass::UserFixable => 3,
        ErrorClass::Business => 4,
        ErrorClass::Fatal => 5,
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_one = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let wrong = || InvalidFingerprint { text: text.chars().take(80).collect() };
        if !is_one {
            return Err(wrong());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| wrong())
    }
}

/// The message without what differs from job to job: `row <n>: no country named <text>`. Letter case stays. At most
/// [`SHAPE_MAX`] characters of the message count, and the shape has no more. The shape of a shape is the shape.
///
/// - `<n>`: numbers, with sign, fraction and grouping; line numbers are such. A code such as `E1042` (one to three
///   capitals, three to five digits) stays, because it tells failures apart.
/// - `<id>`: UUIDs, hexadecimal strings, addresses with colons, long or motley mixtures of letters and digits.
/// - `<time>`: dates, with or without a time, and times to the second.
/// - `<text>`: quoted texts, and who is named before the host of a URL.
/// - `<email>`: e-mail addresses.
/// - `<query>`: what follows `?` or `#` in a URL; numbers and identities in its path are replaced as anywhere.
pub fn shape(message: &str) -> String {
    let mut shape: Vec<char> = message.chars().take(SHAPE_MAX).collect();
    // What was replaced may close a quotation or set a word apart. Each pass that changes anything leaves fewer
    // characters that are not placeholders, so this ends, and nearly always with the second pass.
    loop {
        let next = Pass::over(&shape);
        if next == shape {
            return shape.into_iter().collect();
        }
        shape = next;
    }
}

/// One walk over a text. What it makes is never longer than [`SHAPE_MAX`] and never ends within a placeholder.
struct Pass<'a> {
    text: &'a [char],
    at: usize,
    /// The end of the URL that the walk is in.
    url_end: usize,
    made: Vec<char>,
}

/// What begins at a place of the text: how many characters of it, and what stands for them.
type Found = Option<(usize, &'static str)>;

impl<'a> Pass<'a> {
    fn over(text: &'a [char]) -> Vec<char> {
        let mut pass = Self { text, at: 0, url_end: 0, made: Vec::with_capacity(text.len()) };
        while pass.at < text.len() && pass.step() {}
        if pass.made.last() == Some(&' ') {
            pass.made.pop();
        }
        pass.made
    }

    /// Handles what begins at the present place. False when the shape is full.
    fn step(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let follows_word = self.at > 0 && self.text[self.at - 1].is_ascii_alphanumeric();
        if rest[0].is_ascii_whitespace() || rest[0].is_ascii_control() {
            return self.blank();
        }
        if let Some((length, placeholder)) = placeholder(rest).or_else(|| self.query(rest)) {
            return self.replace(length, placeholder);
        }
        if follows_word {
            return self.keep(1);
        }
        if let Some((scheme, length)) = url(rest) {
            self.url_end = self.at + length;
            return self.keep(scheme) && self.user();
        }
        let found = quotation(rest)
            .or_else(|| email(rest))
            .or_else(|| time(rest))
            .or_else(|| uuid(rest))
            .or_else(|| colon_address(rest))
            .or_else(|| signed(rest));
        match found {
            Some((length, placeholder)) => self.replace(length, placeholder),
            None => self.word(),
        }
    }

    /// Any blanks are one space, and none at the start.
    fn blank(&mut self) -> bool {
        self.at += 1;
        self.made.last().is_none_or(|last| *last == ' ') || self.push(" ".chars())
    }

    /// What follows the `?` or `#` of a URL.
    fn query(&self, rest: &[char]) -> Found {
        (self.at < self.url_end && matches!(rest[0], '?' | '#')).then(|| (self.url_end - self.at, QUERY))
    }

    /// The `user:password` of a URL, of which nothing is kept.
    fn user(&mut self) -> bool {
        let authority = &self.text[self.at..self.url_end];
        let host_at = authority.iter().position(|c| "/?#".contains(*c)).unwrap_or(authority.len());
        match authority[..host_at].iter().rposition(|c| *c == '@') {
            Some(length) if length > 0 => self.replace(length, TEXT),
            _ => true,
        }
    }

    /// A run of letters and digits, or a single other character.
    fn word(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let length = count(rest, |c| c.is_ascii_alphanumeric());
        match kind_of_word(&rest[..length]) {
            _ if length == 0 => self.keep(1),
            Word::Name => self.keep(length),
            Word::Id => self.replace(length, ID),
            Word::Numbered(letters) => self.keep(letters) && self.number(),
            Word::Measure => self.number() && self.keep(count(&self.text[self.at..], |c| c.is_ascii_alphabetic())),
        }
    }

    fn number(&mut self) -> bool {
        self.replace(number(&self.text[self.at..]), NUMBER)
    }

    fn keep(&mut self, length: usize) -> bool {
        let kept = &self.text[self.at..self.at + length];
        self.at += length;
        self.push(kept.iter().copied())
    }

    fn replace(&mut self, length: usize, placeholder: &str) -> bool {
        self.at += length;
        self.push(placeholder.chars())
    }

    /// Adds a piece if all of it has room.
    fn push(&mut self, piece: impl Iterator<Item = char> + Clone) -> bool {
        let fits = self.made.len() + piece.clone().count() <= SHAPE_MAX;
        if fits {
            self.made.extend(piece);
        }
        fits
    }
}

fn count(text: &[char], is_part: impl Fn(char) -> bool) -> usize {
    text.iter().take_while(|c| is_part(**c)).count()
}

fn digits(text: &[char]) -> usize {
    count(text, |c| c.is_ascii_digit())
}

fn starts_with(text: &[char], start: &str) -> bool {
    start.chars().enumerate().all(|(i, c)| text.get(i) == Some(&c))
}

/// Whether a word goes on at `length`.
fn goes_on(text: &[char], length: usize) -> bool {
    text.get(length).is_some_and(char::is_ascii_alphanumeric)
}

fn placeholder(text: &[char]) -> Found {
    PLACEHOLDERS.iter().find(|word| starts_with(text, word)).map(|word| (word.len(), *word))
}

/// A quoted text, its marks included. The closing mark is not within a word, as that of `it's` is.
fn quotation(text: &[char]) -> Found {
    let (_, closing) = QUOTES.iter().find(|(opening, _)| *opening == text[0])?;
    let end = (1..text.len()).find(|at| text[*at] == *closing && !goes_on(text, at + 1))?;
    Some((end + 1, TEXT))
}

fn email(text: &[char]) -> Found {
    let name =
        count(text.get(..EMAIL_NAME_MAX + 1).unwrap_or(text), |c| c.is_ascii_alphanumeric() || "._%+-".contains(c));
    if name == 0 || text.get(name) != Some(&'@') || !text[0].is_ascii_alphanumeric() {
        return None;
    }
    let host = &text[name + 1..];
    let host = &host[..count(host, |c| c.is_ascii_alphanumeric() || ".-".contains(c))];
    let host = &host[..host.iter().rposition(char::is_ascii_alphanumeric)? + 1];
    host.contains(&'.').then_some((name + 1 + host.len(), EMAIL))
}

/// A URL: the length of its scheme with `://`, and its own.
fn url(text: &[char]) -> Option<(usize, usize)> {
    let scheme = count(text.get(..SCHEME_MAX + 1).unwrap_or(text), |c| c.is_ascii_alphanumeric() || "+.-".contains(c));
    if scheme == 0 || !text[0].is_ascii_alphabetic() || !starts_with(&text[scheme..], "://") {
        return None;
    }
    let end =
        count(text, |c| !c.is_ascii_whitespace() && !c.is_ascii_control() && !"\"'`<>()[]{}|,;“”‘’«»".contains(c));
    let end = text[..end].iter().rposition(|c| !".:!?".contains(*c))? + 1;
    Some((scheme + 3, end.max(scheme + 3)))
}

/// Whether `text` has the form of `pattern`, where `0` stands for any digit; then how long that is.
fn matches(text: &[char], pattern: &str) -> Option<usize> {
    let fits = |(i, wanted): (usize, char)| match (text.get(i), wanted) {
        (Some(c), '0') => c.is_ascii_digit(),
        (c, wanted) => c == Some(&wanted),
    };
    pattern.chars().enumerate().all(fits).then_some(pattern.len())
}

/// A date, a date with a time, or a time to the second.
fn time(text: &[char]) -> Found {
    let date = matches(text, "0000-00-00").or_else(|| matches(text, "0000/00/00"));
    let length = match date {
        Some(date) if text.get(date).is_some_and(|c| " Tt".contains(*c)) => {
            date + clock_time(&text[date + 1..]).map_or(0, |time| time + 1)
        }
        Some(date) => date,
        None => matches(text, "00:00:00").and_then(|_| clock_time(text))?,
    };
    (!goes_on(text, length)).then_some((length, TIME))
}

/// `12:30`, with or without seconds, a fraction and an offset.
fn clock_time(text: &[char]) -> Option<usize> {
    let mut length = matches(text, "00:00:00").or_else(|| matches(text, "00:00"))?;
    if matches(&text[length..], ".0").or_else(|| matches(&text[length..], ",0")).is_some() {
        length += 1 + digits(&text[length + 1..]);
    }
    let offset = &text[length..];
    let offsets = ["Z", "z", "+00:00", "-00:00", "+0000", "-0000"];
    Some(length + offsets.iter().find_map(|pattern| matches(offset, pattern)).unwrap_or(0))
}

fn uuid(text: &[char]) -> Found {
    let is_part = |(i, c): (usize, &char)| if [8, 13, 18, 23].contains(&i) { *c == '-' } else { c.is_ascii_hexdigit() };
    let is_one = text.len() >= 36 && text.iter().take(36).enumerate().all(is_part) && !goes_on(text, 36);
    is_one.then_some((36, ID))
}

/// An address of IPv6 or of a network card; `main.rs:12:30` has none.
fn colon_address(text: &[char]) -> Found {
    let end = count(text.get(..COLON_ADDRESS_MAX + 1).unwrap_or(text), |c| c.is_ascii_hexdigit() || c == ':');
    let end = text[..end].iter().rposition(char::is_ascii_hexdigit)? + 1;
    let address = &text[..end];
    let colons = address.iter().filter(|c| **c == ':').count();
    let is_one = colons >= 5 || (colons >= 2 && address.windows(2).any(|pair| pair == [':', ':']));
    (is_one && address.iter().any(char::is_ascii_digit) && !goes_on(text, end)).then_some((end, ID))
}

/// A number with its sign.
fn signed(text: &[char]) -> Found {
    let unsigned = text.get(1..).filter(|unsigned| matches!(text[0], '+' | '-') && digits(unsigned) > 0)?;
    let word = count(unsigned, |c| c.is_ascii_alphanumeric());
    (kind_of_word(&unsigned[..word]) == Word::Measure).then(|| (1 + number(unsigned), NUMBER))
}

/// The length of a number without a sign: `7`, `3.14`, `1,000`, `10.0.0.1`.
fn number(text: &[char]) -> usize {
    let mut length = digits(text);
    while text.get(length).is_some_and(|c| ".,".contains(*c)) && digits(&text[length + 1..]) > 0 {
        length += 1 + digits(&text[length + 1..]);
    }
    length
}

/// What a run of ASCII letters and digits is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// A word or a code.
    Name,
    /// The identity of something.
    Id,
    /// So many letters, then a number: `row17`.
    Numbered(usize),
    /// A number, maybe with its unit: `17`, `30ms`.
    Measure,
}

fn kind_of_word(word: &[char]) -> Word {
    let letters = count(word, |c| c.is_ascii_alphabetic());
    if letters == word.len() {
        return Word::Name;
    }
    let number = digits(&word[letters..]);
    let has_both = word.iter().any(char::is_ascii_alphabetic);
    let is_hex = word.len() >= HEX_MIN && word.iter().all(char::is_ascii_hexdigit);
    let is_hex = is_hex || (starts_with(word, "0x") && word.len() > 2 && word[2..].iter().all(char::is_ascii_hexdigit));
    if has_both && (is_hex || word.len() >= OPAQUE_MIN) {
        return Word::Id;
    }
    let ends_with_number = letters + number == word.len();
    let capitals = count(word, |c| c.is_ascii_uppercase());
    if ends_with_number && capitals == letters && (1..=3).contains(&letters) && (3..=5).contains(&number) {
        return Word::Name;
    }
    let unit = count(&word[number..], |c| c.is_ascii_alphabetic());
    match letters {
        0 if number + unit == word.len() => Word::Measure,
        1.. if ends_with_number => Word::Numbered(letters),
        _ => Word::Id,
    }
}
