//! Phone numbers, to E.164.

use backroom_sdk::{Failure, Result};

use crate::country::{Country, by_calling_code};

/// A number that can be dialled from anywhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Phone {
    /// `+`, calling code, national number.
    pub e164: String,
    /// What to dial when somebody answers.
    pub extension: Option<String>,
    /// The country whose calling code it has, where that is one country's alone.
    pub country: Option<&'static Country>,
}

/// Reads a number in any notation. A national one needs the country that it is from.
pub fn phone(text: &str, home: Option<&'static Country>) -> Result<Phone> {
    let invalid =
        |reason: &str| Failure::business(format_args!("`{text}` is no phone number: {reason}")).code("invalid-phone");
    let lower = text.to_lowercase();
    let number = without_label(&lower);
    let (number, extension) = split_extension(number);
    if number.contains("e+") {
        return Err(invalid("a spreadsheet has rounded it"));
    }

    let mut digits = String::with_capacity(16);
    let mut plus = false;
    for c in number.replace("(0)", "").chars() {
        match c {
            '0'..='9' => digits.push(c),
            '+' if digits.is_empty() && !plus => plus = true,
            ' ' | '.' | '-' | '/' | '(' | ')' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '·' => {}
            _ => return Err(invalid(&format!("`{c}` has no place in one"))),
        }
    }
    let national_given = number.contains("(0)") && !plus;
    if digits.len() < 5 {
        return Err(invalid("it has too few digits"));
    }
    if digits.bytes().all(|digit| digit == digits.as_bytes()[0]) {
        return Err(invalid("all its digits are the same"));
    }

    let prefix = home.map_or("00", |home| home.international_prefix);
    let international = match [prefix, "00"].iter().find_map(|prefix| digits.strip_prefix(prefix)) {
        _ if plus => Some(digits.as_str()),
        Some(rest) if !national_given => Some(rest),
        _ => None,
    };
    if let Some(digits) = international {
        let (length, mut sharers) = by_calling_code(digits).ok_or_else(|| invalid("its country code is unknown"))?;
        let first = sharers.next().ok_or_else(|| invalid("its country code is unknown"))?;
        let shared = sharers.next().is_some();
        let national = national_number(&digits[length..], first).ok_or_else(|| invalid(&wrong_length(first)))?;
        let country = if shared { home.filter(|home| home.calling_code == first.calling_code) } else { Some(first) };
        return Ok(Phone { e164: format!("+{}{national}", first.calling_code), extension, country });
    }

    let home = home.ok_or_else(|| invalid("it has no country code, and the row no country"))?;
    let national = national_number(&digits, home)
        .or_else(|| national_number(digits.strip_prefix(home.calling_code)?, home))
        .ok_or_else(|| invalid(&wrong_length(home)))?;
    Ok(Phone { e164: format!("+{}{national}", home.calling_code), extension, country: Some(home) })
}

/// The part after the trunk prefix, if its length is right.
fn national_number<'a>(digits: &'a str, country: &Country) -> Option<&'a str> {
    let (fewest, most) = country.national_digits;
    let fits = |number: &&str| (fewest..=most).contains(&number.len());
    let without_trunk = digits.strip_prefix(country.trunk_prefix).filter(|_| !country.trunk_prefix.is_empty());
    match without_trunk {
        Some(number) => Some(number).filter(fits),
        None => Some(digits).filter(fits),
    }
}

fn wrong_length(country: &Country) -> String {
    let (fewest, most) = country.national_digits;
    match fewest == most {
        true => format!("one in {} has {fewest} digits after the country code", country.code),
        false => format!("one in {} has {fewest} to {most} digits after the country code", country.code),
    }
}

/// Cuts off `Tel.:` and the like.
fn without_label(text: &str) -> &str {
    let labels = ["telephone", "telefon", "phone", "mobile", "mobil", "tel", "mob", "fon"];
    let rest = labels.iter().find_map(|label| text.strip_prefix(label)).unwrap_or(text);
    rest.trim_start_matches(['.', ':', ' '])
}

