//! What the host plays itself: the handler `http`, and the batches, which are jobs without a handler.

use super::{Registry, Runnable, Unfit, choose_handler, input_too_large, runnable_under};
use crate::domain::advice::{self, Sides};
use crate::domain::id::{Digest, HandlerName, TenantId, VersionName};
use crate::domain::outbound::{BadRequest, HttpRequest, Origin, Url, coverage, http_plugin};
use crate::domain::plugin::{Inspection, PluginVersion, Policy, Shape, Source, Wishes};
use crate::domain::time::Timestamp;

impl Registry {
    pub(super) fn check_fit_of_http(
        &self,
        tenant: TenantId,
        version: Option<&VersionName>,
        handler: Option<&HandlerName>,
        input_bytes: u64,
    ) -> Result<HandlerName, Unfit> {
        let (name, http) = (http_plugin(), self.http(tenant));
        let (there, limit) = (&*http.version, http.limits.input_bytes);
        if input_bytes > limit {
            return Err(input_too_large(&name, Some(there), &http.policy, input_bytes, limit));
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
    pub fn check_call(&self, tenant: TenantId, input: &[u8]) -> Result<(), Unfit> {
        self.check_origin(tenant, HttpRequest::parse(input)?.url.origin())
    }

    /// Checks that the handler `http` may call a URL, for a job that follows another.
    pub fn check_callback(&self, tenant: TenantId, url: &str) -> Result<(), Unfit> {
        let url = Url::parse(url)
            .map_err(|why| BadRequest { field: "url", why: format!("`url` is not acceptable: {why}") })?;
        self.check_origin(tenant, url.origin())
    }

    fn check_origin(&self, tenant: TenantId, origin: &Origin) -> Result<(), Unfit> {
        let http = self.http(tenant);
        match coverage(http.grants.iter(), origin) {
            Some(_) => Ok(()),
            None => {
                let plugin = http_plugin();
                let sides = Sides::of(&plugin, &http.version, &http.policy);
                let advice = Box::new(advice::allow_origin(sides, origin));
                Err(Unfit::NotGranted { origin: origin.clone(), advice })
            }
        }
    }
}

/// The built-in handler `http`: it asks for all that the operator grants.
pub(super) fn http_runnable(policy: &Policy) -> Runnable {
    let wishes = Wishes { wants: policy.grants.clone(), source: Source::Operator, ..Wishes::default() };
    runnable_under(policy.clone(), &built_in(wishes))
}

/// What a job of a batch runs: nothing of anybody's, so it is allowed nothing.
pub(super) fn batch_runnable() -> Runnable {
    runnable_under(Policy::default(), &built_in(Wishes::default()))
}

/// What the host plays itself has the host's own version.
fn built_in(wishes: Wishes) -> PluginVersion {
    let inspection = Inspection {
        shape: Shape::Builtin,
        imports: Vec::new(),
        exports: Vec::new(),
        handlers: None,
        digest: Digest([0; 32]),
        bytes: 0,
    };
    PluginVersion {
        version: VersionName::new(env!("CARGO_PKG_VERSION")).expect("a release has a version"),
        inspection,
        wishes,
        uploaded_on: Timestamp::default(),
        is_pending: false,
    }
}
