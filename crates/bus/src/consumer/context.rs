//! What the lanes of a worker work with.

use super::health::{BusyGuard, Health};
use super::shards::Shards;
use super::worker::Worker;
use crate::connection::Broker;
use crate::publisher::Publisher;
use crate::topology::{Ladder, Namespace};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A batch that takes longer hangs.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What a lane works with.
#[derive(Clone)]
pub struct Context {
    pub namespace: Namespace,
    pub consume: Broker,
    pub publisher: Publisher,
    pub pool: db::Pool,
    pub health: Health,
    pub ladder: Ladder,
    /// See [`TIME_LIMIT`]; a test is less patient.
    pub time_limit: Duration,
    pub stop: CancellationToken,
}

/// What each step of one lane works with.
pub(super) struct LaneContext<W> {
    pub worker: Arc<W>,
    pub context: Context,
    /// Its name among the lanes of the process.
    pub name: String,
    pub shards: Shards,
}

impl<W: Worker> LaneContext<W> {
    /// Of the lane with this number.
    pub fn new(worker: Arc<W>, context: Context, number: usize, shards: Shards) -> Self {
        let name = format!("{}.{number}", worker.queue());
        Self { worker, context, name, shards }
    }

    /// The queue that the lane reads, with the namespace.
    pub fn queue(&self) -> String {
        self.context.namespace.name(self.worker.queue())
    }

    /// Begins a step that contains no wait, for `/healthz`. The step ends when the guard is dropped.
    pub fn begin_step(&self) -> BusyGuard {
        self.context.health.step(&self.name, self.context.time_limit)
    }
}
