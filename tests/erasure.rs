//! What people wrote can be erased, and then nobody can read it anywhere; what a fact is and did stands, and so do the proofs.

use crate::binary::{Configuration, json_of, settings};
use bus::exchange;
use domain::fact::ERASED;
use domain::fact::{
    AdjustmentKind, Assignment, AssignmentAct, Customer, Dispute, DisputeStatus, Grant, RefundRequest,
    Restriction, RestrictionAct, RestrictionKind, Usage, Valuation,
};
use domain::{Credits, Envelope, Fact, FactKind, RawDelivery};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use testkit::facts::{AT, account_id, customer_id, dispute, envelope, payment, payment_id, usd};
use testkit::{Bursar, Post, Settings, Site, run};

/// A word that only strangers use.
const WORD: &str = "Whispering";

const SETTLED: &str = "select count(*) from outcomes";
const ADMITTED: &str = "select count(*) from inbox";
const REPEATS: &str = "select coalesce(sum(repeats), 0)::bigint from inbox";

fn words() -> String {
    format!("{WORD} Jane, \"jane@example.com\", \\ called\nabout:{{}}")
}

fn used(id: &str, account: &str, credits: i64, description: String) -> Envelope {
    let usage = Usage {
        account: account_id(account),
        credits: Credits::whole(credits),
        reference: Some("req_1".to_owned()),
        description: Some(description),
        ip: None,
        device: None,
    };
    envelope(&format!("gateway/{id}"), Fact::Usage(usage))
}

/// One fact of each kind that has texts, all about `a`; and a payment and usage that have none.
fn with_texts() -> Vec<Envelope> {
    let by = "ada".to_owned();
    vec![
        envelope("paddle/evt_1", Fact::Payment(payment("txn_1", "a"))),
        used("use_1", "a", 7, words()),
        envelope(
            "billing/grant_1",
            Fact::Grant(Grant {
                account: account_id("a"),
                credits: Credits::whole(5),
                kind: domain::fact::GrantKind::Goodwill,
                reason: words(),
                expires_at: None,
                by: None,
            }),
        ),
        envelope("paddle/evt_2", Fact::Dispute(disputed())),
        envelope(
            "operator/ada/evt_3",
            Fact::Adjustment(domain::fact::Adjustment {
                account: account_id("a"),
                credits: Credits::whole(1),
                kind: AdjustmentKind::Correction,
                reason: words(),
                by: by.clone(),
            }),
        ),
        envelope(
            "operator/ada/evt_4",
            Fact::Customer(Customer {
                customer: customer_id("paddle:ctm_1"),
                email: None,
                account: Some(testkit::facts::link("a")),
                reason: Some(words()),
                occurred_at: AT,
            }),
        ),
        envelope(
            "operator/ada/evt_5",
            Fact::Assignment(Assignment {
                payment: payment_id("paddle:txn_1"),
                act: AssignmentAct::Deliver,
                account: Some(account_id("a")),
                credits: None,
                by_todays_catalog: false,
                reason: words(),
                by: by.clone(),
                occurred_at: AT,
            }),
        ),
        envelope(
            "operator/ada/evt_6",
            Fact::Valuation(Valuation {
                payment: payment_id("paddle:txn_1"),
                movement: "adj_9".to_owned(),
                amount: usd(100),
                reason: words(),
                by: by.clone(),
                occurred_at: AT,
            }),
        ),
        envelope(
            "operator/ada/evt_7",
            Fact::Restriction(Restriction {
                account: account_id("a"),
                kind: RestrictionKind::Access,
                act: RestrictionAct::Restrict,
                reason: words(),
                by,
                occurred_at: AT,
            }),
        ),
    ]
}

fn disputed() -> Dispute {
    Dispute { reason: Some(words()), ..dispute("dp_1", "paddle:txn_1", DisputeStatus::Open) }
}

/// A refund request as the platform's service states it: its transaction and reason are in the fact, its explanation and the
/// address in the stored body alone.
fn asked_back() -> Vec<u8> {
    json!({ "specversion": "1.0", "type": "fact.refund_request", "source": "shop", "id": "req_1", "time": "2026-11-20T10:00:00Z",
            "data": { "transaction": words(), "account": "a", "reason": words(), "explanation": words(), "email": WORD } })
    .to_string()
    .into_bytes()
}

