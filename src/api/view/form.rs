//! What texts, numbers and lists on the wire look like, for the description of the API: a type for each form, named where a
//! field or a parameter has it. The bounds are those that the readers keep; that both agree is tested here and in
//! `tests/domain/names.rs`.

use utoipa::openapi::schema::{
    AdditionalProperties, Array, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaFormat, Type,
};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::super::bounds;
use crate::domain::access::RIGHT_WORDS;
use crate::domain::audit::Action;
use crate::domain::id;
use crate::domain::idempotency;
use crate::domain::job::{AFTER_MAX, JobType, OnPredecessorFailure, Status, WaitReason};
use crate::domain::pausing::Pausable;
use crate::domain::schedule::{Misfire, Overlap};
use crate::registry::GRANTS_MAX;

/// A point in time, RFC 3339, for patterns.
const TIME: &str = "[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)\
    |02-(?:0[1-9]|1[0-9]|2[0-8]))T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?\
    (?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";

/// A duration in one number for each unit, from the largest on; 29,999 days and what the other units add at the most.
const DURATION: &str = "(?:(?:[1-9][0-9]{0,3}|[12][0-9]{4})d)?(?:[1-9][0-9]{0,2}h)?(?:[1-9][0-9]{0,4}m)?\
    (?:[1-9][0-9]{0,6}s)?(?:[1-9][0-9]{0,8}ms)?";

/// A duration shorter than a day.
const SHORT_DURATION: &str =
    "(?:(?:[1-9]|1[0-9]|2[0-2])h)?(?:(?:[1-9]|[1-5][0-9])m)?(?:(?:[1-9]|[1-5][0-9])s)?(?:[1-9][0-9]{0,4}ms)?";

/// Text without control characters, none of it included.
const PLAIN: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";

/// Bytes in base64 with their padding, RFC 4648 section 4.
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// A job, by its identity or by the last 8 to 12 characters of that.
const JOB_REF: &str = "^(?:[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-9A-Fa-f]{8,12})$";

/// A group of failures.
const FINGERPRINT: &str = "^[0-9a-f]{16}$";

/// A label of a host's name, and the labels that may come after the first.
const LABEL: &str = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const LABELS: &str = r"\.[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";

/// An address of IPv6 in brackets.
const ADDRESS: &str = r"\[::[0-9a-f]{1,4}\]";

/// The port of an origin.
const PORT: &str = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3})";

/// The longest name of a plug-in, a handler, a queue, a schedule, a token or a version.
const NAME_BYTES_MAX: usize = 64;

/// Declares a type that stands for a form in the description, and is never made.
macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident = $schema:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

