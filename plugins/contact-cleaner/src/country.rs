//! What is known of each country: its names, how its phone numbers are built, its currency, how it writes dates.

use backroom_sdk::{Failure, Result};

use crate::date::Order;

/// One country.
#[derive(Debug, PartialEq, Eq)]
pub struct Country {
    /// ISO 3166-1 alpha-2.
    pub code: &'static str,
    /// ISO 3166-1 alpha-3 and names as people write them, in lower case and without full stops.
    names: &'static [&'static str],
    /// The digits after the plus sign.
    pub calling_code: &'static str,
    /// Dialled before a national number, and not a part of it.
    pub trunk_prefix: &'static str,
    /// Dialled instead of the plus sign.
    pub international_prefix: &'static str,
    /// The fewest and the most digits of a national number, without the trunk prefix.
    pub national_digits: (usize, usize),
    /// ISO 4217.
    pub currency: &'static str,
    /// What 03/04/2025 means there.
    pub date_order: Order,
}

/// The country that a name or a code means.
pub fn country(text: &str) -> Result<&'static Country> {
    let name: String = text.chars().filter(|c| *c != '.').flat_map(char::to_lowercase).collect();
    let name = name.trim().trim_start_matches("the ");
    COUNTRIES
        .iter()
        .find(|country| country.code.eq_ignore_ascii_case(name) || country.names.contains(&name))
        .ok_or_else(|| {
            Failure::business(format_args!("`{text}` is no country that is known here")).code("unknown-country")
        })
}

/// The countries that share a calling code, and how many digits it has, for a number in international form.
pub fn by_calling_code(digits: &str) -> Option<(usize, impl Iterator<Item = &'static Country>)> {
    let length = (1..=3).find(|length| {
        digits.get(..*length).is_some_and(|code| COUNTRIES.iter().any(|country| country.calling_code == code))
    })?;
    let code = digits[..length].to_owned();
    Some((length, COUNTRIES.iter().filter(move |country| country.calling_code == code)))
}

/// The currency that a code means, if any country here has it.
pub fn currency(code: &str) -> Option<&'static str> {
    COUNTRIES.iter().map(|country| country.currency).find(|currency| *currency == code)
}

