//! What works for every fact works for those of disputes: plans and replays of dead letters and of what nobody understood, and the
//! hand-over of what was admitted before anybody kept cases.

use super::payloads::{StripeDispute, stripe_purchase};
use super::{Fleet, settled, stands};
use crate::binary::json_of;
use crate::dead_letters::{Dead, bury};
use crate::ledger::one;
use crate::payloads::translated;
use bus::exchange;
use domain::fact::{Unrecognised, UnrecognisedWhy};
use domain::{Envelope, Fact, RawDelivery};
use gate::{Door, Gate};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Running, Site, run_within};

const LIMIT: Duration = Duration::from_secs(240);

const ALL: &str = "access by du_1, balance by du_1, checkout by du_1";

/// Everything that disputes write. Alerts come and go beside them.
const WRITTEN: &str = "select (select count(*) from disputes) + (select count(*) from restrictions) + (select count(*) from events where account is not null)
    + (select count(*) from outcomes)";

fn gate_of(site: &Site) -> Running {
    site.start(Gate::new(Door::Verified, site.namespace.clone(), Default::default(), site.readers()), 1)
}

/// The gate admits these and the ledger settles what is its own, while nobody keeps cases.
async fn admitted_without_disputes(site: &Site, facts: Vec<Envelope>) {
    let count = facts.len() as i64;
    let of_ledger = facts.iter().filter(|envelope| !matches!(envelope.fact, Fact::Dispute(_))).count() as i64;
    let workers = [gate_of(site), one(site)];
    site.state_each(exchange::VERIFIED, facts).await;
    site.until("select count(*) from inbox", count).await;
    site.until("select count(*) from outcomes", of_ledger).await;
    for worker in workers {
        worker.stop().await;
    }
}

async fn kinds_of(plan: &Value) -> Vec<String> {
    let text = plan.to_string();
    let kinds = ["dispute.opened", "account.restricted", "credits.reversed"];
    kinds.into_iter().filter(|kind| text.contains(kind)).map(str::to_owned).collect()
}

/// A purchase, and a dispute on it.
fn story() -> (Vec<Envelope>, Vec<Envelope>) {
    let bought = translated("stripe", &stripe_purchase("1", "a"));
    let disputed = translated("stripe", &StripeDispute::new("1", "1").says("needs_response", 0));
    (bought, disputed)
}

#[test]
fn a_dead_letter_of_a_dispute_is_planned_and_replayed() {
    run_within(LIMIT, async |site| {
        let (bought, disputed) = story();
        admitted_without_disputes(&site, [bought, disputed.clone()].concat()).await;
        // The worker gave up on the fact.
        site.take(disputes::QUEUE).await;
        let fact = disputed.iter().find(|envelope| matches!(envelope.fact, Fact::Dispute(_))).unwrap();
        let letter = Dead { worker: "disputes", queue: disputes::QUEUE, ..Dead::of(fact) };
        bury(&site, [letter]).await;
        let fleet = Fleet::open(&site).await;
        site.until("select count(*) from dead_letters where state = 'open'", 1).await;
        assert_eq!(stands(&site, "a").await, "- | - | 0 / 0 / 0");

        let before = site.number(WRITTEN).await;
        let (output, plan) = json_of(&site, &fleet.settings, &["dlq", "plan", "--all", "--json"]).await;
        assert!(output.status.success(), "{plan:#}");
        assert_eq!(plan["plan"]["sums"]["verdicts"], json!({ "would_apply": 1 }), "{plan:#}");
        assert_eq!(kinds_of(&plan).await, ["dispute.opened", "account.restricted"], "{plan:#}");
        assert_eq!(site.number(WRITTEN).await, before, "a plan changes nothing");

        let replay =
            ["dlq", "replay", "--all", "--expect", "1", "--by", "ada", "--reason", "mended", "--json"];
        let (output, said) = json_of(&site, &fleet.settings, &replay).await;
        assert!(output.status.success(), "{said:#}");
        assert_eq!((&said["resolved"], &said["total"]), (&json!(1), &json!(1)));
        assert_eq!(stands(&site, "a").await, format!("du_1 open | {ALL} | 0 / 0 / 0"));
        super::assert_proved(&site).await;
        assert!(fleet.bursar.terminate().await.success());
    });
}

