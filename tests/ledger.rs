//! The ledger through a real Postgres: whatever the order, the repeats and the number of ledgers, the balances are those
//! that the facts ask for.

use crate::payloads::{payload, translated};
use bus::{Broker, Context, Publisher, exchange, queue};
use domain::catalog::Catalog;
use domain::fact::{Grant, MovementKind, MovementStatus, Payment};
use domain::ledger::Rules;
use domain::{Credits, Envelope, Fact};
use ledger::Ledger;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::facts::{
    AT, PRICE, account_id, catalog, customer, customer_id, envelope, grant, link, money, payment, payment_id,
    refund, usage, usd,
};
use testkit::{ReceivedEvent, Running, Site, run};
use tokio_util::sync::CancellationToken;

const SETTLED: &str = "select count(*) from outcomes";
const OUTBOX: &str = "select count(*) from outbox";

pub fn ledger_with(site: &Site, catalog: Catalog) -> Ledger {
    Ledger::new(site.namespace.clone(), Rules::new(catalog))
}

/// One ledger with one lane: facts are settled in the order in which they were stated.
pub fn one(site: &Site) -> Running {
    site.start(ledger_with(site, catalog()), 1)
}

/// Two ledgers with two lanes each: nothing is in any order.
fn fleet(site: &Site) -> [Running; 2] {
    [(); 2].map(|()| site.start(ledger_with(site, catalog()), 2))
}

async fn stop<const N: usize>(ledgers: [Running; N]) {
    for ledger in ledgers {
        ledger.stop().await;
    }
}

/// An account's balances: available / held / debt.
pub async fn balances(site: &Site, account: &str) -> String {
    sqlx::query_scalar(
        "select concat_ws(' / ', trim_scale(available), trim_scale(held), trim_scale(debt)) from accounts where account = $1",
    )
    .bind(account)
    .fetch_optional(&site.pool)
    .await
    .unwrap()
    .unwrap_or_else(|| "none".to_owned())
}

pub async fn outcomes(site: &Site) -> Vec<String> {
    site.texts("select source || '/' || id || ' ' || outcome from outcomes order by id").await
}

/// What `bursar ledger verify` finds: nothing wrong.
pub async fn assert_proved(site: &Site) {
    let report = ledger::verify::verify(
        &site.pool,
        6,
        None,
        &facts::Readers::of(&site.topology, &site.namespace),
        &mut |_| {},
    )
    .await
    .unwrap();
    let broken: Vec<_> = report.checks.iter().filter(|check| !check.ok).collect();
    assert!(report.ok && broken.is_empty(), "{broken:#?}");
}

pub fn paid(id: &str, payment: Payment) -> Envelope {
    envelope(&format!("paddle/{id}"), Fact::Payment(payment))
}

pub fn moved(id: &str, movement: domain::fact::Movement) -> Envelope {
    envelope(&format!("paddle/{id}"), Fact::Movement(movement))
}

pub fn spent(id: &str, account: &str, credits: i64) -> Envelope {
    envelope(&format!("gateway/{id}"), usage(account, credits))
}

pub fn kinds(told: &[ReceivedEvent]) -> Vec<&str> {
    told.iter().map(|event| event.kind.as_str()).collect()
}