async fn state_all(site: &Site) {
    site.state_each(exchange::VERIFIED, with_texts()).await;
    let post = Post {
        exchange: exchange::INBOUND,
        routing_key: FactKind::RefundRequest.as_str().to_owned(),
        content_type: Some("application/cloudevents+json".to_owned()),
        body: asked_back(),
        ..Post::default()
    };
    site.post(post).await;
}

/// How many rows of the whole database hold the word, as text or as bytes.
async fn rows_with_the_word(site: &Site) -> Vec<String> {
    rows_with(site, WORD).await
}

/// How many rows of each table hold this, as text or as bytes.
pub async fn rows_with(site: &Site, word: &str) -> Vec<String> {
    let text = word.replace('.', "\\.");
    let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    let tables: Vec<String> =
        sqlx::query_scalar("select quote_ident(relname) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace")
            .fetch_all(&site.pool)
            .await
            .unwrap();
    let mut found = Vec::new();
    for table in tables {
        let query = format!("select count(*) from {table} t where t::text ~* '{text}|{hex}'");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&site.pool).await.unwrap();
        if count > 0 {
            found.push(format!("{table}: {count}"));
        }
    }
    found.sort();
    found
}

/// The worker of disputes takes up cases whose payment came after them.
async fn taken_up(site: &Site) {
    site.until("select count(*) from disputes where account is not null", 1).await;
}

pub async fn is_proved(site: &Site, settings: &Settings) {
    let (output, report) = json_of(site, settings, &["ledger", "verify", "--json"]).await;
    assert!(output.status.success(), "{report:#}");
    let (output, report) = json_of(site, settings, &["ledger", "rebuild", "--compare", "--json"]).await;
    assert!(output.status.success(), "{report:#}");
}

const FORGET: [&str; 8] = ["account", "forget", "a", "--by", "ada", "--reason", "asked to", "--json"];

#[test]
fn what_strangers_wrote_is_erased_while_identity_amounts_and_proof_stand() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        state_all(&site).await;
        // Another account's, and too long a one that became a dead letter.
        site.state(exchange::VERIFIED, vec![used("use_2", "b", 1, "another's words".to_owned())]).await;
        site.state(exchange::VERIFIED, vec![used("use_3", "a", 1, words().repeat(100))]).await;
        let facts = with_texts().len() as i64 + 2;
        site.until(ADMITTED, facts).await;
        site.until("select count(*) from dead_letters", 1).await;
        let unread = site.number("select count(*) from inbox where kind = 'fact.refund_request'").await;
        site.until(SETTLED, facts - unread).await;
        // The operator's, and those of the dispute once its payment is known.
        site.until("select count(*) from restrictions where ended_at is null", 4).await;
        site.until("select count(*) from outbox", 0).await;
        let before = json_of(&site, &settings, &["account", "show", "a", "--json"]).await.1;
        assert_eq!(before["standing"]["access"], "restricted", "{before:#}");
        assert!(!rows_with_the_word(&site).await.is_empty());

        let dry = [&FORGET[..], &["--dry-run"]].concat();
        let (_, report) = json_of(&site, &settings, &dry).await;
        assert_eq!(report["facts"].as_array().unwrap().len(), 9, "{report}");
        // The letter is open: it is named, and left.
        let (output, report) = json_of(&site, &settings, &FORGET).await;
        assert_eq!(output.status.code(), Some(1));
        assert_eq!((&report["facts"], &report["bodies"]), (&json!(9), &json!(1)), "{report}");
        let letter = report["letters_left"][0].as_str().unwrap().to_owned();
        let discard = ["dlq", "discard", &letter, "--expect", "1", "--reason", "asked to", "--json"];
        assert!(json_of(&site, &settings, &discard).await.0.status.success());
        let (output, report) = json_of(&site, &settings, &FORGET).await;
        assert!(output.status.success() && report["letters_emptied"] == json!([letter]), "{report}");
        assert_eq!(rows_with_the_word(&site).await, Vec::<String>::new(), "nobody can read it any more");
        let (output, _) = json_of(&site, &settings, &FORGET).await;
        assert_eq!(output.status.code(), Some(1), "nothing is left to erase");

        is_proved(&site, &settings).await;
        let after = json_of(&site, &settings, &["account", "show", "a", "--json"]).await.1;
        for field in ["available", "held", "debt", "sequence", "standing", "lots", "payments", "disputes"] {
            assert_eq!(after[field], before[field], "{field}");
        }
        let history = after["restriction_history"].as_array().unwrap();
        let by_ada: Vec<&Value> = history.iter().filter(|line| line["by"] == "ada").collect();
        assert!(matches!(by_ada[..], [line] if line["reason"] == ERASED), "{after:#}");
        let (_, shown) = json_of(&site, &settings, &["fact", "show", "gateway/use_1", "--json"]).await;
        assert_eq!(
            shown["data"],
            json!({ "account": "a", "credits": "7", "reference": "req_1", "description": ERASED })
        );
        assert!(shown["erased_at"].is_string());
        let (_, other) = json_of(&site, &settings, &["fact", "show", "gateway/use_2", "--json"]).await;
        assert_eq!(other["data"]["description"], "another's words");
        let (_, acts) = json_of(&site, &settings, &["ledger", "acts", "--json"]).await;
        assert!(acts["acts"].as_array().unwrap().iter().all(|act| act["reason"] == ERASED), "{acts}");
        let (_, audit) = json_of(&site, &settings, &["ledger", "erasures", "--json"]).await;
        let of = |field: &str| -> Vec<Value> {
            audit["erasures"].as_array().unwrap().iter().map(|line| line[field].clone()).collect()
        };
        assert_eq!(of("about"), [json!("account a"), json!("account a")], "{audit}");
        assert_eq!((of("facts"), of("letters")), (vec![json!(0), json!(9)], vec![json!(1), json!(0)]));
        assert_eq!((of("by")[0].clone(), of("reason")[0].clone()), (json!("ada"), json!("asked to")));

        // The same deliveries again are repeats, and bring nothing back.
        state_all(&site).await;
        site.until(REPEATS, facts - 1).await;
        assert_eq!(rows_with_the_word(&site).await, Vec::<String>::new());
        // Other amounts under the same identity are a conflict still.
        site.state(exchange::VERIFIED, vec![used("use_1", "a", 8, words())]).await;
        site.until("select count(*) from dead_letters where code = 'conflict' and state = 'open'", 1).await;
        let reason = site.texts("select reason from dead_letters where code = 'conflict'").await.remove(0);
        assert!(reason.ends_with("another credits"), "{reason}");
        is_proved(&site, &settings).await;
        fleet.terminate().await;
    });
}