/// Cuts off `ext. 12`, `x12` and the like. Other text stays, for the reader to complain about.
fn split_extension(number: &str) -> (&str, Option<String>) {
    let Some(marker) = number.find(|c: char| c.is_ascii_lowercase() || c == '#') else { return (number, None) };
    let (before, rest) = number.split_at(marker);
    let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
    let word = rest[..rest.len() - digits.len()].trim_end_matches(['.', ':', ' ']);
    let known = matches!(word, "x" | "ext" | "extension" | "#" | "dw" | "durchwahl" | "poste" | "int");
    if known && (1..=6).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return (before.trim_end_matches([' ', ',', ';', '-']), Some(digits.to_owned()));
    }
    (number, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::country::country;

    #[test]
    fn every_notation_means_the_same_number() {
        let cases = [
            ("GB", "+442079460123", "+442079460123"),
            ("GB", "+44 20 7946 0123", "+442079460123"),
            ("GB", "+44 (0)20 7946 0123", "+442079460123"),
            ("GB", "+44 020 7946 0123", "+442079460123"),
            ("GB", "0044 20 7946-0123", "+442079460123"),
            ("GB", "(020) 7946.0123", "+442079460123"),
            ("GB", "020/7946 0123", "+442079460123"),
            ("GB", "20 7946 0123", "+442079460123"),
            ("GB", "442079460123", "+442079460123"),
            ("GB", "Tel.: 020 7946 0123", "+442079460123"),
            ("US", "(202) 555-0123", "+12025550123"),
            ("US", "1-202-555-0123", "+12025550123"),
            ("US", "011 44 20 7946 0123", "+442079460123"),
            ("US", "202.555.0123", "+12025550123"),
            ("DE", "030 23125 123", "+493023125123"),
            ("DE", "+49\u{2011}30\u{2013}23125123", "+493023125123"),
            ("IT", "06 5555 0123", "+390655550123"),
            ("HU", "06 1 555 0123", "+3615550123"),
            ("AU", "0011 1 202 555 0123", "+12025550123"),
            ("JP", "03-5555-0123", "+81355550123"),
            ("", "+33 1 99 00 12 34", "+33199001234"),
        ];
        for (home, raw, e164) in cases {
            let home = country(home).ok();
            assert_eq!(phone(raw, home).map(|phone| phone.e164).as_deref(), Ok(e164), "{home:?} {raw}");
        }
    }

    #[test]
    fn an_extension_is_kept_apart() {
        for raw in ["020 7946 0123 ext. 42", "020 7946 0123 x42", "020 7946 0123, ext 42", "020 7946 0123 #42"] {
            let phone = phone(raw, country("GB").ok()).unwrap();
            assert_eq!((phone.e164.as_str(), phone.extension.as_deref()), ("+442079460123", Some("42")), "{raw}");
        }
    }

    #[test]
    fn the_calling_code_tells_the_country_unless_it_is_shared() {
        let code = |raw, home| phone(raw, home).unwrap().country.map(|country| country.code);
        assert_eq!(code("+353 1 555 0123", None), Some("IE"));
        assert_eq!(code("+1 202 555 0123", None), None);
        assert_eq!(code("+1 202 555 0123", country("US").ok()), Some("US"));
    }

    #[test]
    fn what_is_no_number_fails() {
        let cases = [
            ("GB", "12", "too few digits"),
            ("GB", "000 000 0000", "all its digits are the same"),
            ("GB", "020 7946", "one in GB has 9 to 10 digits"),
            ("US", "555-0123", "one in US has 10 digits"),
            ("GB", "4.42079E+11", "a spreadsheet has rounded it"),
            ("GB", "020 7946 O123", "`o` has no place"),
            ("GB", "ask Amber 020", "`a` has no place"),
            ("GB", "+999 123 4567", "its country code is unknown"),
            ("", "020 7946 0123", "no country code"),
        ];
        for (home, raw, reason) in cases {
            let failure = phone(raw, country(home).ok()).unwrap_err();
            assert_eq!(failure.code.as_deref(), Some("invalid-phone"));
            assert!(failure.message.contains(reason), "{raw}: {}", failure.message);
        }
    }
}