#[test]
fn a_purchase_grants_its_credits_and_its_bonus_and_says_so() {
    run(async |site| {
        let (events, ledger) = (site.subscribe().await, one(&site));
        site.state(exchange::FACTS, vec![paid("evt_1", payment("txn_1", "acct_1"))]).await;
        let told = events.until(3).await;
        site.until(OUTBOX, 0).await;
        ledger.stop().await;

        assert_eq!(balances(&site, "acct_1").await, "1050 / 0 / 0");
        let lots =
            site.texts("select lot || ' ' || kind || ' ' || trim_scale(remaining) from lots order by lot");
        assert_eq!(lots.await, ["paddle:txn_1#bonus bonus 50", "paddle:txn_1#purchase purchase 1000"]);
        assert_eq!(kinds(&told), ["payment.delivered", "credits.granted", "credits.granted"]);
        assert_eq!(told.iter().map(|event| event.sequence).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
        for event in &told {
            assert_eq!(event.account.as_deref(), Some("acct_1"));
            assert_eq!(
                event.data["available"], "1050",
                "balances after everything that the fact brought about"
            );
        }
        assert_proved(&site).await;
    });
}

#[test]
fn a_fact_told_again_by_other_events_has_one_effect() {
    run(async |site| {
        let (events, ledger) = (site.subscribe().await, one(&site));
        let told = ["evt_1", "evt_2", "evt_1", "evt_3"].map(|id| paid(id, payment("txn_1", "acct_1")));
        site.state_each(exchange::FACTS, told.to_vec()).await;
        site.until(SETTLED, 3).await;
        ledger.stop().await;
        assert_eq!(balances(&site, "acct_1").await, "1050 / 0 / 0");
        assert_eq!(
            kinds(&events.until(3).await),
            ["payment.delivered", "credits.granted", "credits.granted"]
        );
        assert_proved(&site).await;
    });
}

#[test]
fn a_refund_before_its_purchase_waits_for_it() {
    run(async |site| {
        let (events, ledger) = (site.subscribe().await, one(&site));
        site.state(exchange::FACTS, vec![moved("evt_1", refund("adj_1", "txn_1", 400))]).await;
        site.until("select count(*) from payments where state = 'shell'", 1).await;
        assert_eq!(site.number("select count(*) from accounts").await, 0);
        site.state(exchange::FACTS, vec![paid("evt_2", payment("txn_1", "acct_1"))]).await;
        site.until(SETTLED, 2).await;
        let told = events.until(4).await;
        ledger.stop().await;
        assert_eq!(outcomes(&site).await, ["paddle/evt_1 waiting", "paddle/evt_2 applied"]);
        assert_eq!(balances(&site, "acct_1").await, "630 / 0 / 0");
        assert_eq!(kinds(&told)[3], "credits.reversed");
        assert_eq!(told[3].data["credits"], "420");
        assert_proved(&site).await;
    });
}

#[test]
fn a_chargeback_of_what_was_spent_is_debt_and_winning_it_is_nothing() {
    run(async |site| {
        let ledger = one(&site);
        let chargeback =
            |id: &str, kind, full| domain::fact::Movement { kind, full, ..refund(id, "txn_1", 1000) };
        site.state_each(
            exchange::FACTS,
            vec![
                paid("evt_1", payment("txn_1", "acct_1")),
                spent("use_1", "acct_1", 800),
                moved("evt_2", chargeback("adj_1", MovementKind::Chargeback, true)),
            ],
        )
        .await;
        site.until(SETTLED, 3).await;
        assert_eq!(balances(&site, "acct_1").await, "0 / 0 / 800");
        // The rate moved: it comes back as another amount, and is full all the same.
        let back =
            domain::fact::Movement { amount: usd(990), ..chargeback("adj_2", MovementKind::Back, true) };
        site.state(exchange::FACTS, vec![moved("evt_3", back)]).await;
        site.until(SETTLED, 4).await;
        ledger.stop().await;
        assert_eq!(balances(&site, "acct_1").await, "250 / 0 / 0");
        assert_proved(&site).await;
    });
}

#[test]
fn a_pending_refund_holds_and_a_void_one_releases() {
    run(async |site| {
        let ledger = one(&site);
        let pending = |status| domain::fact::Movement { status, ..refund("adj_1", "txn_1", 200) };
        site.state_each(
            exchange::FACTS,
            vec![paid("evt_1", payment("txn_1", "acct_1")), moved("evt_2", pending(MovementStatus::Pending))],
        )
        .await;
        site.until(SETTLED, 2).await;
        assert_eq!(balances(&site, "acct_1").await, "840 / 210 / 0");
        site.state_each(
            exchange::FACTS,
            vec![
                moved("evt_3", pending(MovementStatus::Void)),
                moved("evt_4", pending(MovementStatus::Final)),
            ],
        )
        .await;
        site.until(SETTLED, 4).await;
        ledger.stop().await;
        assert_eq!(
            balances(&site, "acct_1").await,
            "1050 / 0 / 0",
            "a refund that failed does not succeed later"
        );
        assert_proved(&site).await;
    });
}

pub const STRIPE_OBJECTS: [&str; 3] =
    ["checkout.session.completed", "payment_intent.succeeded", "charge.succeeded"];

/// A Stripe event about the purchase of another number: each of its ids is one of its own.
pub fn stripe_event(name: &str, number: usize) -> Vec<Envelope> {
    let mut text = payload("stripe", name).to_string();
    for prefix in ["evt_", "cs_live_", "pi_", "ch_", "cus_", "re_"] {
        text = text.replace(&format!("\"{prefix}"), &format!("\"{prefix}n{number}x"));
    }
    text = text
        .replace("\"acct_42\"", &format!("\"acct_{number}\""))
        .replace("\"pack-1000\"", &format!("\"{PRICE}\""));
    translated("stripe", &serde_json::from_str(&text).unwrap())
}

#[test]
fn stripes_three_objects_are_one_purchase_in_whatever_order() {
    run(async |site| {
        let ledger = one(&site);
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for (number, order) in orders.iter().enumerate() {
            for object in order {
                site.state(exchange::FACTS, stripe_event(STRIPE_OBJECTS[*object], number)).await;
            }
        }
        site.until(SETTLED, 18).await;
        ledger.stop().await;
        for (number, order) in orders.iter().enumerate() {
            assert_eq!(balances(&site, &format!("acct_{number}")).await, "1050 / 0 / 0", "{order:?}");
        }
        assert_eq!(site.number("select count(*) from payments where state = 'delivered'").await, 6);
        assert_proved(&site).await;
    });
}

#[test]
fn stripes_objects_and_a_refund_meet_in_one_purchase_though_four_lanes_settle_them_at_once() {
    run(async |site| {
        let ledgers = fleet(&site);
        let mut facts: Vec<Vec<Envelope>> = (0..40)
            .flat_map(|number| {
                let names = STRIPE_OBJECTS.into_iter().chain(["refund.created.succeeded"]);
                names.map(move |name| stripe_event(name, number))
            })
            .collect();
        facts.shuffle(&mut StdRng::seed_from_u64(2));
        let count: usize = facts.iter().map(Vec::len).sum();
        for fact in facts {
            site.state(exchange::FACTS, fact).await;
        }
        site.until(SETTLED, count as i64).await;
        stop(ledgers).await;
        // 4.80 of 12.00 went back: 40 percent of 1050.
        let right = "select count(*) from accounts where available = 630 and held = 0 and debt = 0";
        assert_eq!(site.number(right).await, 40);
        assert_eq!(site.number("select count(*) from payments where state = 'delivered'").await, 40);
        assert_eq!(site.dead_letters().await, []);
        assert_proved(&site).await;
    });
}

/// Each purchase is spoken of under two ids that only its last description joins; a refund waits in the shell of each.
#[test]
fn shells_that_turn_out_to_be_one_purchase_are_merged_though_several_lanes_join_them_at_once() {
    run(async |site| {
        let ledgers = fleet(&site);
        let mut facts = Vec::new();
        for number in 0..40 {
            let (intent, charge) =
                (payment_id(&format!("stripe:pi_{number}")), payment_id(&format!("stripe:ch_{number}")));
            let described = |object: &str, precedence| Payment {
                payment: intent.clone(),
                aliases: vec![charge.clone()],
                object: format!("{object}_{number}"),
                precedence,
                ..payment("unused", &format!("acct_{number}"))
            };
            let by = |id: &str, of: &domain::PaymentId| domain::fact::Movement {
                payment: of.clone(),
                ..refund(&format!("{id}_{number}"), "unused", 100)
            };
            let said = |id: &str, fact| envelope(&format!("stripe/{id}_{number}"), fact);
            facts.extend([
                said("evt_a", Fact::Movement(by("re_a", &intent))),
                said("evt_b", Fact::Movement(by("re_b", &charge))),
                said("evt_c", Fact::Payment(described("pi", 1))),
                said("evt_d", Fact::Payment(described("ch", 2))),
            ]);
        }
        facts.shuffle(&mut StdRng::seed_from_u64(3));
        site.state_each(exchange::FACTS, facts).await;
        site.until(SETTLED, 160).await;
        stop(ledgers).await;
        assert_eq!(
            site.number("select count(*) from accounts where available = 840 and held = 0 and debt = 0")
                .await,
            40
        );
        assert_eq!(site.number("select count(*) from payments where state = 'delivered'").await, 40);
        assert_eq!(site.number("select count(*) from payments where state = 'shell'").await, 0);
        assert_eq!(site.dead_letters().await, []);
        assert_proved(&site).await;
    });
}

/// An alias goes on leading to a shell that has since turned out to be another payment: nothing is wrong with that.
#[test]
fn an_alias_of_a_merged_shell_leads_to_the_payment_that_it_turned_out_to_be() {
    run(async |site| {
        let [intent, charge, dispute] = ["stripe:pi_1", "stripe:ch_1", "stripe:dp_1"].map(payment_id);
        let early = domain::fact::Movement {
            payment: charge.clone(),
            aliases: vec![dispute.clone()],
            ..refund("re_1", "unused", 100)
        };
        let late = domain::fact::Movement { payment: dispute, ..refund("re_2", "unused", 100) };
        let paid = Payment { payment: intent, aliases: vec![charge], ..payment("unused", "acct_1") };
        let ledger = one(&site);
        let facts = [Fact::Movement(early), Fact::Payment(paid), Fact::Movement(late)];
        for (number, fact) in facts.into_iter().enumerate() {
            site.state(exchange::FACTS, vec![envelope(&format!("stripe/evt_{number}"), fact)]).await;
            site.until(SETTLED, number as i64 + 1).await;
        }
        ledger.stop().await;
        assert_eq!(balances(&site, "acct_1").await, "840 / 0 / 0");
        assert_proved(&site).await;
    });
}

#[test]
fn two_delivered_payments_are_never_made_one() {
    run(async |site| {
        let ledger = one(&site);
        let joining = Payment { aliases: vec![payment_id("paddle:txn_2")], ..payment("txn_1", "acct_1") };
        site.state_each(
            exchange::FACTS,
            vec![
                paid("evt_1", payment("txn_1", "acct_1")),
                paid("evt_2", payment("txn_2", "acct_2")),
                paid("evt_3", joining),
                spent("use_1", "acct_1", 1),
            ],
        )
        .await;
        let letter = site.dead_lettered(1).await.remove(0);
        site.until(SETTLED, 4).await;
        ledger.stop().await;
        assert_eq!(letter.code, "two_payments");
        assert_eq!(balances(&site, "acct_1").await, "1049 / 0 / 0");
        assert_proved(&site).await;
    });
}

/// The outcome is committed before the dead letter is out: who finds the outcome must not take the fact for settled.
#[test]
fn a_refused_fact_is_dead_lettered_though_the_ledger_died_before_it_could() {
    run(async |site| {
        let ledger = one(&site);
        site.delete_queue(queue::DEAD_LETTERS).await;
        let joining = Payment { aliases: vec![payment_id("paddle:txn_2")], ..payment("txn_1", "acct_1") };
        site.state_each(
            exchange::FACTS,
            vec![
                paid("evt_1", payment("txn_1", "acct_1")),
                paid("evt_2", payment("txn_2", "acct_2")),
                paid("evt_3", joining),
            ],
        )
        .await;
        site.until("select count(*) from outcomes where outcome = 'refused'", 1).await;
        ledger.stop().await;
        site.topology.declare(&site.broker).await.unwrap();
        let ledger = one(&site);
        site.dead_lettered(1).await;
        ledger.stop().await;
        assert_eq!(site.depth(ledger::QUEUE).await, 0);
        assert_proved(&site).await;
    });
}

#[test]
fn credits_beyond_all_measure_are_refused_and_their_neighbours_settled() {
    run(async |site| {
        let ledger = one(&site);
        let nearly = 999_999_999_999_999;
        site.state(
            exchange::FACTS,
            vec![
                spent("use_1", "acct_1", nearly),
                spent("use_2", "acct_1", nearly),
                spent("use_3", "acct_2", 1),
            ],
        )
        .await;
        let letter = site.dead_lettered(1).await.remove(0);
        site.until(SETTLED, 3).await;
        ledger.stop().await;
        assert_eq!(letter.code, "too_many_credits");
        assert_eq!(balances(&site, "acct_1").await, "0 / 0 / 999999999999999");
        assert_eq!(balances(&site, "acct_2").await, "0 / 0 / 1");
        assert_proved(&site).await;
    });
}

#[test]
fn usage_burns_the_soonest_to_expire_then_the_given_then_the_oldest_and_what_is_short_is_debt() {
    run(async |site| {
        let ledger = one(&site);
        let expiring = match grant("acct_1", 100) {
            Fact::Grant(grant) => {
                Fact::Grant(Grant { expires_at: Some(AT + time::Duration::days(900)), ..grant })
            }
            other => other,
        };
        let later = Payment { occurred_at: AT + time::Duration::hours(1), ..payment("txn_2", "acct_1") };
        site.state_each(
            exchange::FACTS,
            vec![
                paid("evt_2", later),
                paid("evt_1", payment("txn_1", "acct_1")),
                envelope("shop/forever", grant("acct_1", 100)),
                envelope("shop/expiring", expiring),
            ],
        )
        .await;
        let lots = "select string_agg(trim_scale(remaining)::text, ' ' order by array_position(
                      array['shop/expiring#promotional', 'paddle:txn_1#bonus', 'paddle:txn_2#bonus',
                            'shop/forever#promotional', 'paddle:txn_1#purchase', 'paddle:txn_2#purchase'], lot)) from lots";
        site.until(SETTLED, 4).await;
        let mut settled = 4;
        // Given lots in the order of their beginning: the bonuses were paid for before the grant was made.
        for (credits, expect) in [
            (60, "40 50 50 100 1000 1000"),
            (60, "0 30 50 100 1000 1000"),
            (100, "0 0 0 80 1000 1000"),
            (90, "0 0 0 0 990 1000"),
            (1000, "0 0 0 0 0 990"),
            (1000, "0 0 0 0 0 0"),
        ] {
            settled += 1;
            site.state(exchange::FACTS, vec![spent(&format!("use_{settled}"), "acct_1", credits)]).await;
            site.until(SETTLED, settled).await;
            assert_eq!(site.texts(lots).await, [expect], "after {credits} more");
        }
        assert_eq!(balances(&site, "acct_1").await, "0 / 0 / 10");
        site.state(exchange::FACTS, vec![paid("evt_3", payment("txn_3", "acct_1"))]).await;
        site.until(SETTLED, settled + 1).await;
        ledger.stop().await;
        assert_eq!(balances(&site, "acct_1").await, "1040 / 0 / 0", "new credits take over the debt");
        assert_proved(&site).await;
    });
}

