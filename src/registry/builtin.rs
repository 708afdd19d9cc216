//! What the host plays itself: the handler `http`, and the batches, which are jobs without a handler.

use super::{Policies, Registry, Runnable, Unfit, choose_handler, runnable_under};
use crate::domain::id::{Digest, HandlerName, VersionName};
use crate::domain::outbound::{BadRequest, HttpRequest, Origin, Url, coverage, http_plugin};
use crate::domain::plugin::{Inspection, PluginVersion, Policy, Shape, Wishes};
use crate::domain::time::Timestamp;

impl Registry {
    pub(super) fn check_fit_of_http(
        &self,
        version: Option<&VersionName>,
        handler: Option<&HandlerName>,
        input_bytes: u64,
    ) -> Result<HandlerName, Unfit> {
        let (name, there) = (http_plugin(), &self.http.version);
        let limit = self.http.limits.input_bytes;
        if input_bytes > limit {
            return Err(Unfit::InputTooLarge { plugin: name, bytes: input_bytes, limit });
        }
        match version.filter(|version| **version != there.version) {
            Some(version) => Err(Unfit::UnknownVersion {
                plugin: name,
                version: version.clone(),
                there: vec![there.version.to_string()],
            }),
            None => choose_handler(&name, handler, Some(there)),
        }
    }

    /// Checks the input of a job for the handler `http`: its form, and that the operator lets it call that origin. The same
    /// is checked again when it runs.
    pub fn check_call(&self, input: &[u8]) -> Result<(), Unfit> {
        self.check_origin(HttpRequest::parse(input)?.url.origin())
    }

    /// Checks that the handler `http` may call a URL, for a job that follows another.
    pub fn check_callback(&self, url: &str) -> Result<(), Unfit> {
        let url = Url::parse(url)
            .map_err(|why| BadRequest { field: "url", why: format!("`url` is not acceptable: {why}") })?;
        self.check_origin(url.origin())
    }

    fn check_origin(&self, origin: &Origin) -> Result<(), Unfit> {
        match coverage(self.http.grants.iter(), origin) {
            Some(_) => Ok(()),
            None => Err(Unfit::NotGranted { origin: origin.clone() }),
        }
    }
}

/// The built-in handler `http`: it asks for all that the operator grants.
pub(super) fn http_runnable(policies: &Policies) -> Runnable {
    let policy = policies.of(&http_plugin());
    runnable_under(policy, &built_in(Wishes { wants: policy.grants.clone(), ..Wishes::default() }))
}

/// What a job of a batch runs: nothing of anybody's, so it is allowed nothing.
pub(super) fn batch_runnable() -> Runnable {
    runnable_under(&Policy::default(), &built_in(Wishes::default()))
}

/// What the host plays itself has the host's own version.
fn built_in(wishes: Wishes) -> PluginVersion {
    let inspection = Inspection {
        shape: Shape::Builtin,
        imports: Vec::new(),
        exports: Vec::new(),
        digest: Digest([0; 32]),
        bytes: 0,
    };
    PluginVersion {
        version: VersionName::new(env!("CARGO_PKG_VERSION")).expect("a release has a version"),
        inspection,
        wishes,
        uploaded_on: Timestamp::default(),
    }
}