#[test]
fn the_database_erases_what_the_domain_does() {
    run(async |site| {
        for fact in with_texts() {
            let fact = fact.fact;
            let stored = fact.canonical().get().to_owned();
            let remains: String = sqlx::query_scalar("select without_texts($1, $2)")
                .bind(fact.kind().as_str())
                .bind(&stored)
                .fetch_one(&site.pool)
                .await
                .unwrap();
            assert_eq!(remains, fact.clone().without_texts().canonical().get(), "{}", fact.kind());
            let told: serde_json::Map<String, Value> = serde_json::from_str(&stored).unwrap();
            let there = fact.kind().texts().iter().filter(|text| told.contains_key(**text));
            assert_eq!(remains.matches(ERASED).count(), there.count(), "{remains}");
        }
        // Each kind that has texts, with all of them.
        for kind in FactKind::ALL.into_iter().filter(|kind| !kind.texts().is_empty()) {
            let mut told: serde_json::Map<String, Value> = serde_json::from_str(kind.example()).unwrap();
            for text in kind.texts() {
                told.insert((*text).to_owned(), json!(words()));
            }
            let fact = Fact::parse(kind, &serde_json::value::to_raw_value(&told).unwrap()).unwrap();
            let remains: String = sqlx::query_scalar("select without_texts($1, $2)")
                .bind(kind.as_str())
                .bind(fact.canonical().get())
                .fetch_one(&site.pool)
                .await
                .unwrap();
            assert_eq!(remains, fact.without_texts().canonical().get(), "{kind}");
            assert_eq!(remains.matches(ERASED).count(), kind.texts().len(), "{remains}");
        }
        let request = RefundRequest {
            transaction: words(),
            account: Some(account_id("a")),
            amount: Some(usd(100)),
            reason: Some(words()),
        };
        let fact = Fact::RefundRequest(request);
        let remains: String = sqlx::query_scalar("select without_texts('fact.refund_request', $1)")
            .bind(fact.canonical().get())
            .fetch_one(&site.pool)
            .await
            .unwrap();
        assert_eq!(remains, fact.without_texts().canonical().get());
    });
}