pub fn without_account(transaction: &str, customer: &str) -> Payment {
    Payment { account: None, customer: Some(customer_id(customer)), ..payment(transaction, "unused") }
}

#[test]
fn a_customers_link_delivers_the_payments_that_came_before_and_after_it() {
    run(async |site| {
        let (events, ledger) = (site.subscribe().await, one(&site));
        site.state(exchange::FACTS, vec![paid("evt_1", without_account("txn_1", "paddle:ctm_1"))]).await;
        let undelivered = events.until(1).await.remove(0);
        assert_eq!(
            (undelivered.kind.as_str(), undelivered.account, undelivered.sequence),
            ("payment.undelivered", None, None)
        );
        assert_eq!(undelivered.data["payment"], "paddle:txn_1");
        site.state_each(
            exchange::FACTS,
            vec![
                envelope("paddle/evt_2", customer("paddle:ctm_1", "acct_1")),
                paid("evt_3", without_account("txn_2", "paddle:ctm_1")),
                // Contradicts: it moves nothing.
                envelope("paddle/evt_4", customer("paddle:ctm_1", "acct_2")),
            ],
        )
        .await;
        site.until(SETTLED, 4).await;
        ledger.stop().await;
        assert_eq!(balances(&site, "acct_1").await, "2100 / 0 / 0");
        assert_eq!(
            outcomes(&site).await,
            [
                "paddle/evt_1 waiting",
                "paddle/evt_2 applied",
                "paddle/evt_3 applied",
                "paddle/evt_4 contradicts"
            ]
        );
        assert_proved(&site).await;
    });
}

