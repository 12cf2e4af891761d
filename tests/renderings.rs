//! One event in two versions of a processor's API is one event: only values that contradict are a conflict, and what either
//! rendering says is kept, whichever comes first.

use crate::binary::{Configuration, deliver, json_of, settings};
use crate::payloads::{payload, translated};
use bus::{Decoded, Incoming, Verdict, Worker};
use db::Work;
use domain::fact::{Customer, Movement, Payment, Usage};
use domain::{Envelope, Fact};
use gate::{Candidate, Door, Gate};
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::facts::{AT, PRICE, customer, envelope, grant, link, payment, payment_id, refund, usage, usd};
use testkit::{Bursar, Settings, Site, run};
use time::OffsetDateTime;

/// What a gate makes of facts that come one after another: a word for each, the dead letter's reason where it is one, and the
/// facts that are passed on.
async fn settle(site: &Site, envelopes: &[Envelope]) -> (Vec<String>, Vec<Envelope>) {
    settle_by(site, processors::Settings::default(), envelopes).await
}

/// The same of a gate that translates so.
pub async fn settle_by(
    site: &Site,
    settings: processors::Settings,
    envelopes: &[Envelope],
) -> (Vec<String>, Vec<Envelope>) {
    let gate = Gate::new(Door::Verified, site.namespace.clone(), settings, site.readers());
    let (mut words, mut passed_on) = (Vec::new(), Vec::new());
    for envelope in envelopes {
        let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
        let settled = gate.handle(&mut work, &[candidate(&gate, envelope)]).await.unwrap();
        work.commit().await.unwrap();
        words.extend(settled.verdicts.iter().map(word));
        passed_on.extend(settled.forward.iter().map(|message| {
            Envelope::parse(std::str::from_utf8(&message.body).unwrap(), OffsetDateTime::now_utc()).unwrap()
        }));
    }
    (words, passed_on)
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Done(outcome) => outcome.to_string(),
        Verdict::Dead { code, reason } => {
            let fields = reason.split(", got another ").last().unwrap();
            format!("{code}: {fields}")
        }
    }
}

fn candidate(gate: &Gate, envelope: &Envelope) -> Candidate {
    let message = Incoming {
        content_type: Some(domain::envelope::CONTENT_TYPE.to_owned()),
        body: envelope.to_json().into_bytes(),
        ..Incoming::default()
    };
    match gate.decode(&message, OffsetDateTime::now_utc()).remove(0) {
        Decoded::Item(candidate) => candidate,
        Decoded::Bad { reason, .. } => panic!("{reason}"),
    }
}

/// A purchase as one rendering tells it: no more than its ids and its amount.
fn bare() -> Payment {
    Payment { items: Vec::new(), account: None, before_tax: None, ..payment("txn_1", "acct_1") }
}

fn event(fact: Fact) -> Envelope {
    envelope("paddle/evt_1", fact)
}

