//! Names of people and places.

/// One space between words, `Willow, Amber` turned round, and capitals where a name is all in one case.
pub fn person(text: &str) -> String {
    let words = squeeze(text);
    let ordered = match words.split_once(',') {
        Some((last, first)) if !first.trim().is_empty() && !first.contains(',') => {
            format!("{} {}", first.trim(), last.trim())
        }
        _ => words.trim_end_matches(',').to_owned(),
    };
    capitalise(&ordered)
}

/// One space between words, and capitals where a name is all in one case.
pub fn place(text: &str) -> String {
    capitalise(&squeeze(text))
}

/// One space between words.
pub fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A name in mixed case is left as its bearer writes it.
fn capitalise(name: &str) -> String {
    if name.contains(char::is_uppercase) && name.contains(char::is_lowercase) {
        return name.to_owned();
    }
    let mut capital = true;
    name.chars()
        .flat_map(|c| {
            let cased: Box<dyn Iterator<Item = char>> =
                if capital { Box::new(c.to_uppercase()) } else { Box::new(c.to_lowercase()) };
            capital = !c.is_alphanumeric();
            cased
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persons() {
        let cases = [
            ("Amber Willow", "Amber Willow"),
            ("  amber   WILLOW ", "amber WILLOW"),
            ("AMBER WILLOW", "Amber Willow"),
            ("amber willow", "Amber Willow"),
            ("Willow, Amber", "Amber Willow"),
            ("WILLOW,AMBER", "Amber Willow"),
            ("slate o'rowan-ash", "Slate O'Rowan-Ash"),
            ("Amber van Willow", "Amber van Willow"),
            ("ÉBÈNE ÉRABLE", "Ébène Érable"),
            ("Willow,", "Willow"),
        ];
        for (raw, clean) in cases {
            assert_eq!(person(raw), clean, "{raw}");
        }
    }

    #[test]
    fn places() {
        assert_eq!(place("  NEW   york".to_uppercase().as_str()), "New York");
        assert_eq!(place("Stoke-on-Trent"), "Stoke-on-Trent");
    }
}