#[test]
fn a_customers_link_and_its_payment_do_not_miss_each_other_in_different_lanes() {
    run(async |site| {
        let ledgers = fleet(&site);
        let mut facts: Vec<Envelope> = (0..150)
            .flat_map(|number| {
                let name = format!("paddle:ctm_{number}");
                [
                    paid(&format!("evt_p{number}"), without_account(&format!("txn_{number}"), &name)),
                    envelope(&format!("paddle/evt_c{number}"), customer(&name, &format!("acct_{number}"))),
                ]
            })
            .collect();
        facts.shuffle(&mut StdRng::seed_from_u64(4));
        site.state_each(exchange::FACTS, facts).await;
        site.until(SETTLED, 300).await;
        stop(ledgers).await;
        assert_eq!(site.number("select count(*) from payments where state = 'delivered'").await, 150);
        assert_eq!(site.number("select count(*) from accounts where available = 1050").await, 150);
        assert_proved(&site).await;
    });
}

#[test]
fn an_unknown_price_is_kept_as_undelivered_and_told_without_an_account() {
    run(async |site| {
        let (events, ledger) = (site.subscribe().await, one(&site));
        let mut unknown = payment("txn_1", "acct_1");
        unknown.items[0].price = "pri_unknown".to_owned();
        site.state(exchange::FACTS, vec![paid("evt_1", unknown)]).await;
        let told = events.until(1).await.remove(0);
        site.until(SETTLED, 1).await;
        ledger.stop().await;
        assert_eq!((told.kind.as_str(), told.account, told.sequence), ("payment.undelivered", None, None));
        assert_eq!(site.texts("select state from payments").await, ["undelivered"]);
        assert_eq!(site.number("select count(*) from lots").await, 0);
        assert_proved(&site).await;
    });
}