#[test]
fn only_values_that_contradict_are_a_conflict() {
    run(async |site| {
        let mut number = 0;
        let mut check = async |first: Fact, second: Fact, expect: &str| {
            number += 1;
            let [first, second] = [first, second].map(|fact| envelope(&format!("paddle/evt_{number}"), fact));
            let (words, _) = settle(&site, &[first.clone(), second.clone()]).await;
            assert!(words[1].starts_with(expect), "{}, expected {expect}: {first:?} {second:?}", words[1]);
        };
        let whole = || payment("txn_1", "acct_1");
        let paid = |payment: Payment| Fact::Payment(payment);
        check(paid(whole()), paid(bare()), "repeated").await;
        check(paid(bare()), paid(whole()), "added").await;
        check(paid(whole()), paid(Payment { amount: usd(999), ..bare() }), "conflict: amount.amount").await;
        let other = Payment { account: Some(link("acct_2")), ..bare() };
        check(paid(whole()), paid(other), "conflict: account.account").await;
        check(paid(whole()), paid(payment("txn_2", "acct_1")), "conflict: object, payment").await;
        check(paid(whole()), usage("acct_1", 1), "conflict: type, account, ").await;

        let back = |movement: Movement| Fact::Movement(movement);
        let named = Movement { aliases: vec![payment_id("paddle:ch_1")], ..refund("adj_1", "txn_1", 400) };
        check(back(named.clone()), back(refund("adj_1", "ch_1", 400)), "repeated").await;
        check(back(refund("adj_1", "ch_1", 400)), back(named.clone()), "added").await;
        check(back(named.clone()), back(refund("adj_1", "txn_9", 400)), "conflict: payment").await;
        check(back(named), back(refund("adj_1", "txn_1", 401)), "conflict: amount.amount").await;

        let unlinked = Fact::Customer(Customer {
            customer: "paddle:ctm_1".parse().unwrap(),
            email: None,
            account: None,
            reason: None,
            occurred_at: AT,
        });
        check(customer("paddle:ctm_1", "acct_1"), unlinked.clone(), "repeated").await;
        check(unlinked, customer("paddle:ctm_1", "acct_1"), "added").await;

        // What counts by itself would count twice: there the same identity is the same to the letter.
        let described = |description: Option<&str>| {
            let Fact::Usage(usage) = usage("acct_1", 1) else { unreachable!() };
            Fact::Usage(Usage { description: description.map(str::to_owned), ..usage })
        };
        check(described(None), described(Some("chat")), "conflict: description").await;
        check(described(Some("chat")), described(None), "conflict: description").await;
        check(grant("acct_1", 1), grant("acct_1", 2), "conflict: credits").await;
    });
}

#[test]
fn a_rendering_that_nobody_understands_contradicts_nothing() {
    run(async |site| {
        let told = |number: &str, change: &dyn Fn(&mut Value)| {
            let mut event = payload("paddle", "transaction.completed");
            event["event_id"] = format!("evt_{number}").into();
            change(&mut event);
            translated("paddle", &event).remove(0)
        };
        let whole = |_: &mut Value| {};
        let without_amounts = |event: &mut Value| event["data"]["details"] = Value::Null;
        let of_another_status = |event: &mut Value| event["data"]["status"] = "settling".into();
        let no_effect = |event: &mut Value| event["event_type"] = "transaction.created".into();
        let batch = [told("1", &whole), told("1", &without_amounts), told("1", &no_effect)];
        let (words, _) = settle(&site, &batch).await;
        assert_eq!(words[..2], ["admitted", "repeated"], "{batch:?}");
        assert!(words[2].starts_with("conflict: type"), "what has no effect is understood: {words:?}");

        let batch = [told("2", &without_amounts), told("2", &of_another_status), told("2", &whole)];
        let (words, passed_on) = settle(&site, &batch).await;
        assert_eq!(words, ["kept", "repeated", "recognised"], "{batch:?}");
        assert_eq!(passed_on.len(), 1);
    });
}

/// However many renderings there are and in whatever order they come, the last that is passed on says all of it.
#[test]
fn what_each_rendering_adds_is_kept_and_a_rendering_told_again_is_a_repeat() {
    run(async |site| {
        let linked = event(Fact::Payment(Payment { account: Some(link("acct_1")), ..bare() }));
        let sold = event(Fact::Payment(Payment { items: payment("txn_1", "a").items, ..bare() }));
        let aliased = event(Fact::Payment(Payment { aliases: vec![payment_id("paddle:ch_1")], ..bare() }));
        let told = [&linked, &sold, &aliased, &sold, &linked, &aliased].map(Clone::clone);
        let (words, passed_on) = settle(&site, &told).await;
        assert_eq!(words, ["admitted", "added", "added", "repeated", "repeated", "repeated"]);
        let Fact::Payment(whole) = &passed_on[2].fact else { panic!("{passed_on:?}") };
        let expect = Payment {
            aliases: vec![payment_id("paddle:ch_1")],
            before_tax: None,
            ..payment("txn_1", "acct_1")
        };
        assert_eq!(*whole, expect);
        let ids: Vec<&str> = passed_on.iter().map(|fact| fact.cause.id.as_str()).collect();
        assert!(ids[1].starts_with("evt_1~2.") && ids[2].starts_with("evt_1~3."), "{ids:?}");
        assert!(ids.is_sorted(), "of statements of one moment the last by name is kept: {ids:?}");
        assert_eq!(site.number("select repeats::bigint from inbox where id = 'evt_1'").await, 3);
        assert_eq!(site.number("select count(*) from inbox where adds_to = 'evt_1'").await, 2);
        let (words, _) = settle(&site, &[event(Fact::Payment(Payment { amount: usd(1), ..bare() }))]).await;
        assert_eq!(words, ["conflict: amount.amount"]);
    });
}

