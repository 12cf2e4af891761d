//! A dead letter that is edited goes on as another one; two people agree to what is locked, and nothing is done twice.

use crate::binary::{Configuration, json_of, settings};
use bus::{exchange, queue};
use dead_letters::acts::{self, Edit};
use domain::fact::{Dispute, DisputeStatus, Usage};
use domain::{Credits, Envelope, Fact, RawDelivery};
use serde_json::{Value, json};
use std::process::Output;
use testkit::facts::{account_id, dispute, envelope};
use testkit::{Bursar, Post, Settings, Site, eventually, run};
use time::OffsetDateTime;
use uuid::Uuid;

const OPEN: &str = "select count(*) from dead_letters where state = 'open'";
const LETTERS: &str = "select count(*) from dead_letters";

/// A deployment whose operators may edit.
pub fn editing() -> Configuration {
    Configuration::new("live").with("[dead_letters]\nedit = true\n")
}

/// Seven credits used by `acct_1`, described at such a length that the gate gives up on it.
fn too_long() -> Envelope {
    let usage = Usage {
        account: account_id("acct_1"),
        credits: Credits::whole(7),
        reference: None,
        description: Some("x".repeat(10_000)),
        ip: None,
        device: None,
    };
    envelope("gateway/use_1", Fact::Usage(usage))
}

/// A dispute as a delivery told it, whose reason is as long.
pub fn dispute_too_long() -> Envelope {
    let dispute =
        Dispute { reason: Some("x".repeat(10_000)), ..dispute("dp_1", "paddle:txn_1", DisputeStatus::Open) };
    let raw = Some(RawDelivery { body: b"as it came".to_vec() });
    Envelope { raw, ..envelope("paddle/evt_1", Fact::Dispute(dispute)) }
}

/// The one letter that is open.
pub async fn the_open_letter(site: &Site) -> String {
    site.until(OPEN, 1).await;
    site.texts("select letter::text from dead_letters where state = 'open'").await.remove(0)
}

async fn letter_of(site: &Site, fact: Envelope, exchange: &str) -> String {
    site.state(exchange, vec![fact]).await;
    the_open_letter(site).await
}

/// `bursar dlq edit`, by ada, for a reason.
pub async fn edit(site: &Site, settings: &Settings, letter: &str, more: &[&str]) -> Output {
    let first = ["dlq", "edit", letter, "--by", "ada", "--reason", "too long", "--json"];
    Bursar::run(site, settings, &[&first, more].concat()).await
}

pub fn document(output: &Output) -> Value {
    assert!(output.status.success(), "{}", error(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It ends with this status, says this, and has changed nothing.
#[track_caller]
fn refused(output: &Output, code: i32, expect: &str) {
    let error = error(output) + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(code) && error.contains(expect), "{:?} {error}", output.status);
}

async fn show(site: &Site, settings: &Settings, letter: &str) -> Value {
    json_of(site, settings, &["dlq", "show", letter, "--json"]).await.1["letter"].take()
}

#[test]
fn editing_is_off_unless_it_is_configured() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let letter = Uuid::now_v7().to_string();
        let output = edit(&site, &settings, &letter, &["--set", "data.description=short"]).await;
        refused(&output, 1, "edit = true");
        let configuration = editing();
        let settings = crate::binary::settings(&configuration);
        let output = edit(&site, &settings, &letter, &["--set", "data.description=short"]).await;
        refused(&output, 1, "expected the id of a letter");
        refused(&edit(&site, &settings, &letter, &[]).await, 2, "--set");
    });
}

#[test]
fn what_is_free_is_edited_and_goes_on_under_a_message_id_of_its_own() {
    run(async |site| {
        let configuration = editing();
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let old = letter_of(&site, too_long(), exchange::INBOUND).await;
        let output = edit(&site, &settings, &old, &["--set", "data.description=chat"]).await;
        let edited = document(&output);
        let new = edited["new"].as_str().unwrap().to_owned();
        let long = "x".repeat(10_000);
        let diff = json!([{ "path": "data.description", "from": long, "to": "chat" }]);
        assert_eq!((&edited["diff"], &edited["agreed_by"]), (&diff, &Value::Null));

        let before = show(&site, &settings, &old).await;
        assert_eq!((&before["state"], &before["next"]), (&json!("edited"), &json!([new])));
        let after = show(&site, &settings, &new).await;
        assert_eq!((&after["state"], &after["previous"]), (&json!("open"), &json!(old)));
        assert_eq!((&after["message_id"], &after["diff"]), (&json!(new), &diff));
        assert_eq!((&after["account"], &after["credits"]), (&json!("acct_1"), &json!("7")));
        for letter in [&old, &new] {
            let (_, audit) = json_of(&site, &settings, &["dlq", "audit", letter, "--json"]).await;
            let line = &audit["audit"][0];
            assert_eq!(
                (&line["action"], &line["by"], &line["reason"]),
                (&json!("edit"), &json!("ada"), &json!("too long"))
            );
            let kept = json!([{ "path": "data.description", "from": "(10002 bytes)", "to": "(6 bytes)" }]);
            assert_eq!(
                (&line["result"]["new"], &line["result"]["diff"]),
                (&json!(new), &kept),
                "no text for good"
            );
        }
        let text = Bursar::run(&site, &settings, &["dlq", "show", &new]).await;
        assert!(String::from_utf8_lossy(&text.stdout).contains("-> \"chat\""));

        let output = Bursar::run(&site, &settings, &["dlq", "replay", &old, "--expect", "1"]).await;
        assert!(!output.status.success(), "the original has had its day");
        let (_, plan) = json_of(&site, &settings, &["dlq", "plan", &new, "--json"]).await;
        assert_eq!(plan["plan"]["messages"][0]["verdict"], json!("would_apply"), "{plan}");
        let (output, replay) =
            json_of(&site, &settings, &["dlq", "replay", &new, "--expect", "1", "--json"]).await;
        assert!(output.status.success() && replay["resolved"] == json!(1), "{replay}");
        let (_, account) = json_of(&site, &settings, &["account", "show", "acct_1", "--json"]).await;
        assert_eq!(account["debt"], json!("7"), "{account}");
        assert_eq!(show(&site, &settings, &new).await["state"], json!("resolved"));
        assert_eq!(site.number(LETTERS).await, 2);
        fleet.terminate().await;
    });
}

