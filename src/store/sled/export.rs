//! Reading everything that the store remembers, piece by piece, for a backup.

use std::io;
use std::ops::Bound;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::checkpoint::is_named;
use super::group::read_remembered;
use super::live::{Block, View};
use super::{SledStore, codec, keys, ties};
use crate::domain::change::RememberedSubmit;
use crate::domain::id::{Digest, HostId, JobKey, OrderingKey, Sequence};
use crate::domain::job::{Job, Run};
use crate::store::{ReadError, Store};

impl SledStore {
    /// Shows every blob that something names. One that is not what was written is an error.
    pub(in crate::store) fn each_blob<E: From<ReadError>>(
        &self,
        visit: &mut dyn FnMut(Digest, Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error: io::Error| ReadError::Failed(error.to_string());
        for (digest, _) in self.shared.blobs.list().map_err(failed)? {
            if is_named(&self.shared, digest).map_err(failed)?
                && let Some(bytes) = self.blob(digest)?
            {
                visit(digest, bytes)?;
            }
        }
        Ok(())
    }

    /// Shows every job of every tenant, oldest first, with its closed runs before the last one.
    pub(in crate::store) fn each_job<E: From<ReadError>>(
        &self,
        visit: &mut dyn FnMut(Job, Vec<Run>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut from = Bound::Included(vec![keys::BLOCK]);
        loop {
            let Some((key, jobs)) = self.view(|view| next_block(view, from))? else { return Ok(()) };
            for (job, runs) in jobs {
                visit(job, runs)?;
            }
            from = Bound::Excluded(key);
        }
    }

    /// Shows every remembered submit, from the one that is forgotten last on. A store that takes them in this order never
    /// finds an old one that a new one clears away.
    pub(in crate::store) fn each_remembered<E: From<ReadError>>(
        &self,
        visit: &mut dyn FnMut(RememberedSubmit) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut to = Bound::Excluded(vec![keys::FORGET + 1]);
        loop {
            let Some((key, submit)) = self.view(|view| last_remembered(view, to))? else { return Ok(()) };
            visit(submit)?;
            to = Bound::Excluded(key);
        }
    }

    /// The ordering keys whose last holder did not succeed while another waited, and that holder.
    pub(in crate::store) fn broken_keys(&self) -> Result<Vec<(JobKey, OrderingKey)>, ReadError> {
        self.view(ties::all_broken)
    }

    /// The last sequence and the last host number that may have been given out.
    pub(in crate::store) fn given_out(&self) -> Result<(Sequence, HostId), ReadError> {
        let of_index = |key: &[u8]| -> Result<u64, ReadError> {
            let value = self.view(|view| view.values.get(key))?;
            Ok(value.map(|value| codec::decode("a number", &value)).transpose()?.unwrap_or(0))
        };
        let sequence = of_index(keys::META_SEQUENCE)?.max(self.shared.sequence.load(Ordering::Acquire));
        let host = of_index(keys::META_HOST)?.max(*self.shared.host.lock());
        Ok((Sequence(sequence), HostId(host)))
    }

    /// Why nothing is written any more, if so.
    pub(in crate::store) fn failure(&self) -> Option<std::sync::Arc<str>> {
        self.shared.failure()
    }
}

type JobsOfBlock = (Vec<u8>, Vec<(Job, Vec<Run>)>);

fn next_block(view: View<'_>, from: Bound<Vec<u8>>) -> Result<Option<JobsOfBlock>, ReadError> {
    let Some(entry) = view.values.ascending(from, Bound::Excluded(vec![keys::BLOCK + 1])).next() else {
        return Ok(None);
    };
    let (key, value) = entry?;
    let block = Block::stored(&key, view.values.whole(&key, value)?)?;
    let (_, entries) = block.entries()?;
    let mut jobs = Vec::with_capacity(entries.len());
    for index in (0..entries.len()).filter(|index| !entries[*index].is_empty()) {
        let job = block.job(index);
        if let Some(found) = view.job(job)? {
            jobs.push((found, earlier_runs(view, job)?));
        }
    }
    Ok(Some((key, jobs)))
}

fn earlier_runs(view: View<'_>, job: JobKey) -> Result<Vec<Run>, ReadError> {
    let entries = view.values.starting(&keys::runs(job));
    let read = |entry| {
        let (key, value): (Vec<u8>, Vec<u8>) = entry?;
        Ok(codec::decode("a run", &view.values.whole(&key, value)?)?)
    };
    entries.map(read).collect()
}

fn last_remembered(view: View<'_>, to: Bound<Vec<u8>>) -> Result<Option<(Vec<u8>, RememberedSubmit)>, ReadError> {
    let Some(entry) = view.values.descending(Bound::Included(vec![keys::FORGET]), to).next() else { return Ok(None) };
    let (key, _) = entry?;
    let submit = remembered_of(view, &key)?;
    Ok(Some((key, submit)))
}

/// The remembered submit that a key under [`keys::FORGET`] speaks of.
pub(super) fn remembered_of(view: View<'_>, key: &[u8]) -> Result<RememberedSubmit, ReadError> {
    let damaged = || ReadError::Damaged("the end of a remembered submit".to_owned());
    let (_, remembered) = keys::forgotten(key).ok_or_else(damaged)?;
    let (tenant, submit) = remembered.get(1..).and_then(|rest| rest.split_first_chunk::<4>()).ok_or_else(damaged)?;
    let tenant = crate::domain::id::TenantId(u32::from_be_bytes(*tenant));
    let submit = std::str::from_utf8(submit).map_err(|_| damaged())?;
    read_remembered(view.values, tenant, submit)?.ok_or_else(damaged)
}
