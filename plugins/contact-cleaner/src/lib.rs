//! Cleans messy rows of contacts and orders, and sums them up.
//!
//! - `clean-row` takes one raw line of a CSV file and gives a clean contact, the list of what it changed, and a key by which
//!   duplicates are found. It never guesses: a field that it cannot read for certain fails the row, with a code and a reason
//!   for the person who will mend it.
//! - `summarise` takes the array of cleaned rows and gives counts by country, totals by currency and the duplicates.
//!
//! | code | the row fails because |
//! | --- | --- |
//! | `malformed-row` | it has too few or too many fields, or its quotes do not match |
//! | `malformed-header` | the header has neither a column for e-mail addresses nor one for phone numbers |
//! | `unreadable-text` | characters were lost before the row came here |
//! | `missing-contact` | it has neither an e-mail address nor a phone number |
//! | `invalid-email` | its e-mail address is none |
//! | `invalid-phone` | its phone number is none, or its country cannot be told |
//! | `unknown-country` | its country is not in the table |
//! | `bad-date` | its date is none |
//! | `ambiguous-date` | its date could be two days, such as 03/04/2025 without a country |
//! | `bad-amount` | its amount is no number, or its currency is unknown |
//! | `missing-currency` | its amount has no currency, and its country does not tell |

mod amount;
mod clean;
mod country;
mod date;
mod email;
mod name;
mod phone;
mod row;
mod summary;
mod text;

#[cfg(test)]
mod example_data;

use clean::clean_row;
use summary::summarise;

backroom_sdk::export! {
    "clean-row" => clean_row,
    "summarise" => summarise,
}
