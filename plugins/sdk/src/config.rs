//! Settings that the operator of the host made for this plug-in.

use crate::{Failure, Result, host};

/// One setting, if it is there.
pub fn get(key: &str) -> Result<Option<String>> {
    host::config_get(key).map_err(|reason| unavailable(&reason))
}

/// One setting that the plug-in cannot do without. A missing one is a user-fixable failure `missing-config`.
pub fn require(key: &str) -> Result<String> {
    get(key)?.ok_or_else(|| {
        Failure::user_fixable(format_args!(
            "the setting `{key}` is missing; set it with: backroom plugin grant NAME --config {key}=VALUE"
        ))
        .code("missing-config")
    })
}

/// All settings, as pairs of key and value.
pub fn all() -> Result<Vec<(String, String)>> {
    host::config_all().map_err(|reason| unavailable(&reason))
}

fn unavailable(reason: &str) -> Failure {
    Failure::transient(format_args!("the settings cannot be read: {reason}")).code("config-unavailable")
}