#[test]
fn a_payment_keeps_the_catalog_that_it_was_granted_by() {
    run(async |site| {
        let ledger = one(&site);
        site.state(exchange::FACTS, vec![paid("evt_1", payment("txn_1", "acct_1"))]).await;
        site.until(SETTLED, 1).await;
        ledger.stop().await;

        let mut raised = catalog();
        raised.prices.get_mut("paddle").unwrap().get_mut(PRICE).unwrap().credits = Credits::whole(500);
        let ledger = site.start(ledger_with(&site, raised), 1);
        site.state_each(
            exchange::FACTS,
            vec![
                moved("evt_2", refund("adj_1", "txn_1", 500)),
                paid("evt_3", payment("txn_1", "acct_1")),
                paid("evt_4", payment("txn_2", "acct_2")),
            ],
        )
        .await;
        site.until(SETTLED, 4).await;
        ledger.stop().await;
        assert_eq!(balances(&site, "acct_1").await, "525 / 0 / 0", "half of what it granted");
        assert_eq!(balances(&site, "acct_2").await, "550 / 0 / 0");
        assert_eq!(site.number("select count(*) from catalog_versions").await, 2);
        assert_proved(&site).await;
    });
}

#[test]
fn a_hot_account_is_exact_and_its_sequence_has_no_gap() {
    run(async |site| {
        let (events, ledgers) = (site.subscribe().await, fleet(&site));
        site.state(exchange::FACTS, vec![paid("evt_1", payment("txn_1", "hot"))]).await;
        let mut usages: Vec<Envelope> = (0..2_000).map(|n| spent(&format!("use_{n}"), "hot", 1)).collect();
        // Each tenth is told twice.
        usages.extend((0..200).map(|n| spent(&format!("use_{}", n * 10), "hot", 1)));
        usages.shuffle(&mut StdRng::seed_from_u64(5));
        for batch in usages.chunks(100) {
            site.state(exchange::FACTS, batch.to_vec()).await;
        }
        site.until(SETTLED, 2_001).await;
        site.until(OUTBOX, 0).await;
        let count = site.number("select count(*) from events").await;
        let mut told: Vec<u64> =
            events.until(count as usize).await.iter().filter_map(|event| event.sequence).collect();
        stop(ledgers).await;
        assert_eq!(balances(&site, "hot").await, "0 / 0 / 950");
        told.sort();
        assert_eq!(told, (1..=count as u64).collect::<Vec<_>>(), "each told once, none left out");
        assert_proved(&site).await;
    });
}

