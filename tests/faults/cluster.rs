//! What becomes of servers that are several: nodes of RabbitMQ die and stay away, the primary of Postgres dies and its
//! standby is promoted. The flow goes on without whoever is away.

use super::load::Load;
use super::place::{Aftermath, Form, Place};
use super::table::Row;
use db::ServerUrl;
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use testkit::{Site, TestServers};
use time::OffsetDateTime;

const NODES: [u32; 3] = [1, 2, 3];

/// What is promised is 5 s. A busy machine takes its time, so that only what stands still fails; the figure is in the notes.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// Queues whose leader is looked for.
const LEADERS: [&str; 2] = ["ledger", "gate.inbound"];

/// How long who was killed stays away.
fn away(form: Form) -> Duration {
    form.of(Duration::from_secs(10), Duration::from_secs(30))
}

pub async fn faults(form: Form) -> Vec<Row> {
    let mut place = Place::open_on(TestServers::start_several().await, form).await;
    let outcome = AssertUnwindSafe(async {
        expect_members_everywhere(&place).await;
        place.fault("the connected node killed", connected_node).await;
        for queue in LEADERS {
            place.fault(leader_fault(queue), async |place, load| leader_of(queue, place, load).await).await;
        }
        for node in NODES {
            place.fault(node_fault(node), async |place, load| node_away(node, place, load).await).await;
        }
        place.fault("Postgres' primary killed, its standby promoted", primary).await;
        place.fault("the old primary back as a standby, fleet restarted", old_primary_back).await;
        place.fault("and that way round again", primary).await;
    })
    .catch_unwind()
    .await;
    place.close_after("the faults of several servers", outcome).await
}

fn leader_fault(queue: &str) -> &'static str {
    match queue {
        "ledger" => "the leader of ledger killed",
        _ => "the leader of gate.inbound killed",
    }
}

fn node_fault(node: u32) -> &'static str {
    match node {
        1 => "node 1 killed",
        2 => "node 2 killed",
        _ => "node 3 killed",
    }
}

/// Declared while all three nodes were there, each queue and the stream have a member at each.
async fn expect_members_everywhere(place: &Place) {
    let queues = place.servers.obey("rabbitmq ctl 1 list_queues name type members").await;
    let own = place.site.namespace.as_str();
    for queue in queues.split(" | ").filter(|queue| queue.contains(own)) {
        assert_eq!(queue.matches("@localhost").count(), NODES.len(), "members of {queue}");
    }
}

async fn connected_node(place: &mut Place, load: &Load) -> Aftermath {
    let consumes = format!("{} consume", place.site.namespace.as_str());
    let connections = place.servers.obey("rabbitmq ctl 1 list_connections port client_properties").await;
    let line =
        connections.split(" | ").find(|line| line.contains(&consumes)).expect("the fleet is connected");
    let port = line.split_whitespace().next().expect("its first column");
    let hosts = ServerUrl::all(place.servers.amqp_url.expose_secret()).unwrap();
    let number = hosts.iter().position(|host| format!("{host:?}").ends_with(&format!(":{port}")));
    node_away(number.expect("one of the nodes") as u32 + 1, place, load).await
}

async fn leader_of(queue: &str, place: &mut Place, load: &Load) -> Aftermath {
    let name = place.site.namespace.name(queue);
    let queues = place.servers.obey("rabbitmq ctl 1 list_queues name leader").await;
    let line = queues.split(" | ").find(|line| line.starts_with(&format!("{name}\t"))).expect("it is there");
    let leader = line.split_whitespace().nth(1).expect("a leader").to_owned();
    let names = place.servers.obey("rabbitmq names").await;
    let number = names.split(" | ").position(|node| node == leader).expect("one of the nodes");
    node_away(number as u32 + 1, place, load).await
}

/// One that is away, and comes back.
async fn node_away(node: u32, place: &mut Place, load: &Load) -> Aftermath {
    let from = (OffsetDateTime::now_utc(), load.taken());
    place.servers.obey(&format!("rabbitmq kill {node}")).await;
    tokio::time::sleep(away(place.form)).await;
    let aftermath = flowed(&format!("node {node} was away"), place, load, from).await;
    place.servers.obey(&format!("rabbitmq start {node}")).await;
    place.servers.obey("rabbitmq whole").await;
    aftermath
}

/// From the kill on; how long the promotion took is the operator's doing.
async fn primary(place: &mut Place, load: &Load) -> Aftermath {
    place.servers.obey("postgres kill").await;
    place.servers.obey("postgres promote").await;
    let from = (OffsetDateTime::now_utc(), load.taken());
    tokio::time::sleep(away(place.form)).await;
    flowed("the standby had been promoted", place, load, from).await
}

async fn old_primary_back(place: &mut Place, load: &Load) -> Aftermath {
    place.servers.obey("postgres rejoin").await;
    place.kill_fleet().await;
    let from = (OffsetDateTime::now_utc(), load.taken());
    place.start_fleet(&[&["up"]]).await;
    tokio::time::sleep(away(place.form)).await;
    flowed("the fleet was started with a standby first in its list", place, load, from).await
}

/// The longest pause in which nothing was settled.
async fn flowed(what: &str, place: &Place, load: &Load, (from, taken): (OffsetDateTime, usize)) -> Aftermath {
    let until = OffsetDateTime::now_utc();
    let pause = longest_pause(&place.site, from, until).await;
    let settled = settled_between(&place.site, from, until).await;
    let note = format!(
        "{what} for {:.0?}: longest pause {pause:.2?}, {settled} facts settled, {} taken",
        (until - from).unsigned_abs(),
        load.taken() - taken
    );
    println!("    {note}");
    let wrong = (pause > PAUSE_MAX).then(|| format!("{what}: nothing was settled for {pause:.1?}"));
    Aftermath { notes: vec![note], wrong: wrong.into_iter().collect(), ..Aftermath::default() }
}

async fn longest_pause(site: &Site, from: OffsetDateTime, until: OffsetDateTime) -> Duration {
    let seconds: f64 = sqlx::query_scalar(
        "select max(extract(epoch from at - before))::float8 from (
             select at, lag(at) over (order by at) as before from (
                 select settled_at as at from outcomes where settled_at between $1 and $2
                 union all values ($1), ($2)) moments) pauses",
    )
    .bind(from)
    .bind(until)
    .fetch_one(&site.pool)
    .await
    .unwrap();
    Duration::from_secs_f64(seconds)
}

async fn settled_between(site: &Site, from: OffsetDateTime, until: OffsetDateTime) -> i64 {
    let query = sqlx::query_scalar("select count(*) from outcomes where settled_at between $1 and $2");
    query.bind(from).bind(until).fetch_one(&site.pool).await.unwrap()
}
