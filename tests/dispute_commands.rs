//! What operators see of disputes and restrictions, and what they do about them, through the binary.

use crate::binary::{Configuration, json_of, settings};
use bus::exchange;
use domain::fact::{AccountLink, Dispute, DisputeStatus, ERASED, LinkProof, Movement, MovementKind, Payment};
use domain::{Envelope, Fact, PaymentId};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use testkit::facts::{AT, envelope, link, payment, refund, usage, usd};
use testkit::{Bursar, Settings, Site, run};
use time::{Duration, OffsetDateTime};

const SETTLED: &str = "select count(*) from outcomes where reader = 'disputes'";
const BOUGHT: &str = "select count(*) from payments where state = 'delivered'";

/// A dispute of a purchase of [`payment`], as Stripe tells of one: a movement of the money, and the case.
fn disputed(id: &str, transaction: &str, status: DisputeStatus, due_in_days: Option<i64>) -> Vec<Envelope> {
    let occurred_at = AT + Duration::days(1);
    let payment = PaymentId::new("paddle", transaction).unwrap();
    let movement = Movement { kind: MovementKind::Chargeback, occurred_at, ..refund(id, transaction, 1000) };
    let dispute = Dispute {
        dispute: id.to_owned(),
        payment,
        aliases: Vec::new(),
        status,
        amount: Some(usd(1000)),
        reason: Some("fraudulent".to_owned()),
        evidence_due_by: due_in_days.map(|days| OffsetDateTime::now_utc() + Duration::days(days)),
        round: None,
        began_at: None,
        is_early_warning: false,
        is_refundable: None,
        network_reason: Some("10.4".to_owned()),
        fee: Some(usd(1500)),
        by: None,
        by_silence: false,
        occurred_at,
    };
    let status = status.as_str();
    let mut facts = vec![envelope(&format!("paddle/evt_{id}_{status}:dispute:{id}"), Fact::Dispute(dispute))];
    if status == "open" {
        facts.push(envelope(&format!("paddle/evt_{id}_{status}"), Fact::Movement(movement)));
    }
    facts
}

struct Desk<'a> {
    site: &'a Site,
    settings: Settings,
    fleet: Bursar,
    _configuration: Configuration,
}

impl<'a> Desk<'a> {
    async fn open(site: &'a Site) -> Self {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(site, &settings, &["up"]).await;
        Self { site, settings, fleet, _configuration: configuration }
    }

    async fn bought(&self, payments: Vec<Payment>) {
        let count = payments.len() as i64;
        let facts = payments.into_iter().map(|payment| {
            let cause = format!("paddle/evt_{}", payment.object);
            envelope(&cause, Fact::Payment(payment))
        });
        self.site.state_each(exchange::VERIFIED, facts.collect()).await;
        self.site.until(BOUGHT, count).await;
    }

    async fn heard(&self, facts: Vec<Envelope>, settled: i64) {
        self.site.state_each(exchange::VERIFIED, facts).await;
        self.site.until(SETTLED, settled).await;
        self.site
            .until("select count(*) from outcomes where reader = 'ledger' and outcome = 'waiting'", 0)
            .await;
    }

    /// A purchase of `a`, half of it used and then disputed.
    async fn disputed(&self) {
        self.bought(vec![payment("txn_1", "a")]).await;
        self.site.state(exchange::VERIFIED, vec![envelope("gateway/use_1", usage("a", 500))]).await;
        self.site.until("select count(*) from outcomes where kind = 'fact.usage'", 1).await;
        self.heard(disputed("dp_1", "txn_1", DisputeStatus::Open, Some(3)), 1).await;
        self.site.until("select count(*) from accounts where debt > 0", 1).await;
    }

    /// A command that is done: what it said.
    async fn done(&self, arguments: &[&str]) -> Value {
        let (status, said) = self.said(arguments).await;
        assert_eq!(status, 0, "{arguments:?}: {said:#}");
        said
    }

    async fn said(&self, arguments: &[&str]) -> (i32, Value) {
        let (output, said) = json_of(self.site, &self.settings, &[arguments, &["--json"]].concat()).await;
        (output.status.code().unwrap(), said)
    }