#[test]
fn what_a_crash_left_in_the_outbox_the_sweeper_publishes() {
    run(async |site| {
        let events = site.subscribe().await;
        // As if the ledger had died between its commit and its publishing: it never reaches the broker.
        let nowhere = Broker::new("amqp://guest:guest@127.0.0.1:1/%2f".to_owned().into(), "nowhere");
        let publisher = Publisher::spawn(nowhere, Duration::from_secs(1));
        let ledger = std::sync::Arc::new(ledger_with(&site, catalog()));
        let ledger = site.start_with(ledger, 1, Context { publisher, ..site.context() });
        site.state_each(
            exchange::FACTS,
            vec![paid("evt_1", payment("txn_1", "acct_1")), paid("evt_2", payment("txn_2", "acct_1"))],
        )
        .await;
        site.until(SETTLED, 2).await;
        ledger.stop().await;
        assert_eq!(events.told(), []);
        assert!(site.number(OUTBOX).await > 0);

        let later = "update outbox set created_at = created_at - interval '1 minute'";
        sqlx::query(later).execute(&site.owner).await.unwrap();
        let stop = CancellationToken::new();
        let sweepers = [(); 2].map(|()| {
            let (namespace, pool, publisher) =
                (site.namespace.clone(), site.pool.clone(), site.publisher.clone());
            tokio::spawn(crate::publish_left(namespace, pool, publisher, stop.clone()))
        });
        let mut told: Vec<_> = events.until(6).await.iter().map(|event| event.sequence.unwrap()).collect();
        site.until(OUTBOX, 0).await;
        stop.cancel();
        for sweeper in sweepers {
            sweeper.await.unwrap();
        }
        told.sort();
        assert_eq!(told, [1, 2, 3, 4, 5, 6], "two sweepers do not publish the same row");
    });
}

