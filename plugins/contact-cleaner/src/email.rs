//! E-mail addresses.

use backroom_sdk::{Failure, Result};

/// The bare address in lower case. `mailto:`, a display name and `(at)` are taken off; anything else that is no address fails.
pub fn email(text: &str) -> Result<String> {
    let mut address = text.to_lowercase();
    if let (Some(open), Some(close)) = (address.find('<'), address.rfind('>'))
        && open < close
    {
        address = address[open + 1..close].to_owned();
    }
    for (written, meant) in [("(at)", "@"), ("[at]", "@"), ("(dot)", "."), ("[dot]", ".")] {
        if address.contains(written) {
            address = address.replace(&format!(" {written} "), meant).replace(written, meant);
        }
    }
    let address = address.trim().trim_start_matches("mailto:").trim_end_matches(['.', ',', ';']);
    let invalid = |reason: &str| {
        Err(Failure::business(format_args!("`{text}` is no e-mail address: {reason}")).code("invalid-email"))
    };

    let Some((local, domain)) = address.split_once('@') else { return invalid("it has no `@`") };
    let (local, domain) = (local.trim_end(), domain.trim_start());
    if domain.contains('@') {
        return invalid("it has more than one `@`");
    }
    let local_char = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    if local.is_empty() || local.len() > 64 || !local.chars().all(local_char) || !dots_are_inside(local) {
        return invalid("what stands before the `@` is no mailbox");
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !domain.contains('.') || domain.len() > 253 || !domain.split('.').all(label) {
        return invalid("what stands after the `@` is no domain");
    }
    Ok(format!("{local}@{domain}"))
}

fn dots_are_inside(local: &str) -> bool {
    !local.starts_with('.') && !local.ends_with('.') && !local.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_what_people_write() {
        let cases = [
            ("amber@example.com", "amber@example.com"),
            ("Amber.Willow@EXAMPLE.com", "amber.willow@example.com"),
            ("mailto:amber@example.com", "amber@example.com"),
            ("Amber Willow <amber@example.com>", "amber@example.com"),
            ("amber @ example.com", "amber@example.com"),
            ("amber(at)example.org", "amber@example.org"),
            ("amber [at] example [dot] org", "amber@example.org"),
            ("amber+orders@mail.example.net;", "amber+orders@mail.example.net"),
        ];
        for (raw, clean) in cases {
            assert_eq!(email(raw).as_deref(), Ok(clean), "{raw}");
        }
    }

    #[test]
    fn what_is_no_address_fails() {
        let cases = [
            ("amber.example.com", "no `@`"),
            ("amber@@example.com", "more than one"),
            ("amber@example", "no domain"),
            ("amber@example,com", "no domain"),
            ("amber@-example.com", "no domain"),
            ("@example.com", "no mailbox"),
            ("am ber@example.com", "no mailbox"),
            ("amber..willow@example.com", "no mailbox"),
        ];
        for (raw, reason) in cases {
            let failure = email(raw).unwrap_err();
            assert_eq!(failure.code.as_deref(), Some("invalid-email"));
            assert!(failure.message.contains(reason), "{}", failure.message);
        }
    }
}