    /// As people read it, wherever its lines are folded.
    async fn text(&self, arguments: &[&str]) -> String {
        let output = Bursar::run(self.site, &self.settings, arguments).await;
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    async fn standing(&self) -> Value {
        self.done(&["account", "show", "a"]).await["standing"].clone()
    }

    async fn end(self) {
        assert!(self.fleet.terminate().await.success());
    }
}

fn words(values: &Value, field: &str) -> Vec<String> {
    let values = values.as_array().unwrap().iter();
    values.map(|value| value[field].as_str().unwrap_or("-").to_owned()).collect()
}

#[test]
fn a_case_is_shown_whole_and_listed_by_what_it_is() {
    run(async |site| {
        let desk = Desk::open(&site).await;
        desk.disputed().await;

        let shown = desk.done(&["dispute", "show", "paddle:dp_1"]).await;
        for (field, expect) in [
            ("dispute", json!("paddle:dp_1")),
            ("state", json!("open")),
            ("account", json!("a")),
            ("payment", json!("paddle:txn_1")),
            ("amount", json!("10.00")),
            ("currency", json!("USD")),
            ("reason", json!("fraudulent")),
            ("network_reason", json!("10.4")),
            ("restrictions", json!(["access", "checkout", "balance"])),
            ("hours_left", json!(71)),
            ("overlap", Value::Null),
        ] {
            assert_eq!(shown[field], expect, "{field}: {shown:#}");
        }
        assert!(shown["evidence_due_by"].as_str().unwrap().ends_with('Z'), "{shown:#}");
        assert_eq!(shown["standing"]["balance"], "restricted");
        let history = shown["history"].as_array().unwrap();
        let step = history.iter().find(|moment| moment["what"] == "said").unwrap();
        assert_eq!(step["restricted"], json!(["access", "checkout", "balance"]), "{step:#}");
        assert_eq!(step["posted"][0]["kind"], "reversal", "{step:#}");
        assert_eq!(step["posted"][0]["changed"]["debt"], "500", "{step:#}");
        assert_eq!(history[0]["kind"], "grant", "what happened first stands first: {history:#?}");

        let told = desk.text(&["dispute", "show", "paddle:dp_1"]).await;
        for part in [
            "71 hours (2 days) left",
            "What happened",
            "open: the case opens",
            "debt +500",
            "restricts access, checkout, balance",
            "fee 15.00 USD",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }

        for (filter, expect) in [
            (&[][..], 1),
            (&["--state", "open"], 1),
            (&["--state", "won"], 0),
            (&["--open"], 1),
            (&["--account", "a"], 1),
            (&["--account", "b"], 0),
            (&["--payment", "paddle:txn_1"], 1),
            (&["--payment", "paddle:txn_2"], 0),
            (&["--processor", "paddle"], 1),
            (&["--processor", "stripe"], 0),
            (&["--due-before", "4d"], 1),
            (&["--due-before", "2d"], 0),
            (&["--due-before", "4d", "--account", "b"], 0),
        ] {
            let listed = desk.done(&[&["dispute", "list"], filter].concat()).await;
            assert_eq!(listed["disputes"].as_array().unwrap().len(), expect, "{filter:?}: {listed:#}");
        }
        let payment = desk.done(&["payment", "show", "paddle:txn_1"]).await;
        assert_eq!(words(&payment["disputes"], "dispute"), ["paddle:dp_1"], "{payment:#}");
        let account = desk.done(&["account", "show", "a"]).await;
        assert_eq!(words(&account["disputes"], "state"), ["open"], "{account:#}");
        assert_eq!(words(&account["standing"]["restrictions"], "case"), ["paddle:dp_1"; 3]);
        desk.end().await;
    });
}

#[test]
fn what_is_not_known_is_named_with_where_to_look() {
    run(async |site| {
        let desk = Desk::open(&site).await;
        desk.bought(vec![payment("txn_1", "a")]).await;
        let (status, said) = desk.said(&["dispute", "show", "stripe:dp_9"]).await;
        assert_eq!((status, &said["known"]), (1, &json!(false)), "{said}");
        let by = ["--reason", "r", "--by", "ada"];
        for (arguments, expect) in [
            (&["dispute", "show", "stripe:dp_9"][..], "got stripe:dp_9: see `bursar dispute list`"),
            (
                &["dispute", "close", "stripe:dp_9", "--as", "won", by[0], by[1], by[2], by[3]],
                "got stripe:dp_9",
            ),
            (&["dispute", "reopen", "stripe:dp_9", by[0], by[1], by[2], by[3]], "got stripe:dp_9"),
            (&["dispute", "note", "stripe:dp_9", "called", "--by", "ada"], "got stripe:dp_9"),
            (&["dispute", "list", "--after", "stripe:dp_9"], "--after: expected a case of an earlier list"),
            (&["dispute", "list", "--state", "closed"], "expected one of warning, open"),
            (&["dispute", "list", "--processor", "paypal"], "expected one of"),
            (&["dispute", "show", "dp_9"], "expected <processor>:<id>"),
            (
                &["account", "restrict", "b", "--kind", "access", by[0], by[1], by[2], by[3]],
                "got b: see `bursar account list`",
            ),
            (
                &["account", "restore", "a", "--kind", "access", by[0], by[1], by[2], by[3]],
                "expected an account whose access is restricted",
            ),
            (
                &["account", "restrict", "a", "--kind", "all", by[0], by[1], by[2], by[3]],
                "expected access, checkout or balance",
            ),
            (&["account", "restrict", "a", "--kind", "access", "--reason", " "], "expected why it is done"),
        ] {
            let told = desk.text(arguments).await;
            assert!(told.contains(expect), "{arguments:?}: {told}");
            let status = Bursar::run(&site, &desk.settings, arguments).await.status.code().unwrap();
            assert!(status == 1 || status == 2, "{arguments:?}: {status}");
        }
        assert_eq!(site.number("select count(*) from audit").await, 0);
        assert_eq!(site.number(SETTLED).await, 0);
        desk.end().await;
    });
}

#[test]
fn an_operator_closes_a_case_and_opens_it_again_and_the_audit_says_so() {
    run(async |site| {
        let desk = Desk::open(&site).await;
        desk.disputed().await;
        let close = [
            "dispute",
            "close",
            "paddle:dp_1",
            "--as",
            "won",
            "--reason",
            "the bank called",
            "--by",
            "ada",
            "--id",
            "c_1",
        ];
        let said = desk.done(&close).await;
        assert_eq!(
            (&said["outcome"], &said["dispute"]["state"]),
            (&json!("applied"), &json!("won")),
            "{said:#}"
        );
        assert_eq!(said["standing"]["restrictions"], json!([]), "{said:#}");
        assert_eq!(desk.standing().await["access"], "allowed");
        // Its repetition is the same act, another one is none.
        assert_eq!(desk.done(&close).await["dispute"]["state"], "won");
        let told = desk.text(&close[..9]).await;
        assert!(told.contains("expected a case that is not won already"), "{told}");

        let said =
            desk.done(&["dispute", "reopen", "paddle:dp_1", "--reason", "he was wrong", "--by", "eve"]).await;
        assert_eq!(said["dispute"]["state"], "reopened", "{said:#}");
        assert_eq!(said["standing"]["access"], "restricted", "{said:#}");
        let told = desk.text(&["dispute", "reopen", "paddle:dp_1", "--reason", "again", "--by", "eve"]).await;
        assert!(told.contains("expected a case that has ended"), "{told}");
        desk.done(&["dispute", "note", "paddle:dp_1", "call back on Monday\nFORGED", "--by", "eve"]).await;

        let shown = desk.done(&["dispute", "show", "paddle:dp_1"]).await;
        let history = shown["history"].as_array().unwrap();
        let steps: Vec<&Value> = history.iter().filter(|moment| moment["what"] == "said").collect();
        assert_eq!(words(&json!(steps), "by"), ["-", "ada", "eve"], "{shown:#}");
        assert_eq!(words(&json!(steps), "reason"), ["fraudulent", "the bank called", "he was wrong"]);
        assert_eq!(steps[1]["lifted"], json!(["access", "checkout", "balance"]), "{shown:#}");
        assert_eq!(history.last().unwrap()["text"], "call back on Monday\nFORGED", "{shown:#}");
        assert_eq!(shown["reason"], "fraudulent", "the processor's, not an operator's");
        let told = desk.text(&["dispute", "show", "paddle:dp_1"]).await;
        let output = Bursar::run(&site, &desk.settings, &["dispute", "show", "paddle:dp_1"]).await;
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.lines().all(|line| !line.trim_start().starts_with("FORGED")), "{printed}");
        assert!(told.contains("ada (operator): won") && told.contains("eve noted: call back"), "{told}");

        let audit = desk.done(&["audit", "--about", "paddle:dp_1"]).await;
        let acts = audit["acts"].as_array().unwrap();
        let lines: Vec<String> = acts
            .iter()
            .map(|act| format!("{} {}", act["by"].as_str().unwrap(), act["what"].as_str().unwrap()))
            .collect();
        assert_eq!(lines, ["eve disputes: note", "eve reopen the dispute", "ada close the dispute as won"]);
        assert!(
            acts.iter().all(|act| act["about"] == json!({ "kind": "case", "id": "paddle:dp_1" })),
            "{audit:#}"
        );
        is_proved(&desk).await;
        desk.end().await;
    });
}