#[test]
fn renderings_in_one_batch_are_measured_by_each_other() {
    run(async |site| {
        let gate = Gate::new(
            Door::Verified,
            site.namespace.clone(),
            processors::Settings::default(),
            site.readers(),
        );
        let other = Payment { account: Some(link("acct_2")), ..bare() };
        let told = [bare(), payment("txn_1", "acct_1"), bare(), payment("txn_1", "acct_1"), other];
        let batch: Vec<Candidate> =
            told.map(|payment| candidate(&gate, &event(Fact::Payment(payment)))).into();
        let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
        let settled = gate.handle(&mut work, &batch).await.unwrap();
        work.commit().await.unwrap();
        let words: Vec<String> = settled.verdicts.iter().map(word).collect();
        assert_eq!(words, ["admitted", "added", "repeated", "repeated", "conflict: account.account"]);
        assert_eq!(site.number("select count(*) from inbox").await, 2);
    });
}

/// Which fact of a delivery comes first, and so has the event's own id, is a matter of the rendering.
#[test]
fn a_fact_that_another_rendering_tells_first_is_found_by_what_it_is_about() {
    run(async |site| {
        let facts = translated("paddle", &payload("paddle", "adjustment.created.chargeback"));
        let [movement, dispute] = &facts[..] else { panic!("{facts:?}") };
        let first = Envelope { fact: dispute.fact.clone(), ..movement.clone() };
        let told = [movement.clone(), dispute.clone(), first.clone(), movement.clone()];
        let (words, passed_on) = settle(&site, &told).await;
        assert_eq!(words, ["admitted", "admitted", "repeated", "repeated"]);
        assert_eq!(passed_on.len(), 2);

        let later = |envelope: &Envelope| {
            let id = envelope.cause.id.replace(&movement.cause.id, "evt_later");
            let cause = domain::Cause { id, ..envelope.cause.clone() };
            Envelope { cause, ..envelope.clone() }
        };
        let (words, passed_on) = settle(&site, &[&first, movement, dispute].map(later)).await;
        assert_eq!(words, ["admitted"; 3]);
        let id = format!(
            "evt_later:movement:{}",
            payload("paddle", "adjustment.created.chargeback")["data"]["id"].as_str().unwrap()
        );
        let moved = passed_on.iter().find(|told| matches!(told.fact, Fact::Movement(_))).unwrap();
        assert_eq!(moved.cause.id, id, "it is under the id that it has beside the other");
        let contradicting = match &movement.fact {
            Fact::Movement(movement) => Fact::Movement(Movement { amount: usd(1), ..movement.clone() }),
            other => panic!("{other:?}"),
        };
        let contradicting = later(&Envelope { fact: contradicting, ..movement.clone() });
        let (words, _) = settle(&site, &[contradicting]).await;
        assert!(words[0].starts_with("conflict: amount"), "{words:?}");
    });
}

/// A further fact of a delivery has no body of its own: today's code reads it from the event's.
#[test]
fn a_further_fact_after_an_upgrade_is_compared_by_todays_code() {
    run(async |site| {
        let facts = translated("paddle", &payload("paddle", "adjustment.created.chargeback"));
        settle(&site, &facts).await;
        let older = "update inbox set fact = '{\"older\": true}', hash = sha256('{\"older\": true}')";
        sqlx::query(older).execute(&site.owner).await.unwrap();
        assert_eq!(settle(&site, &facts).await.0, ["repeated", "repeated"]);
    });
}

