//! Plug-ins: upload, list, show, choose the version that runs, switch off, remove.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::address::Path;
use super::bounds::{CONFIG_KEY_BYTES_MAX, CONFIG_VALUE_BYTES_MAX, MANIFEST_BYTES_MAX};
use super::caller::noted;
use super::content::Kind;
use super::error::ApiError;
use super::params::{Params, truth};
use super::steer::{note_reason, pause_of, reason_of};
use super::view::{
    ActivateBody, GrantBody, PauseBody, PluginListView, PluginView, RevokeBody, SteerBody, UploadView, form,
};
use super::{ApiState, body, json};
use crate::config::{Manifest, parse_manifest, parse_origin};
use crate::domain::access::Caller;
use crate::domain::code;
use crate::domain::id::{PluginName, VersionName};
use crate::domain::pausing::Pausable;
use crate::domain::plugin::{Grant, Plugin, Wishes};
use crate::registry::{Granting, Removal, Upload};

/// The header that carries the base64 of `plugin.toml` beside a component.
pub(super) const MANIFEST_HEADER: &str = "backroom-manifest";

/// Takes a component as a version of a plug-in.
#[utoipa::path(
    put,
    path = "/v1/plugins/{name}/versions/{version}",
    tag = "plugins",
    operation_id = "plugins_upload",
    params(
        ("name" = inline(form::PluginName), Path, description = "The plug-in"),
        ("version" = inline(form::VersionName), Path, description = "Semantic version"),
        ("Backroom-Manifest" = inline(Option<form::Manifest>), Header, description = "The base64 of plugin.toml, at most 16 KiB of TOML"),
    ),
    request_body(content((form::Bytes = "application/wasm"), (form::Bytes = "application/octet-stream")), description = "The component"),
    responses(
        (status = 201, description = "Active", body = UploadView),
        (status = 202, description = "Kept as pending: it asks for what is not granted", body = UploadView),
        (status = 200, description = "The same bytes were there already", body = UploadView),
    )
)]
pub(super) async fn upload(
    State(state): State<ApiState>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<UploadView>), ApiError> {
    Params::of(&uri, &[])?;
    let (name, version) = (plugin_name(&name)?, version_name(&version)?);
    let wishes = wishes(&headers, &name, &version)?;
    state.large_body_turn().await?;
    let bytes = body::read(&headers, body, Kind::Component).await.map_err(|error| match error.code() {
        code::BODY_TOO_LARGE => error.with_next(code::SMALLER),
        _ => error,
    })?;
    state.check_again(&caller)?;
    let tenant = state.tenant();
    let uploaded = state.host().registry.upload(Upload { tenant, name: name.clone(), version, bytes, wishes }).await?;
    let view = UploadView::of(&uploaded, &state.host().registry.policy(tenant, &name));
    let status = match view {
        UploadView { repeated: true, .. } => StatusCode::OK,
        UploadView { next: Some(_), .. } => StatusCode::ACCEPTED,
        _ => StatusCode::CREATED,
    };
    Ok((status, Json(view)))
}

/// What the manifest beside the component says; nothing when there is none.
fn wishes(headers: &HeaderMap, name: &PluginName, version: &VersionName) -> Result<Wishes, ApiError> {
    let Some(encoded) = headers.get(MANIFEST_HEADER) else { return Ok(Wishes::default()) };
    let bad = |detail: String| ApiError::new(code::BAD_MANIFEST, detail);
    let decoded = BASE64.decode(encoded.as_bytes());
    let decoded = decoded.map_err(|error| bad(format!("the header Backroom-Manifest is no base64: {error}")))?;
    if decoded.len() > MANIFEST_BYTES_MAX {
        return Err(bad(format!("the manifest has {} bytes; at most {MANIFEST_BYTES_MAX} are taken", decoded.len())));
    }
    let text = String::from_utf8(decoded).map_err(|error| bad(format!("the manifest is not UTF-8: {error}")))?;
    let manifest = parse_manifest(&text).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        bad(lines.join("; "))
    })?;
    let Manifest { name: own_name, version: own_version, wishes } = manifest;
    if own_name != *name || own_version != *version {
        return Err(bad(format!(
            "plugin.toml is that of `{own_name}` version {own_version}, but the address names `{name}` version {version}"
        )));
    }
    Ok(wishes)
}

