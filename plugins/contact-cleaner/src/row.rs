//! From one raw line to its columns.

use backroom_sdk::{Failure, Result};

/// The columns of a contact, in the order that a row without a header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Id,
    Name,
    Email,
    Phone,
    Country,
    City,
    OrderedOn,
    Amount,
    Note,
}

pub const COLUMNS: [Column; 9] = {
    use Column::*;
    [Id, Name, Email, Phone, Country, City, OrderedOn, Amount, Note]
};

impl Column {
    /// The column that a header means, however it is spelt. Others are left out.
    fn named(header: &str) -> Option<Column> {
        let name: String = header.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        Some(match name.as_str() {
            "id" | "contactid" | "customerid" | "number" => Column::Id,
            "name" | "fullname" | "contact" | "customer" => Column::Name,
            "email" | "mail" | "emailaddress" => Column::Email,
            "phone" | "tel" | "telephone" | "phonenumber" | "mobile" => Column::Phone,
            "country" | "countrycode" | "land" => Column::Country,
            "city" | "town" => Column::City,
            "orderedon" | "orderdate" | "date" => Column::OrderedOn,
            "amount" | "total" | "ordertotal" | "sum" => Column::Amount,
            "note" | "notes" | "comment" | "remarks" => Column::Note,
            _ => return None,
        })
    }
}

/// A line cut into its fields.
#[derive(Debug)]
pub struct Row {
    columns: Vec<Option<Column>>,
    fields: Vec<String>,
    /// What stands between the fields.
    pub separator: char,
}

impl Row {
    /// Cuts a line. It must have as many fields as the header; a line of another export, cut by semicolons or tabs, may
    /// stand between lines cut by commas.
    pub fn read(line: &str, header: &[String]) -> Result<Row> {
        let columns: Vec<Option<Column>> = match header {
            [] => COLUMNS.map(Some).into(),
            _ => header.iter().map(|name| Column::named(name)).collect(),
        };
        if !columns.contains(&Some(Column::Email)) && !columns.contains(&Some(Column::Phone)) {
            let message =
                format!("the header `{}` has no column for e-mail addresses or phone numbers", header.join(","));
            return Err(Failure::business(message).code("malformed-header"));
        }
        let line = line.trim_end_matches(['\r', '\n']);
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);

        for separator in [',', ';', '\t'] {
            match split(line, separator) {
                Ok(fields) if fields == header => return Err(malformed(format_args!("the row repeats the header"))),
                Ok(fields) if fields.len() == columns.len() => return Ok(Row { columns, fields, separator }),
                _ => {}
            }
        }
        let found = count(split(line, ',')?.len());
        Err(malformed(format_args!("the row has {found} where the header has {}", columns.len())))
    }

    /// The raw field of a column; empty if there is no such column.
    pub fn get(&self, column: Column) -> &str {
        let index = self.columns.iter().position(|candidate| *candidate == Some(column));
        index.map_or("", |index| &self.fields[index])
    }
}

fn split(line: &str, separator: char) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let number = fields.len() + 1;
        if let Some(quoted) = rest.trim_start_matches(' ').strip_prefix('"') {
            let mut field = String::new();
            let mut tail = quoted;
            rest = loop {
                let Some(quote) = tail.find('"') else {
                    return Err(malformed(format_args!("the quote that opens field {number} is never closed")));
                };
                field.push_str(&tail[..quote]);
                tail = &tail[quote + 1..];
                match tail.strip_prefix('"') {
                    Some(after) => {
                        field.push('"');
                        tail = after;
                    }
                    None => break tail,
                }
            };
            fields.push(field);
            let after = rest.trim_start_matches(' ');
            if after.is_empty() {
                return Ok(fields);
            }
            rest = after
                .strip_prefix(separator)
                .ok_or_else(|| malformed(format_args!("there is text after the quote that closes field {number}")))?;
        } else if let Some((field, after)) = rest.split_once(separator) {
            fields.push(field.to_owned());
            rest = after;
        } else {
            fields.push(rest.to_owned());
            return Ok(fields);
        }
    }
}

fn count(fields: usize) -> String {
    match fields {
        1 => "1 field".into(),
        _ => format!("{fields} fields"),
    }
}

fn malformed(reason: std::fmt::Arguments<'_>) -> Failure {
    Failure::business(reason).code("malformed-row")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &str) -> Vec<String> {
        names.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_cut_with_their_quotes() {
        let cases: [(&str, &[&str]); 6] = [
            ("a,b,c", &["a", "b", "c"]),
            ("a,\"b, and \"\"more\"\"\",c", &["a", "b, and \"more\"", "c"]),
            ("a, \"b\" ,c", &["a", "b", "c"]),
            (",,", &["", "", ""]),
            ("a,\"\",\"c\"", &["a", "", "c"]),
            ("5\" pipe,b,c", &["5\" pipe", "b", "c"]),
        ];
        for (line, fields) in cases {
            assert_eq!(split(line, ',').unwrap(), fields, "{line}");
        }
    }

    #[test]
    fn a_malformed_line_says_where() {
        let header = header("name,email,phone");
        let cases = [
            ("a,b", "the row has 2 fields where the header has 3"),
            ("a", "the row has 1 field where the header has 3"),
            ("", "the row has 1 field where the header has 3"),
            ("a,b,c,d", "the row has 4 fields where the header has 3"),
            ("a,\"b,c", "the quote that opens field 2 is never closed"),
            ("name,email,phone", "the row repeats the header"),
            ("a,\"b\"x,c", "there is text after the quote that closes field 2"),
        ];
        for (line, message) in cases {
            let failure = Row::read(line, &header).unwrap_err();
            assert_eq!(failure.message, message, "{line}");
            assert_eq!(failure.code.as_deref(), Some("malformed-row"));
        }
    }

    #[test]
    fn lines_of_another_export_are_read() {
        let header = header("Full Name,E-Mail,Order total");
        for (line, separator) in
            [("Oak,o@example.com,1", ','), ("Oak;o@example.com;1,5", ';'), ("Oak\to@example.com\t1", '\t')]
        {
            let row = Row::read(line, &header).unwrap();
            assert_eq!((row.get(Column::Email), row.separator), ("o@example.com", separator));
            assert_eq!(row.get(Column::Phone), "");
        }
        assert_eq!(Row::read("\u{feff}1,Oak,,,,,,,\r\n", &[]).unwrap().get(Column::Id), "1");
    }

    #[test]
    fn a_header_without_a_way_to_reach_anyone_is_refused() {
        let failure = Row::read("a,b", &header("name,city")).unwrap_err();
        assert_eq!(failure.code.as_deref(), Some("malformed-header"));
    }
}
