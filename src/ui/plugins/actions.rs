//! What the buttons of a plug-in do.

use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::id::{PluginName, TenantId, VersionName};
use crate::domain::queue::Pause;
use crate::registry::Removal;
use crate::ui::Console;
use crate::ui::given::{Filled, Given};
use crate::ui::rights::noted;
use crate::ui::shell::{Done, Section};
use crate::ui::trouble::Trouble;

/// What the button's form carries.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::ui) struct Fields {
    version: String,
}

/// Activates, rolls back, enables, disables, pauses, resumes or removes.
pub(in crate::ui) async fn act(
    console: Console,
    Given(Path((name, action))): Given<Path<(String, String)>>,
    Filled(fields): Filled<Fields>,
) -> Response {
    let acted = perform(&console, &name, &action, &fields).await;
    console.answer(acted.map_err(|trouble| trouble.at(Section::Plugins)))
}

async fn perform(console: &Console, name: &str, action: &str, fields: &Fields) -> Result<(String, Done), Trouble> {
    let name = PluginName::new(name).map_err(|error| Trouble::field(error.to_string()))?;
    let registry = &console.host.registry;
    let tenant = TenantId::DEFAULT;
    let done = match action {
        "activate" => {
            let version = VersionName::new(&fields.version).map_err(|error| Trouble::field(error.to_string()))?;
            registry.activate(tenant, &name, &version).await.map(|_plugin| Done::Activated)
        }
        "rollback" => registry.rollback(tenant, &name).await.map(|_plugin| Done::RolledBack),
        "enable" => registry.enable(tenant, &name).await.map(|_plugin| Done::Enabled),
        "pause" => {
            let by = Some(noted(&console.caller).to_owned());
            let pause = Pause { since: console.now(), by, ..Pause::default() };
            registry.pause(tenant, &name, pause).await.map(|_plugin| Done::PluginPaused)
        }
        "resume" => registry.resume(tenant, &name).await.map(|_plugin| Done::PluginResumed),
        "disable" => registry.disable(tenant, &name).await.map(|_plugin| Done::Disabled),
        "remove" => {
            registry.remove(tenant, &name, Removal::Unused).await?;
            return Ok(("/plugins".to_owned(), Done::Removed));
        }
        _ => return Err(Trouble::field(format!("there is no action `{action}` on a plug-in"))),
    };
    Ok((format!("/plugins/{name}"), done?))
}