#[test]
fn what_an_operator_restricts_stands_until_one_restores_it() {
    run(async |site| {
        let desk = Desk::open(&site).await;
        desk.disputed().await;
        let restrict = |kind: &'static str| {
            ["account", "restrict", "a", "--kind", kind, "--reason", "a resold key", "--by", "ada"]
        };
        let said = desk.done(&restrict("access")).await;
        assert_eq!(said["outcome"], "applied", "{said:#}");
        let causes = words(&said["standing"]["restrictions"], "cause");
        assert_eq!(causes, ["case", "operator", "case", "case"], "{said:#}");

        // The case ends; what the operator put on stands.
        desk.done(&["dispute", "close", "paddle:dp_1", "--as", "won", "--reason", "r", "--by", "ada"]).await;
        let standing = desk.standing().await;
        assert_eq!((&standing["access"], &standing["checkout"]), (&json!("restricted"), &json!("allowed")));
        assert_eq!(words(&standing["restrictions"], "by"), ["ada"]);

        let restore = ["account", "restore", "a", "--kind", "access", "--reason", "a new key", "--by", "eve"];
        let said = desk.done(&restore).await;
        assert_eq!(said["standing"]["access"], "allowed", "{said:#}");
        let account = desk.done(&["account", "show", "a"]).await;
        let ada = account["restriction_history"].as_array().unwrap().iter();
        let ada: Vec<&Value> = ada.filter(|line| line["by"] == "ada").collect();
        let [line] = &ada[..] else { panic!("{account:#}") };
        for (field, expect) in [
            ("kind", "access"),
            ("reason", "a resold key"),
            ("lifted_by", "eve"),
            ("lifted_reason", "a new key"),
        ] {
            assert_eq!(line[field], expect, "{field}: {line:#}");
        }
        let told = desk.text(&["account", "show", "a"]).await;
        assert!(told.contains("a resold key; a new key"), "{told}");

        let audit = desk.done(&["audit", "--account", "a"]).await;
        let acts: Vec<String> = words(&audit["acts"], "what");
        assert_eq!(acts, ["restore access", "close the dispute as won", "restrict access"], "{audit:#}");
        is_proved(&desk).await;
        desk.end().await;
    });
}

