//! The names in a directory: as they are seen, as they are durable, and the changes in between.

use fastrand::Rng;
use std::collections::BTreeMap;

/// What a name stands for: the number of a node.
pub(super) type Map = BTreeMap<String, usize>;

#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) live: Map,
    durable: Map,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Add(String, usize),
    Remove(String),
    Rename(String, String),
}

impl Change {
    fn apply(&self, names: &mut Map) {
        match self {
            Self::Add(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

impl Names {
    pub(super) fn add(&mut self, name: &str, node: usize) {
        self.change(Change::Add(name.to_owned(), node));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.change(Change::Remove(name.to_owned()));
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// The names after a crash: some of the changes, from the first on, have become durable.
    pub(super) fn crashed(&self, random: &mut Rng) -> Map {
        let mut names = self.durable.clone();
        let kept = random.usize(..=self.pending.len());
        for change in &self.pending[..kept] {
            change.apply(&mut names);
        }
        names
    }
}
