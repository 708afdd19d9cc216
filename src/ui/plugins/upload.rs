//! Takes a component from the upload form.

use axum::extract::multipart::{Multipart, MultipartError, MultipartRejection};
use axum::extract::{DefaultBodyLimit, Extension};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use crate::api::turns::LargeBodies;
use crate::config::{Manifest, parse_manifest};
use crate::domain::code;
use crate::domain::id::{InvalidName, PluginName, TenantId, VersionName};
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
    console: Console,
    large_bodies: Option<Extension<LargeBodies>>,
    form: Result<Multipart, MultipartRejection>,
) -> Response {
    // The guard in front of the console hands the places on; they are the same as those of the API.
    let turn = match &large_bodies {
        Some(Extension(places)) => places.turn().await,
        None => Ok(()),
    };
    let uploaded = match (turn, form) {
        (Err(busy), _) => Err(busy.into()),
        (_, Err(error)) => Err(Trouble::field(error.to_string())),
        (Ok(()), Ok(form)) => install(&console, form).await,
    };
    console.answer(uploaded.map_err(|trouble| trouble.at(Section::Plugins)))
}

async fn install(console: &Console, form: Multipart) -> Result<(String, Done), Trouble> {
    let form = read(form).await?;
    // A form may take long to come, and its sender may have lost his token meanwhile.
    console.host.tokens.check_again(&console.caller)?;
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
            let trouble = Trouble::new(code::BODY_TOO_LARGE, "A component has at most 64 MiB.");
            Trouble { next: Some(code::SMALLER.into()), ..trouble }
        }
        // The sender broke off or took too long; the host is not at fault.
        _ => Trouble::new(code::BODY_CUT_OFF, error.body_text()),
    }
}

/// What the form says and what its manifest says must agree; either may leave the name and the version to the other.
fn described(form: Form) -> Result<Upload, Trouble> {
    let manifest =
        form.manifest.as_deref().map(parse_manifest).transpose().map_err(|problems| bad_manifest(&problems))?;
    let (name, version, wishes) = match manifest {
        Some(Manifest { name, version, wishes }) => {
            agree("name", &form.name, name.as_str())?;
            agree("version", &form.version, version.as_str())?;
            (name, version, wishes)
        }
        None => (
            named(PluginName::new(form.name.trim()))?,
            named(VersionName::new(form.version.trim()))?,
            Wishes::default(),
        ),
    };
    Ok(Upload { tenant: TenantId::DEFAULT, name, version, bytes: form.component, wishes })
}

fn named<T>(name: Result<T, InvalidName>) -> Result<T, Trouble> {
    name.map_err(|error| Trouble::field(error.to_string()))
}

fn agree(field: &str, given: &str, of_manifest: &str) -> Result<(), Trouble> {
    let given = given.trim();
    if given.is_empty() || given == of_manifest {
        return Ok(());
    }
    Err(Trouble::field(format!("The {field} is `{given}` in the form and `{of_manifest}` in plugin.toml.")))
}

fn bad_manifest(problems: &[impl ToString]) -> Trouble {
    let listed: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Trouble::new(code::BAD_MANIFEST, listed.join("\n"))
}