forms! {
    /// The name of a plug-in.
    PluginName = name(id::PluginName::FORM);
    /// The name of an entry point.
    HandlerName = name(id::HandlerName::FORM);
    /// The name of a queue.
    QueueName = name(id::QueueName::FORM);
    /// The name of a schedule.
    ScheduleName = name(id::ScheduleName::FORM);
    /// The name of a token.
    TokenName = name(id::TokenName::FORM);
    /// A version of a plug-in.
    VersionName = name(id::VersionName::FORM);
    /// A key that jobs share.
    Key = sized(like(id::OrderingKey::FORM), 1, id::KEY_BYTES_MAX);
    /// The record that a job is about.
    Record = sized(like(id::RecordName::FORM), 3, id::KEY_BYTES_MAX);
    /// How a file is compressed.
    Compression = words(["none", "gzip", "zstd"]);
    /// The identity of a job.
    JobId = text().format(Some(SchemaFormat::Custom("uuid".to_owned()))).build();
    /// A job, by its identity or by the last 8 to 12 characters of that.
    JobRef = like(JOB_REF);
    /// The jobs that one waits for.
    JobRefs = list(like(JOB_REF), 0, AFTER_MAX);
    /// A group of failures.
    Fingerprint = like(FINGERPRINT);
    /// A point in time as the host tells it.
    Time = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).build();
    /// A point in time as a caller names it.
    Instant = like(&format!("^{TIME}$"));
    /// A point in time as a caller names it, or how far it lies ahead.
    Moment = sized(like(&format!("^(?:{TIME}|0s|{DURATION})$")), 2, 64);
    /// A duration.
    Span = sized(like(&format!("^(?:0s|{DURATION})$")), 2, 64);
    /// A duration of a millisecond and more.
    SomeTime = sized(like(&format!("^{DURATION}$")), 2, 64);
    /// A duration of less than a day.
    Short = sized(like(&format!("^(?:0s|{SHORT_DURATION})$")), 2, 64);
    /// A duration of less than a day, and of a millisecond and more.
    Deadline = sized(like(&format!("^{SHORT_DURATION}$")), 2, 64);
    /// How long to wait for a job's end; as long as may be when empty.
    Wait = like(&format!("^(?:(?:[0-9]|[1-5][0-9]|{most})s?|[1-9][0-9]{{0,3}}ms|)$", most = bounds::WAIT_MAX.as_secs()));
    /// Why somebody did something.
    Reason = sized(like(r"^[^\x00-\x09\x0b-\x1f\x7f-\x9f]*$"), 0, bounds::REASON_CHARS_MAX);
    /// A name for people.
    DisplayName = sized(like(PLAIN), 0, bounds::NAME_CHARS_MAX);
    /// A name for people that is not empty.
    SomeName = sized(like(PLAIN), 1, bounds::NAME_CHARS_MAX);
    /// Words to find a job by.
    Tags = list(sized(like(PLAIN), 1, bounds::TAG_CHARS_MAX), 0, bounds::TAGS_MAX);
    /// Arguments of a command.
    Arguments = list(like(r"^[^\x00]*$"), 0, bounds::ENTRIES_MAX);
    /// Environment variables of a command.
    Environment = map(like(r"^[^=\x00]+$"), like(r"^[^\x00]*$"), bounds::ENTRIES_MAX);
    /// How important a job is.
    Priority = number(bounds::PRIORITIES.start(), bounds::PRIORITIES.end());
    /// How often a job may be tried.
    Attempts = number(bounds::ATTEMPTS.start(), bounds::ATTEMPTS.end());
    /// The number of an attempt.
    Attempt = number(&1, &u32::MAX);
    /// How many jobs a page holds.
    PageJobs = number(&1, &bounds::PAGE_JOBS_MAX);
    /// How many groups of failures are told of.
    Groups = number(&1, &bounds::GROUPS_MAX);
    /// How many jobs a bulk action deals with.
    ActionJobs = number(&1, &bounds::ACTIONS_MAX);
    /// How many of something there may be.
    Count = number(&0, &u32::MAX);
    /// Bytes in base64.
    Base64 = text().pattern(Some(BASE64)).content_encoding("base64").build();
    /// Where a job stands.
    State = words(Status::ALL.map(Status::word));
    /// What a waiting job waits for.
    WaitReasonWord = words(WaitReason::ALL.map(WaitReason::word));
    /// The place of a page.
    Cursor = like("^c[0-9a-z]{1,12}$");
    /// The place of a page, in either order.
    PageCursor = like("^o?c[0-9a-z]{1,12}$");
    /// The order of a list.
    Sort = words(["newest", "oldest"]);
    /// What jobs that have ended are in: final states with commas between.
    FinalStates = like(&several(&Status::ALL.into_iter().filter(|it| it.is_final()).map(Status::word).collect::<Vec<_>>()));
    /// A type of jobs, by its word or its number.
    JobTypeWord = like(&job_type());
    /// What is done to jobs.
    ActionWord = words(Action::ALL.map(Action::word));
    /// What a job does when one before it has not succeeded.
    PredecessorFailure = words(OnPredecessorFailure::ALL.map(OnPredecessorFailure::word));
    /// What becomes of occurrences that were missed.
    MisfireWord = like(&format!("^(?:{}|{}|run_all\\((?:[1-9][0-9]{{0,2}}|{})\\))$", Misfire::RunOnce, Misfire::Skip, Misfire::RUN_ALL_MAX));
    /// What becomes of an occurrence that meets an unfinished job.
    OverlapWord = words([Overlap::Skip, Overlap::Queue, Overlap::Allow, Overlap::CancelPrevious].map(|word| word.to_string()));
    /// What the holder of a token may do.
    RightWords = unique(list(words(RIGHT_WORDS), 1, RIGHT_WORDS.len()));
    /// Settings of a plug-in with their values.
    Settings = map(
        sized(like(PLAIN), 1, bounds::CONFIG_KEY_BYTES_MAX),
        sized(text().build(), 0, bounds::CONFIG_VALUE_BYTES_MAX),
        GRANTS_MAX,
    );
    /// Names of settings of a plug-in.
    SettingNames = list(sized(like(PLAIN), 1, bounds::CONFIG_KEY_BYTES_MAX), 0, GRANTS_MAX);
    /// The key of a request that is not to be done twice.
    IdempotencyKey = sized(like("^[\\x21-\\x7e]+(?: +[\\x21-\\x7e]+)*$"), 1, idempotency::KEY_BYTES_MAX);
    /// Origins that a plug-in may call.
    Origins = list(like(&format!("^https?://(?:{LABEL}(?:{LABELS}){{0,3}}|{ADDRESS}|\\*\\.{LABEL}(?:{LABELS}){{1,3}})(?::{PORT})?$")), 0, GRANTS_MAX);
    /// What handlers may pause.
    Pausables = list(words(Pausable::ALL.map(Pausable::word)), 0, Pausable::ALL.len());
    /// An absolute URL.
    Url = sized(like(&format!("^{}$", url())), 0, 8 << 10);
    /// Of this plug-in.
    SoughtPlugin = or_empty(name(id::PluginName::FORM));
    /// Of this entry point.
    SoughtHandler = or_empty(name(id::HandlerName::FORM));
    /// In this queue.
    SoughtQueue = or_empty(name(id::QueueName::FORM));
    /// Made by this schedule.
    SoughtSchedule = or_empty(name(id::ScheduleName::FORM));
    /// Of this holder of a token.
    SoughtToken = or_empty(name(id::TokenName::FORM));
    /// With this key.
    SoughtKey = or_empty(sized(like(id::OrderingKey::FORM), 1, id::KEY_BYTES_MAX));
    /// About this record.
    SoughtRecord = or_empty(sized(like(id::RecordName::FORM), 3, id::KEY_BYTES_MAX));
    /// Named by a job.
    SoughtJob = or_empty(like(JOB_REF));
    /// In one of these states.
    SoughtStates = or_empty(like(&several(&Status::ALL.map(Status::word))));
    /// Waiting for one of these reasons.
    SoughtReasons = or_empty(like(&several(&WaitReason::ALL.map(WaitReason::word))));
    /// Of this type.
    SoughtType = or_empty(like(&job_type()));
    /// Failed in this way.
    SoughtFingerprint = or_empty(like(FINGERPRINT));
    /// With this text.
    SoughtText = sized(text().build(), 0, bounds::SOUGHT_CHARS_MAX);
    /// Submitted at this time.
    SoughtTime = or_empty(like(&format!("^{TIME}$")));
    /// What follows a batch: `PLUGIN`, `PLUGIN/HANDLER`, or a URL.
    Following = sized(
        like(&format!("^(?:[a-z][a-z0-9-]{{0,63}}(?:/[A-Za-z0-9_.-]{{1,64}})?|{})$", url())),
        1,
        bounds::FOLLOWING_BYTES_MAX,
    );
    /// A manifest in base64.
    Manifest = sized(like(BASE64), 0, 4 * bounds::MANIFEST_BYTES_MAX.div_ceil(3));
    /// Bytes as they are.
    Bytes = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary))).build();
    /// That a request was a repeated one.
    Replayed = words(["true"]);
    /// How many seconds to wait.
    Seconds = number(&0, &u32::MAX);
    /// A server-sent event of one job.
    JobEvent = event(["job", "log", "deleted"]);
    /// A server-sent event of all jobs.
    StreamEvent = event(["job", "missed"]);
    /// A document of OpenAPI.
    Document = ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(true))).build();
    /// Any document.
    AnyJson = ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue).build();
    /// The code of an error.
    ErrorCode = like("^[Bb][Rr][0-9]{4}$");
}

