//! Plug-ins and what they are granted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::{Answer, Client, segment};
use crate::api::view::{ActivateBody, GrantBody, PluginListView, PluginView, RevokeBody, UploadView};

/// A component on its way to the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Component<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    /// The text of its `plugin.toml`.
    pub(crate) manifest: Option<&'a str>,
    pub(crate) bytes: &'a [u8],
}

/// Whether something is done although it costs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    No,
    Yes,
}

impl Client {
    /// Uploads a version of a plug-in.
    pub(crate) fn upload(&self, component: Component<'_>) -> anyhow::Result<Answer<UploadView>> {
        let Component { name, version, manifest, bytes } = component;
        let url = self.url(&format!("/v1/plugins/{}/versions/{}", segment(name), segment(version)));
        let mut request = self.with_token(self.agent.put(url)).content_type("application/wasm");
        if let Some(manifest) = manifest {
            request = request.header("Backroom-Manifest", BASE64.encode(manifest));
        }
        self.read(self.asking_first(request, bytes).send(bytes))
    }

    /// Lists the plug-ins.
    pub(crate) fn plugins(&self) -> anyhow::Result<Answer<PluginListView>> {
        self.get("/v1/plugins")
    }

    /// Shows a plug-in.
    pub(crate) fn plugin(&self, name: &str) -> anyhow::Result<Answer<PluginView>> {
        self.get(&format!("/v1/plugins/{}", segment(name)))
    }

    /// Makes a version the one that jobs run.
    pub(crate) fn activate(&self, name: &str, version: &str) -> anyhow::Result<Answer<PluginView>> {
        let body = ActivateBody { version: version.to_owned() };
        self.post_json(&format!("/v1/plugins/{}/activate", segment(name)), &body)
    }

    /// Grants a plug-in capabilities.
    pub(crate) fn grant(&self, name: &str, grants: &GrantBody) -> anyhow::Result<Answer<PluginView>> {
        self.post_json(&format!("/v1/plugins/{}/grants", segment(name)), grants)
    }

    /// Takes back what was granted by a command.
    pub(crate) fn revoke(&self, name: &str, grants: &RevokeBody) -> anyhow::Result<Answer<PluginView>> {
        self.post_json(&format!("/v1/plugins/{}/grants/revoke", segment(name)), grants)
    }

    /// Pauses or resumes a plug-in.
    pub(crate) fn hold_plugin(
        &self,
        name: &str,
        verb: &str,
        why: &impl Serialize,
    ) -> anyhow::Result<Answer<PluginView>> {
        self.post_json(&format!("/v1/plugins/{}/{verb}", segment(name)), why)
    }

    /// Does something with a plug-in that needs no more words: `rollback`, `enable`, `disable`.
    pub(crate) fn steer_plugin(&self, name: &str, verb: &str) -> anyhow::Result<Answer<PluginView>> {
        self.post(&format!("/v1/plugins/{}/{verb}", segment(name)))
    }

    /// Removes a plug-in; `force` also when unfinished jobs need it.
    pub(crate) fn remove_plugin(&self, name: &str, force: Force) -> anyhow::Result<()> {
        let mut request = self.with_token(self.agent.delete(self.url(&format!("/v1/plugins/{}", segment(name)))));
        if force == Force::Yes {
            request = request.query("force", "true");
        }
        self.accepted(request.call()).map(drop)
    }
}
