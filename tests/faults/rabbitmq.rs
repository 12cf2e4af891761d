//! What RabbitMQ does to the fleet.

use super::load::Load;
use super::place::{Aftermath, Form, Place};
use bus::queue;
use lapin::types::FieldTable;
use secrecy::ExposeSecret;
use std::time::Duration;
use testkit::{Relay, Site, eventually, within};

/// How often lines are cut.
const CUTS: usize = 3;

pub async fn killed(place: &mut Place, load: &Load) -> Aftermath {
    load.refused();
    place.servers.kill_rabbitmq().await;
    let before = load.accepted();
    place.servers.start_rabbitmq().await;
    let accepted = load.accepted() - before;
    let note = format!("{accepted} webhooks answered 2xx while it was away, {:?} otherwise", load.refused());
    let wrong = (accepted == 0).then(|| "the front door took nothing while RabbitMQ was away".to_owned());
    Aftermath { notes: vec![note], wrong: wrong.into_iter().collect(), ..Aftermath::default() }
}

/// A batch stands in the middle of its transaction whenever the line is cut.
pub async fn connection_cut_within_a_batch(place: &mut Place, _: &Load) -> Aftermath {
    let url = place.site.amqp_url.expose_secret().to_owned();
    let relay = Relay::to(&url, 5672);
    place.kill_fleet().await;
    place.start_fleet_by(relay.url(&url)).await;
    // Not even the owner may change the journal, and who locks a table must be allowed to.
    let owner = &place.site.owner;
    sqlx::query("grant update on transactions to current_user").execute(owner).await.unwrap();
    for _ in 0..CUTS {
        let mut holder = owner.begin().await.unwrap();
        sqlx::query("lock table transactions in share row exclusive mode")
            .execute(&mut *holder)
            .await
            .unwrap();
        until_a_batch_waits(&place.site).await;
        relay.cut();
        holder.commit().await.unwrap();
    }
    // The line stays: the fleet keeps it until the next one takes its place.
    place.keep(relay);
    Aftermath::default()
}

async fn until_a_batch_waits(site: &Site) {
    eventually("a batch to wait for the journal", async || {
        let waiting = site.number(
            "select count(*) from pg_locks where not granted and relation = 'transactions'::regclass",
        );
        (waiting.await > 0).then_some(())
    })
    .await;
}

pub async fn connections_closed(place: &mut Place, _: &Load) -> Aftermath {
    place.servers.rabbitmqctl("close_all_connections --vhost / fault").await;
    Aftermath::default()
}

/// Publishers are blocked: webhooks are kept in Postgres and answered, and what consumers have in hand is acknowledged,
/// if only once their publishing has waited in vain.
pub async fn memory_alarm(place: &mut Place, load: &Load) -> Aftermath {
    load.refused();
    place.servers.rabbitmqctl("set_vm_memory_high_watermark 0").await;
    eventually("webhooks to be kept in Postgres", async || {
        (place.site.number("select count(*) from kept_messages").await > 20).then_some(())
    })
    .await;
    if place.form == Form::Long {
        let ledger = [place.site.namespace.name(ledger::QUEUE)];
        within(Duration::from_secs(120), "the ledger's queue to be empty", async || {
            are_empty(place, &ledger).await.then_some(())
        })
        .await;
    }
    place.servers.rabbitmqctl("set_vm_memory_high_watermark 0.4").await;
    let refused = load.refused();
    let wrong = (!refused.is_empty()).then(|| format!("webhooks were not answered 2xx: {refused:?}"));
    Aftermath { wrong: wrong.into_iter().collect(), ..Aftermath::default() }
}

/// Whether queues, by their whole names, hold nothing at all: what was delivered is acknowledged too.
async fn are_empty(place: &Place, queues: &[String]) -> bool {
    let told = place.servers.rabbitmqctl("list_queues name messages").await;
    queues.iter().all(|queue| told.split(" | ").any(|line| line == format!("{queue}\t0")))
}

/// As an operator must who does not want to lose what is in them: unbound first, so that publishers keep what they have,
/// then emptied by their readers. Deleting a queue cancels its consumers.
pub async fn queues_deleted(place: &mut Place, _: &Load) -> Aftermath {
    let site = place.site.clone();
    unbind(&site, &[queue::GATE, queue::GATE_INBOUND]).await;
    let doors = [queue::GATE, queue::GATE_INBOUND, ledger::QUEUE].map(|queue| site.namespace.name(queue));
    within(Duration::from_secs(30), "the queues to be empty", async || {
        are_empty(place, &doors).await.then_some(())
    })
    .await;
    for queue in [queue::GATE, queue::GATE_INBOUND, ledger::QUEUE] {
        site.delete_queue(queue).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    site.topology.declare(&site.broker).await.unwrap();
    Aftermath::default()
}

async fn unbind(site: &Site, queues: &[&str]) {
    let channel = site.broker.channel().await.unwrap();
    for queue in queues.iter().map(|queue| site.namespace.name(queue)) {
        for binding in site.topology.bindings.iter().filter(|binding| binding.queue == queue) {
            let (from, key) = (binding.exchange.as_str().into(), binding.routing_key.into());
            channel.queue_unbind(queue.as_str().into(), from, key, FieldTable::default()).await.unwrap();
        }
    }
    drop(channel.close(200, "done".into()).await);
}
