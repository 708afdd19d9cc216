//! What may be a name, and how names are read.

use backroom::domain::id::{
    ConcurrencyKey, DedupKey, HandlerName, InvalidName, KEY_BYTES_MAX, OrderingKey, PluginName, QueueName, RecordName,
    ScheduleName, TokenName, VersionName,
};
use proptest::prelude::*;
use proptest::string::string_regex;

fn why<T>(result: Result<T, InvalidName>) -> Option<&'static str> {
    result.err().map(|error| error.why)
}

#[test]
fn a_version_is_three_numbers_and_what_may_follow() {
    for good in ["1.2.3", "0.0.0", "123456789.0.1", "1.2.3-beta.1", "1.2.3+build.5", "1.2.3-rc.1+7"] {
        assert_eq!(why(VersionName::new(good)), None, "{good}");
    }
    let form = Some("it must look like 1.2.3");
    for bad in
        ["1", "1.2", "1.2.", "1.2.3.4", "1..3", ".2.3", "a.2.3", "-1.2.3", "1.2.x-beta", "1234567890.0.0", "1.2.３"]
    {
        assert_eq!(why(VersionName::new(bad)), form, "{bad}");
    }
    for bad in ["1.2.3-β", "1.2.3 ", "1.2.3_4", "1.2.3-a/b"] {
        let found = why(VersionName::new(bad));
        assert!(found == form || found == Some("use digits, letters, and . - +"), "{bad}: {found:?}");
    }
}

#[test]
fn a_name_is_read_with_its_check_however_it_is_written() {
    assert_eq!(serde_json::from_str::<HandlerName>(r#""mail\u0065r""#).ok(), HandlerName::new("mailer").ok());
    for (text, message) in [
        (r#""mail er""#, "the handler name `mail er` is not acceptable: "),
        ("7", "invalid type: integer `7`, expected a string"),
        ("null", "invalid type: null, expected a string"),
    ] {
        let error = serde_json::from_str::<HandlerName>(text).expect_err(text).to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn no_token_is_called_like_callers_without_a_name() {
    assert_eq!(why(TokenName::new("shop")), None);
    assert_eq!(why(TokenName::new("Shop")), Some("it must start with a lower-case letter"));
    for taken in ["api", "console"] {
        assert_eq!(why(TokenName::new(taken)), Some("that is what callers without a name are called"));
    }
}

#[test]
fn keys_are_text_without_control_characters() {
    assert_eq!(why(OrderingKey::new("customer 7 / ümläut")), None);
    assert_eq!(why(OrderingKey::new("")), Some("it is empty"));
    assert_eq!(why(OrderingKey::new(&"x".repeat(257))), Some("it is longer than 256 bytes"));
    assert_eq!(why(OrderingKey::new("a\u{7}b")), Some("it holds a control character"));
    for bad in ["contact", "/7", "contact/"] {
        assert_eq!(why(RecordName::new(bad)), Some("it must look like entity/id"), "{bad}");
    }
}

/// Texts of a form. A generator has no use for the ends of a text.
fn texts(form: &str) -> impl Strategy<Value = String> {
    string_regex(form.trim_start_matches('^').trim_end_matches('$')).expect("a form is a regular expression")
}

proptest! {
    #[test]
    fn what_a_form_describes_is_acceptable(
        slug in texts(PluginName::FORM),
        handler in texts(HandlerName::FORM),
        key in texts(OrderingKey::FORM),
        record in texts(RecordName::FORM),
        version in texts(VersionName::FORM),
    ) {
        prop_assert_eq!(why(PluginName::new(&slug)), None);
        prop_assert_eq!(why(QueueName::new(&slug)), None);
        prop_assert_eq!(why(ScheduleName::new(&slug)), None);
        prop_assert!(matches!(slug.as_str(), "api" | "console") || why(TokenName::new(&slug)).is_none());
        prop_assert_eq!(why(HandlerName::new(&handler)), None);
        if key.len() <= KEY_BYTES_MAX {
            prop_assert_eq!(why(OrderingKey::new(&key)), None);
            prop_assert_eq!(why(ConcurrencyKey::new(&key)), None);
            prop_assert_eq!(why(DedupKey::new(&key)), None);
        }
        if record.len() <= KEY_BYTES_MAX {
            prop_assert_eq!(why(RecordName::new(&record)), None);
        }
        prop_assert_eq!(why(VersionName::new(&version)), None);
    }
}