#[test]
fn what_is_said_of_another_account_moves_nothing() {
    run(async |site| {
        let ledger = one(&site);
        let other = Payment {
            account: Some(link("acct_2")),
            occurred_at: AT + time::Duration::hours(1),
            ..payment("txn_1", "acct_2")
        };
        site.state_each(
            exchange::FACTS,
            vec![
                paid("evt_1", payment("txn_1", "acct_1")),
                paid("evt_2", Payment { object: "other".to_owned(), ..other }),
            ],
        )
        .await;
        site.until(SETTLED, 2).await;
        ledger.stop().await;
        assert_eq!(outcomes(&site).await, ["paddle/evt_1 applied", "paddle/evt_2 contradicts"]);
        assert_eq!(balances(&site, "acct_1").await, "1050 / 0 / 0");
        assert_proved(&site).await;
    });
}

#[test]
fn a_movement_in_another_currency_holds_the_rest_of_its_payment() {
    run(async |site| {
        let ledger = one(&site);
        let foreign = domain::fact::Movement { amount: money(100, "EUR"), ..refund("adj_1", "txn_1", 1) };
        site.state_each(
            exchange::FACTS,
            vec![
                paid("evt_1", payment("txn_1", "acct_1")),
                moved("evt_2", refund("adj_2", "txn_1", 500)),
                moved("evt_3", foreign),
            ],
        )
        .await;
        site.until(SETTLED, 3).await;
        ledger.stop().await;
        assert_eq!(balances(&site, "acct_1").await, "0 / 525 / 0");
        assert_proved(&site).await;
    });
}

/// Any order, any repeats, four lanes: the same balances as one after the other in memory. The seed is printed.
#[test]
fn the_balances_do_not_depend_on_order_repeats_or_lanes() {
    let seed = rand::random();
    println!("seed {seed}");
    run(async |site| {
        let mut random = StdRng::seed_from_u64(seed);
        let facts = history(&mut random);
        let expect = in_memory(&facts);
        let ledgers = fleet(&site);
        let mut stated = facts.clone();
        stated.extend(facts.choose_multiple(&mut random, 60).cloned());
        stated.shuffle(&mut random);
        while !stated.is_empty() {
            let count = random.random_range(1..=stated.len().min(9));
            site.state(exchange::FACTS, stated.drain(..count).collect()).await;
        }
        site.until(SETTLED, facts.len() as i64).await;
        stop(ledgers).await;
        for (account, (worth, reversed)) in expect {
            let got: (rust_decimal::Decimal, rust_decimal::Decimal) = sqlx::query_as(
                "select available + held - debt, (select coalesce(sum(reversed), 0) from lots l where l.account = a.account)
                 from accounts a where account = $1",
            )
            .bind(&account)
            .fetch_one(&site.pool)
            .await
            .unwrap();
            assert_eq!(
                (Credits::new(got.0), Credits::new(got.1)),
                (worth, reversed),
                "{account}, seed {seed}"
            );
        }
        assert_eq!(site.dead_letters().await, []);
        assert_proved(&site).await;
    });
}

/// Purchases of a few accounts, with whatever can happen to them afterwards.
fn history(random: &mut StdRng) -> Vec<Envelope> {
    let mut facts = Vec::new();
    let mut say = |fact| {
        let id = facts.len();
        facts.push(envelope(&format!("paddle/evt_{id}"), fact));
    };
    for number in 0..25 {
        let (transaction, account) = (format!("txn_{number}"), format!("acct_{}", number % 6));
        say(Fact::Payment(payment(&transaction, &account)));
        say(usage(&account, random.random_range(1..900)));
        for movement in 0..random.random_range(0..4) {
            let id = format!("adj_{number}_{movement}");
            let kind = [MovementKind::Refund, MovementKind::Chargeback, MovementKind::Back]
                [random.random_range(0..3)];
            let minor = random.random_range(1..700);
            for (step, status) in
                [MovementStatus::Pending, MovementStatus::Final, MovementStatus::Void].into_iter().enumerate()
            {
                if random.random_bool(0.6) {
                    let occurred_at = AT + time::Duration::minutes(step as i64);
                    say(Fact::Movement(domain::fact::Movement {
                        kind,
                        status,
                        occurred_at,
                        ..refund(&id, &transaction, minor)
                    }));
                }
            }
        }
    }
    facts
}

