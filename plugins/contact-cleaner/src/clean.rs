//! One row, from raw line to clean contact.

use backroom_sdk::{Classify, Failure, Result};
use serde::{Deserialize, Serialize};

use crate::row::{COLUMNS, Column, Row};
use crate::{amount, country, date, email, name, phone, text};

/// What `clean-row` takes: a line of a CSV file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRow {
    /// Where it stands in the file; 1 is the first line, which is usually the header.
    line: u64,
    row: RawLine,
    /// The names of the columns; the order of [`COLUMNS`] if there are none.
    #[serde(default)]
    header: Vec<String>,
}

/// A line of text, or its bytes where they are no UTF-8.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawLine {
    Text(String),
    Bytes(Vec<u8>),
}

/// What `clean-row` gives.
#[derive(Debug, Serialize, Deserialize)]
pub struct CleanRow {
    pub line: u64,
    pub contact: Contact,
    #[serde(default)]
    pub changes: Vec<Change>,
    /// The same for every row of the same contact.
    pub dedup_key: String,
}

/// A contact and its order. What the row did not have is left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Contact {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// E.164.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_extension: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordered_on: Option<String>,
    /// A decimal number as text, so that no cent is lost on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// ISO 4217.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One thing that cleaning changed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// A field of the contact, or `row` for the line as a whole.
    pub field: String,
    pub from: String,
    pub to: String,
}

/// Cleans one row.
pub fn clean_row(raw: RawRow) -> Result<CleanRow> {
    let line = raw.line;
    clean(raw).context(format_args!("line {line}"))
}

fn clean(raw: RawRow) -> Result<CleanRow> {
    let mut changes = Vec::new();
    let text = match raw.row {
        RawLine::Text(text) => text,
        RawLine::Bytes(bytes) => {
            let is_utf8 = std::str::from_utf8(&bytes).is_ok();
            if !is_utf8 {
                changes.push(Change { field: "row".into(), from: "Windows-1252".into(), to: "UTF-8".into() });
            }
            text::decode(bytes)
        }
    };
    let row = Row::read(&text, &raw.header)?;
    if row.separator != ',' {
        let separator = if row.separator == '\t' { "tabs" } else { "semicolons" };
        changes.push(Change { field: "row".into(), from: separator.into(), to: "commas".into() });
    }

    let fields = Fields::of(&row)?;
    let mut changed = |column, field: &str, clean: &str| {
        let raw = row.get(column);
        if raw != clean {
            changes.push(Change { field: field.into(), from: raw.into(), to: clean.into() });
        }
    };
    let mut contact = Contact { id: fields.owned(Column::Id), note: fields.owned(Column::Note), ..Contact::default() };

    let mut home = fields.get(Column::Country).map(country::country).transpose()?;
    if let Some(raw) = fields.get(Column::Phone) {
        let phone = phone::phone(raw, home)?;
        changed(Column::Phone, "phone", &phone.e164);
        contact.phone = Some(phone.e164);
        contact.phone_extension = phone.extension;
        home = home.or(phone.country);
    }
    if let Some(home) = home {
        changed(Column::Country, "country", home.code);
        contact.country = Some(home.code.into());
    }
    if let Some(raw) = fields.get(Column::Email) {
        let email = email::email(raw)?;
        changed(Column::Email, "email", &email);
        contact.email = Some(email);
    }
    let dedup_key = match (&contact.email, &contact.phone) {
        (Some(email), _) => format!("email:{email}"),
        (None, Some(phone)) => format!("phone:{phone}"),
        (None, None) => {
            let message = "the row has neither an e-mail address nor a phone number";
            return Err(Failure::business(message).code("missing-contact"));
        }
    };
    if let Some(raw) = fields.get(Column::Name) {
        let name = name::person(raw);
        changed(Column::Name, "name", &name);
        contact.name = Some(name);
    }
    if let Some(raw) = fields.get(Column::City) {
        let city = name::place(raw);
        changed(Column::City, "city", &city);
        contact.city = Some(city);
    }
    if let Some(raw) = fields.get(Column::OrderedOn) {
        let date = date::date(raw, home.map_or(date::Order::Unknown, |home| home.date_order))?;
        changed(Column::OrderedOn, "ordered_on", &date);
        contact.ordered_on = Some(date);
    }
    if let Some(raw) = fields.get(Column::Amount) {
        let money = amount::amount(raw, home)?;
        let decimal = money.to_string();
        changed(Column::Amount, "amount", &decimal);
        contact.amount = Some(decimal);
        contact.currency = Some(money.currency.into());
    }
    Ok(CleanRow { line: raw.line, contact, changes, dedup_key })
}

/// The fields of a row as trusted text.
struct Fields<'a>(Vec<Option<std::borrow::Cow<'a, str>>>);

