//! A map in memory as the engine, whole on disk after each checkpoint: the second living implementation, for tests.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Engine, EngineError, Found, Order, Pair, Write};

struct OrderedEngine {
    entries: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
    file: PathBuf,
}

/// Opens the map of a folder, or makes one there.
pub(in crate::store::sled) fn open(index: &Path, _cache_bytes: u64) -> Result<Arc<dyn Engine>, EngineError> {
    std::fs::create_dir_all(index).map_err(EngineError::Io)?;
    let file = index.join("db");
    let entries = match std::fs::read(&file) {
        Ok(bytes) => postcard::from_bytes(&bytes).map_err(|error| EngineError::Damaged(error.to_string()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(EngineError::Io(error)),
    };
    Ok(Arc::new(OrderedEngine { entries: RwLock::new(entries), file }))
}

impl Engine for OrderedEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.entries.read().get(key).cloned())
    }

    fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, order: Order) -> Box<dyn Iterator<Item = Found> + '_> {
        let entries = self.entries.read();
        let copied = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        let mut found: Vec<Pair> = entries.range((from, to)).map(copied).collect();
        if order == Order::Descending {
            found.reverse();
        }
        Box::new(found.into_iter().map(Ok))
    }

    fn apply(&self, writes: &mut dyn Iterator<Item = Write<'_>>) -> Result<(), EngineError> {
        let mut entries = self.entries.write();
        for (key, value) in writes {
            match value {
                Some(value) => entries.insert(key.to_vec(), value.to_vec()),
                None => entries.remove(key),
            };
        }
        Ok(())
    }

    fn tidy(&self, _entries: usize) {}

    fn checkpoint(&self) -> Result<(), EngineError> {
        let bytes =
            postcard::to_allocvec(&*self.entries.read()).map_err(|error| EngineError::Failed(error.to_string()))?;
        let aside = self.file.with_extension("tmp");
        let write = || {
            let mut file = std::fs::File::create(&aside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&aside, &self.file)
        };
        write().map_err(EngineError::Io)
    }

    fn size_on_disk(&self) -> Result<u64, EngineError> {
        match std::fs::metadata(&self.file) {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(EngineError::Io(error)),
        }
    }
}
