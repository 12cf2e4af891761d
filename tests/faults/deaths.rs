//! Deaths of the fleet's processes: at any moment, and between any two steps of a batch.

use super::load::Load;
use super::place::{Aftermath, Place};
use bus::Worker;
use domain::ledger::Rules;
use gate::{Door, Gate};
use ledger::Ledger;
use rand::Rng;
use std::time::Duration;
use testkit::facts::catalog;
use testkit::{DeathStep, eventually};

/// Of a gate, which emits no events: its facts are out before it commits.
const STEPS_OF_THE_GATE: [DeathStep; 5] = [
    DeathStep::Taken,
    DeathStep::Deciding(1),
    DeathStep::Decided,
    DeathStep::Forwarded,
    DeathStep::Committing,
];

/// Attempts to come as far as a step: a batch without events, say, has nothing to publish.
const ATTEMPTS: usize = 30;

pub async fn at_random(place: &mut Place, _: &Load) -> Aftermath {
    let kills = place.form.of(3, 30);
    for _ in 0..kills {
        let pause = rand::rng().random_range(100..900);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        place.kill_fleet().await;
        place.start_fleet(&[&["up"]]).await;
    }
    Aftermath { notes: vec![format!("killed {kills} times")], ..Aftermath::default() }
}

pub async fn of_the_ledger(place: &mut Place, _: &Load) -> Aftermath {
    let ledger = Ledger::new(place.site.namespace.clone(), Rules::new(catalog()));
    place.kill_fleet().await;
    place.start_fleet(&[&["run", "ingester"], &["run", "gate"]]).await;
    let unreached = dies(place, &ledger, &DeathStep::ALL).await;
    place.kill_fleet().await;
    place.start_fleet(&[&["up"]]).await;
    Aftermath { wrong: unreached, ..Aftermath::default() }
}

pub async fn of_the_gate(place: &mut Place, _: &Load) -> Aftermath {
    let namespace = &place.site.namespace;
    let gate =
        |door| Gate::new(door, namespace.clone(), processors::Settings::default(), place.site.readers());
    let gates = [gate(Door::Verified), gate(Door::Inbound(gate::Publishers::default()))];
    place.kill_fleet().await;
    place.start_fleet(&[&["run", "ingester"], &["run", "ledger"]]).await;
    let mut unreached = Vec::new();
    for gate in &gates {
        unreached.extend(dies(place, gate, &STEPS_OF_THE_GATE).await);
    }
    place.kill_fleet().await;
    place.start_fleet(&[&["up"]]).await;
    Aftermath { wrong: unreached, ..Aftermath::default() }
}

/// Takes batches and dies with them, at each step until it came so far. Says where it never did.
async fn dies<W: Worker>(place: &Place, worker: &W, steps: &[DeathStep]) -> Vec<String> {
    let mut unreached = Vec::new();
    for step in steps {
        eventually("something to be in the queue", async || {
            (place.site.depth(worker.queue()).await > 20).then_some(())
        })
        .await;
        let mut reached = false;
        for attempt in 1..=ATTEMPTS {
            reached = place.site.dies_at(*step, worker, 2 * attempt).await;
            if reached {
                break;
            }
        }
        if !reached {
            unreached.push(format!("{} never came to {step:?}", worker.queue()));
        }
    }
    unreached
}