#[test]
fn one_fact_is_erased_by_its_cause_and_others_by_their_retention_but_never_what_operators_wrote() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let body = RawDelivery { body: words().into_bytes() };
        site.state(exchange::VERIFIED, vec![Envelope { raw: Some(body), ..with_texts().remove(3) }]).await;
        state_all(&site).await;
        site.until(ADMITTED, with_texts().len() as i64 + 1).await;
        taken_up(&site).await;
        let erase = ["delivery", "erase", "paddle/evt_2", "--by", "ada", "--json"];
        let (output, report) = json_of(&site, &settings, &erase).await;
        assert!(output.status.success(), "{report}");
        assert_eq!((&report["erased"], &report["texts_erased"]), (&json!(true), &json!(true)));
        let (output, _) = json_of(&site, &settings, &erase).await;
        assert_eq!(output.status.code(), Some(1));
        fleet.terminate().await;

        let retained = Configuration::new("live").with("[retention]\nfact_texts = \"1ms\"\n");
        let settings = crate::binary::settings(&retained);
        let fleet = Bursar::start(&site, &settings, &["run", "gate"]).await;
        site.until("select count(*) from facts_with_texts where not starts_with(source, 'operator/')", 0)
            .await;
        fleet.terminate().await;
        assert_eq!(site.number("select count(*) from facts_with_texts").await, 5);
        assert_eq!(
            site.texts("select by || ' ' || sum(facts) from erasures group by by order by 1").await,
            ["ada 1", "retention 3"]
        );
        is_proved(&site, &settings).await;
    });
}

/// A step of the retention takes the oldest: were they left as they are, they would be taken each time.
#[test]
fn texts_that_say_that_they_were_erased_do_not_stop_the_retention() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        site.state(exchange::VERIFIED, vec![used("use_1", "a", 1, ERASED.to_owned())]).await;
        let without = Usage {
            account: account_id("a"),
            credits: Credits::whole(1),
            reference: Some(ERASED.to_owned()),
            description: None,
            ip: None,
            device: None,
        };
        site.state(exchange::VERIFIED, vec![envelope("gateway/use_2", Fact::Usage(without))]).await;
        site.until(SETTLED, 2).await;
        let erase = |cause| ["delivery", "erase", cause, "--by", "ada", "--json"];
        let (output, report) = json_of(&site, &settings, &erase("gateway/use_2")).await;
        assert_eq!(output.status.code(), Some(1), "it has no texts: {report}");
        assert_eq!(site.number("select count(*) from facts_with_texts").await, 1);
        let (output, report) = json_of(&site, &settings, &erase("gateway/use_1")).await;
        assert!(output.status.success() && report["texts_erased"] == json!(true), "{report}");
        assert_eq!(site.number("select count(*) from facts_with_texts").await, 0);
        is_proved(&site, &settings).await;
        fleet.terminate().await;
    });
}

/// A delivery's further facts, and what its other renderings add, are rows of their own.
#[test]
fn a_delivery_is_erased_with_all_that_was_told_of_it_and_its_renderings_stay_repeats() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let moved = Fact::Movement(testkit::facts::refund("dp_1", "txn_1", 1000));
        let bare = Fact::Dispute(Dispute { reason: None, ..disputed() });
        let worded = Fact::Dispute(disputed());
        let told = |fact: &Fact| envelope("paddle/evt_2:dispute:dp_1", fact.clone());
        let body = RawDelivery { body: words().into_bytes() };
        let first = Envelope { raw: Some(body), ..envelope("paddle/evt_2", moved) };
        site.state_each(exchange::VERIFIED, vec![first, told(&bare)]).await;
        site.until(ADMITTED, 2).await;
        site.state(exchange::VERIFIED, vec![told(&worded)]).await;
        site.until(ADMITTED, 3).await;
        assert_eq!(site.number("select count(*) from inbox where adds_to = 'evt_2:dispute:dp_1'").await, 1);
        site.until("select count(*) from outbox", 0).await;
        // A fact whose id only begins alike is another's.
        site.state(exchange::VERIFIED, vec![used("evt_2:other", "b", 1, "kept".to_owned())]).await;
        site.until(ADMITTED, 4).await;

        let erase = ["delivery", "erase", "paddle/evt_2", "--by", "ada", "--json"];
        let (output, report) = json_of(&site, &settings, &erase).await;
        assert!(output.status.success(), "{report}");
        assert_eq!((&report["erased"], &report["texts_erased"]), (&json!(true), &json!(true)));
        assert_eq!(rows_with_the_word(&site).await, Vec::<String>::new());
        assert_eq!(site.number("select count(*) from facts_with_texts").await, 1);

        site.state_each(exchange::VERIFIED, vec![told(&worded), told(&bare)]).await;
        site.until(REPEATS, 2).await;
        assert_eq!(site.number("select count(*) from dead_letters").await, 0);
        assert_eq!(rows_with_the_word(&site).await, Vec::<String>::new());
        is_proved(&site, &settings).await;
        fleet.terminate().await;
    });
}