/// The form in a filter, where an empty text counts as absent.
fn or_empty(mut form: Object) -> Object {
    let inner = |pattern: String| pattern.trim_start_matches('^').trim_end_matches('$').to_owned();
    form.pattern = form.pattern.map(|pattern| format!("^(?:{}|)$", inner(pattern)));
    form.min_length = None;
    form
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn like(pattern: &str) -> Object {
    text().pattern(Some(pattern)).build()
}

fn name(form: &str) -> Object {
    sized(like(form), 1, NAME_BYTES_MAX)
}

fn sized(mut text: Object, least: usize, most: usize) -> Object {
    text.min_length = Some(least).filter(|least| *least > 0);
    text.max_length = Some(most);
    text
}

fn url() -> String {
    format!("https?://(?:{LABEL}(?:{LABELS}){{0,3}}|{ADDRESS})(?::{PORT})?(?:[/?][!-~]*)?")
}

fn job_type() -> String {
    format!("^(?:{}|[0-9]{{1,9}})$", JobType::NAMED.map(|(_, word)| word).join("|"))
}

fn words(words: impl IntoIterator<Item = impl Into<serde_json::Value>>) -> Object {
    text().enum_values(Some(words)).build()
}

/// Words with commas between.
fn several(words: &[&str]) -> String {
    let any = words.join("|");
    format!("^(?:{any})(?: ?, ?(?:{any}))*$")
}

/// An event of a stream. Its data is a document.
fn event(names: impl IntoIterator<Item = &'static str>) -> Object {
    let event = ObjectBuilder::new().schema_type(Type::Object);
    let event = event.property("event", words(names)).property("id", text());
    event.property("data", text().content_media_type("application/json")).required("data").build()
}

fn number<T: ToString>(least: &T, most: &T) -> Object {
    let bound = |bound: &T| bound.to_string().parse::<i64>().ok();
    let whole =
        ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    whole.minimum(bound(least)).maximum(bound(most)).build()
}

fn list(item: Object, least: usize, most: usize) -> Array {
    let items = ArrayBuilder::new().items(item);
    items.min_items(Some(least).filter(|least| *least > 0)).max_items(Some(most)).build()
}

fn unique(mut list: Array) -> Array {
    list.unique_items = true;
    list
}

fn map(names: Object, values: Object, most: usize) -> Object {
    let map = ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(Schema::Object(values)));
    map.property_names(Some(Schema::Object(names))).max_properties(Some(most)).build()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;
    use crate::api::bounds::{AHEAD_MAX, DEADLINE_END, EXPIRES_AFTER_MAX};
    use crate::config::units::parse_duration;
    use crate::domain::time::Timestamp;

    /// Texts of a form. A generator has no use for the ends of a text, nor for groups that keep nothing.
    fn texts(form: RefOr<Schema>) -> impl Strategy<Value = String> {
        let RefOr::T(Schema::Object(form)) = form else { panic!("a form of texts is an object") };
        let pattern = form.pattern.expect("it has a pattern");
        let least = form.min_length.unwrap_or_default();
        let texts =
            string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).expect("it is a regular expression");
        texts.prop_filter("too short", move |text| text.chars().count() >= least)
    }

    proptest! {
        #[test]
        fn what_a_form_of_times_describes_is_read(
            time in texts(Instant::schema()),
            moment in texts(Moment::schema()),
            span in texts(Span::schema()),
            some in texts(SomeTime::schema()),
            short in texts(Short::schema()),
            deadline in texts(Deadline::schema()),
        ) {
            prop_assert!(time.parse::<Timestamp>().is_ok(), "{time}");
            let ahead = parse_duration(&moment);
            prop_assert!(moment.parse::<Timestamp>().is_ok() || ahead.is_ok_and(|span| span <= AHEAD_MAX), "{moment}");
            prop_assert!(parse_duration(&span).is_ok(), "{span}");
            let is_some = parse_duration(&some).is_ok_and(|some| !some.is_zero() && some <= EXPIRES_AFTER_MAX);
            prop_assert!(is_some, "{some}");
            prop_assert!(parse_duration(&short).is_ok_and(|short| short < DEADLINE_END), "{short}");
            let is_deadline = parse_duration(&deadline).is_ok_and(|some| !some.is_zero() && some < DEADLINE_END);
            prop_assert!(is_deadline, "{deadline}");
        }
    }

    #[test]
    fn an_empty_text_is_a_form_that_is_sought_too() {
        let RefOr::T(Schema::Object(form)) = SoughtFingerprint::schema() else { panic!("an object") };
        assert_eq!(form.pattern.as_deref(), Some("^(?:[0-9a-f]{16}|)$"));
    }
}
