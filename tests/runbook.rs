//! The runbook's story, played: each of its commands is run as it stands there, and must print what stands there.

use crate::binary::SECRET;
use bus::{exchange, header};
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::{Bursar, Post, Settings, Site, run_within, within};
use time::OffsetDateTime;

const LIMIT: Duration = Duration::from_secs(150);

/// What the second notification destination signs with.
const SECOND_SECRET: &str = "a secret that nobody has told";

/// One step of the story.
enum Step {
    /// The test does what the comment says.
    Does(String),
    Runs(Command),
}

struct Command {
    words: Vec<String>,
    exit: i32,
    /// Lines with `...` for whatever differs.
    expected: Vec<String>,
}

#[test]
fn the_runbooks_story_goes_as_it_is_told() {
    run_within(LIMIT, async |site| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bursar.toml");
        std::fs::write(&file, "").unwrap();
        let mut settings = settings(&file, SECRET);
        let mut fleet = Bursar::start(&site, &settings, &["up"]).await;
        let mut group = String::new();
        let mut played = 0;
        for step in story() {
            match step {
                Step::Does(what) if what.contains("purchases") => {
                    buy(&site, &fleet).await;
                    group = site.texts("select distinct fingerprint from dead_letters").await.remove(0);
                }
                Step::Does(what) if what.contains("mended") => {
                    std::fs::write(&file, catalog_of_the_runbook()).unwrap();
                    settings = self::settings(&file, &format!("{SECRET},{SECOND_SECRET}"));
                    assert!(fleet.terminate().await.success());
                    fleet = Bursar::start(&site, &settings, &["up"]).await;
                }
                Step::Does(what) => panic!("the test does not know how: {what}"),
                Step::Runs(command) => {
                    command.with_group(&group).check(&site, &settings).await;
                    played += 1;
                }
            }
        }
        assert!(played >= 10, "the story has its commands");
        assert!(fleet.terminate().await.success());
    });
}

fn settings(file: &Path, secrets: &str) -> Settings {
    Settings::default()
        .with("BURSAR_PADDLE_WEBHOOK_SECRETS", secrets)
        .with("BURSAR_CONFIG", file.to_string_lossy())
        .with("USER", "ada")
}

fn runbook() -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/runbook.md");
    std::fs::read_to_string(path).unwrap()
}

/// The first story's steps, in their order.
fn story() -> Vec<Step> {
    let text = runbook();
    let story = text.split("\n## ").nth(1).expect("a story");
    let mut steps = Vec::new();
    let mut in_console = false;
    for line in story.lines() {
        match (in_console, line) {
            (false, "```console") => in_console = true,
            (true, "```") => in_console = false,
            (false, line) => {
                let what = line.strip_prefix("<!-- test: ").and_then(|rest| rest.strip_suffix(" -->"));
                steps.extend(what.map(|what| Step::Does(what.to_owned())));
            }
            (true, line) => match (line.strip_prefix("$ bursar "), steps.last_mut()) {
                (Some(words), _) => {
                    let command = Command { words: split(words), exit: 0, expected: Vec::new() };
                    steps.push(Step::Runs(command));
                }
                (None, Some(Step::Runs(command))) => match line.strip_prefix("exit ") {
                    Some(status) => command.exit = status.parse().unwrap(),
                    None => command.expected.push(line.to_owned()),
                },
                (None, _) => panic!("output before any command: {line}"),
            },
        }
    }
    steps
}

/// Words as a shell splits them, with double quotes.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('"').enumerate() {
        match number % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn catalog_of_the_runbook() -> String {
    let text = runbook();
    let block = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    block.expect("the catalog's entry").to_owned()
}

impl Command {
    /// A fingerprint depends on the wording of a reason: the runbook leaves it open.
    fn with_group(mut self, group: &str) -> Self {
        let named = |text: &String| text.replace("GROUP", group);
        self.words = self.words.iter().map(named).collect();
        self.expected = self.expected.iter().map(named).collect();
        self
    }

