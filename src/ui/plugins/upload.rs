//! Takes a component from the upload form.

use axum::extract::multipart::{Multipart, MultipartError, MultipartRejection};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use crate::domain::code;
use crate::domain::id::{PluginName, TenantId, VersionName};
use crate::domain::plugin::Wishes;
use crate::registry::Upload;
use crate::ui::Console;
use crate::ui::shell::{Done, Section};
use crate::ui::trouble::Trouble;

/// The largest component (design section 5).
const COMPONENT_BYTES_MAX: usize = 64 << 20;

/// Room for the other fields of the form.
const FIELDS_BYTES_MAX: usize = 128 << 10;

/// What the form carries.
#[derive(Default)]
struct Form {
    component: Bytes,
    manifest: Option<String>,
    name: String,
    version: String,
}

/// The bound of the form's body.
pub(in crate::ui) fn body_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(COMPONENT_BYTES_MAX + FIELDS_BYTES_MAX)
}

/// Takes the form and leads to the plug-in.
pub(in crate::ui) async fn upload(
    State(console): State<Console>,
    form: Result<Multipart, MultipartRejection>,
) -> Response {
    let uploaded = match form {
        Ok(form) => install(&console, form).await,
        Err(error) => Err(Trouble::field(error.to_string())),
    };
    console.answer(uploaded.map_err(|trouble| trouble.at(Section::Plugins)))
}

async fn install(console: &Console, form: Multipart) -> Result<(String, Done), Trouble> {
    let form = read(form).await?;
    if form.component.is_empty() {
        return Err(Trouble::field("The form holds no component: choose a .wasm file."));
    }
    let upload = described(form)?;
    let uploaded = console.host.registry.upload(upload).await?;
    let done = match (uploaded.missing.is_empty(), uploaded.repeated) {
        (_, true) => Done::Repeated,
        (true, false) => Done::Uploaded,
        (false, false) => Done::Pending,
    };
    Ok((format!("/plugins/{}", uploaded.plugin.name), done))
}

async fn read(mut multipart: Multipart) -> Result<Form, Trouble> {
    let mut form = Form::default();
    while let Some(field) = multipart.next_field().await.map_err(refused)? {
        let Some(name) = field.name().map(str::to_owned) else { continue };
        match name.as_str() {
            "component" => form.component = field.bytes().await.map_err(refused)?,
            "manifest" => form.manifest = Some(field.text().await.map_err(refused)?).filter(|text| !text.is_empty()),
            "name" => form.name = field.text().await.map_err(refused)?,
            "version" => form.version = field.text().await.map_err(refused)?,
            _ => return Err(Trouble::field(format!("the form has no field `{name}`"))),
        }
    }
    Ok(form)
}

fn refused(error: MultipartError) -> Trouble {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Trouble::new(StatusCode::PAYLOAD_TOO_LARGE, code::BODY_TOO_LARGE, "A component has at most 64 MiB.")
        }
        status => Trouble::new(status, code::BODY_CUT_OFF, error.body_text()),
    }
}

/// The form's name and version hold; what it leaves empty is taken from the manifest.
fn described(form: Form) -> Result<Upload, Trouble> {
    let field = |error: crate::domain::id::InvalidName| Trouble::field(error.to_string());
    Ok(Upload {
        tenant: TenantId::DEFAULT,
        name: PluginName::new(form.name.trim()).map_err(field)?,
        version: VersionName::new(form.version.trim()).map_err(field)?,
        bytes: form.component,
        wishes: Wishes::default(),
    })
}
