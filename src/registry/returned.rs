//! Plug-ins that have come back, and the jobs that waited for them: the scheduler releases those.

use super::{Registry, Resolution};
use crate::domain::id::{PluginName, TenantId};
use crate::domain::job::{Job, WaitReason};

impl Registry {
    /// A plug-in that jobs may still wait for although it is there; each is given out once after it has come or changed, and
    /// after the host has started.
    pub fn take_returned(&self) -> Option<(TenantId, PluginName)> {
        self.returned.lock().pop_first()
    }

    /// Whether a job waits for a plug-in which is there by now.
    pub fn is_held_in_vain(&self, job: &Job) -> bool {
        let Job { submission, state } = job;
        let resolve = || self.resolve(submission.tenant, &submission.plugin, submission.version.as_ref());
        state.wait_reason == Some(WaitReason::MissingComponent) && matches!(resolve(), Resolution::Run(_))
    }
}
