//! The binary as its users meet it: it starts on its servers, answers, and stops when it is told to.

use crate::payloads::paddle_payload;
use bus::queue;
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Output;
use testkit::facts::{PRICE, envelope, usage};
use testkit::{Bursar, Settings, Site, eventually, run};
use time::OffsetDateTime;

pub const SECRET: &str = "correct horse battery staple";

/// Every processor signs with [`SECRET`]; the catalog is that of the testkit.
pub fn settings(configuration: &Configuration) -> Settings {
    ["PADDLE", "STRIPE", "GENERIC"]
        .iter()
        .fold(Settings::default(), |settings, processor| {
            settings.with(&format!("BURSAR_{processor}_WEBHOOK_SECRETS"), SECRET)
        })
        .with("BURSAR_CONFIG", configuration.path.to_string_lossy())
}

/// A `bursar.toml` that is deleted with the test.
pub struct Configuration {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Configuration {
    pub fn new(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bursar.toml");
        let price = format!("price = {PRICE:?}\ncredits = \"1000\"\nbonus = \"50\"\n");
        let text = format!(
            "mode = {mode:?}\n[[catalog]]\nprocessor = \"paddle\"\n{price}[[catalog]]\nprocessor = \"stripe\"\n{price}"
        );
        std::fs::write(&path, text).unwrap();
        Self { _folder: folder, path }
    }

    /// And this at its end.
    pub fn with(self, text: &str) -> Self {
        let before = std::fs::read_to_string(&self.path).unwrap();
        std::fs::write(&self.path, before + text).unwrap();
        self
    }
}

/// Sends a webhook as the processor would, and returns the answer.
pub async fn deliver(
    client: &reqwest::Client,
    url: String,
    processor: &str,
    body: Vec<u8>,
) -> reqwest::Result<StatusCode> {
    let secret = SecretString::from(SECRET);
    let sign = processors::find(processor).unwrap().sign;
    let mut request = client.post(url);
    for (name, value) in sign(&secret, &body, OffsetDateTime::now_utc()).unwrap() {
        request = request.header(name, value);
    }
    Ok(request.body(body).send().await?.status())
}

/// A purchase of one of the catalog's packs by `acct_42`.
fn purchase() -> Vec<u8> {
    paddle_payload("transaction.completed")
        .to_string()
        .replace("pri_01h1vjes1y163xfj1rh1tkfb65", PRICE)
        .into_bytes()
}

pub async fn json_of(site: &Site, settings: &Settings, arguments: &[&str]) -> (Output, Value) {
    let output = Bursar::run(site, settings, arguments).await;
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let json = serde_json::from_str(&text).unwrap_or_else(|_| {
        panic!(
            "{arguments:?}: expected one JSON document, got {text:?} and {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (output, json)
}

#[test]
fn up_takes_a_webhook_to_the_balance_and_drains_when_it_is_told_to() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let events = site.subscribe().await;
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        let client = reqwest::Client::new();
        let url = bursar.addresses.http("/webhooks/paddle");
        assert_eq!(deliver(&client, url, "paddle", purchase()).await.unwrap(), StatusCode::OK);
        events.until(3).await;

        let health = client.get(bursar.addresses.admin("/healthz")).send().await.unwrap();
        assert_eq!(health.status(), StatusCode::OK);
        let metrics =
            client.get(bursar.addresses.admin("/metrics")).send().await.unwrap().text().await.unwrap();
        assert!(metrics.contains("bursar_received_total"), "{metrics}");

        assert!(bursar.terminate().await.success());
        let (output, account) = json_of(&site, &settings, &["account", "show", "acct_42", "--json"]).await;
        assert!(output.status.success());
        for (field, expect) in [("available", "1050"), ("held", "0"), ("debt", "0")] {
            assert_eq!(account[field], expect, "{account}");
        }
        assert_eq!(account["sequence"], 3);
        assert_eq!(account["payments"][0]["state"], "delivered");
        let (output, report) = json_of(&site, &settings, &["ledger", "verify", "--json"]).await;
        assert!(output.status.success() && report["ok"] == json!(true), "{report}");
        for queue in [queue::INGESTER, queue::GATE, queue::GATE_INBOUND, ledger::QUEUE, queue::DEAD_LETTERS] {
            assert_eq!(site.depth(queue).await, 0, "{queue}");
        }
    });
}

/// The value of a metric without labels.
fn value(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

#[test]
fn a_process_tells_what_it_takes_of_the_machine() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let bursar = Bursar::start(&site, &settings(&configuration), &["up"]).await;
        let answer = reqwest::get(bursar.addresses.admin("/metrics")).await.unwrap();
        let metrics = answer.text().await.unwrap();
        for (name, least) in [
            ("process_cpu_seconds_total", 0.0),
            ("process_resident_memory_bytes", 1_000_000.0),
            ("process_virtual_memory_bytes", 1_000_000.0),
            ("process_open_fds", 3.0),
            ("process_max_fds", 3.0),
            ("process_threads", 1.0),
            ("process_start_time_seconds", 1_700_000_000.0),
        ] {
            assert!(value(&metrics, name).is_some_and(|value| value >= least), "{name}: {metrics}");
        }
        bursar.terminate().await;
    });
}

