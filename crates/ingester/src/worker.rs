//! The worker as the fleet lists and runs it. Its doors over HTTP the fleet opens for it.

use crate::{Intake, RawQueue, code};
use bus::{QueueSpec, exchange, queue};
use facts::{FactWriter, spool};
use jobs::{Found, Member, Needs, Pass, WorkerSpec};
use std::time::Duration;

pub const WORKER: WorkerSpec = WorkerSpec {
    name: "ingester",
    queues: &[QueueSpec::new(queue::INGESTER, "ingester", &[(exchange::RAW, "#")])],
    codes: &code::ALL,
    alerts: &[],
    gauges: None,
    checks: &[],
    needs: Needs::Door,
};

/// How often to look into the spool while it is empty.
const SPOOL_EVERY: Duration = Duration::from_secs(1);

/// Publishing a portion of the spool hangs where it takes longer.
const SPOOL_LIMIT: Duration = Duration::from_secs(60);

/// Takes raw deliveries from the queue, and publishes what went into the spool while RabbitMQ was away.
pub fn member(intake: Intake) -> Member {
    let spool = publish_spool(&intake.facts);
    Member::new().reads(RawQueue::new(intake)).pass(spool)
}

/// Publishes what is in the spool, a portion at a time. Any number of processes may.
pub fn publish_spool(facts: &FactWriter) -> Pass {
    // On a channel of its own: what it meets must not close the channel under live webhooks.
    let (pool, publisher) = (facts.pool.clone(), facts.publisher.sibling());
    Pass::new("spool", SPOOL_EVERY, SPOOL_LIMIT, move || {
        let (pool, publisher) = (pool.clone(), publisher.clone());
        async move {
            let messages = spool::publish_some(&pool, &publisher).await?;
            if messages > 0 {
                tracing::info!(messages, "published messages of the spool");
            }
            Ok::<_, spool::Error>(Found::more_if(messages > 0))
        }
    })
}
