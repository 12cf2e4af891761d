//! What operators and users touch, through the real fleet: acts and their audit, links, expiry, the roll-forward.

use crate::binary::{deliver, settings};
use crate::payloads::paddle_payload;
use bus::exchange;
use domain::fact::{
    Adjustment, AdjustmentKind, Assignment, AssignmentAct, Expiry, Grant, MovementKind, MovementStatus,
    Payment,
};
use domain::ledger::Rules;
use domain::{Credits, Envelope, Fact, fact};
use ledger::Ledger;
use ledger::read::{CREDITS, Month, RollForwardLine, roll_forward};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::process::Output;
use testkit::facts::{
    AT, PRICE, account_id, catalog, envelope, grant, payment, payment_id, refund, usage, usd,
};
use testkit::{Bursar, Settings, Site, run};
use time::{Duration, OffsetDateTime};

const SETTLED: &str = "select count(*) from outcomes";

/// A `bursar.toml` with the testkit's catalog and whatever a test adds.
struct Configured {
    _folder: tempfile::TempDir,
    settings: Settings,
}

impl Configured {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bursar.toml");
        let price = format!("price = {PRICE:?}\ncredits = \"1000\"\nbonus = \"50\"\n");
        let text = format!("[[catalog]]\nprocessor = \"paddle\"\n{price}{more}");
        std::fs::write(&path, text).unwrap();
        let plain = crate::binary::Configuration::new("live");
        let settings = settings(&plain).with("BURSAR_CONFIG", path.to_string_lossy());
        Self { _folder: folder, settings }
    }
}

/// Runs a command to its end: its exit status, its one JSON document, what it said on stderr.
async fn command(site: &Site, settings: &Settings, arguments: &[&str]) -> (i32, Value, String) {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let Output { status, stdout, stderr } = Bursar::run(site, settings, &arguments).await;
    let json = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
    (status.code().unwrap(), json, String::from_utf8(stderr).unwrap())
}

async fn balances(site: &Site, account: &str) -> String {
    sqlx::query_scalar(
        "select concat_ws(' / ', trim_scale(available), trim_scale(held), trim_scale(debt)) from accounts where account = $1",
    )
    .bind(account)
    .fetch_optional(&site.pool)
    .await
    .unwrap()
    .unwrap_or_else(|| "none".to_owned())
}