/// A session that was admitted before anybody asked what it was for: its readers are told when it comes again.
#[test]
fn what_an_older_translation_told_less_of_is_added_when_it_comes_again() {
    run(async |site| {
        let told = translated("stripe", &payload("stripe", "checkout.session.completed"));
        settle(&site, &told).await;
        let older = "update inbox set fact = replace(fact::text, '\"purpose\":\"credits\",', ''), hash = sha256('older')
                     where kind = 'fact.payment'";
        assert_eq!(sqlx::query(older).execute(&site.owner).await.unwrap().rows_affected(), 1);
        let again = async || {
            let (words, passed_on) = settle(&site, &told).await;
            (words[0].clone(), passed_on)
        };
        let (word, passed_on) = again().await;
        let Some(Fact::Payment(whole)) = passed_on.first().map(|fact| &fact.fact) else {
            panic!("{passed_on:?}")
        };
        assert_eq!((word.as_str(), whole.purpose), ("added", domain::fact::Purpose::Credits));
        assert_eq!(again().await.0, "repeated");
    });
}

/// A charge of 12.00 of which 5.00 went back, as a version of Stripe's API tells it.
fn refunded(version: &str) -> Value {
    let mut event = payload("stripe", "charge.refunded.old_version");
    event["api_version"] = version.into();
    let charge = &mut event["data"]["object"];
    charge["metadata"] = json!({ "account_id": "acct_42", "price": PRICE });
    match version {
        "2022-11-15" => charge["invoice"] = Value::Null,
        // It has the refunds in events of their own, and its intent elsewhere.
        _ => {
            for moved in ["refunds", "payment_intent", "invoice"] {
                charge.as_object_mut().unwrap().remove(moved);
            }
        }
    }
    event
}

#[test]
fn an_event_in_two_versions_of_stripes_api_is_one_event_in_both_orders() {
    let versions = ["2022-11-15", "2025-03-31.basil"];
    for order in [versions, [versions[1], versions[0]]] {
        run(async |site| {
            let configuration = Configuration::new("live");
            let settings = settings(&configuration);
            let bursar = Bursar::start(&site, &settings, &["up"]).await;
            let client = reqwest::Client::new();
            // Each once, and then each again.
            for (version, settled) in
                order.into_iter().zip(settled_after(order)).chain([(order[0], 0), (order[1], 0)])
            {
                let body = refunded(version).to_string().into_bytes();
                let url = bursar.addresses.http("/webhooks/stripe");
                assert_eq!(deliver(&client, url, "stripe", body).await.unwrap(), StatusCode::OK);
                if settled > 0 {
                    site.until("select count(*) from outcomes", settled).await;
                }
            }
            let repeats = if order[0] == versions[0] { 5 } else { 4 };
            site.until("select coalesce(sum(repeats), 0)::bigint from inbox", repeats).await;
            assert!(bursar.terminate().await.success());
            is_one_payment(&site, &settings).await;
        });
    }
}

/// How many facts there are after each: the first version tells of two refunds beside the charge.
fn settled_after(order: [&str; 2]) -> [i64; 2] {
    // What the newer one says is part of what the older one said; the older one adds the intent, and the refunds.
    if order[0] == "2022-11-15" { [3, 3] } else { [1, 4] }
}

async fn is_one_payment(site: &Site, settings: &Settings) {
    let (_, account) = json_of(site, settings, &["account", "show", "acct_42", "--json"]).await;
    assert_eq!(account["available"], "612.5", "7 of 12 of 1050: {account:#}");
    assert_eq!(account["payments"].as_array().unwrap().len(), 1);
    assert_eq!(account["payments"][0]["reversed_amount"], "5.00");
    let ids = site.texts("select id from payment_ids order by id").await;
    assert_eq!(ids, ["stripe:ch_in6a1HRT5r2GOoXRVx3PFtji", "stripe:pi_HvoW0wHBhVFodphMj8IwfzlE"]);
    assert_eq!(site.number("select count(*) from dead_letters").await, 0);
    let (output, report) = json_of(site, settings, &["ledger", "verify", "--json"]).await;
    assert!(output.status.success(), "{report:#}");
    let (output, report) = json_of(site, settings, &["ledger", "rebuild", "--compare", "--json"]).await;
    assert!(output.status.success(), "{report:#}");
}
