//! The plug-in that the program carries, for commands that need one where there are no sources.

/// A plug-in as it would be uploaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    /// The component.
    pub(crate) component: &'static [u8],
    /// Its plugin.toml.
    pub(crate) manifest: &'static str,
}

/// `plugins/echo`, which gives its input back. None in a program that was built without the target of plug-ins.
#[cfg(carries_echo)]
pub(crate) const ECHO: Option<Carried> = Some(Carried {
    component: include_bytes!(concat!(env!("OUT_DIR"), "/echo.wasm")),
    manifest: include_str!(concat!(env!("OUT_DIR"), "/echo.toml")),
});

/// This program was built without the target of plug-ins.
#[cfg(not(carries_echo))]
pub(crate) const ECHO: Option<Carried> = None;
