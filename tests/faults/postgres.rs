//! What Postgres does to the fleet.

use super::load::Load;
use super::place::{Aftermath, Place};
use sqlx::AssertSqlSafe;
use std::time::Duration;
use testkit::{Site, within};

/// Its state, as long as a fault of it lasts that has no end of its own.
const WHILE: Duration = Duration::from_millis(1500);

/// The gate's and the ledger's busiest tables.
const TABLES: [&str; 2] = ["inbox", "transactions"];

/// A process whose memory grew by more than this during an outage gathers something.
const MEMORY_GROWTH_MAX_MIB: u64 = 64;

/// The outage: not one dead letter, and the fleet's memory stays flat while its backlog grows.
pub async fn stopped(place: &mut Place, load: &Load) -> Aftermath {
    let outage = place.form.of(Duration::from_secs(15), Duration::from_secs(600));
    let before = load.taken();
    place.servers.stop_postgres().await;
    let memory = memory_during(place.process_id(), outage).await;
    let backlog = load.taken() - before;
    place.servers.start_postgres().await;
    let mut aftermath = Aftermath::default();
    let (least, most) = (memory.iter().min().unwrap(), memory.iter().max().unwrap());
    aftermath.notes.push(format!(
        "away for {} s, {backlog} facts taken meanwhile, memory of the fleet {least} to {most} MiB",
        outage.as_secs()
    ));
    if backlog == 0 {
        aftermath.wrong.push("the front door took nothing while Postgres was away".to_owned());
    }
    if most - least > MEMORY_GROWTH_MAX_MIB {
        aftermath.wrong.push(format!("memory grew: {memory:?} MiB"));
    }
    aftermath
}

/// Resident memory of a process in MiB, each second.
async fn memory_during(process: u32, time: Duration) -> Vec<u64> {
    let mut samples = Vec::new();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..time.as_secs() {
        second.tick().await;
        samples.push(resident_mebibytes(process).await);
    }
    second.tick().await;
    samples
}

async fn resident_mebibytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    // Only Linux tells it so.
    kibibytes.unwrap_or_default() / 1024
}

pub async fn connections_cut(place: &mut Place, _: &Load) -> Aftermath {
    let mut cut = 0;
    for _ in 0..5 {
        cut += place
            .site
            .number(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where pid <> pg_backend_pid() and backend_type = 'client backend'",
            )
            .await;
        tokio::time::sleep(WHILE / 5).await;
    }
    Aftermath { notes: vec![format!("{cut} connections cut")], ..Aftermath::default() }
}

pub async fn says_that_its_disk_is_full(place: &mut Place, _: &Load) -> Aftermath {
    fails(
        &place.site,
        "raise exception 'could not extend file: No space left on device' using errcode = '53100'",
    )
    .await;
    tokio::time::sleep(WHILE).await;
    is_mended(&place.site).await;
    Aftermath::default()
}

/// Every fourth batch, at either worker.
pub async fn serialization_failures(place: &mut Place, _: &Load) -> Aftermath {
    execute(&place.site, "create sequence faulty_turn").await;
    fails(
        &place.site,
        "if nextval('faulty_turn') % 4 = 0 then
             raise exception 'could not serialize access' using errcode = '40001';
         end if",
    )
    .await;
    tokio::time::sleep(WHILE).await;
    let turns = place.site.number("select last_value from faulty_turn").await;
    is_mended(&place.site).await;
    Aftermath { notes: vec![format!("{} of {turns} statements failed", turns / 4)], ..Aftermath::default() }
}

/// Whatever is inserted into the busiest tables runs through `what` first.
async fn fails(site: &Site, what: &str) {
    execute(
        site,
        &format!("create function faulty() returns trigger language plpgsql as $$ begin {what}; return null; end $$"),
    )
    .await;
    for table in TABLES {
        execute(
            site,
            &format!(
                "create trigger faulty before insert on {table} for each statement execute function faulty()"
            ),
        )
        .await;
    }
}

async fn is_mended(site: &Site) {
    for table in TABLES {
        execute(site, &format!("drop trigger faulty on {table}")).await;
    }
    execute(site, "drop function faulty()").await;
}

/// The journal on a disk of its own, which runs full under the load and is then made larger.
pub async fn fills_its_disk(place: &mut Place, load: &Load) -> Aftermath {
    let site = place.site.clone();
    let size = site.number("select pg_total_relation_size('transactions') / 1024 / 1024").await;
    let size = u32::try_from(size).unwrap() + 8;
    let Some(folder) = place.servers.disk(size).await else {
        let note = "not done: this user may not mount a disk".to_owned();
        return Aftermath { notes: vec![note], ..Aftermath::default() };
    };
    // A superuser's: tablespaces are the server's.
    site.by_server_login(&format!("create tablespace small location '{}'", folder.display())).await;
    site.by_server_login("alter table transactions set tablespace small").await;
    load.flood(20_000).await;
    within(Duration::from_secs(300), "the disk to be full", async || {
        let before = site.number("select count(*) from outcomes").await;
        tokio::time::sleep(WHILE).await;
        (site.number("select count(*) from outcomes").await == before).then_some(())
    })
    .await;
    place.servers.disk(size + 2000).await.expect("it could be mounted");
    Aftermath { notes: vec![format!("a disk of {size} MiB was full")], ..Aftermath::default() }
}

async fn execute(site: &Site, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&site.owner)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}
