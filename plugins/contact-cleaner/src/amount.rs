//! Amounts of money in the notations of several countries.

use std::fmt;

use backroom_sdk::{Failure, Result};

use crate::country::{self, Country};

/// An amount in the smallest unit of its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    pub minor: i64,
    pub currency: &'static str,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal(self.minor, self.currency))
    }
}

/// An amount of the smallest unit as people read it: 123456 is `1234.56`, in a currency without cents `123456`.
pub fn decimal(minor: i64, currency: &str) -> String {
    let unit = 10_u64.pow(minor_digits(currency));
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    match unit {
        1 => format!("{sign}{minor}"),
        _ => format!("{sign}{}.{:02}", minor / unit, minor % unit),
    }
}

/// The other way: what [`decimal`] wrote.
pub fn minor(decimal: &str, currency: &str) -> Option<i64> {
    let (negative, digits) = match decimal.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, decimal),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let minor = scale(whole, fraction, currency)?;
    Some(if negative { -minor } else { minor })
}

/// Reads an amount; without a currency of its own it has that of the country.
pub fn amount(text: &str, home: Option<&Country>) -> Result<Money> {
    let bad = |reason: &str| Failure::business(format_args!("`{text}` is no amount: {reason}")).code("bad-amount");
    let (Some(first), Some(last)) = (text.find(|c: char| c.is_ascii_digit()), text.rfind(|c: char| c.is_ascii_digit()))
    else {
        return Err(bad("it has no digits"));
    };
    let (before, number, after) = (&text[..first], &text[first..=last], &text[last + 1..]);

    let negative =
        before.contains(['-', '\u{2212}', '(']) || after.trim_end().ends_with("-") && !after.starts_with([',', '.']);
    let marker = |side: &str| {
        // `129,-` has no cents.
        let side = side
            .trim_start_matches([',', '.'])
            .trim_matches(|c: char| c.is_whitespace() || "-\u{2212}\u{2013}()".contains(c));
        side.to_uppercase()
    };
    let currency = match (marker(before).as_str(), marker(after).as_str()) {
        ("", "") => home.map(|home| home.currency).ok_or_else(|| {
            Failure::business(format_args!("`{text}` has no currency, and the row no country")).code("missing-currency")
        })?,
        (sign, "") | ("", sign) => currency_of(sign, text, home)?,
        (one, other) => {
            let (one, other) = (currency_of(one, text, home)?, currency_of(other, text, home)?);
            if one != other {
                return Err(bad(&format!("it is both in {one} and in {other}")));
            }
            one
        }
    };

    let (whole, fraction) =
        split_number(number, currency).ok_or_else(|| bad("its separators contradict each other"))?;
    let minor = scale(&whole, &fraction, currency).ok_or_else(|| bad(&format!("{currency} has no such amount")))?;
    Ok(Money { minor: if negative { -minor } else { minor }, currency })
}

/// The digits before and after the decimal separator, whichever that is.
///
/// A lone separator before exactly three digits groups thousands: nobody writes money with three decimals.
fn split_number(number: &str, currency: &str) -> Option<(String, String)> {
    let number: String = number.chars().filter(|c| !matches!(c, ' ' | '\'' | '\u{2019}')).collect();
    if !number.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',') {
        return None;
    }
    let last = number.rfind(['.', ',']);
    let decimal = last.filter(|at| {
        let separator = &number[*at..=*at];
        let both = number.contains('.') && number.contains(',');
        let alone = number.matches(separator).count() == 1;
        alone && (both || number.len() - at - 1 != 3 || number.starts_with('0'))
    });
    let (whole, fraction) = match decimal {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number.as_str(), ""),
    };
    let mut groups = whole.split(['.', ',']);
    let mixed = whole.contains('.') && whole.contains(',');
    let first = groups.next()?;
    let rest: Vec<&str> = groups.collect();
    // In India only the last group has three digits.
    let grouped = rest.is_empty()
        || (1..=3).contains(&first.len())
            && rest.iter().enumerate().all(|(index, group)| {
                group.len() == 3 || currency == "INR" && group.len() == 2 && index + 1 < rest.len()
            });
    let decimals = if decimal.is_some() { 1..=2 } else { 0..=0 };
    (grouped && !mixed && decimals.contains(&fraction.len()))
        .then(|| (whole.replace(['.', ','], ""), fraction.to_owned()))
}

fn scale(whole: &str, fraction: &str, currency: &str) -> Option<i64> {
    let digits = minor_digits(currency) as usize;
    let fraction = if digits == 0 { fraction.trim_end_matches('0') } else { fraction };
    if fraction.len() > digits {
        return None;
    }
    format!("{whole}{fraction:0<digits$}").parse().ok()
}

/// How many decimals a currency has.
fn minor_digits(currency: &str) -> u32 {
    match currency {
        "CLP" | "ISK" | "JPY" | "KRW" => 0,
        _ => 2,
    }
}