#[rustfmt::skip]
static COUNTRIES: &[Country] = &{
    use Order::{DayFirst, MonthFirst, Unknown};

    #[expect(clippy::too_many_arguments, reason = "they are the columns of the table below")]
    const fn entry(
        code: &'static str, names: &'static [&'static str], calling_code: &'static str, trunk_prefix: &'static str,
        international_prefix: &'static str, fewest: usize, most: usize, currency: &'static str, date_order: Order,
    ) -> Country {
        let national_digits = (fewest, most);
        Country { code, names, calling_code, trunk_prefix, international_prefix, national_digits, currency, date_order }
    }

    [
        entry("AR", &["arg", "argentina"],                                              "54",  "0",  "00",   10, 11, "ARS", DayFirst),
        entry("AT", &["aut", "austria", "österreich", "oesterreich"],                   "43",  "0",  "00",    7, 13, "EUR", DayFirst),
        entry("AU", &["aus", "australia"],                                              "61",  "0",  "0011",  9,  9, "AUD", DayFirst),
        entry("BE", &["bel", "belgium", "belgië", "belgique", "belgien"],               "32",  "0",  "00",    8,  9, "EUR", DayFirst),
        entry("BR", &["bra", "brazil", "brasil"],                                       "55",  "0",  "00",   10, 11, "BRL", DayFirst),
        entry("CA", &["can", "canada"],                                                 "1",   "1",  "011",  10, 10, "CAD", Unknown),
        entry("CH", &["che", "switzerland", "schweiz", "suisse", "svizzera"],           "41",  "0",  "00",    9,  9, "CHF", DayFirst),
        entry("CL", &["chl", "chile"],                                                  "56",  "",   "00",    9,  9, "CLP", DayFirst),
        entry("CN", &["chn", "china", "中国"],                                          "86",  "0",  "00",   10, 11, "CNY", DayFirst),
        entry("CO", &["col", "colombia"],                                               "57",  "",   "00",   10, 10, "COP", DayFirst),
        entry("CZ", &["cze", "czechia", "czech republic", "česko"],                     "420", "",   "00",    9,  9, "CZK", DayFirst),
        entry("DE", &["deu", "ger", "germany", "deutschland", "allemagne"],             "49",  "0",  "00",    6, 11, "EUR", DayFirst),
        entry("DK", &["dnk", "denmark", "danmark"],                                     "45",  "",   "00",    8,  8, "DKK", DayFirst),
        entry("ES", &["esp", "spain", "españa", "espana"],                              "34",  "",   "00",    9,  9, "EUR", DayFirst),
        entry("FI", &["fin", "finland", "suomi"],                                       "358", "0",  "00",    6, 11, "EUR", DayFirst),
        entry("FR", &["fra", "france", "frankreich"],                                   "33",  "0",  "00",    9,  9, "EUR", DayFirst),
        entry("GB", &["gbr", "uk", "united kingdom", "great britain", "england", "scotland", "wales"], "44", "0", "00", 9, 10, "GBP", DayFirst),
        entry("GR", &["grc", "greece", "ελλάδα"],                                       "30",  "",   "00",   10, 10, "EUR", DayFirst),
        entry("HR", &["hrv", "croatia", "hrvatska"],                                    "385", "0",  "00",    8,  9, "EUR", DayFirst),
        entry("HU", &["hun", "hungary", "magyarország"],                                "36",  "06", "00",    8,  9, "HUF", DayFirst),
        entry("IE", &["irl", "ireland", "éire"],                                        "353", "0",  "00",    7,  9, "EUR", DayFirst),
        entry("IL", &["isr", "israel"],                                                 "972", "0",  "00",    8,  9, "ILS", DayFirst),
        entry("IN", &["ind", "india", "bharat"],                                        "91",  "0",  "00",   10, 10, "INR", DayFirst),
        entry("IS", &["isl", "iceland", "ísland"],                                      "354", "",   "00",    7,  7, "ISK", DayFirst),
        // An Italian number keeps its leading zero in international form.
        entry("IT", &["ita", "italy", "italia", "italien"],                             "39",  "",   "00",    6, 11, "EUR", DayFirst),
        entry("JP", &["jpn", "japan", "日本"],                                          "81",  "0",  "010",   9, 10, "JPY", DayFirst),
        entry("KE", &["ken", "kenya"],                                                  "254", "0",  "000",   9,  9, "KES", DayFirst),
        entry("KR", &["kor", "south korea", "korea", "republic of korea"],              "82",  "0",  "00",    8, 10, "KRW", DayFirst),
        entry("LU", &["lux", "luxembourg", "luxemburg"],                                "352", "",   "00",    6,  9, "EUR", DayFirst),
        entry("MX", &["mex", "mexico", "méxico"],                                       "52",  "",   "00",   10, 10, "MXN", DayFirst),
        entry("NG", &["nga", "nigeria"],                                                "234", "0",  "009",   8, 10, "NGN", DayFirst),
        entry("NL", &["nld", "netherlands", "nederland", "holland"],                    "31",  "0",  "00",    9,  9, "EUR", DayFirst),
        entry("NO", &["nor", "norway", "norge"],                                        "47",  "",   "00",    8,  8, "NOK", DayFirst),
        entry("NZ", &["nzl", "new zealand"],                                            "64",  "0",  "00",    8, 10, "NZD", DayFirst),
        entry("PL", &["pol", "poland", "polska"],                                       "48",  "",   "00",    9,  9, "PLN", DayFirst),
        entry("PT", &["prt", "portugal"],                                               "351", "",   "00",    9,  9, "EUR", DayFirst),
        entry("RO", &["rou", "romania", "românia"],                                     "40",  "0",  "00",    9,  9, "RON", DayFirst),
        entry("SE", &["swe", "sweden", "sverige", "schweden"],                          "46",  "0",  "00",    7,  9, "SEK", DayFirst),
        entry("SG", &["sgp", "singapore"],                                              "65",  "",   "00",    8,  8, "SGD", DayFirst),
        entry("SI", &["svn", "slovenia", "slovenija"],                                  "386", "0",  "00",    8,  8, "EUR", DayFirst),
        entry("SK", &["svk", "slovakia", "slovensko"],                                  "421", "0",  "00",    9,  9, "EUR", DayFirst),
        entry("TR", &["tur", "turkey", "türkiye"],                                      "90",  "0",  "00",   10, 10, "TRY", DayFirst),
        entry("UA", &["ukr", "ukraine", "україна"],                                     "380", "0",  "00",    9,  9, "UAH", DayFirst),
        entry("US", &["usa", "united states", "united states of america", "america"],   "1",   "1",  "011",  10, 10, "USD", MonthFirst),
        entry("ZA", &["zaf", "south africa"],                                           "27",  "0",  "00",    9,  9, "ZAR", DayFirst),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_mean_a_country() {
        let cases = [
            ("GB", "GB"),
            ("uk", "GB"),
            ("U.K.", "GB"),
            ("United Kingdom", "GB"),
            ("U.S.A.", "US"),
            ("the Netherlands", "NL"),
            ("ÖSTERREICH", "AT"),
            ("deu", "DE"),
            ("日本", "JP"),
        ];
        for (raw, code) in cases {
            assert_eq!(country(raw).unwrap().code, code, "{raw}");
        }
        assert_eq!(country("Atlantis").unwrap_err().code.as_deref(), Some("unknown-country"));
    }

    #[test]
    fn a_calling_code_is_found_and_may_be_shared() {
        let codes =
            |digits| by_calling_code(digits).map(|(length, found)| (length, found.map(|c| c.code).collect::<Vec<_>>()));
        assert_eq!(codes("442079460123"), Some((2, vec!["GB"])));
        assert_eq!(codes("35315550123"), Some((3, vec!["IE"])));
        assert_eq!(codes("12025550123"), Some((1, vec!["CA", "US"])));
        assert_eq!(codes("999123"), None);
    }

    #[test]
    fn no_calling_code_begins_another() {
        for one in COUNTRIES {
            for other in COUNTRIES {
                let (one, other) = (one.calling_code, other.calling_code);
                assert!(one == other || !other.starts_with(one), "{one} begins {other}");
            }
        }
    }
}
