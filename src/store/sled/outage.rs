//! Whether the machine has gone down while the store was open. What the index had not synced by then may have reached the disk
//! in part, and the engine does not notice every such half; the journal and the snapshots do not depend on that.

use std::io::{self, Write as _};
use std::path::Path;

use super::journal::segment::sync_directory;
use super::private;

/// Lies in a directory while its store is open, and names the run of the machine.
const FILE: &str = "open";

/// Whether the store was open when the machine went down. One that was killed alone was not: what it wrote, the system has.
pub(super) fn has_happened(directory: &Path) -> io::Result<bool> {
    match std::fs::read_to_string(directory.join(FILE)) {
        Ok(noted) => Ok(run_of_the_machine().is_none_or(|run| noted != run)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // Half a note is the note of a run that has ended.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(true),
        Err(error) => Err(error),
    }
}

/// Notes that the store is open; on disk when it returns, and so before anything that the index writes from then on.
pub(super) fn watch(directory: &Path) -> io::Result<()> {
    let mut file = private::file().truncate(true).open(directory.join(FILE))?;
    file.write_all(run_of_the_machine().unwrap_or_default().as_bytes())?;
    file.sync_all()?;
    sync_directory(directory)
}

/// Notes that the index is on disk and will not be written any more.
pub(super) fn unwatch(directory: &Path) -> io::Result<()> {
    match std::fs::remove_file(directory.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What tells this run of the machine from others; none where the system does not say.
pub(super) fn run_of_the_machine() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}