async fn assert_proved(site: &Site) {
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

fn paid(id: &str, payment: Payment) -> Envelope {
    envelope(&format!("paddle/{id}"), Fact::Payment(payment))
}

fn moved(id: &str, movement: fact::Movement) -> Envelope {
    envelope(&format!("paddle/{id}"), Fact::Movement(movement))
}

#[test]
fn an_adjustment_is_an_operators_and_has_one_effect_however_often_it_is_repeated() {
    run(async |site| {
        let configured = Configured::new("");
        let settings = configured.settings.clone().with("USER", "ada");
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let bursar = async |arguments: &[&str]| command(&site, &settings, arguments).await;

        let (status, _, why) = bursar(&["account", "adjust", "acct_1", "-5", "--reason", "r"]).await;
        assert_eq!(status, 1);
        assert!(why.contains("expected an account that some fact has named, got acct_1"), "{why}");

        let (status, done, _) = bursar(&["grant", "acct_1", "100", "--reason", "welcome"]).await;
        assert_eq!((status, &done["outcome"], &done["available"]), (0, &json!("applied"), &json!("100")));
        let take = ["account", "adjust", "acct_1", "-130.5", "--reason", "counted twice", "--id", "a1"];
        for _ in 0..3 {
            let (status, done, why) = bursar(&take).await;
            assert_eq!((status, &done["cause"]), (0, &json!("operator/ada/a1")), "{why}");
            assert_eq!(
                done["balances"],
                json!([{ "account": "acct_1", "available": "0", "held": "0", "debt": "30.5" }])
            );
            assert_eq!(done["transactions"][0]["kind"], "adjustment");
        }
        let other = ["account", "adjust", "acct_1", "5", "--reason", "counted twice", "--id", "a1"];
        let (status, _, why) = bursar(&other).await;
        assert_eq!(status, 1);
        assert!(why.contains("expected the act that was stated under this id, got another one"), "{why}");

        let forgive =
            ["account", "adjust", "acct_1", "50", "--write-off", "--reason", "goodwill", "--by", "grace"];
        let (status, done, _) = bursar(&forgive).await;
        assert_eq!((status, &done["available"], &done["balances"][0]["debt"]), (0, &json!("0"), &json!("0")));
        let (status, done, _) = bursar(&forgive).await;
        assert_eq!((status, &done["outcome"]), (0, &json!("no_op")), "there is no debt any more");

        let (_, audit, _) = bursar(&["ledger", "acts", "--account", "acct_1"]).await;
        let told = |act: &Value| {
            ["by", "what", "reason", "outcome"].map(|field| act[field].as_str().unwrap().to_owned())
        };
        let acts: Vec<_> = audit["acts"].as_array().unwrap().iter().map(told).collect();
        assert_eq!(
            acts,
            [
                ["grace", "write off 50 of debt", "goodwill", "no_op"],
                ["grace", "write off 50 of debt", "goodwill", "applied"],
                ["ada", "take 130.5", "counted twice", "applied"],
                ["ada", "grant 100 promotional", "welcome", "applied"],
            ]
        );
        let (_, audit, _) = bursar(&["ledger", "acts", "--by", "ada", "--limit", "1"]).await;
        assert_eq!(audit["acts"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&audit["acts"][0]["fact"], &audit["acts"][0]["repeats"]),
            (&json!("operator/ada/a1"), &json!(2))
        );

        let (status, shown, _) = bursar(&["fact", "show", "operator/ada/a1"]).await;
        assert_eq!(
            (status, &shown["repeats"], &shown["settled"]["outcome"]),
            (0, &json!(2), &json!("applied"))
        );
        assert_eq!(shown["data"]["by"], "ada");
        assert!(shown["settled"]["rules"]["catalog"].is_string(), "{shown}");
        assert_eq!(shown["transactions"][0]["cause"], "operator/ada/a1");
        let kinds: Vec<&str> =
            shown["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["credits.consumed", "debt.incurred", "balance.exhausted"]);
        assert_eq!(bursar(&["fact", "show", "operator/ada/nothing"]).await.0, 1);
        fleet.terminate().await;
        assert_proved(&site).await;
    });
}

/// A purchase by nobody whom the platform has named, of one of the catalog's packs.
fn purchase_without_account(number: usize, customer: &str) -> Vec<u8> {
    let mut event = paddle_payload("transaction.completed");
    event["event_id"] = json!(format!("evt_without_{number}"));
    event["data"]["id"] = json!(format!("txn_without_{number}"));
    event["data"]["customer_id"] = json!(customer);
    event["data"]["custom_data"] = Value::Null;
    event.to_string().replace("pri_01h1vjes1y163xfj1rh1tkfb65", PRICE).into_bytes()
}

#[test]
fn a_payment_whose_account_nobody_knows_is_delivered_by_a_link_or_by_an_operator() {
    run(async |site| {
        let hash = ingester::hash("shop");
        let configured = Configured::new(&format!(
            "[[tokens]]\nname = \"shop\"\nsha256 = {hash:?}\nscopes = [\"facts\"]\nfacts = [\"fact.customer\"]\n"
        ));
        let settings = configured.settings.clone();
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let bursar = async |arguments: &[&str]| command(&site, &settings, arguments).await;
        let client = reqwest::Client::new();
        for (number, customer) in ["ctm_jane", "ctm_john", "ctm_jack", "ctm_jill"].into_iter().enumerate() {
            let body = purchase_without_account(number, customer);
            let url = fleet.addresses.http("/webhooks/paddle");
            assert_eq!(deliver(&client, url, "paddle", body).await.unwrap(), StatusCode::OK);
        }
        site.until("select count(*) from payments where state = 'undelivered'", 4).await;

        // The processor tells Jane's address, the platform whose it is.
        let mut jane = paddle_payload("customer.created");
        jane["data"]["id"] = json!("ctm_jane");
        jane["data"]["email"] = json!("Jane@Example.com");
        jane["data"]["custom_data"] = Value::Null;
        let url = fleet.addresses.http("/webhooks/paddle");
        deliver(&client, url, "paddle", jane.to_string().into_bytes()).await.unwrap();
        let link = json!({
            "specversion": "1.0", "type": "fact.customer", "source": "shop", "id": "link_1",
            "data": { "customer": "email:jane@example.com", "account": { "account": "acct_jane" }, "occurred_at": "2026-11-20T10:00:00Z" }
        });
        let stated = client.post(fleet.addresses.http("/v1/facts")).bearer_auth("shop").json(&link);
        assert!(stated.send().await.unwrap().status().is_success());
        site.until("select count(*) from accounts where account = 'acct_jane' and available = 1050", 1).await;

        let (status, shown, _) = bursar(&["account", "show", "--email", " JANE@example.com"]).await;
        assert_eq!((status, &shown["account"]), (0, &json!("acct_jane")));
        let (status, _, why) = bursar(&["account", "show", "--email", "nobody@example.com"]).await;
        assert!(status == 1 && why.contains("expected an e-mail address that is linked"), "{why}");
        assert_eq!(bursar(&["account", "show"]).await.0, 2);

        // An operator links John by his id at the processor.
        let (status, done, why) =
            bursar(&["account", "link", "paddle:ctm_john", "--to", "acct_john", "--reason", "he wrote"])
                .await;
        assert_eq!((status, &done["available"]), (0, &json!("1050")), "{why}");
        let (status, done, _) =
            bursar(&["account", "link", "paddle:ctm_john", "--to", "acct_other", "--reason", "he wrote"])
                .await;
        assert_eq!((status, &done["outcome"]), (1, &json!("contradicts")));
        assert!(done["error"].as_str().unwrap().contains("linked to another account already"), "{done}");
        let (_, shown, _) = bursar(&["fact", "show", done["cause"].as_str().unwrap()]).await;
        assert_eq!(shown["transactions"], json!([]));

        // Jack is linked to nobody: his payment is delivered by itself, and goes to whom an operator says.
        let jack = "paddle:txn_without_2";
        let (status, _, why) =
            bursar(&["payment", "deliver", "paddle:txn_unknown", "--account", "a", "--reason", "r"]).await;
        assert_eq!(status, 1);
        assert!(why.contains("expected the id of a payment that some fact has named"), "{why}");
        let (status, done, _) = bursar(&["payment", "deliver", jack, "--reason", "the buyer wrote"]).await;
        assert_eq!(status, 1);
        assert!(done["error"].as_str().unwrap().contains("nothing names its account"), "{done}");
        let deliver = |to| ["payment", "deliver", jack, "--account", to, "--reason", "the buyer wrote"];
        let (status, done, _) = bursar(&deliver("acct_jack")).await;
        assert_eq!((status, &done["payment"]["state"]), (0, &json!("delivered")));
        assert_eq!(done["available"], "1050");
        let (status, done, _) = bursar(&deliver("acct_other")).await;
        assert_eq!(status, 1);
        assert!(done["error"].as_str().unwrap().contains("delivered to acct_jack"), "{done}");
        let moving = ["payment", "move", jack, "--to", "acct_other", "--reason", "wrong account"];
        let (status, done, _) = bursar(&moving).await;
        assert_eq!((status, &done["payment"]["account"]), (0, &json!("acct_other")));
        let after: Vec<String> = done["balances"]
            .as_array()
            .unwrap()
            .iter()
            .map(|of| format!("{} {}", of["account"].as_str().unwrap(), of["available"].as_str().unwrap()))
            .collect();
        assert_eq!(after, ["acct_jack 0", "acct_other 1050"]);

        // What it grants can be stated too.
        let jill =
            ["payment", "deliver", "paddle:txn_without_3", "--account", "acct_jill", "--credits", "800"];
        let (status, done, _) = bursar(&[&jill[..], &["--reason", "as sold"]].concat()).await;
        assert_eq!(
            (status, &done["payment"]["granted"], &done["available"]),
            (0, &json!("800"), &json!("800"))
        );
        fleet.terminate().await;
        assert_proved(&site).await;
        assert_eq!(site.number("select count(*) from dead_letters").await, 0);
    });
}

#[test]
fn an_operator_states_what_a_movement_in_another_currency_is_worth() {
    run(async |site| {
        let configured = Configured::new("");
        let fleet = Bursar::start(&site, &configured.settings, &["up"]).await;
        let bursar = async |arguments: &[&str]| command(&site, &configured.settings, arguments).await;
        let foreign =
            fact::Movement { amount: testkit::facts::money(900, "EUR"), ..refund("adj_1", "txn_1", 1) };
        let facts = vec![paid("evt_1", payment("txn_1", "acct_1")), moved("evt_2", foreign)];
        site.state_each(exchange::VERIFIED, facts).await;
        site.until(SETTLED, 2).await;
        assert_eq!(balances(&site, "acct_1").await, "0 / 1050 / 0");
        let value = |movement, amount, currency| {
            ["payment", "value", "paddle:txn_1", movement, amount, currency, "--reason", "bank statement"]
        };
        for (wrong, expect) in [
            (value("adj_2", "9.70", "USD"), "expected a movement of paddle:txn_1 (adj_1)"),
            (value("adj_1", "9.70", "EUR"), "expected the payment's own currency, USD"),
            (value("adj_1", "9,70", "USD"), "expected an amount and its currency"),
        ] {
            let (status, _, why) = bursar(&wrong).await;
            assert!(status == 1 && why.contains(expect), "{why}");
        }
        let (status, done, _) = bursar(&value("adj_1", "9.70", "USD")).await;
        assert_eq!((status, &done["available"]), (0, &json!("31.5")));
        fleet.terminate().await;
        assert_proved(&site).await;
    });
}

#[test]
fn without_a_fleet_an_act_is_accepted_and_said_to_be_unsettled() {
    run(async |site| {
        let configured = Configured::new("");
        let grant = ["grant", "acct_1", "5", "--reason", "r", "--id", "g1", "--wait"];
        let state = async |wait| command(&site, &configured.settings, &[&grant[..], &[wait]].concat()).await;
        let (status, done, _) = state("100ms").await;
        assert_eq!((status, &done["outcome"]), (1, &Value::Null));
        assert!(done["error"].as_str().unwrap().contains("is the fleet running?"), "{done}");
        let fleet = Bursar::start(&site, &configured.settings, &["up"]).await;
        site.until(SETTLED, 1).await;
        let (status, done, _) = state("10s").await;
        assert_eq!((status, &done["outcome"], &done["available"]), (0, &json!("applied"), &json!("5")));
        fleet.terminate().await;
    });
}

const EVERY_SECOND: &str =
    "expires_after = \"1s\"\n[credits]\nexpire_every = \"1s\"\nrestore_grace = \"1s\"\nlow = [\"20\"]\n";

fn expiring(account: &str, credits: i64) -> Fact {
    let Fact::Grant(granted) = grant(account, credits) else { unreachable!() };
    Fact::Grant(Grant { expires_at: Some(OffsetDateTime::now_utc() - Duration::hours(1)), ..granted })
}

#[test]
fn two_fleets_expire_each_lot_once_and_tell_it_once() {
    run(async |site| {
        let configured = Configured::new(EVERY_SECOND);
        let events = site.subscribe().await;
        let fleets = [
            Bursar::start(&site, &configured.settings, &["up"]).await,
            Bursar::start(&site, &configured.settings, &["up"]).await,
        ];
        let grants = (0..60).map(|number| {
            envelope(&format!("shop/g{number}"), expiring(&format!("acct_{}", number % 30), 10))
        });
        site.state_each(exchange::VERIFIED, grants.collect()).await;
        // Passes that nobody scheduled, beside those of both fleets.
        let expire = async || command(&site, &configured.settings, &["ledger", "expire"]).await.0;
        let passes = tokio::join!(expire(), expire(), expire());
        assert_eq!(passes, (0, 0, 0));
        site.until("select count(*) from lots where expired = granted", 60).await;
        site.until("select count(*) from outbox", 0).await;
        let expired = "select count(*) from events where type = 'credits.expired'";
        assert_eq!(site.number(expired).await, 60, "each lot is told once");
        assert_eq!(site.number("select count(*) from accounts where available = 0").await, 30);
        let count = site.number("select count(*) from events").await as usize;
        let told = events.until(count).await;
        assert_eq!(told.iter().filter(|event| event.kind == "credits.expired").count(), 60);
        for fleet in fleets {
            assert!(fleet.terminate().await.success());
        }
        assert_eq!(site.number("select count(*) from dead_letters").await, 0);
        assert_proved(&site).await;
    });
}

#[test]
fn held_credits_expire_on_release_and_restored_ones_after_the_grace() {
    run(async |site| {
        let configured = Configured::new(EVERY_SECOND);
        let fleet = Bursar::start(&site, &configured.settings, &["up"]).await;
        let state = async |facts| site.state_each(exchange::VERIFIED, facts).await;
        let refund_is = |status| fact::Movement { status, ..refund("adj_1", "txn_1", 400) };
        let chargeback = |id: &str, kind| fact::Movement { kind, full: true, ..refund(id, "txn_2", 1000) };
        state(vec![
            moved("evt_1", refund_is(MovementStatus::Pending)),
            paid("evt_2", payment("txn_1", "acct_1")),
            moved("evt_3", chargeback("adj_2", MovementKind::Chargeback)),
            paid("evt_4", payment("txn_2", "acct_2")),
        ])
        .await;
        // They were bought in the past: whatever is not held or gone is expired by the next pass.
        site.until(
            "select count(*) from accounts where account = 'acct_1' and available = 0 and held = 420",
            1,
        )
        .await;
        site.until("select sum(expired)::bigint from lots where account = 'acct_1'", 630).await;
        state(vec![moved("evt_5", refund_is(MovementStatus::Void))]).await;
        site.until("select sum(expired)::bigint from lots where account = 'acct_1'", 1050).await;

        state(vec![moved("evt_6", chargeback("adj_3", MovementKind::Back))]).await;
        site.until("select count(*) from transactions where account = 'acct_2' and kind = 'restoration'", 1)
            .await;
        assert_eq!(
            site.number("select count(*) from lots where account = 'acct_2' and expires_at > now()").await,
            2,
            "restored credits have their grace"
        );
        site.until("select sum(expired)::bigint from lots where account = 'acct_2'", 1050).await;
        fleet.terminate().await;
        assert_proved(&site).await;
    });
}

#[test]
fn a_low_and_an_exhausted_balance_are_told_by_the_configured_thresholds() {
    run(async |site| {
        let configured = Configured::new("[credits]\nlow = [\"20\", \"5\"]\n");
        let fleet = Bursar::start(&site, &configured.settings, &["up"]).await;
        let used = |id: &str, credits| envelope(&format!("gateway/{id}"), usage("acct_1", credits));
        let facts =
            vec![envelope("shop/g1", grant("acct_1", 100)), used("u1", 80), used("u2", 1), used("u3", 19)];
        for (count, fact) in facts.into_iter().enumerate() {
            site.state(exchange::VERIFIED, vec![fact]).await;
            site.until(SETTLED, count as i64 + 1).await;
        }
        fleet.terminate().await;
        let told = "select type || ' ' || coalesce(data ->> 'threshold', '-') from events where type like 'balance.%' order by sequence";
        assert_eq!(site.texts(told).await, ["balance.low 20", "balance.low 5", "balance.exhausted -"]);
    });
}

async fn lines(site: &Site, month: Month) -> Vec<RollForwardLine> {
    let mut lines = Vec::new();
    roll_forward(&site.pool, month, None, &mut |line| lines.push(line)).await.unwrap();
    lines
}

fn month_of(at: OffsetDateTime) -> Month {
    format!("{:04}-{:02}", at.year(), u8::from(at.month())).parse().unwrap()
}

/// The account's amounts from opening to closing; nothing where it has no line.
fn amounts(lines: &[RollForwardLine], account: Option<&str>, unit: &str) -> String {
    let own = |line: &&RollForwardLine| line.account.as_deref() == account && line.unit == unit;
    lines.iter().find(own).map(|line| line.amounts().join(" ")).unwrap_or_default()
}

fn by_operator(account: &str, credits: i64, kind: AdjustmentKind) -> Fact {
    let (reason, by) = ("r".to_owned(), "ada".to_owned());
    Fact::Adjustment(Adjustment {
        account: account_id(account),
        credits: Credits::whole(credits),
        kind,
        reason,
        by,
    })
}

fn moving(transaction: &str, to: &str) -> Fact {
    Fact::Assignment(Assignment {
        by_todays_catalog: false,
        payment: payment_id(&format!("paddle:{transaction}")),
        act: AssignmentAct::Move,
        account: Some(account_id(to)),
        credits: None,
        reason: "r".to_owned(),
        by: "ada".to_owned(),
        occurred_at: AT,
    })
}

fn ledger_of(site: &Site) -> Ledger {
    Ledger::new(site.namespace.clone(), Rules::new(catalog()))
}

/// Worked with exact figures: 1,050 credits cost 10.00 USD.
#[test]
fn a_month_comes_from_its_opening_to_its_closing_in_credits_and_in_money() {
    run(async |site| {
        let ledger = site.start(ledger_of(&site), 1);
        let whole = |id: &str, kind| fact::Movement { kind, full: true, ..refund(id, "txn_1", 1000) };
        let facts = vec![
            paid("evt_1", payment("txn_1", "acct_1")),
            envelope("gateway/u1", usage("acct_1", 600)),
            moved("evt_2", whole("adj_1", MovementKind::Chargeback)),
            paid("evt_3", payment("txn_2", "acct_1")),
            moved("evt_4", whole("adj_2", MovementKind::Back)),
            // Another account: 210 of 1050 given back, an operator's hand, a gift, debt written off.
            paid("evt_5", payment("txn_3", "acct_2")),
            moved("evt_6", refund("adj_3", "txn_3", 200)),
            envelope("operator/ada/a1", by_operator("acct_2", -105, AdjustmentKind::Correction)),
            envelope("shop/g1", grant("acct_2", 70)),
            envelope("gateway/u2", usage("acct_2", 1000)),
            envelope("operator/ada/a2", by_operator("acct_2", 500, AdjustmentKind::WriteOff)),
            // And one whose payment was another's.
            paid("evt_7", payment("txn_4", "acct_3")),
            envelope("operator/ada/a3", moving("txn_4", "acct_4")),
        ];
        let count = facts.len() as i64;
        site.state_each(exchange::FACTS, facts).await;
        site.until(SETTLED, count).await;
        ledger.stop().await;

        let at: OffsetDateTime =
            sqlx::query_scalar("select min(at) from transactions").fetch_one(&site.pool).await.unwrap();
        let month = month_of(at);
        let told = lines(&site, month).await;
        assert!(told.iter().all(|line| line.adds_up), "{told:#?}");
        let check = |account, unit: &str, expect: &str| {
            assert_eq!(amounts(&told, account, unit), expect, "{account:?}")
        };
        //                              opening granted consumed reversed restored expired adjusted closing
        check(Some("acct_1"), CREDITS, "0 2100 600 1050 1050 0 0 1500");
        // 600 credits were earned at 5.71 with the first payment, given back, and earned again with the second.
        check(Some("acct_1"), "USD", "0.00 20.00 5.71 10.00 10.00 0.00 0.00 14.29");
        // 1050 - 210 - 105 + 70 leaves 805; 195 short, which is forgiven.
        check(Some("acct_2"), CREDITS, "0 1120 1000 210 0 0 90 0");
        check(Some("acct_2"), "USD", "0.00 10.00 7.00 2.00 0.00 0.00 -1.00 0.00");
        check(Some("acct_3"), CREDITS, "0 1050 0 0 0 0 -1050 0");
        check(Some("acct_3"), "USD", "0.00 10.00 0.00 0.00 0.00 0.00 -10.00 0.00");
        check(Some("acct_4"), CREDITS, "0 0 0 0 0 0 1050 1050");
        check(Some("acct_4"), "USD", "0.00 0.00 0.00 0.00 0.00 0.00 10.00 10.00");
        check(None, CREDITS, "0 4270 1600 1260 1050 0 90 2550");
        check(None, "USD", "0.00 40.00 12.71 12.00 10.00 0.00 -1.00 24.29");

        let configured = Configured::new("");
        let month = month.to_string();
        let csv = ["ledger", "roll-forward", "--month", &month, "--account", "acct_1", "--format", "csv"];
        let output = Bursar::run(&site, &configured.settings, &csv).await;
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!(
                "month,account,unit,opening,granted,consumed,reversed,restored,expired,adjusted,closing\n\
                 {month},acct_1,credits,0,2100,600,1050,1050,0,0,1500\n\
                 {month},acct_1,USD,0.00,20.00,5.71,10.00,10.00,0.00,0.00,14.29\n"
            )
        );
        let whole = ["ledger", "roll-forward", "--month", &month];
        let (status, document, _) = command(&site, &configured.settings, &whole).await;
        assert_eq!((status, &document["ok"], &document["accounts"]), (0, &json!(true), &json!(4)));
        assert_eq!(document["totals"][1]["closing"], "24.29");

        // A journal that somebody has put his hand in does not add up, and the account is named.
        for statement in [
            "grant update on transactions to current_user",
            "alter table transactions disable trigger user",
            "update transactions set at = at + interval '40 days' where account = 'acct_2' and kind = 'usage'",
            "update accounts set available = available + 1 where account = 'acct_1'",
        ] {
            sqlx::query(statement).execute(&site.owner).await.unwrap();
        }
        let (status, document, why) = command(&site, &configured.settings, &whole).await;
        assert_eq!((status, &document["broken"]), (1, &json!(["acct_1 (credits)"])));
        assert!(why.contains("acct_1 (credits)"), "{why}");
    });
}

/// Whatever happened, in whatever order, every account's bridge holds, and months join without a seam. The seed is
/// printed.
#[test]
fn the_roll_forward_adds_up_for_every_history() {
    let seed = rand::random();
    println!("seed {seed}");
    run(async |site| {
        let mut random = StdRng::seed_from_u64(seed);
        let ledgers = [(); 2].map(|()| site.start(ledger_of(&site), 2));
        let facts = history(&mut random);
        let count = facts.len() as i64;
        for batch in facts.chunks(7) {
            site.state(exchange::FACTS, batch.to_vec()).await;
        }
        site.until("select count(*) from outcomes where outcome <> 'refused'", count).await;
        for ledger in ledgers {
            ledger.stop().await;
        }
        assert_proved(&site).await;
        // Half of each account's journal becomes the month before's.
        for statement in [
            "grant update on transactions to current_user",
            "alter table transactions disable trigger user",
            "update transactions t set at = '2026-10-15T00:00:00Z'
             where number <= (select transactions / 2 from accounts a where a.account = t.account)",
            "update transactions t set at = '2026-11-15T00:00:00Z'
             where number > (select transactions / 2 from accounts a where a.account = t.account)",
        ] {
            sqlx::query(statement).execute(&site.owner).await.unwrap();
        }
        let [before, month, after] =
            ["2026-10", "2026-11", "2026-12"].map(|month| month.parse::<Month>().unwrap());
        let [before, month, after] =
            [lines(&site, before).await, lines(&site, month).await, lines(&site, after).await];
        let broken: Vec<_> = before.iter().chain(&month).chain(&after).filter(|line| !line.adds_up).collect();
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
        for line in &month {
            let closing = |lines: &[RollForwardLine]| {
                let amounts = amounts(lines, line.account.as_deref(), &line.unit);
                amounts.rsplit(' ').next().filter(|text| !text.is_empty()).map(str::to_owned)
            };
            let opening = closing(&before).unwrap_or_else(|| line.opening.clone());
            assert_eq!(line.opening, opening, "seed {seed}: {line:?}");
            let next = amounts(&after, line.account.as_deref(), &line.unit);
            assert_eq!(
                next.split(' ').next().unwrap_or("0"),
                if next.is_empty() { "" } else { &line.closing }
            );
        }
        // What is deferred at the end is what the lots hold, at what was paid for them.
        let deferred = "select round(sum((l.remaining + l.held) * round(p.amount, 60)
                            / (select sum(granted) from lots o where o.payment = p.payment)), 2)::text
                        from lots l join payments p on p.payment = l.payment";
        assert_eq!(
            Some(site.texts(deferred).await[0].as_str()),
            month
                .iter()
                .find(|line| line.account.is_none() && line.unit == "USD")
                .map(|line| line.closing.as_str()),
            "seed {seed}"
        );
    });
}

