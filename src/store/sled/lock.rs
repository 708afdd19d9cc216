//! The lock file: one host to a directory, and a name for whoever has it.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use super::{outage, private};

/// The right to a directory, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
}

/// Why a directory cannot be had.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process has it; its id, when it could be read.
    InUse(Option<u32>),
    /// The lock file cannot be written.
    Io(io::Error),
}

impl DirectoryLock {
    /// Takes the lock of a directory and writes who we are.
    pub(super) fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join("lock");
        let mut file = private::file().truncate(false).open(path).map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::InUse(holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        write_holder(&mut file).map_err(LockError::Io)?;
        Ok(Self { file })
    }
}

impl Drop for DirectoryLock {
    /// Closing the file is not enough: a child that was just made may hold a copy of it until it has become another program.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "the lock of a directory goes with its last handle");
        }
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    let boot = outage::run_of_the_machine().unwrap_or_default();
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{}\n{}\n", std::process::id(), boot).as_bytes())
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.lines().next()?.parse().ok()
}