#[test]
fn what_an_operator_lifted_from_a_case_is_told_with_his_name() {
    run(async |site| {
        let desk = Desk::open(&site).await;
        desk.disputed().await;
        desk.done(&["account", "restore", "a", "--kind", "balance", "--reason", "known well", "--by", "eve"])
            .await;
        let shown = desk.done(&["dispute", "show", "paddle:dp_1"]).await;
        assert_eq!(shown["restrictions"], json!(["access", "checkout"]), "{shown:#}");
        let last = shown["history"].as_array().unwrap().last().unwrap();
        assert_eq!(last["what"], "restrictions", "{shown:#}");
        assert_eq!(
            (&last["lifted"], &last["by"], &last["reason"]),
            (&json!(["balance"]), &json!("eve"), &json!("known well"))
        );
        desk.end().await;
    });
}

#[test]
fn a_list_goes_on_after_its_last_case_and_the_nearest_deadline_is_first() {
    run(async |site| {
        let desk = Desk::open(&site).await;
        desk.bought((1..=5).map(|number| payment(&format!("txn_{number}"), "a")).collect()).await;
        // By their deadlines: 3, 1, 2; then those without one.
        for (number, due) in [(1, Some(5)), (2, Some(9)), (3, Some(1)), (4, None), (5, None)] {
            let facts = disputed(&format!("dp_{number}"), &format!("txn_{number}"), DisputeStatus::Open, due);
            desk.heard(facts, number).await;
        }
        let whole = words(&desk.done(&["dispute", "list"]).await["disputes"], "dispute");
        assert_eq!(whole, ["paddle:dp_3", "paddle:dp_1", "paddle:dp_2", "paddle:dp_4", "paddle:dp_5"]);
        let mut paged: Vec<String> = Vec::new();
        loop {
            let mut arguments = vec!["dispute", "list", "--limit", "2"];
            let last = paged.last().cloned();
            if let Some(last) = &last {
                arguments.extend(["--after", last]);
            }
            let page = words(&desk.done(&arguments).await["disputes"], "dispute");
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, whole, "no case is shown twice or left out");
        let told = desk.text(&["dispute", "list", "--limit", "2"]).await;
        assert!(told.contains("There may be more: --after paddle:dp_1"), "{told}");
        // Three disputes within the time of the rule of risk.
        let standing = desk.standing().await;
        assert!(words(&standing["restrictions"], "cause").contains(&"risk_rule".to_owned()), "{standing:#}");
        desk.end().await;
    });
}