#[test]
fn a_request_is_known_by_its_id_in_the_answer_and_in_the_log() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration).with("BURSAR_LOG", "info").with("BURSAR_LOG_FORMAT", "json");
        let (bursar, heard) = Bursar::start_heard(&site, &settings, &["up"]).await;
        let client = reqwest::Client::new();
        let forged = client
            .post(bursar.addresses.http("/webhooks/paddle"))
            .header("x-request-id", "req_of_a_proxy")
            .header(
                "paddle-signature",
                format!("ts={};h1={}", OffsetDateTime::now_utc().unix_timestamp(), "0".repeat(64)),
            )
            .body(purchase());
        let answer = forged.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers()["x-request-id"], "req_of_a_proxy");
        let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(problem["request_id"], "req_of_a_proxy");
        let ready = client.get(bursar.addresses.admin("/readyz")).send().await.unwrap();
        assert!(ready.headers().contains_key("x-request-id"), "the admin door's requests have ids, too");
        bursar.terminate().await;
        let log = heard.await.unwrap();
        let line = log.lines().find(|line| line.contains("delivery not accepted"));
        assert!(line.is_some_and(|line| line.contains("req_of_a_proxy")), "{log}");
    });
}

#[test]
fn what_shells_and_man_know_needs_neither_a_server_nor_a_configuration() {
    run(async |site| {
        let configuration = Configuration::new("live");
        // No file stands there: whatever reads the configuration fails.
        let settings = settings(&configuration).with("BURSAR_CONFIG", "/nonexistent/bursar.toml");
        for command in [&["completions", "bash"][..], &["completions", "zsh"], &["man"]] {
            let output = Bursar::run(&site, &settings, command).await;
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && text.contains("dlq"), "{command:?}: {text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let output = Bursar::run(&site, &settings, &["man", "--out", folder.path().to_str().unwrap()]).await;
        assert!(output.status.success());
        let page = std::fs::read_to_string(folder.path().join("bursar-dlq-list.1")).unwrap();
        assert!(page.contains("Dead letters, the oldest first"), "{page}");
    });
}

#[test]
fn a_platforms_usage_is_taken_from_inbound_and_an_unknown_account_is_said_to_be_unknown() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        site.state(bus::exchange::INBOUND, vec![envelope("gateway/use_1", usage("acct_1", 7))]).await;
        site.until("select count(*) from outcomes where outcome = 'applied'", 1).await;
        bursar.terminate().await;
        let (_, account) = json_of(&site, &settings, &["account", "show", "acct_1", "--json"]).await;
        assert_eq!((&account["available"], &account["debt"]), (&json!("0"), &json!("7")));
        let (output, account) =
            json_of(&site, &settings, &["account", "show", "acct_nobody", "--json"]).await;
        assert_eq!(output.status.code(), Some(1));
        assert_eq!((&account["known"], &account["available"]), (&json!(false), &json!("0")));
    });
}

