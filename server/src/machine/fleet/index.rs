//! Who shows an item: a small index, because a thousand machines show ten thousand items.
//!
//! Keys are hashes: two items may share one. So what it returns are candidates, and who asks compares.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use crate::machine::evidence::Kind;

/// Names of machines by what they show.
#[derive(Debug, Default)]
pub(super) struct Index {
    hasher: RandomState,
    names: HashMap<u64, Vec<Arc<str>>>,
}

impl Index {
    /// Adds a machine; once, however often it is added.
    pub(super) fn insert(&mut self, kind: Kind, value: &str, name: &Arc<str>) {
        let names = self.names.entry(self.hasher.hash_one((kind, value))).or_default();
        if !names.contains(name) {
            names.reserve_exact(1);
            names.push(Arc::clone(name));
        }
    }

    /// Removes a machine.
    pub(super) fn remove(&mut self, kind: Kind, value: &str, name: &str) {
        let key = self.hasher.hash_one((kind, value));
        if let Some(names) = self.names.get_mut(&key) {
            names.retain(|known| &**known != name);
            if names.is_empty() {
                self.names.remove(&key);
            }
        }
    }

    /// Returns who may show an item.
    pub(super) fn candidates(&self, kind: Kind, value: &str) -> &[Arc<str>] {
        self.names.get(&self.hasher.hash_one((kind, value))).map_or(&[], Vec::as_slice)
    }

    /// Holds when nobody is in it.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
