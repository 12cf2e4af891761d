//! The fault matrix: whatever breaks under load, nothing is lost and nothing doubled, and the fleet recovers by itself.
//!
//! Every fault is injected into servers that the test starts for itself, while webhooks and usage flow into a fleet of the
//! real binary; then all that was taken is accounted for, the ledger is verified, and the row of the table is written.
//! `BURSAR_FAULTS=long` asks for long outages and many messages (`deploy/faults.sh --long`), and `BURSAR_FAULTS_TABLE`
//! names a file for the table.

#![expect(clippy::print_stdout, reason = "a table is there to be printed")]

mod bodies;
mod cluster;
mod deaths;
mod load;
mod place;
mod postgres;
mod proof;
mod rabbitmq;
mod scripted;
mod table;

use futures_util::FutureExt;
use place::{Form, Place};
use std::panic::AssertUnwindSafe;
use table::Row;
use testkit::{TestServers, run_without_site};

#[test]
fn no_fault_loses_or_doubles_anything_and_the_fleet_recovers_by_itself() {
    if !TestServers::are_to_be_had() {
        println!("NOT RUN: the programs of Postgres and RabbitMQ are missing for servers of the test's own");
        return;
    }
    run_without_site(async || {
        let rows = match Form::asked_for() {
            // Mostly they wait for a server to come back: side by side they take half as long.
            form @ Form::Short => {
                let (postgres, rabbitmq, scripted) =
                    tokio::join!(faults_of_postgres(form), faults_of_rabbitmq(form), scripted::faults(form));
                [postgres, rabbitmq, scripted].concat()
            }
            // One after the other, so that times are those of the fleet alone.
            form @ Form::Long => {
                [faults_of_postgres(form).await, faults_of_rabbitmq(form).await, scripted::faults(form).await]
                    .concat()
            }
        };
        let table = table::table(&rows);
        println!("\n{table}");
        if let Some(path) = std::env::var_os("BURSAR_FAULTS_TABLE") {
            std::fs::write(path, &table).unwrap();
        }
        let broken: Vec<String> = rows.iter().filter(|row| !row.holds()).map(Row::to_string).collect();
        assert!(
            broken.is_empty(),
            "expected the table above to hold, these rows do not:\n{}",
            broken.join("\n")
        );
    });
}

/// By `deploy/cluster.sh`: three nodes of RabbitMQ and two of Postgres are much for a test among others.
#[test]
#[ignore = "deploy/cluster.sh runs it, with servers of its own for some minutes"]
fn a_killed_node_or_primary_stops_the_flow_for_seconds_and_loses_nothing() {
    run_without_site(async || {
        let rows = cluster::faults(Form::asked_for()).await;
        let table = table::table(&rows);
        println!("\n{table}");
        if let Some(path) = std::env::var_os("BURSAR_FAULTS_TABLE") {
            std::fs::write(path, &table).unwrap();
        }
        let broken: Vec<String> = rows.iter().filter(|row| !row.holds()).map(Row::to_string).collect();
        assert!(broken.is_empty(), "these rows do not hold:\n{}", broken.join("\n"));
    });
}

/// And what takes little time beside it, so that both halves take as long.
async fn faults_of_postgres(form: Form) -> Vec<Row> {
    let mut place = Place::open(form).await;
    let outcome = AssertUnwindSafe(async {
        place.fault("Postgres' connections cut", postgres::connections_cut).await;
        place.fault("Postgres' disk full (53100)", postgres::says_that_its_disk_is_full).await;
        if form == Form::Long {
            place.fault("Postgres' disk full (really)", postgres::fills_its_disk).await;
        }
        place.fault("serialization failures", postgres::serialization_failures).await;
        place.fault("ledger dies at every step", deaths::of_the_ledger).await;
        place.fault("gate dies at every step", deaths::of_the_gate).await;
        place.fault("bodies that are no facts", bodies::malformed).await;
        place.fault("poison among good facts", bodies::poison).await;
        place.fault("Postgres stopped immediately and started", postgres::stopped).await;
    })
    .catch_unwind()
    .await;
    place.close_after("the faults of Postgres", outcome).await
}

async fn faults_of_rabbitmq(form: Form) -> Vec<Row> {
    let mut place = Place::open(form).await;
    let outcome = AssertUnwindSafe(async {
        place.fault("RabbitMQ killed and started", rabbitmq::killed).await;
        place.fault("its connection cut within a batch", rabbitmq::connection_cut_within_a_batch).await;
        place.fault("every connection closed by RabbitMQ", rabbitmq::connections_closed).await;
        place.fault("memory alarm of RabbitMQ", rabbitmq::memory_alarm).await;
        place.fault("queues deleted, consumers cancelled", rabbitmq::queues_deleted).await;
        place.fault("fleet killed at random (-9)", deaths::at_random).await;
    })
    .catch_unwind()
    .await;
    place.close_after("the faults of RabbitMQ", outcome).await
}
