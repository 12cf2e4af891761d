//! Which workers read facts of which kinds, as the topology's bindings say; and since when they do.

mod store;

pub use store::{handed_over, readers_known};

use bus::{Namespace, Topology, exchange};
use domain::FactKind;
use std::collections::{BTreeMap, BTreeSet};

/// The readers of each kind of facts. No worker reads a kind that is missing here: the gate keeps such facts in its inbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readers(BTreeMap<&'static str, BTreeSet<&'static str>>);

impl Readers {
    /// As queues are bound to the exchange of admitted facts.
    pub fn of(topology: &Topology, namespace: &Namespace) -> Self {
        let facts = namespace.name(exchange::FACTS);
        let mut readers: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
        for binding in topology.bindings.iter().filter(|binding| binding.exchange == facts) {
            let queue = topology.queues.iter().find(|queue| queue.name == binding.queue);
            let reader = queue.and_then(|queue| queue.reader);
            readers.entry(binding.routing_key).or_default().extend(reader);
        }
        Self(readers)
    }

    /// Whether a worker reads facts of this kind.
    pub fn is_read(&self, kind: FactKind) -> bool {
        self.0.contains_key(kind.as_str())
    }

    /// The workers that read facts of this kind, sorted.
    pub fn of_kind(&self, kind: FactKind) -> impl Iterator<Item = &'static str> + '_ {
        self.0.get(kind.as_str()).into_iter().flatten().copied()
    }

    /// The kinds of facts that a worker reads, sorted.
    pub fn kinds_of<'a>(&'a self, reader: &'a str) -> impl Iterator<Item = &'static str> + 'a {
        self.0.iter().filter(move |(_, readers)| readers.contains(reader)).map(|(kind, _)| *kind)
    }

    /// Each kind with each of its readers: two columns for a statement.
    pub fn columns(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        self.0.iter().flat_map(|(kind, readers)| readers.iter().map(|reader| (*kind, *reader))).unzip()
    }
}