/// The currency that a code or a sign means; `$`, `¥` and `kr` mean that of the country, if it has such a one.
fn currency_of(sign: &str, text: &str, home: Option<&Country>) -> Result<&'static str> {
    if let Some(code) = country::currency(sign) {
        return Ok(code);
    }
    let at_home = |candidates: &[&str]| home.map(|home| home.currency).filter(|currency| candidates.contains(currency));
    let currency = match sign.trim_end_matches('.') {
        "€" | "EURO" | "EUROS" => Some("EUR"),
        "£" => Some("GBP"),
        "US$" => Some("USD"),
        "A$" | "AU$" => Some("AUD"),
        "C$" | "CA$" => Some("CAD"),
        "NZ$" => Some("NZD"),
        "S$" => Some("SGD"),
        "R$" => Some("BRL"),
        "R" => Some("ZAR"),
        "FR" | "SFR" => Some("CHF"),
        "ZŁ" => Some("PLN"),
        "KČ" => Some("CZK"),
        "FT" => Some("HUF"),
        "LEI" => Some("RON"),
        "₹" | "RS" => Some("INR"),
        "₩" => Some("KRW"),
        "₪" => Some("ILS"),
        "₺" => Some("TRY"),
        "₴" => Some("UAH"),
        "₦" => Some("NGN"),
        "KSH" => Some("KES"),
        "$" => at_home(&["ARS", "AUD", "CAD", "CLP", "COP", "MXN", "NZD", "SGD"]).or(Some("USD")),
        "¥" | "円" | "元" => at_home(&["CNY", "JPY"]),
        "KR" => at_home(&["DKK", "ISK", "NOK", "SEK"]),
        _ => {
            let message = format!("`{text}` is no amount: the currency `{sign}` is not known here");
            return Err(Failure::business(message).code("bad-amount"));
        }
    };
    currency.ok_or_else(|| {
        let message = format!("`{text}` could be in several currencies, and the row's country does not tell which");
        Failure::business(message).code("missing-currency")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::country::country;

    #[test]
    fn every_notation_is_read() {
        let cases = [
            ("DE", "1234.56", "1234.56 EUR"),
            ("DE", "1.234,56 €", "1234.56 EUR"),
            ("DE", "€1,234.56", "1234.56 EUR"),
            ("DE", "EUR 1 234,56", "1234.56 EUR"),
            ("CH", "CHF 1'234.50", "1234.50 CHF"),
            ("CH", "Fr. 1\u{2019}234.50", "1234.50 CHF"),
            ("DE", "129,-", "129.00 EUR"),
            ("CH", "Fr. 129.-", "129.00 CHF"),
            ("DE", "1.234", "1234.00 EUR"),
            ("US", "1,234", "1234.00 USD"),
            ("US", "$12", "12.00 USD"),
            ("US", "$0.5", "0.50 USD"),
            ("US", "12.50 USD", "12.50 USD"),
            ("US", "$12.50 USD", "12.50 USD"),
            ("CA", "$12.50", "12.50 CAD"),
            ("DE", "$12.50", "12.50 USD"),
            ("GB", "£1,234,567.89", "1234567.89 GBP"),
            ("DE", "1.234.567,89", "1234567.89 EUR"),
            ("IN", "₹ 1,23,456.00", "123456.00 INR"),
            ("JP", "¥12,345", "12345 JPY"),
            ("JP", "12345.00", "12345 JPY"),
            ("SE", "1 234,50 kr", "1234.50 SEK"),
            ("DK", "kr. 99,95", "99.95 DKK"),
            ("PL", "99,95 zł", "99.95 PLN"),
            ("US", "-12.50", "-12.50 USD"),
            ("US", "(12.50)", "-12.50 USD"),
            ("DE", "12,50-", "-12.50 EUR"),
            ("", "GBP 5", "5.00 GBP"),
        ];
        for (home, raw, clean) in cases {
            let money = amount(raw, country(home).ok());
            assert_eq!(money.map(|money| format!("{money} {}", money.currency)).as_deref(), Ok(clean), "{home} {raw}");
        }
    }

    #[test]
    fn what_is_no_amount_fails() {
        let cases = [
            ("DE", "free", "bad-amount"),
            ("DE", "12,34,56", "bad-amount"),
            ("DE", "1.23.456", "bad-amount"),
            ("DE", "1,234.567", "bad-amount"),
            ("DE", "12..50", "bad-amount"),
            ("DE", "1O.50", "bad-amount"),
            ("DE", "12 shells", "bad-amount"),
            ("DE", "€12 GBP", "bad-amount"),
            ("JP", "¥12.50", "bad-amount"),
            ("US", "99999999999999999999", "bad-amount"),
            ("", "12.50", "missing-currency"),
            ("", "12.50 kr", "missing-currency"),
            ("DE", "¥100", "missing-currency"),
        ];
        for (home, raw, code) in cases {
            assert_eq!(amount(raw, country(home).ok()).unwrap_err().code.as_deref(), Some(code), "{raw}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (value, currency) in [(0, "EUR"), (5, "EUR"), (-1250, "USD"), (123_456, "JPY")] {
            assert_eq!(minor(&decimal(value, currency), currency), Some(value));
        }
        assert_eq!(minor("12.345", "EUR"), None);
    }
}
