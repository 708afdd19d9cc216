//! What operations share, said once: who may ask, how they refuse, and the key that keeps a request from being done twice.

use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{HttpMethod, Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, ContentBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Schema};
use utoipa::{Modify, PartialSchema};

use super::super::error::PROBLEM;
use super::super::guard;
use super::super::idempotency::{self, IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED};
use super::super::view::form;

/// The name of the scheme by which callers say who they are.
const TOKEN: &str = "token";

/// See the module.
pub(super) struct Shared;

impl Modify for Shared {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme(TOKEN, token());
        components
            .responses
            .extend(REFUSALS.iter().map(|refusal| (refusal.name.to_owned(), refusal.response().into())));
        document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], _>(TOKEN, [])]);
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                complete(path, &method, operation);
            }
        }
    }
}

fn token() -> SecurityScheme {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let description = "The secret of a token, or that of the settings. A host that listens on loopback and has no token asks \
        nobody for one.";
    SecurityScheme::Http(scheme.description(Some(description)).build())
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let PathItem { get, put, post, delete, .. } = item;
    let slots =
        [(HttpMethod::Get, get), (HttpMethod::Put, put), (HttpMethod::Post, post), (HttpMethod::Delete, delete)];
    slots.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Adds to an operation what the address and the method say of it.
fn complete(path: &str, method: &HttpMethod, operation: &mut Operation) {
    let traits = Traits {
        is_open: guard::is_open(path),
        is_always_answered: guard::ALWAYS_ANSWERED.contains(&path),
        names_something: path.contains('{') || takes_filter(operation),
        has_body: operation.request_body.is_some(),
        changes: *method != HttpMethod::Get,
    };
    if traits.is_open {
        operation.security = Some(Vec::new());
    }
    if *method == HttpMethod::Post && idempotency::MAKING_JOBS.contains(&path) {
        take_key(operation);
    }
    for refusal in REFUSALS.iter().filter(|refusal| (refusal.applies)(&traits)) {
        let status = refusal.status.as_str().to_owned();
        let response = || RefOr::Ref(Ref::from_response_name(refusal.name));
        operation.responses.responses.entry(status).or_insert_with(response);
    }
}

/// The `Idempotency-Key` of a request that makes jobs, and the header of its answer.
fn take_key(operation: &mut Operation) {
    let said = "A repeated request with the same key returns what the first one made, or how it ended where it is gone with \
        its end; kept for 24 hours. A bulk action takes one with `retry` only, and not for a dry run.";
    let key = ParameterBuilder::new().name(shown(&IDEMPOTENCY_KEY)).parameter_in(ParameterIn::Header);
    let key: Parameter =
        key.required(Required::False).description(Some(said)).schema(Some(form::IdempotencyKey::schema())).build();
    operation.parameters.get_or_insert_default().push(key);
    let replayed = HeaderBuilder::new().schema(form::Replayed::schema());
    let replayed = replayed.description(Some("Present where the request was a repeated one")).build();
    if let Some(RefOr::T(repeated)) = operation.responses.responses.get_mut(StatusCode::OK.as_str()) {
        repeated.headers.insert(shown(&IDEMPOTENT_REPLAYED), replayed);
    }
}

/// Whether an operation takes a filter, which may name jobs by the ends of their ids.
fn takes_filter(operation: &Operation) -> bool {
    operation.parameters.iter().flatten().any(|parameter| parameter.name == "batch")
}

/// What decides how an operation may refuse.
struct Traits {
    is_open: bool,
    is_always_answered: bool,
    names_something: bool,
    has_body: bool,
    changes: bool,
}

/// A way to refuse a request.
struct Refusal {
    name: &'static str,
    status: StatusCode,
    description: &'static str,
    headers: &'static [(HeaderName, &'static str)],
    applies: fn(&Traits) -> bool,
}

const LATER: (HeaderName, &str) = (RETRY_AFTER, "After how many seconds to ask again");