/// Whoever has the right to write to the inbox cannot pass a change off as an erasure.
#[test]
fn a_fact_that_was_changed_is_no_erased_one() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        state_all(&site).await;
        site.until(ADMITTED, with_texts().len() as i64 + 1).await;
        taken_up(&site).await;
        site.until_depth(ledger::QUEUE, 0).await;
        let erase = ["delivery", "erase", "gateway/use_1", "--json"];
        assert!(json_of(&site, &settings, &erase).await.0.status.success());
        is_proved(&site, &settings).await;
        sqlx::raw_sql("create table kept as select * from inbox").execute(&site.owner).await.unwrap();
        for change in [
            "update inbox set fact = without_texts(kind, fact), hash = sha256(convert_to(without_texts(kind, fact), 'UTF8')), erased_at = now() where id = 'grant_1'",
            "update inbox set erased_at = null where id = 'use_1'",
            "update inbox set fact = replace(fact, 'req_1', 'req_2'), hash = sha256(convert_to(replace(fact, 'req_1', 'req_2'), 'UTF8')) where id = 'use_1'",
        ] {
            sqlx::query(change).execute(&site.owner).await.unwrap();
            let (output, report) = json_of(&site, &settings, &["ledger", "verify", "--json"]).await;
            let checks = report["checks"].as_array().unwrap();
            let broken: Vec<&Value> = checks.iter().filter(|check| check["ok"] == false).collect();
            assert_eq!((output.status.code(), broken.len()), (Some(1), 1), "{change}: {broken:#?}");
            assert_eq!(broken[0]["name"], "facts_intact");
            sqlx::raw_sql(
                "update inbox i set fact = k.fact, hash = k.hash, erased_at = k.erased_at from kept k where k.source = i.source and k.id = i.id",
            )
            .execute(&site.owner)
            .await
            .unwrap();
        }
        fleet.terminate().await;
    });
}

/// The function takes the fact's words away, and who calls it must be written down, now.
#[test]
fn nothing_is_erased_without_who_did_it_nor_at_a_time_of_choice() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        state_all(&site).await;
        site.until(ADMITTED, with_texts().len() as i64 + 1).await;
        taken_up(&site).await;
        site.until_depth(ledger::QUEUE, 0).await;
        fleet.terminate().await;
        let says = "insert into erasures (at, by, about, facts, bodies, letters) values";
        let erase = |at: &str| format!("select * from erase_texts(array['gateway'], array['use_1'], {at})");
        for refused in [
            erase("now()"),
            format!("{}; {says} (now() - interval '1 minute', 'ada', 'x', 1, 0, 0)", erase("now()")),
            format!(
                "{}; {says} (now() - interval '1 day', 'ada', 'x', 1, 0, 0)",
                erase("now() - interval '1 day'")
            ),
            format!(
                "{}; {says} (now() + interval '1 day', 'ada', 'x', 1, 0, 0)",
                erase("now() + interval '1 day'")
            ),
        ] {
            let done = sqlx::raw_sql(AssertSqlSafe(refused.clone())).execute(&site.pool).await;
            let error = done.err().unwrap_or_else(|| panic!("{refused}: nobody refused it"));
            let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
            assert_eq!(code.as_deref(), Some("23001"), "{refused}: {error}");
        }
        assert_eq!(site.number("select count(*) from erased_facts").await, 0);
        is_proved(&site, &settings).await;
        // More is written down than was erased.
        let lie = format!("{}; {says} (now(), 'ada', 'x', 2, 0, 0)", erase("now()"));
        sqlx::raw_sql(AssertSqlSafe(lie)).execute(&site.pool).await.unwrap();
        let (_, report) = json_of(&site, &settings, &["ledger", "verify", "--json"]).await;
        let checks = report["checks"].as_array().unwrap();
        let broken: Vec<&Value> = checks.iter().filter(|check| check["ok"] == false).collect();
        assert!(broken.len() == 1 && broken[0]["name"] == "facts_intact", "{broken:#?}");
        assert_eq!(broken[0]["failed"][0]["got"], "1 erased facts");
    });
}
