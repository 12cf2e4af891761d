//! The worker as the fleet lists and runs it. Its doors over HTTP the fleet opens for it.

use crate::{Intake, RawQueue, code};
use bus::{QueueSpec, exchange, queue};
use jobs::{Member, Needs, WorkerSpec};

pub const WORKER: WorkerSpec = WorkerSpec {
    name: "ingester",
    queues: &[QueueSpec::new(queue::INGESTER, "ingester", &[(exchange::RAW, "#")])],
    codes: &code::ALL,
    alerts: &[],
    gauges: None,
    checks: &[],
    needs: Needs::Door,
};

/// Takes raw deliveries from the queue, and publishes what the doors put into the spool.
pub fn member(intake: &Intake) -> Member {
    Member::new().reads(RawQueue::new(intake.clone())).pass(crate::kept::sweep(intake))
}