#[test]
fn a_refund_beside_a_dispute_is_flagged_with_what_it_costs() {
    run(async |site| {
        let desk = Desk::open(&site).await;
        desk.disputed().await;
        let refund = envelope("paddle/evt_r", Fact::Movement(refund("adj_1", "txn_1", 400)));
        site.state(exchange::VERIFIED, vec![refund]).await;
        site.until("select count(*) from outcomes where id = 'evt_r'", 1).await;
        let listed = desk.done(&["dispute", "list"]).await;
        let overlap = &listed["disputes"][0]["overlap"];
        let usd = |amount: &str| json!({ "amount": amount, "currency": "USD" });
        assert_eq!((&overlap["refunded"], &overlap["cost"]), (&usd("4.00"), &usd("4.00")), "{listed:#}");
        let told = desk.text(&["dispute", "list"]).await;
        assert!(told.contains("refund and dispute: 4.00 USD lost"), "{told}");
        let told = desk.text(&["dispute", "show", "paddle:dp_1"]).await;
        assert!(told.contains("4.00 USD went back beyond what was paid"), "{told}");
        desk.end().await;
    });
}

#[test]
fn a_claimed_link_restricts_nobody_and_is_said_to() {
    run(async |site| {
        let desk = Desk::open(&site).await;
        let claimed = AccountLink { proof: LinkProof::Claimed, ..link("a") };
        desk.bought(vec![Payment { account: Some(claimed), ..payment("txn_1", "a") }]).await;
        desk.heard(disputed("dp_1", "txn_1", DisputeStatus::Open, None), 1).await;
        let shown = desk.done(&["dispute", "show", "paddle:dp_1"]).await;
        assert_eq!((&shown["is_claimed"], &shown["restrictions"]), (&json!(true), &json!([])), "{shown:#}");
        assert_eq!(shown["standing"]["access"], "allowed");
        let told = desk.text(&["dispute", "show", "paddle:dp_1"]).await;
        assert!(told.contains("restricts nobody"), "{told}");
        desk.end().await;
    });
}