#[test]
fn what_is_locked_is_not_edited_alone() {
    run(async |site| {
        let configuration = editing();
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let old = letter_of(&site, too_long(), exchange::INBOUND).await;
        fleet.terminate().await;
        let cut = ["--set", "data.description=chat"];
        let with = async |more: &[&str]| edit(&site, &settings, &old, &[&cut, more].concat()).await;
        refused(&with(&["--set", "data.account=acct_2"]).await, 1, "data.account (identity)");
        refused(&with(&["--set", "data.credits=\"1\""]).await, 1, "--unlock money --second");
        refused(&with(&["--set", "data.new=1"]).await, 1, "data.new (identity)");
        refused(&with(&["--set", "id=use_2"]).await, 1, "id (identity)");
        let grant = [
            "--set",
            "type=fact.grant",
            "--set",
            "data.reason=r",
            "--unlock",
            "identity",
            "--second",
            "grace",
        ];
        refused(&with(&grant).await, 1, "type (money)");
        refused(&with(&["--set", "data.credits=0"]).await, 1, "fact.usage");
        refused(&with(&["--set", "rawbody=eA=="]).await, 1, "never edited");
        refused(&edit(&site, &settings, &old, &["--set", "id=use_1"]).await, 1, "data.description");
        assert_eq!((site.number(OPEN).await, site.number(LETTERS).await), (1, 1));
        assert_eq!(site.number("select count(*) from dead_letter_audit").await, 0);
    });
}

#[test]
fn a_second_operator_unlocks_and_is_somebody_else() {
    run(async |site| {
        let configuration = editing();
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let old = letter_of(&site, too_long(), exchange::INBOUND).await;
        let change = ["--set", "data.account=acct_2", "--unset", "data.description", "--unlock", "identity"];
        let with = async |more: &[&str]| edit(&site, &settings, &old, &[&change, more].concat()).await;
        refused(&with(&[]).await, 2, "--second");
        for same in ["ada", " ADA ", ""] {
            refused(&with(&["--second", same]).await, 2, "another operator");
        }
        refused(
            &with(&["--second", "grace", "--set", "data.credits=\"1\""]).await,
            1,
            "data.credits (money). With a second operator who agrees: --unlock identity --unlock money --second",
        );
        let edited = document(&with(&["--second", "grace"]).await);
        assert_eq!(edited["agreed_by"], json!("grace"));
        let new = edited["new"].as_str().unwrap();
        let (_, audit) = json_of(&site, &settings, &["dlq", "audit", new, "--json"]).await;
        assert_eq!(audit["audit"][0]["result"]["agreed_by"], json!("grace"));
        assert_eq!(audit["audit"][0]["result"]["diff"][0]["to"], json!("acct_2"), "ids are kept");
        let (output, _) = json_of(&site, &settings, &["dlq", "replay", new, "--expect", "1", "--json"]).await;
        assert!(output.status.success());
        let (_, account) = json_of(&site, &settings, &["account", "show", "acct_2", "--json"]).await;
        assert_eq!(account["debt"], json!("7"));
        fleet.terminate().await;
    });
}