#[test]
fn what_nobody_understood_of_a_dispute_is_planned_and_replayed() {
    run_within(LIMIT, async |site| {
        let fleet = Fleet::open(&site).await;
        let payload = StripeDispute::new("1", "1").says("needs_response", 0);
        fleet.tell("stripe", &stripe_purchase("1", "a")).await;
        // As a version said it that did not know this status.
        let disputed = translated("stripe", &payload).remove(0);
        let unknown = Unrecognised {
            processor: "stripe".to_owned(),
            event_type: "charge.dispute.updated".to_owned(),
            why: UnrecognisedWhy::Value,
            detail: None,
        };
        let body = RawDelivery { body: serde_json::to_vec(&payload).unwrap() };
        let kept = Envelope { fact: Fact::Unrecognised(unknown), raw: Some(body), ..disputed.clone() };
        site.state(exchange::VERIFIED, vec![kept]).await;
        site.until("select count(*) from inbox where kind = 'fact.unrecognised'", 1).await;

        let before = site.number(WRITTEN).await;
        let (output, plan) = json_of(&site, &fleet.settings, &["unrecognised", "plan", "--json"]).await;
        assert!(output.status.success(), "{plan:#}");
        assert_eq!((&plan["found"], &plan["planned"]), (&json!(1), &json!(1)));
        let expect = ["dispute.opened", "account.restricted", "credits.reversed"];
        assert_eq!(kinds_of(&plan).await, expect, "{plan:#}");
        assert_eq!(site.number(WRITTEN).await, before, "a plan changes nothing");

        let replay = ["unrecognised", "replay", "--expect", "1", "--by", "ada", "--json"];
        let (output, said) = json_of(&site, &fleet.settings, &replay).await;
        assert!(output.status.success(), "{said:#}");
        let causes: Vec<_> = super::facts_of("stripe", &payload);
        settled(&site, &causes).await;
        assert_eq!(stands(&site, "a").await, format!("du_1 open | {ALL} | 0 / 0 / 0"));
        fleet.end().await;
    });
}

/// A ledger of the version before has admitted facts about disputes, and nobody kept cases.
#[test]
fn disputes_from_before_are_handed_over() {
    run_within(LIMIT, async |site| {
        let (bought, disputed) = story();
        let closed = translated("stripe", &StripeDispute::new("2", "2").says("lost", 10));
        let facts = [bought, disputed, translated("stripe", &stripe_purchase("2", "b")), closed];
        admitted_without_disputes(&site, facts.concat()).await;
        // Its queue did not exist.
        site.take(disputes::QUEUE).await;
        let mut fleet = Fleet::open(&site).await;
        super::assert_proved(&site).await;
        assert_eq!(site.number("select count(*) from disputes").await, 0);

        let arguments =
            ["facts", "hand-over", "--kind", "fact.dispute", "--to", "disputes", "--by", "ada", "--json"];
        let (output, said) = json_of(&site, &fleet.settings, &arguments).await;
        assert!(output.status.success(), "{said:#}");
        fleet.until("a", &format!("du_1 open | {ALL} | 0 / 0 / 0")).await;
        fleet
            .check(
                "a",
                &format!("du_1 open | {ALL} | 0 / 0 / 0"),
                &["dispute.opened du_1", "account.restricted"],
            )
            .await;
        fleet.until("b", "du_2 lost | - | 0 / 0 / 0").await;
        // Once: who asks again gives nothing twice.
        let (output, _) = json_of(&site, &fleet.settings, &arguments).await;
        assert!(output.status.success());
        // And what comes now comes by itself.
        fleet.tell("stripe", &StripeDispute::new("1", "1").says("won", 20)).await;
        fleet.check("a", "du_1 won | - | 1050 / 0 / 0", &["dispute.won du_1", "account.restored"]).await;
        fleet.end().await;
    });
}