#[test]
fn a_case_whose_payment_is_not_known_waits_and_is_shown() {
    run(async |site| {
        let desk = Desk::open(&site).await;
        site.state_each(exchange::VERIFIED, disputed("dp_1", "txn_1", DisputeStatus::Open, None)).await;
        site.until(SETTLED, 1).await;
        let shown = desk.done(&["dispute", "show", "paddle:dp_1"]).await;
        assert_eq!(
            (&shown["account"], &shown["payment"]),
            (&Value::Null, &json!("paddle:txn_1")),
            "{shown:#}"
        );
        let told = desk.text(&["dispute", "list"]).await;
        assert!(told.contains("waits for its payment"), "{told}");
        // An operator may close it meanwhile.
        let said = desk
            .done(&["dispute", "close", "paddle:dp_1", "--as", "withdrawn", "--reason", "r", "--by", "ada"])
            .await;
        assert_eq!(
            (&said["dispute"]["state"], &said["standing"]),
            (&json!("withdrawn"), &Value::Null),
            "{said:#}"
        );
        desk.end().await;
    });
}

/// A pack as it is kept, and one that is on its way to the processor.
const PACKS: &str = "
    insert into evidence_packs (dispute, sha256, made_at, made_by, account, document, pdf)
    select dispute, sha256(n::bytea), now(), 'ada', account, 'Whispering Jane', 'x'
    from disputes cross join unnest(array['sent', 'kept', 'going']) as n;
    insert into evidence_submissions (submission, dispute, sha256, is_final, by, reason, requested_at, state, ended_at)
    values ('s_1', 'paddle:dp_1', sha256('sent'), true, 'ada', 'Whispering', now(), 'submitted', now()),
           ('s_2', 'paddle:dp_1', sha256('going'), false, 'ada', 'r', now(), 'uploaded', null)";

#[test]
fn an_erasure_reaches_reasons_and_evidence_packs_and_leaves_what_is_on_its_way() {
    run(async |site| {
        let desk = Desk::open(&site).await;
        desk.disputed().await;
        desk.done(&["account", "restrict", "a", "--kind", "access", "--reason", "Whispering", "--by", "ada"])
            .await;
        desk.done(&[
            "dispute",
            "close",
            "paddle:dp_1",
            "--as",
            "lost",
            "--reason",
            "Whispering",
            "--by",
            "ada",
        ])
        .await;
        sqlx::raw_sql(AssertSqlSafe(PACKS.to_owned())).execute(&site.pool).await.unwrap();
        let forget = ["account", "forget", "a", "--reason", "asked to", "--by", "eve"];
        let (status, said) = desk.said(&forget).await;
        assert_eq!((status, &said["packs_erased"], &said["packs_left"]), (1, &json!(2), &json!(1)), "{said}");
        assert_eq!(site.texts("select submission from evidence_submissions").await, ["s_2"]);
        site.texts(
            "update evidence_submissions set state = 'refused', ended_at = now() returning submission",
        )
        .await;
        let (status, said) = desk.said(&forget).await;
        assert_eq!((status, &said["packs_erased"], &said["packs_left"]), (0, &json!(1), &json!(0)), "{said}");
        let (status, said) = desk.said(&forget).await;
        assert_eq!((status, &said["packs_erased"]), (1, &json!(0)), "nothing is left: {said}");

        let shown = desk.done(&["dispute", "show", "paddle:dp_1"]).await;
        let steps = shown["history"].as_array().unwrap().iter();
        let steps: Vec<&Value> = steps.filter(|moment| moment["what"] == "said").collect();
        assert_eq!(words(&json!(steps), "reason"), [ERASED, ERASED], "{shown:#}");
        let account = desk.done(&["account", "show", "a"]).await;
        assert!(!account.to_string().contains("Whispering"), "{account:#}");
        let audit = desk.done(&["audit", "--account", "a"]).await;
        assert!(words(&audit["acts"], "what").contains(&"disputes: erase packs".to_owned()), "{audit:#}");
        let inbox = "select count(*) from inbox where fact like '%Whispering%'";
        assert_eq!(site.number(inbox).await, 0);
        is_proved(&desk).await;
        desk.end().await;
    });
}

async fn is_proved(desk: &Desk<'_>) {
    let report = desk.done(&["ledger", "verify"]).await;
    assert_eq!(report["ok"], true, "{report:#}");
}