const REFUSALS: &[Refusal] = &[
    Refusal {
        name: "Unreadable",
        status: StatusCode::BAD_REQUEST,
        description: "The request cannot be read: its headers, or its body, which is broken or was cut off",
        headers: &[],
        applies: |_| true,
    },
    Refusal {
        name: "NotAdmitted",
        status: StatusCode::UNAUTHORIZED,
        description: "The request carries no token of this host, or one that opens nothing any more",
        headers: &[(WWW_AUTHENTICATE, "`Bearer`")],
        applies: |of| !of.is_open,
    },
    Refusal {
        name: "Forbidden",
        status: StatusCode::FORBIDDEN,
        description: "The token lacks a right, or the request comes from a page of another site",
        headers: &[],
        applies: |_| true,
    },
    Refusal {
        name: "NotThere",
        status: StatusCode::NOT_FOUND,
        description: "What the request names is not there, or not for the holder of this token",
        headers: &[],
        applies: |of| of.names_something || of.has_body,
    },
    Refusal {
        name: "Conflict",
        status: StatusCode::CONFLICT,
        description: "The state of what the request names does not allow it, or others changed it at the same time",
        headers: &[(RETRY_AFTER, "After how many seconds to ask again, where that may help")],
        applies: |of| !of.is_open && (of.names_something || of.changes),
    },
    Refusal {
        name: "TooLarge",
        status: StatusCode::PAYLOAD_TOO_LARGE,
        description: "The body, or an input in it, is larger than is taken",
        headers: &[],
        applies: |of| of.has_body,
    },
    Refusal {
        name: "LongAddress",
        status: StatusCode::URI_TOO_LONG,
        description: "The address is longer than is taken",
        headers: &[],
        applies: |_| true,
    },
    Refusal {
        name: "UnknownMediaType",
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        description: "The body has a content type or an encoding that is not taken here, or none is",
        headers: &[
            (ACCEPT, "The content types that are taken here"),
            (ACCEPT_ENCODING, "`identity`, where the body was packed"),
        ],
        applies: |_| true,
    },
    Refusal {
        name: "Unacceptable",
        status: StatusCode::UNPROCESSABLE_ENTITY,
        description: "A field or a parameter is unknown, has a value that is not taken, or does not go with another one",
        headers: &[],
        applies: |of| !of.is_open,
    },
    Refusal {
        name: "TooMuchUnderWay",
        status: StatusCode::TOO_MANY_REQUESTS,
        description: "The caller has too much under way, or has tried too many wrong tokens",
        headers: &[LATER],
        applies: |of| !of.is_always_answered,
    },
    Refusal {
        name: "LargeHead",
        status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        description: "The headers are larger than is taken",
        headers: &[],
        applies: |_| true,
    },
    Refusal {
        name: "Fault",
        status: StatusCode::INTERNAL_SERVER_ERROR,
        description: "A fault of the host",
        headers: &[],
        applies: |of| !of.is_open,
    },
    Refusal {
        name: "NotNow",
        status: StatusCode::SERVICE_UNAVAILABLE,
        description: "The host is busy, or lacks something that comes back",
        headers: &[LATER],
        applies: |of| !of.is_always_answered,
    },
    Refusal {
        name: "DiskFull",
        status: StatusCode::INSUFFICIENT_STORAGE,
        description: "The disk is full",
        headers: &[],
        applies: |of| !of.is_open && of.changes,
    },
];

impl Refusal {
    fn response(&self) -> Response {
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(self.description).content(PROBLEM, problem);
        let headers = self.headers.iter().chain(&[(CACHE_CONTROL, "`no-store`")]);
        headers.fold(response, |response, (name, said)| response.header(shown(name), header(name, said))).build()
    }
}

fn header(name: &HeaderName, said: &str) -> Header {
    let schema: RefOr<Schema> = if *name == RETRY_AFTER { form::Seconds::schema() } else { String::schema() };
    HeaderBuilder::new().schema(schema).description(Some(said)).build()
}

/// A name as people write it: the letter case of header names does not count.
fn shown(name: &HeaderName) -> String {
    let part = |part: &str| {
        let (first, rest) = part.split_at(part.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    };
    let parts: Vec<_> = name.as_str().split('-').map(part).collect();
    parts.join("-").replace("Www", "WWW")
}