    async fn check(&self, site: &Site, settings: &Settings) {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let output = Bursar::run(site, settings, &words).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let told = format!("bursar {}\n{out}\n{err}", words.join(" "));
        assert_eq!(output.status.code(), Some(self.exit), "{told}");
        let lines: Vec<&str> = out.lines().collect();
        let expected: Vec<&str> = self.expected.iter().map(String::as_str).collect();
        assert!(fit(&expected, &lines), "expected:\n{}\n\ngot: {told}", expected.join("\n"));
    }
}

/// Whether lines are as expected; a line `...` stands for any number of them.
fn fit(expected: &[&str], lines: &[&str]) -> bool {
    match (expected.split_first(), lines.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((&"...", rest)), _) => (0..=lines.len()).any(|skipped| fit(rest, &lines[skipped..])),
        (Some(_), None) => false,
        (Some((pattern, rest)), Some((line, lines))) => line_fits(pattern, line) && fit(rest, lines),
    }
}

/// Whether a line is as expected but for what `...` stands for, and for the width of columns.
fn line_fits(pattern: &str, line: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (pattern, line) = (words(pattern), words(line));
    let mut parts = pattern.split("...").map(str::trim);
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn what_differs_is_told_from_what_must_not() {
    assert!(line_fits("a ... d", "a  b c   d") && line_fits("a", "a") && line_fits("...b...", "abc"));
    assert!(!line_fits("a ... d", "a b c") && !line_fits("a", "a b") && !line_fits("...x...", "abc"));
    assert!(fit(&["a", "...", "c"], &["a", "b", "b", "c"]) && fit(&["..."], &[]));
    assert!(!fit(&["a", "...", "c"], &["a", "b"]) && !fit(&["a"], &["a", "b"]));
}

/// 120 purchases by webhook, 80 by the gateway's queue with a signature that nobody here can check.
async fn buy(site: &Site, fleet: &Bursar) {
    let client = reqwest::Client::new();
    for number in 0..120 {
        let url = fleet.addresses.http("/webhooks/paddle");
        let answer = crate::binary::deliver(&client, url, "paddle", purchase(&format!("w{number}"))).await;
        assert_eq!(answer.unwrap(), StatusCode::OK);
    }
    let sign = processors::find("paddle").unwrap().sign;
    for number in 0..80 {
        let (body, now) = (purchase(&format!("g{number}")), OffsetDateTime::now_utc());
        let signature = sign(&SecretString::from(SECOND_SECRET), &body, now).unwrap();
        let mut headers: std::collections::BTreeMap<String, String> =
            signature.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        headers.insert(header::RECEIVED_AT.to_owned(), now.unix_timestamp().to_string());
        let routing_key = "raw.paddle".to_owned();
        site.post(Post { exchange: exchange::RAW, routing_key, headers, body, ..Post::default() }).await;
    }
    let counts = "select (select count(*) from payments where state = 'undelivered') + (select count(*) from dead_letters)";
    within(LIMIT, "200 purchases without credits", async || (site.number(counts).await == 200).then_some(()))
        .await;
}

fn purchase(name: &str) -> Vec<u8> {
    json!({
        "event_id": format!("evt_{name}"),
        "event_type": "transaction.completed",
        "occurred_at": "2026-11-23T10:00:04.825325Z",
        "notification_id": format!("ntf_{name}"),
        "data": {
            "id": format!("txn_{name}"),
            "status": "completed",
            "customer_id": format!("ctm_{name}"),
            "custom_data": { "account_id": format!("acct_{name}") },
            "currency_code": "USD",
            "items": [{ "price": { "id": "pri_5000" }, "quantity": 1 }],
            "details": { "totals": { "subtotal": "5000", "tax": "0", "total": "5000", "currency_code": "USD" } },
        },
    })
    .to_string()
    .into_bytes()
}