/// Lists the plug-ins by name.
#[utoipa::path(
    get,
    path = "/v1/plugins",
    tag = "plugins",
    operation_id = "plugins_list",
    responses(
        (status = 200, description = "All plug-ins", body = PluginListView),
    )
)]
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<PluginListView>, ApiError> {
    Params::of(&uri, &[])?;
    let plugins = state.host().registry.list(state.tenant());
    Ok(Json(PluginListView { plugins: plugins.iter().map(|plugin| viewed(&state, plugin)).collect() }))
}

/// Shows one plug-in.
#[utoipa::path(
    get,
    path = "/v1/plugins/{name}",
    tag = "plugins",
    operation_id = "plugins_show",
    params(
        ("name" = inline(form::PluginName), Path, description = "The plug-in"),
    ),
    responses(
        (status = 200, description = "The plug-in", body = PluginView),
    )
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<PluginView>, ApiError> {
    Params::of(&uri, &[])?;
    let plugin = state.host().registry.look_at(state.tenant(), &plugin_name(&name)?)?;
    Ok(Json(viewed(&state, &plugin)))
}

/// Makes a version the one that jobs run.
#[utoipa::path(
    post,
    path = "/v1/plugins/{name}/activate",
    tag = "plugins",
    operation_id = "plugins_activate",
    params(
        ("name" = inline(form::PluginName), Path, description = "The plug-in"),
    ),
    request_body = ActivateBody,
    responses(
        (status = 200, description = "The plug-in", body = PluginView),
    )
)]
pub(super) async fn activate(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PluginView>, ApiError> {
    Params::of(&uri, &[])?;
    let name = plugin_name(&name)?;
    let bytes = body::read(&headers, body, Kind::Json).await?;
    let ActivateBody { version } = json::parse(&bytes, ActivateBody::FIELDS)?;
    let version = VersionName::new(&version).map_err(|error| ApiError::field("version", error.to_string()))?;
    let activated = state.host().registry.activate(state.tenant(), &name, &version).await?;
    Ok(Json(viewed(&state, &activated)))
}

/// Goes back to the version that was active before.
#[utoipa::path(
    post,
    path = "/v1/plugins/{name}/rollback",
    tag = "plugins",
    operation_id = "plugins_rollback",
    params(
        ("name" = inline(form::PluginName), Path, description = "The plug-in"),
    ),
    responses(
        (status = 200, description = "The plug-in", body = PluginView),
    )
)]
pub(super) async fn rollback(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<PluginView>, ApiError> {
    Params::of(&uri, &[])?;
    let rolled_back = state.host().registry.rollback(state.tenant(), &plugin_name(&name)?).await?;
    Ok(Json(viewed(&state, &rolled_back)))
}

/// Grants a plug-in, or the built-in handler `http`, what it asks for: at once, and for as long as nobody takes it back.
#[utoipa::path(
    post,
    path = "/v1/plugins/{name}/grants",
    tag = "plugins",
    operation_id = "plugins_grant",
    params(
        ("name" = inline(form::PluginName), Path, description = "The plug-in"),
    ),
    request_body = GrantBody,
    responses(
        (status = 200, description = "The plug-in; a version that waited for the grants is active", body = PluginView),
    )
)]
pub(super) async fn grant(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PluginView>, ApiError> {
    Params::of(&uri, &[])?;
    let name = plugin_name(&name)?;
    let bytes = body::read(&headers, body, Kind::Json).await?;
    let GrantBody { http, config, pause } = json::parse(&bytes, GrantBody::FIELDS)?;
    let mut grants = origins(&http)?;
    for (key, value) in config {
        let (grant, value) = (config_key(&key)?, config_value(&key, value)?);
        grants.push(Granting { grant, value: Some(value) });
    }
    grants.extend(pausables(&pause)?.into_iter().map(|grant| Granting { grant, value: None }));
    some(grants.len())?;
    state.check_again(&caller)?;
    tracing::info!(by = noted(&caller), plugin = %name, grants = grants.len(), "grants of a plug-in");
    let granted = state.host().registry.grant(state.tenant(), &name, grants, noted(&caller)).await?;
    Ok(Json(viewed(&state, &granted)))
}

/// Takes back what was granted by a command. Attempts that run keep what they have until they end.
#[utoipa::path(
    post,
    path = "/v1/plugins/{name}/grants/revoke",
    tag = "plugins",
    operation_id = "plugins_revoke",
    params(
        ("name" = inline(form::PluginName), Path, description = "The plug-in"),
    ),
    request_body = RevokeBody,
    responses(
        (status = 200, description = "The plug-in", body = PluginView),
    )
)]
pub(super) async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PluginView>, ApiError> {
    Params::of(&uri, &[])?;
    let name = plugin_name(&name)?;
    let bytes = body::read(&headers, body, Kind::Json).await?;
    let RevokeBody { http, config, pause } = json::parse(&bytes, RevokeBody::FIELDS)?;
    let mut grants: Vec<_> = origins(&http)?.into_iter().map(|granting| granting.grant).collect();
    for key in &config {
        grants.push(config_key(key)?);
    }
    grants.extend(pausables(&pause)?);
    some(grants.len())?;
    state.check_again(&caller)?;
    tracing::info!(by = noted(&caller), plugin = %name, grants = grants.len(), "grants of a plug-in taken back");
    let revoked = state.host().registry.revoke(state.tenant(), &name, &grants).await?;
    Ok(Json(viewed(&state, &revoked)))
}

