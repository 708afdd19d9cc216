//! Files and folders that no other user may look into: jobs carry what is nobody else's business.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes a folder, and those above it, where they are not there yet.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// How a file is made, to be read and written.
pub(super) fn file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

/// Shuts others out of a folder that somebody else has made for us, and of all that is in it.
pub(super) fn close(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => close(&entry.path())?,
            false => std::fs::set_permissions(entry.path(), Permissions::from_mode(0o600))?,
        }
    }
    Ok(())
}
