//! All rows together.

use std::collections::{BTreeMap, BTreeSet};

use backroom_sdk::{Failure, Result, info};
use serde::Serialize;

use crate::amount;
use crate::clean::CleanRow;

/// What `summarise` gives.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// All rows that were given.
    rows: usize,
    /// How many contacts they are of.
    contacts: usize,
    /// Most contacts first.
    countries: Vec<CountryCount>,
    /// By currency. An order that stands in several rows counts once.
    totals: Vec<Total>,
    /// Contacts with more than one row, in the order in which they first appear.
    duplicates: Vec<Duplicate>,
    /// Rows that repeat an order: the same contact, day and amount.
    repeated_orders: usize,
    /// How often each field was changed.
    changes: BTreeMap<String, usize>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct CountryCount {
    /// ISO 3166-1 alpha-2, or `unknown`.
    country: String,
    contacts: usize,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Total {
    currency: String,
    orders: usize,
    amount: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Duplicate {
    dedup_key: String,
    lines: Vec<u64>,
}

/// Sums up cleaned rows.
pub fn summarise(rows: Vec<CleanRow>) -> Result<Summary> {
    let mut contacts: BTreeMap<&str, (Option<&str>, Vec<u64>)> = BTreeMap::new();
    let mut in_order: Vec<&str> = Vec::new();
    let mut orders = BTreeSet::new();
    let mut repeated_orders = 0;
    let mut totals: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    let mut changes: BTreeMap<String, usize> = BTreeMap::new();

    for row in &rows {
        let contact = &row.contact;
        let (country, lines) = contacts.entry(&row.dedup_key).or_insert_with(|| {
            in_order.push(&row.dedup_key);
            Default::default()
        });
        *country = country.or(contact.country.as_deref());
        lines.push(row.line);
        for change in &row.changes {
            *changes.entry(change.field.clone()).or_default() += 1;
        }

        let (Some(amount), Some(currency)) = (&contact.amount, &contact.currency) else { continue };
        // Without its day an order cannot be told from another of the same amount.
        if let Some(day) = &contact.ordered_on
            && !orders.insert((&row.dedup_key, day, amount, currency))
        {
            repeated_orders += 1;
            continue;
        }
        let total = totals.entry(currency).or_default();
        total.0 += 1;
        total.1 = amount::minor(amount, currency).and_then(|minor| total.1.checked_add(minor)).ok_or_else(|| {
            let message = format!("line {}: `{amount}` cannot be added to the total in {currency}", row.line);
            Failure::business(message).code("bad-amount")
        })?;
    }

    let mut countries: BTreeMap<&str, usize> = BTreeMap::new();
    for (country, _) in contacts.values() {
        *countries.entry(country.unwrap_or("unknown")).or_default() += 1;
    }
    let mut countries: Vec<CountryCount> =
        countries.into_iter().map(|(country, contacts)| CountryCount { country: country.into(), contacts }).collect();
    countries.sort_by_key(|country| std::cmp::Reverse(country.contacts));

    let duplicates: Vec<Duplicate> = in_order
        .into_iter()
        .map(|key| Duplicate { dedup_key: key.into(), lines: contacts[key].1.clone() })
        .filter(|duplicate| duplicate.lines.len() > 1)
        .collect();
    let totals = totals
        .into_iter()
        .map(|(currency, (orders, minor))| Total {
            currency: currency.into(),
            orders,
            amount: amount::decimal(minor, currency),
        })
        .collect();
    info!("{} rows, {} contacts, {} of them more than once", rows.len(), contacts.len(), duplicates.len());
    Ok(Summary { rows: rows.len(), contacts: contacts.len(), countries, totals, duplicates, repeated_orders, changes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use backroom_sdk::testing::TestHost;
    use serde_json::{Value, json};

    fn row(line: u64, key: &str, contact: Value) -> Value {
        json!({ "line": line, "contact": contact, "dedup_key": key, "changes": [{ "field": "phone", "from": "", "to": "" }] })
    }

    #[test]
    fn contacts_orders_and_duplicates_are_counted() {
        let order = |day: &str, amount: &str| json!({ "ordered_on": day, "amount": amount, "currency": "EUR", "country": "DE" });
        let run = TestHost::new().run(
            summarise,
            json!([
                row(2, "email:amber@example.com", json!({ "name": "Amber Willow" })),
                row(3, "email:slate@example.com", json!({ "country": "JP", "amount": "500", "currency": "JPY" })),
                row(4, "email:amber@example.com", order("2025-03-17", "12.50")),
                row(5, "email:amber@example.com", order("2025-03-17", "12.50")),
                row(6, "email:amber@example.com", order("2025-03-18", "-2.25")),
                row(7, "phone:+442079460123", json!({})),
                row(8, "email:coral@example.com", json!({ "country": "DE" })),
            ]),
        );
        assert_eq!(
            run.output(),
            json!({
                "rows": 7,
                "contacts": 4,
                "countries": [
                    { "country": "DE", "contacts": 2 },
                    { "country": "JP", "contacts": 1 },
                    { "country": "unknown", "contacts": 1 },
                ],
                "totals": [
                    { "currency": "EUR", "orders": 2, "amount": "10.25" },
                    { "currency": "JPY", "orders": 1, "amount": "500" },
                ],
                "duplicates": [{ "dedup_key": "email:amber@example.com", "lines": [2, 4, 5, 6] }],
                "repeated_orders": 1,
                "changes": { "phone": 7 },
            })
        );
    }

    #[test]
    fn nothing_sums_up_to_nothing() {
        assert_eq!(TestHost::new().run(summarise, json!([])).output()["contacts"], 0);
    }

    #[test]
    fn a_row_that_was_not_cleaned_is_named() {
        let row = row(9, "email:amber@example.com", json!({ "amount": "12,50", "currency": "EUR" }));
        let run = TestHost::new().run(summarise, json!([row]));
        assert_eq!(run.failure().message, "line 9: `12,50` cannot be added to the total in EUR");
    }
}