fn origins(http: &[String]) -> Result<Vec<Granting>, ApiError> {
    let granting = |text: &String| match parse_origin(text) {
        Ok(origin) => Ok(Granting { grant: Grant::Http(origin), value: None }),
        Err(why) => Err(ApiError::field("http", format!("`{text}` is not an origin: {why}")).with_next(
            "Write an origin such as https://api.example.com, https://*.example.com or http://10.0.0.7:8080.",
        )),
    };
    http.iter().map(granting).collect()
}

fn config_key(key: &str) -> Result<Grant, ApiError> {
    if key.is_empty() || key.len() > CONFIG_KEY_BYTES_MAX || key.chars().any(char::is_control) {
        let detail = format!("a key has 1 to {CONFIG_KEY_BYTES_MAX} bytes of text without control characters");
        return Err(ApiError::field("config", detail));
    }
    Ok(Grant::Config(key.to_owned()))
}

fn pausables(words: &[String]) -> Result<Vec<Grant>, ApiError> {
    let grants: Vec<_> = words.iter().map(|word| pausable(word)).collect::<Result<_, _>>()?;
    if grants.len() > Pausable::ALL.len() {
        return Err(ApiError::field("pause", "it names the same twice: leave out what is there already"));
    }
    Ok(grants)
}

fn pausable(word: &str) -> Result<Grant, ApiError> {
    let unknown = || {
        let shown: String = word.chars().take(40).collect();
        ApiError::field("pause", format!("`{shown}` names nothing that a handler may pause; {}", Pausable::FORM))
    };
    Pausable::from_word(word).map(Grant::Pause).ok_or_else(unknown)
}

fn config_value(key: &str, value: String) -> Result<String, ApiError> {
    if value.len() > CONFIG_VALUE_BYTES_MAX {
        let bytes = value.len();
        let detail = format!("the value of `{key}` has {bytes} bytes (limit {CONFIG_VALUE_BYTES_MAX})");
        return Err(ApiError::field("config", detail));
    }
    Ok(value)
}

fn some(grants: usize) -> Result<(), ApiError> {
    match grants {
        0 => Err(ApiError::field("http", "none of `http`, `config` and `pause` names anything")),
        _ => Ok(()),
    }
}

