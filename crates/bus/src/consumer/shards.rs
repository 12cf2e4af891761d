//! The shards by which the lanes of a worker split their batches.

use super::worker::Worker;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};

/// One lock for each shard, held while a part of that shard is in the database. Shared by the lanes of a worker.
#[derive(Clone)]
pub(super) struct Shards(Arc<[Mutex<()>]>);

/// Some items of a batch, one after another, that are decided together. Without a shard they wait for no other lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShardPart {
    pub shard: Option<usize>,
    pub items: usize,
}

impl Shards {
    /// As many as the worker has lanes.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| Mutex::default()).collect())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Waits until no other lane has a part of this shard in the database.
    pub async fn turn(&self, shard: Option<usize>) -> Option<MutexGuard<'_, ()>> {
        match shard {
            Some(shard) => Some(self.0[shard].lock().await),
            None => None,
        }
    }

    /// Orders items, each with the place of the message it came in, by their shards. Items without a key come first.
    pub fn split<W: Worker>(
        &self,
        worker: &W,
        items: &mut Vec<W::Item>,
        origins: &mut Vec<usize>,
    ) -> Vec<ShardPart> {
        let count = self.count() as u64;
        let shard = |item: &W::Item| worker.key(item).map(|key| (key % count) as usize);
        let taken = std::mem::take(items).into_iter().zip(std::mem::take(origins));
        let mut placed: Vec<(Option<usize>, W::Item, usize)> =
            taken.map(|(item, origin)| (shard(&item), item, origin)).collect();
        placed.sort_by_key(|(shard, ..)| *shard);
        let parts = placed
            .chunk_by(|a, b| a.0 == b.0)
            .map(|part| ShardPart { shard: part[0].0, items: part.len() })
            .collect();
        (*items, *origins) = placed.into_iter().map(|(_, item, origin)| (item, origin)).unzip();
        parts
    }
}
