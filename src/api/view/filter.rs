//! Which jobs a list shows and a bulk action changes.

use std::fmt;

use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{RefOr, Required, Schema};
use utoipa::{IntoParams, PartialSchema as _, ToSchema};

use super::form;

/// What jobs must be like: all that is given counts together, and an empty text counts as absent. A name may have dashes in
/// place of its underscores, as on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterBody {
    /// In one of these states: words with commas between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtStates>, inline)]
    pub state: Option<String>,
    /// Waiting for one of these reasons: words with commas between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtReasons>, inline)]
    pub wait_reason: Option<String>,
    /// Of this type: handler, batch, event, workflow, or the number of its code.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtType>, inline)]
    pub job_type: Option<String>,
    /// Of this plug-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtPlugin>, inline)]
    pub plugin: Option<String>,
    /// Of this entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtHandler>, inline)]
    pub handler: Option<String>,
    /// In this queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtQueue>, inline)]
    pub queue: Option<String>,
    /// Submitted by this caller: `api`, a token, a schedule; run again by `console`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtText>, inline)]
    pub created_by: Option<String>,
    /// Of this owner: the name of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtToken>, inline)]
    pub owner: Option<String>,
    /// With this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtText>, inline)]
    pub tag: Option<String>,
    /// With this ordering key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtKey>, inline)]
    pub ordering_key: Option<String>,
    /// About this record, `entity/id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtRecord>, inline)]
    pub regarding: Option<String>,
    /// With `ordering_key` or `regarding`: whose keys are meant, by the name of a token; one's own, or those that are shared, when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtToken>, inline)]
    pub key_space: Option<String>,
    /// Of the batch with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtJob>, inline)]
    pub batch: Option<String>,
    /// Made by this schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtSchedule>, inline)]
    pub schedule: Option<String>,
    /// Following from the job with this id, directly or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtJob>, inline)]
    pub chain: Option<String>,
    /// Running the job with this id again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtJob>, inline)]
    pub retry_of: Option<String>,
    /// Failed in this way: the fingerprint of a group of `GET /v1/failures`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtFingerprint>, inline)]
    pub fingerprint: Option<String>,
    /// With this text in the name, plug-in, tags, id or error; letter case does not count. `q` for short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtText>, inline)]
    pub search: Option<String>,
    /// Submitted at this time or later, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtTime>, inline)]
    pub from: Option<String>,
    /// Submitted before this time, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SoughtTime>, inline)]
    pub before: Option<String>,
}

impl FilterBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &[
        "state",
        "wait_reason",
        "type",
        "plugin",
        "handler",
        "queue",
        "created_by",
        "owner",
        "tag",
        "ordering_key",
        "regarding",
        "key_space",
        "batch",
        "schedule",
        "chain",
        "retry_of",
        "fingerprint",
        "search",
        "from",
        "before",
    ];

    /// The field that a name stands for, which may have dashes as flags do, or be `q`.
    pub(crate) fn usual_name(given: &str) -> Option<&'static str> {
        let usual = if given == "q" { "search".to_owned() } else { given.replace('-', "_") };
        Self::FIELDS.iter().copied().find(|name| *name == usual)
    }

    fn field(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "state" => &mut self.state,
            "wait_reason" => &mut self.wait_reason,
            "type" => &mut self.job_type,
            "plugin" => &mut self.plugin,
            "handler" => &mut self.handler,
            "queue" => &mut self.queue,
            "created_by" => &mut self.created_by,
            "owner" => &mut self.owner,
            "tag" => &mut self.tag,
            "ordering_key" => &mut self.ordering_key,
            "regarding" => &mut self.regarding,
            "key_space" => &mut self.key_space,
            "batch" => &mut self.batch,
            "schedule" => &mut self.schedule,
            "chain" => &mut self.chain,
            "retry_of" => &mut self.retry_of,
            "fingerprint" => &mut self.fingerprint,
            "search" => &mut self.search,
            "from" => &mut self.from,
            "before" => &mut self.before,
            _ => return None,
        })
    }

    /// The names and texts that are given.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let Self { state, wait_reason, job_type, plugin, handler, queue, created_by, owner, tag, .. } = self;
        let Self { ordering_key, regarding, key_space, batch, schedule, .. } = self;
        let Self { chain, retry_of, fingerprint, search, from, before, .. } = self;
        let given = [
            ("state", state),
            ("wait_reason", wait_reason),
            ("type", job_type),
            ("plugin", plugin),
            ("handler", handler),
            ("queue", queue),
            ("created_by", created_by),
            ("owner", owner),
            ("tag", tag),
            ("ordering_key", ordering_key),
            ("regarding", regarding),
            ("key_space", key_space),
            ("batch", batch),
            ("schedule", schedule),
            ("chain", chain),
            ("retry_of", retry_of),
            ("fingerprint", fingerprint),
            ("search", search),
            ("from", from),
            ("before", before),
        ];
        given.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?))).collect()
    }
}

impl IntoParams for FilterBody {
    /// Its fields, each as a query parameter.
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let RefOr::T(Schema::Object(fields)) = Self::schema() else { return Vec::new() };
        let parameter = |(name, field): (String, RefOr<Schema>)| {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
            parameter.required(Required::False).description(description(&field)).schema(Some(field)).build()
        };
        fields.properties.into_iter().map(parameter).collect()
    }
}

fn description(field: &RefOr<Schema>) -> Option<&str> {
    match field {
        RefOr::T(Schema::Object(object)) => object.description.as_deref(),
        RefOr::T(Schema::OneOf(choice)) => choice.description.as_deref(),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for FilterBody {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Fields)
    }
}

/// Reads the fields of a filter, each under any of its names.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = FilterBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FilterBody, A::Error> {
        let mut body = FilterBody::default();
        while let Some(given) = map.next_key::<String>()? {
            let unknown = || de::Error::unknown_field(&given, FilterBody::FIELDS);
            let name = FilterBody::usual_name(&given).ok_or_else(unknown)?;
            let field = body.field(name).ok_or_else(unknown)?;
            if field.is_some() {
                return Err(de::Error::duplicate_field(name));
            }
            *field = map.next_value()?;
        }
        Ok(body)
    }
}