/// While somebody thought about the edit, somebody else put the original back: it has its effect, the edit has none.
#[test]
fn what_was_resolved_meanwhile_is_not_edited_and_of_two_edits_one_is() {
    run(async |site| {
        let configuration = editing();
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let old = letter_of(&site, too_long(), exchange::INBOUND).await;
        fleet.terminate().await;
        let cut = ["--set", "data.description=chat"];
        let prepared = Edit {
            letter: old.parse().unwrap(),
            by: "ada".to_owned(),
            agreed_by: None,
            reason: "too long".to_owned(),
            body: b"{}".to_vec(),
            diff: json!([]),
            audited: json!([]),
        };
        for state in ["resolved", "replaying"] {
            let closed = if state == "resolved" { "now()" } else { "null" };
            let statement = format!("update dead_letters set state = '{state}', closed_at = {closed}");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&site.owner).await.unwrap();
            refused(&edit(&site, &settings, &old, &cut).await, 2, state);
            let late =
                acts::edit(&site.pool, &prepared, &Default::default(), OffsetDateTime::now_utc()).await;
            assert!(matches!(late, Err(acts::ActError::Otherwise { .. })), "{late:?}");
        }
        sqlx::query("update dead_letters set state = 'open'").execute(&site.owner).await.unwrap();
        let (one, other) =
            tokio::join!(edit(&site, &settings, &old, &cut), edit(&site, &settings, &old, &cut));
        let done = [&one, &other].iter().filter(|output| output.status.success()).count();
        assert_eq!(done, 1, "{} {}", error(&one), error(&other));
        assert_eq!((site.number(OPEN).await, site.number(LETTERS).await), (1, 2));

        let worker = Bursar::start(&site, &settings, &["up", "--workers", "dead-letters"]).await;
        let new = the_open_letter(&site).await;
        let replay = ["dlq", "replay", &new, "--expect", "1", "--detach", "--json"];
        assert!(json_of(&site, &settings, &replay).await.0.status.success());
        site.until_depth(queue::GATE_INBOUND, 1).await;
        worker.terminate().await;
        assert_eq!(
            site.take(queue::GATE_INBOUND).await[0].message_id,
            Some(new),
            "it goes out under its own id"
        );
    });
}

async fn posted(
    site: &Site,
    exchange: &'static str,
    routing_key: &str,
    content_type: &str,
    body: &str,
) -> String {
    site.post(Post {
        exchange,
        routing_key: routing_key.to_owned(),
        content_type: Some(content_type.to_owned()),
        body: body.as_bytes().to_vec(),
        ..Post::default()
    })
    .await;
    the_open_letter(site).await
}

#[test]
fn a_signed_delivery_and_a_batch_are_not_edited() {
    run(async |site| {
        let configuration = editing();
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let raw = posted(&site, exchange::RAW, "raw.paddle", "application/json", "{}").await;
        let set = ["--set", "id=1"];
        refused(&edit(&site, &settings, &raw, &set).await, 1, "signed");
        let discard = ["dlq", "discard", &raw, "--expect", "1", "--reason", "no", "--json"];
        assert!(json_of(&site, &settings, &discard).await.0.status.success());
        let batch =
            posted(&site, exchange::INBOUND, "fact.usage", "application/cloudevents-batch+json", "{}").await;
        refused(&edit(&site, &settings, &batch, &set).await, 1, "is a batch");
        fleet.terminate().await;
    });
}

#[test]
fn what_is_no_json_is_replaced_as_a_whole() {
    run(async |site| {
        let configuration = editing();
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let letter =
            posted(&site, exchange::INBOUND, "fact.usage", "application/cloudevents+json", "{ \"id").await;
        refused(&edit(&site, &settings, &letter, &["--set", "id=1"]).await, 1, "--body");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fact.json");
        let mut fact = too_long();
        let Fact::Usage(usage) = &mut fact.fact else { unreachable!() };
        usage.description = None;
        std::fs::write(&file, fact.to_json()).unwrap();
        let body = ["--body", file.to_str().unwrap()];
        refused(&edit(&site, &settings, &letter, &body).await, 1, "the whole body (identity and money)");
        let unlocked = ["--unlock", "identity", "--unlock", "money", "--second", "grace"];
        let edited = document(&edit(&site, &settings, &letter, &[&body[..], &unlocked].concat()).await);
        let new = edited["new"].as_str().unwrap();
        assert_eq!(
            show(&site, &settings, new).await["fact"],
            json!("gateway/use_1"),
            "its subject is read anew"
        );
        let (output, _) = json_of(&site, &settings, &["dlq", "replay", new, "--expect", "1", "--json"]).await;
        assert!(output.status.success());
        site.until("select count(*) from outcomes where outcome = 'applied'", 1).await;
        fleet.terminate().await;
    });
}

#[test]
fn the_delivery_as_it_came_stays_with_what_it_proves_alone() {
    run(async |site| {
        let configuration = editing();
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let first = letter_of(&site, dispute_too_long(), exchange::VERIFIED).await;
        let edited = document(&edit(&site, &settings, &first, &["--set", "data.reason=fraud"]).await);
        assert_eq!(edited["raw_body_left_out"], json!(false));
        let second = edited["new"].as_str().unwrap().to_owned();
        let body = |letter: Value| serde_json::from_str::<Value>(letter["body"].as_str().unwrap()).unwrap();
        assert!(body(show(&site, &settings, &second).await)["rawbody"].is_string());
        let money = ["--set", "data.status=won", "--unlock", "money", "--second", "grace"];
        let edited = document(&edit(&site, &settings, &second, &money).await);
        assert_eq!(edited["raw_body_left_out"], json!(true));
        let third = edited["new"].as_str().unwrap();
        assert!(body(show(&site, &settings, third).await)["rawbody"].is_null());
        eventually("the queues to be empty", async || (site.depth(queue::GATE).await == 0).then_some(()))
            .await;
        fleet.terminate().await;
    });
}