/// What the rule makes of the facts, one after the other: `available + held - debt`, and what is reversed, per account.
fn in_memory(facts: &[Envelope]) -> BTreeMap<String, (Credits, Credits)> {
    let rules = Rules::new(catalog());
    let mut books = domain::ledger::Books::default();
    for fact in facts {
        let payment = fact.fact.payment_ids().first().copied().cloned();
        domain::ledger::decide(&mut books, &rules, &fact.cause, AT, &fact.fact, payment.as_ref()).unwrap();
    }
    let of = |account: &domain::ledger::Account| {
        let balances = account.balances;
        (
            balances.available + balances.held - balances.debt,
            account.lots.iter().map(|lot| lot.reversed).sum(),
        )
    };
    (0..6)
        .map(|number| format!("acct_{number}"))
        .map(|id| (id.clone(), of(&books.accounts[&account_id(&id)])))
        .collect()
}

/// An operator's word that names an account may come long before the payment does.
#[test]
fn a_delivery_that_came_before_its_payment_is_followed_once_it_is_known() {
    run(async |site| {
        let ledger = one(&site);
        let word = domain::fact::Assignment {
            by_todays_catalog: false,
            payment: payment_id("paddle:txn_1"),
            act: domain::fact::AssignmentAct::Deliver,
            account: Some(account_id("acct_1")),
            credits: None,
            reason: "the buyer wrote".to_owned(),
            by: "ada".to_owned(),
            occurred_at: AT,
        };
        site.state(exchange::FACTS, vec![envelope("operator/1", Fact::Assignment(word))]).await;
        site.until(SETTLED, 1).await;
        site.state(exchange::FACTS, vec![paid("evt_1", without_account("txn_1", "paddle:ctm_1"))]).await;
        site.until(SETTLED, 2).await;
        ledger.stop().await;
        assert_eq!(balances(&site, "acct_1").await, "1050 / 0 / 0");
        assert_proved(&site).await;
    });
}

/// Two objects of one purchase name two customers; the link of the second comes after both.
#[test]
fn a_link_of_any_of_a_purchases_customers_delivers_it() {
    run(async |site| {
        let ledger = one(&site);
        let by = |object: &str, precedence, customer: &str| Payment {
            object: object.to_owned(),
            precedence,
            ..without_account("txn_1", customer)
        };
        site.state(exchange::FACTS, vec![paid("evt_1", by("cs_1", 0, "paddle:ctm_1"))]).await;
        site.state(exchange::FACTS, vec![paid("evt_2", by("ch_1", 2, "paddle:ctm_2"))]).await;
        site.until(SETTLED, 2).await;
        site.state(exchange::FACTS, vec![envelope("paddle/evt_3", customer("paddle:ctm_2", "acct_1"))]).await;
        site.until(SETTLED, 3).await;
        ledger.stop().await;
        assert_eq!(balances(&site, "acct_1").await, "1050 / 0 / 0");
        assert_proved(&site).await;
    });
}

/// What the ledger keeps on purpose is no corruption: the fact was alarmed as a contradiction when it came.
#[test]
fn a_later_description_of_unknown_worth_leaves_a_sound_ledger() {
    run(async |site| {
        let ledger = one(&site);
        site.state(exchange::FACTS, vec![paid("evt_1", payment("txn_1", "acct_1"))]).await;
        site.until(SETTLED, 1).await;
        let mut unknown = payment("txn_1", "acct_1");
        unknown.items[0].price = "pri_unknown".to_owned();
        unknown.occurred_at += Duration::from_secs(60);
        site.state(exchange::FACTS, vec![paid("evt_2", unknown)]).await;
        site.until(SETTLED, 2).await;
        ledger.stop().await;
        assert_eq!(balances(&site, "acct_1").await, "1050 / 0 / 0");
        assert_proved(&site).await;
    });
}