/// Lets the plug-in's jobs run again.
#[utoipa::path(
    post,
    path = "/v1/plugins/{name}/enable",
    tag = "plugins",
    operation_id = "plugins_enable",
    params(
        ("name" = inline(form::PluginName), Path, description = "The plug-in"),
    ),
    responses(
        (status = 200, description = "The plug-in", body = PluginView),
    )
)]
pub(super) async fn enable(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<PluginView>, ApiError> {
    Params::of(&uri, &[])?;
    let plugin = state.host().registry.enable(state.tenant(), &plugin_name(&name)?).await?;
    Ok(Json(viewed(&state, &plugin)))
}

/// Lets none of the plug-in's jobs run; queued ones are canceled when their turn comes.
#[utoipa::path(
    post,
    path = "/v1/plugins/{name}/disable",
    tag = "plugins",
    operation_id = "plugins_disable",
    params(
        ("name" = inline(form::PluginName), Path, description = "The plug-in"),
    ),
    responses(
        (status = 200, description = "The plug-in", body = PluginView),
    )
)]
pub(super) async fn disable(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<PluginView>, ApiError> {
    Params::of(&uri, &[])?;
    let plugin = state.host().registry.disable(state.tenant(), &plugin_name(&name)?).await?;
    Ok(Json(viewed(&state, &plugin)))
}

/// Starts none of the plug-in's jobs until the time that is given, or until it is resumed. Nothing is failed or canceled, and jobs are still taken.
#[utoipa::path(
    post,
    path = "/v1/plugins/{name}/pause",
    tag = "plugins",
    operation_id = "plugins_pause",
    params(
        ("name" = inline(form::PluginName), Path, description = "The plug-in"),
    ),
    request_body(content = Option<PauseBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The plug-in", body = PluginView),
    )
)]
pub(super) async fn pause(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PluginView>, ApiError> {
    let pause = pause_of(&state, &caller, &headers, body).await?;
    Params::of(&uri, &[])?;
    let plugin = state.host().registry.pause(state.tenant(), &plugin_name(&name)?, pause.clone()).await?;
    note_reason(&caller, "pause of the plug-in", &name, pause.reason);
    Ok(Json(viewed(&state, &plugin)))
}

/// Lets the jobs of a paused plug-in start again.
#[utoipa::path(
    post,
    path = "/v1/plugins/{name}/resume",
    tag = "plugins",
    operation_id = "plugins_resume",
    params(
        ("name" = inline(form::PluginName), Path, description = "The plug-in"),
    ),
    request_body(content = Option<SteerBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The plug-in", body = PluginView),
    )
)]
pub(super) async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PluginView>, ApiError> {
    let reason = reason_of(&headers, body).await?;
    Params::of(&uri, &[])?;
    let plugin = state.host().registry.resume(state.tenant(), &plugin_name(&name)?).await?;
    note_reason(&caller, "resume of the plug-in", &name, reason);
    Ok(Json(viewed(&state, &plugin)))
}

/// Removes a plug-in with all its versions.
#[utoipa::path(
    delete,
    path = "/v1/plugins/{name}",
    tag = "plugins",
    operation_id = "plugins_remove",
    params(
        ("name" = inline(form::PluginName), Path, description = "The plug-in"),
        ("force" = Option<bool>, Query, description = "Even if jobs that have not ended need it"),
    ),
    responses(
        (status = 204, description = "Removed"),
    )
)]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    let params = Params::of(&uri, &["force"])?;
    let removal = if params.read("force", truth)?.unwrap_or(false) { Removal::Forced } else { Removal::Unused };
    state.host().registry.remove(state.tenant(), &plugin_name(&name)?, removal).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn viewed(state: &ApiState, plugin: &Plugin) -> PluginView {
    let host = state.host();
    let degraded = host.is_degraded(plugin.tenant, &plugin.name);
    PluginView {
        degraded,
        ..PluginView::of(plugin, &host.registry.policy(plugin.tenant, &plugin.name), host.schedules.now())
    }
}

fn plugin_name(text: &str) -> Result<PluginName, ApiError> {
    PluginName::new(text).map_err(|error| ApiError::field("name", error.to_string()))
}

fn version_name(text: &str) -> Result<VersionName, ApiError> {
    VersionName::new(text).map_err(|error| ApiError::field("version", error.to_string()))
}