#[test]
fn without_secrets_no_door_is_open() {
    run(async |site| {
        let bursar = Bursar::start(&site, &Settings::default(), &["up"]).await;
        let client = reqwest::Client::new();
        for processor in processors::ALL {
            let url = bursar.addresses.http(&format!("/webhooks/{}", processor.name));
            let body = crate::payloads::payload("generic", "customer").to_string().into_bytes();
            let status = deliver(&client, url, processor.name, body).await.unwrap();
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{}", processor.name);
        }
        bursar.terminate().await;
    });
}

#[test]
fn workers_that_run_apart_do_the_same() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let ingester = Bursar::start(&site, &settings, &["run", "ingester"]).await;
        let gate = Bursar::start(&site, &settings, &["run", "gate"]).await;
        let ledger = Bursar::start(&site, &settings, &["run", "ledger"]).await;
        let url = ingester.addresses.http("/webhooks/paddle");
        deliver(&reqwest::Client::new(), url, "paddle", purchase()).await.unwrap();
        site.until("select count(*) from outcomes where outcome = 'applied'", 1).await;
        for worker in [ingester, gate, ledger] {
            assert!(worker.terminate().await.success());
        }
    });
}

#[test]
fn verify_names_who_tampered_with_the_journal_of_the_ledger() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        let url = bursar.addresses.http("/webhooks/paddle");
        deliver(&reqwest::Client::new(), url, "paddle", purchase()).await.unwrap();
        site.until("select count(*) from outcomes", 1).await;
        bursar.terminate().await;

        let forgery = "update transactions set entries = replace(entries::text, '1000', '2000')::json";
        let refused = sqlx::query(forgery).execute(&site.pool).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{refused}");
        sqlx::query("grant update on transactions to current_user").execute(&site.owner).await.unwrap();
        let refused = sqlx::query(forgery).execute(&site.owner).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{refused}");
        for statement in ["alter table transactions disable trigger user", forgery] {
            sqlx::query(statement).execute(&site.owner).await.unwrap();
        }
        let (output, report) = json_of(&site, &settings, &["ledger", "verify", "--json"]).await;
        assert_eq!(output.status.code(), Some(1));
        let failed: Vec<&str> = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["ok"] == json!(false))
            .map(|check| check["name"].as_str().unwrap())
            .collect();
        assert!(failed.contains(&"transactions_chained") && failed.contains(&"balances"), "{failed:?}");
    });
}

#[test]
fn a_fleet_whose_servers_come_late_is_ready_once_they_are_there() {
    run(async |site| {
        let relay = testkit::Relay::to(secrecy::ExposeSecret::expose_secret(&site.amqp_url), 5672);
        let configuration = Configuration::new("live");
        let by_relay = relay.url(secrecy::ExposeSecret::expose_secret(&site.amqp_url));
        let settings = settings(&configuration).with("BURSAR_AMQP_URL", by_relay);
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        let client = reqwest::Client::new();
        let ready = async || client.get(bursar.addresses.admin("/readyz")).send().await.unwrap().status();
        relay.close();
        eventually("not ready without RabbitMQ", async || (!ready().await.is_success()).then_some(())).await;
        let url = bursar.addresses.http("/webhooks/paddle");
        assert_eq!(
            deliver(&client, url, "paddle", purchase()).await.unwrap(),
            StatusCode::OK,
            "kept in Postgres"
        );
        relay.open();
        site.until("select count(*) from outcomes where outcome = 'applied'", 1).await;
        eventually("ready again", async || ready().await.is_success().then_some(())).await;
        bursar.terminate().await;
    });
}