/// Everything that can happen to four accounts.
fn history(random: &mut StdRng) -> Vec<Envelope> {
    let mut facts = Vec::new();
    let mut payments = 0;
    for step in 0..220 {
        let account = format!("acct_{}", random.random_range(0..4));
        let credits = random.random_range(1..1500);
        let of = format!("txn_{}", random.random_range(0..(payments + 2)));
        let fact = match random.random_range(0..12) {
            0 | 1 => {
                payments += 1;
                let mut bought = payment(&format!("txn_{payments}"), &account);
                bought.amount = usd(random.random_range(1..5000));
                bought.items[0].quantity = random.random_range(1..3);
                Fact::Payment(bought)
            }
            2..=4 => usage(&account, credits),
            5 => grant(&account, credits),
            6 => expiring(&account, credits),
            7 => Fact::Expiry(Expiry {
                account: account_id(&account),
                as_of: OffsetDateTime::now_utc() + Duration::days(random.random_range(-1..20)),
            }),
            8 => by_operator(&account, credits - 750, AdjustmentKind::Correction),
            9 => by_operator(&account, credits, AdjustmentKind::WriteOff),
            10 if random.random_bool(0.5) => moving(&of, &account),
            _ => {
                let kinds = [MovementKind::Refund, MovementKind::Chargeback, MovementKind::Back];
                let statuses = [MovementStatus::Pending, MovementStatus::Final, MovementStatus::Void];
                Fact::Movement(fact::Movement {
                    kind: kinds[random.random_range(0..3)],
                    status: statuses[random.random_range(0..3)],
                    full: random.random_bool(0.2),
                    occurred_at: AT + Duration::minutes(step),
                    ..refund(
                        &format!("adj_{}_{of}", random.random_range(0..3)),
                        &of,
                        random.random_range(1..3000),
                    )
                })
            }
        };
        facts.push(envelope(&format!("paddle/evt_{step}"), fact));
    }
    facts
}

/// The hazard: the account that a stored assignment names is not among those that the ledger locks for a later fact, so
/// the payment itself becomes a dead letter.
#[test]
fn an_operators_word_on_a_payment_waits_for_it_like_any_other() {
    run(async |site| {
        let ledger = site.start(ledger_of(&site), 1);
        let Fact::Assignment(word) = moving("txn_1", "acct_1") else { unreachable!() };
        let deliver = Assignment { act: AssignmentAct::Deliver, ..word };
        site.state(exchange::FACTS, vec![envelope("operator/ada/d1", Fact::Assignment(deliver))]).await;
        site.until(SETTLED, 1).await;
        let unnamed = Payment { account: None, ..payment("txn_1", "unused") };
        site.state(exchange::FACTS, vec![paid("evt_1", unnamed)]).await;
        site.until(SETTLED, 2).await;
        ledger.stop().await;
        assert_eq!(balances(&site, "acct_1").await, "1050 / 0 / 0");
        assert_proved(&site).await;
    });
}