impl<'a> Fields<'a> {
    fn of(row: &'a Row) -> Result<Fields<'a>> {
        Ok(Fields(COLUMNS.iter().map(|column| text::field(row.get(*column))).collect::<Result<_>>()?))
    }

    fn get(&self, column: Column) -> Option<&str> {
        self.0[column as usize].as_deref()
    }

    fn owned(&self, column: Column) -> Option<String> {
        self.get(column).map(name::squeeze)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backroom_sdk::ErrorClass;
    use backroom_sdk::testing::{Run, TestHost};
    use serde_json::{Value, json};

    fn run(row: impl Into<Value>) -> Run {
        TestHost::new().run(clean_row, json!({ "line": 17, "row": row.into() }))
    }

    #[test]
    fn a_messy_row_becomes_a_clean_contact() {
        let run = run(
            "C-17,\" WILLOW,  AMBER\",Amber@Example.COM,(020) 7946-0123 ext. 4,U.K.,MÃ¼nchen,17/03/2025,\"£1,234.5\",n/a",
        );
        assert_eq!(
            run.output(),
            json!({
                "line": 17,
                "contact": {
                    "id": "C-17",
                    "name": "Amber Willow",
                    "email": "amber@example.com",
                    "phone": "+442079460123",
                    "phone_extension": "4",
                    "country": "GB",
                    "city": "München",
                    "ordered_on": "2025-03-17",
                    "amount": "1234.50",
                    "currency": "GBP",
                },
                "changes": [
                    { "field": "phone", "from": "(020) 7946-0123 ext. 4", "to": "+442079460123" },
                    { "field": "country", "from": "U.K.", "to": "GB" },
                    { "field": "email", "from": "Amber@Example.COM", "to": "amber@example.com" },
                    { "field": "name", "from": " WILLOW,  AMBER", "to": "Amber Willow" },
                    { "field": "city", "from": "MÃ¼nchen", "to": "München" },
                    { "field": "ordered_on", "from": "17/03/2025", "to": "2025-03-17" },
                    { "field": "amount", "from": "£1,234.5", "to": "1234.50" },
                ],
                "dedup_key": "email:amber@example.com",
            })
        );
    }

    #[test]
    fn a_clean_row_is_left_alone() {
        let run = run("1,Amber Willow,amber@example.com,+442079460123,GB,London,2025-03-17,12.50,");
        assert_eq!(run.output()["changes"], json!([]));
    }

    #[test]
    fn the_phone_number_tells_a_missing_country() {
        let output = run("1,Amber Willow,,+44 20 7946 0123,,,03/04/2025,12.50,").output();
        assert_eq!(output["contact"]["country"], "GB");
        assert_eq!(output["contact"]["ordered_on"], "2025-04-03");
        assert_eq!(output["contact"]["currency"], "GBP");
        assert_eq!(output["dedup_key"], "phone:+442079460123");
    }

    #[test]
    fn bytes_that_are_no_utf8_are_read_all_the_same() {
        let output = run(json!(b"1,Amber Willow,amber@example.com,,DE,K\xf6ln,,5 \x80,".as_slice())).output();
        assert_eq!(output["contact"]["city"], "Köln");
        assert_eq!(output["contact"]["currency"], "EUR");
        assert_eq!(output["changes"][0], json!({ "field": "row", "from": "Windows-1252", "to": "UTF-8" }));
    }

    #[test]
    fn a_row_that_cannot_be_used_fails_for_good_and_says_where() {
        let cases = [
            ("1,Amber Willow,,,GB,,,,", "missing-contact"),
            ("1,Amber Willow,n/a,-,GB,,,,", "missing-contact"),
            ("1,Amber Willow", "malformed-row"),
            ("1,Am\u{fffd}ber,amber@example.com,,,,,,", "unreadable-text"),
            ("1,,amber.example.com,,,,,,", "invalid-email"),
            ("1,,amber@example.com,020 7946 0123,,,,,", "invalid-phone"),
            ("1,,amber@example.com,,Atlantis,,,,", "unknown-country"),
            ("1,,amber@example.com,,GB,,31/02/2025,,", "bad-date"),
            ("1,,amber@example.com,,,,03/04/2025,,", "ambiguous-date"),
            ("1,,amber@example.com,,GB,,,many,", "bad-amount"),
            ("1,,amber@example.com,,,,,12.50,", "missing-currency"),
        ];
        for (row, code) in cases {
            let run = run(row);
            let failure = run.failure();
            assert_eq!((failure.class, failure.code.as_deref()), (Some(ErrorClass::Business), Some(code)), "{row}");
            assert!(failure.message.starts_with("line 17: "), "{}", failure.message);
        }
    }
}
