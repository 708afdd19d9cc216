//! Tokens: who has one, making and revoking them.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ring::rand::{SecureRandom, SystemRandom};

use super::address::Path;
use super::caller::noted;
use super::content::Kind;
use super::error::ApiError;
use super::params::{Params, truth};
use super::view::{NewTokenView, TokenBody, TokenListView, TokenView, form};
use super::{ApiState, body, intake, json};
use crate::app::{LastToken, NewToken};
use crate::domain::access::{Caller, Rights};
use crate::domain::code;
use crate::domain::id::{Digest, TokenName};

/// What every secret starts with, so that people and scanners know one when they see it.
const PREFIX: &str = "backroom_";

/// Random bytes of a secret: nobody guesses it, so its plain hash may be kept.
const RANDOM_BYTES: usize = 32;

/// Makes a token. The answer tells its secret, once.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    tag = "tokens",
    operation_id = "tokens_create",
    request_body = TokenBody,
    responses(
        (status = 201, description = "Made, with its secret", body = NewTokenView),
    )
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let bytes = body::read(&headers, body, Kind::Json).await?;
    let TokenBody { name, rights, expires_on } = json::parse(&bytes, TokenBody::FIELDS)?;
    let secret = format!("{PREFIX}{}", random_text()?);
    let new = NewToken {
        tenant: state.tenant(),
        name: intake::named("name", TokenName::new(&name))?,
        digest: Digest::of(&secret),
        rights: Rights::read(&rights).map_err(|error| ApiError::field("rights", format!("field `rights`: {error}")))?,
        expires_on: expires_on.map(|text| intake::moment("expires_on", &text, state.host().now())).transpose()?,
        by: noted(&caller).to_owned(),
    };
    let token = state.host().tokens.create(caller.clone(), new).await?;
    tracing::info!(token = %token.name, rights = %token.rights, by = noted(&caller), "a token was made");
    let view = NewTokenView { secret, token: TokenView::of(&token, false) };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// A text that nobody guesses.
pub(super) fn random_text() -> Result<String, ApiError> {
    let mut random = [0; RANDOM_BYTES];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| ApiError::new(code::INTERNAL, "the machine gave no random numbers"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Lists the tokens by name. Nobody can be told a secret again.
#[utoipa::path(
    get,
    path = "/v1/tokens",
    tag = "tokens",
    operation_id = "tokens_list",
    responses(
        (status = 200, description = "All tokens", body = TokenListView),
    )
)]
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<TokenListView>, ApiError> {
    Params::of(&uri, &[])?;
    let host = state.host();
    let (tokens, now) = (host.tokens.list(state.tenant()), host.now());
    Ok(Json(TokenListView {
        tokens: tokens.iter().map(|token| TokenView::of(token, token.has_expired(now))).collect(),
    }))
}

/// Takes a token back: it opens nothing from now on. Jobs of its holder stay his, by name.
#[utoipa::path(
    delete,
    path = "/v1/tokens/{name}",
    tag = "tokens",
    operation_id = "tokens_revoke",
    params(
        ("name" = inline(form::TokenName), Path, description = "The token"),
        ("last" = Option<bool>, Query, description = "Even if it is the last one, and the host lets everybody in from then on"),
    ),
    responses(
        (status = 204, description = "Revoked"),
    )
)]
pub(super) async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    let params = Params::of(&uri, &["last"])?;
    let last = if params.read("last", truth)?.unwrap_or(false) { LastToken::Revoked } else { LastToken::Kept };
    let name = TokenName::new(&name).map_err(|error| ApiError::new(code::UNKNOWN_TOKEN, error.to_string()))?;
    state.host().tokens.revoke(caller, state.tenant(), name, last).await?;
    Ok(StatusCode::NO_CONTENT)
}
