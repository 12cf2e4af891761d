//! Tests of the whole: real Postgres, real RabbitMQ, the real binary. Each runs on a site of its own, all in parallel.
//!
//! A test is named by the rule that it holds. `deploy/test.sh` makes sure of the servers and builds the binary first.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

mod acts;
mod alerts;
mod audit;
mod binary;
mod bus;
mod crash;
mod dead_letters;
mod dispute_commands;
mod dispute_evidence;
mod disputes;
mod dlq;
mod dlq_edit;
mod dlq_erase;
mod dlq_follow;
mod dlq_kept;
mod doctor;
mod door;
#[cfg(target_os = "linux")]
mod door_crowd;
mod door_slow;
mod erasure;
mod faults;
mod fixtures;
mod foretold;
mod gate;
mod gateway;
mod hand_over;
mod histories;
mod hosts;
mod ladder;
mod lanes;
mod ledger;
mod mistakes;
mod operators;
mod origin;
mod output;
mod payloads;
mod proof;
mod quarantine;
mod readers;
mod renderings;
mod roles;
mod runbook;
mod stated;
mod tidy;
mod unrecognised;

/// Publishes what is left in the outbox, as every process of a worker that commits events does.
async fn publish_left(
    namespace: ::bus::Namespace,
    pool: db::Pool,
    publisher: ::bus::Publisher,
    stop: tokio_util::sync::CancellationToken,
) {
    let mut sweeper = ::bus::outbox::Sweeper::new(namespace, pool, publisher);
    while !stop.is_cancelled() {
        let is_more = sweeper.sweep_once().await.unwrap_or(false);
        let pause = std::time::Duration::from_millis(if is_more { 0 } else { 50 });
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
