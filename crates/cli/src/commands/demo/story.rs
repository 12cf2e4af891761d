//! The story as it is told: payloads are posted, results awaited, each step noted with what came.

use super::PATIENCE;
use super::disputes::DISPUTED;
use crate::commands::{events, send};
use crate::output::{say, say_json};
use crate::session::Session;
use crate::subscriber::Subscriber;
use anyhow::{Context, Result, bail};
use bus::queue;
use disputes::read::DisputeFilter;
use domain::AccountId;
use domain::fact::RestrictionKind;
use processors::Processor;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

/// What a subscriber is told of a dispute that escalates and is won: with the first line the account's standing, and so on.
const TOLD_OF_A_DISPUTE: &str =
    "dispute.opened, account.restricted, dispute.updated, account.restricted, dispute.won, account.restored";

/// The story and what came of it.
pub struct Story<'a> {
    pub(super) session: &'a Session,
    pub(super) secrets: Secrets,
    token: &'a str,
    base: String,
    steps: Vec<Step>,
    /// Everybody that the story is about.
    accounts: BTreeSet<String>,
}

type Secrets = BTreeMap<&'static str, SecretString>;

/// How a case is to stand, with `available held debt` of its account, and what restricts that.
pub struct Expected<'a> {
    pub state: &'a str,
    pub balances: &'a str,
    pub restricted: &'a str,
}

struct Step {
    what: String,
    expected: String,
    came: String,
}

impl Step {
    fn is_well(&self) -> bool {
        self.expected == self.came
    }
}

impl<'a> Story<'a> {
    pub fn new(session: &'a Session, secrets: Secrets, token: &'a str, base: String) -> Self {
        Self { session, secrets, token, base, steps: Vec::new(), accounts: BTreeSet::new() }
    }

    /// Every event of every account came, each sequence from 1 without a gap.
    pub async fn subscriber(&mut self, subscriber: &mut Subscriber) -> Result<()> {
        let mut expected = 0;
        for account in self.accounts.clone() {
            expected += self.account(&account).await?["sequence"].as_u64().unwrap_or(0);
        }
        let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut of_cases: BTreeMap<u64, String> = BTreeMap::new();
        let mut lines = Vec::new();
        while (seen.values().map(Vec::len).sum::<usize>() as u64) < expected {
            let event =
                tokio::time::timeout(PATIENCE, subscriber.next()).await.context("events are missing")??;
            lines.push(events::line(&event));
            if let (Some(account), Some(sequence)) = (event["subject"].as_str(), event["sequence"].as_u64()) {
                seen.entry(account.to_owned()).or_default().push(sequence);
                let kind = event["type"].as_str().unwrap_or_default();
                if account == DISPUTED && (kind.starts_with("dispute.") || kind.starts_with("account.")) {
                    of_cases.insert(sequence, kind.to_owned());
                }
            }
        }
        let in_sequence = seen.values_mut().all(|sequences| {
            sequences.sort_unstable();
            sequences.dedup();
            sequences.iter().copied().eq(1..=sequences.len() as u64)
        });
        let came = if in_sequence { format!("{expected} in sequence") } else { format!("gaps: {seen:?}") };
        self.note("The subscriber's events", &format!("{expected} in sequence"), &came);
        if !self.session.json {
            lines.iter().for_each(|line| say(&format!("      {line}")));
        }
        let came: Vec<String> = of_cases.into_values().collect();
        self.note("What it was told of the dispute that was won", TOLD_OF_A_DISPUTE, &came.join(", "));
        Ok(())
    }

    pub async fn verified(&mut self) -> Result<()> {
        let (scale, readers) = (self.session.config.credits.scale, self.session.readers()?);
        let report = ledger::verify::verify(&self.session.pool, scale, None, &readers, &mut |_| {}).await?;
        let report = serde_json::to_value(&report)?;
        let came = if report["ok"] == json!(true) { "clean".to_owned() } else { report.to_string() };
        self.note("bursar ledger verify", "clean", &came);
        Ok(())
    }

    pub(super) fn door(&self, name: &str) -> Result<(&'static Processor, String)> {
        let processor = processors::find(name).with_context(|| format!("no processor {name}"))?;
        Ok((processor, format!("{}/webhooks/{name}", self.base)))
    }

    pub async fn post(&self, name: &str, payload: &str) -> Result<()> {
        let (processor, url) = self.door(name)?;
        let (status, body) = send::post(&url, processor, &self.secrets[name], payload.as_bytes()).await?;
        if status != 200 {
            bail!("posting to {url}: expected 200, got {status} {body}");
        }
        Ok(())
    }

    pub async fn use_credits(&self, account: &str, credits: &str, reference: &str) -> Result<()> {
        let fact = json!({
            "specversion": "1.0", "type": "fact.usage", "source": "gateway/eu-1", "id": format!("use_{reference}"),
            "data": { "account": account, "credits": credits, "reference": reference }
        });
        let request = reqwest::Client::new().post(format!("{}/v1/facts", self.base)).bearer_auth(self.token);
        let answer = request.json(&fact).send().await?;
        if !answer.status().is_success() {
            bail!("posting usage: expected 200, got {} {}", answer.status(), answer.text().await?);
        }
        Ok(())
    }

    async fn account(&self, account: &str) -> Result<Value> {
        let account = ledger::read::account(&self.session.pool, &AccountId::new(account)?).await?;
        Ok(serde_json::to_value(account)?)
    }

    /// Waits until nothing that was posted lies in a queue, and as long again as a batch takes in a worker's hands.
    pub async fn settled(&self) -> Result<()> {
        let broker = self.session.broker("demo");
        let namespace = self.session.namespace()?;
        let deadline = Instant::now() + PATIENCE;
        for name in [queue::GATE, ledger::QUEUE, disputes::QUEUE] {
            while broker.depth(&namespace.name(name)).await?.ready > 0 && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        broker.close().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    /// Waits for `available held debt` of an account, and notes what came.
    pub async fn balances(&mut self, what: &str, account: &str, expected: &str) -> Result<()> {
        let expected = for_people(account, expected);
        self.comes_to(what, account, &expected, async |story| {
            Ok(for_people(account, &balances_of(&story.account(account).await?)))
        })
        .await
    }

    /// Waits until an account's one case, its credits and what restricts it are as expected, and notes what came.
    pub async fn case(&mut self, what: &str, account: &str, expected: Expected<'_>) -> Result<()> {
        let Expected { state, balances, restricted } = expected;
        let expected = format!("{}; {state}; restricted: {restricted}", for_people(account, balances));
        self.comes_to(what, account, &expected, async |story| {
            let view = story.account(account).await?;
            let balances = for_people(account, &balances_of(&view));
            Ok(format!("{balances}; {}; restricted: {}", story.state(account).await?, restricted_of(&view)))
        })
        .await
    }

    /// How the one case of an account stands.
    async fn state(&self, account: &str) -> Result<String> {
        let filter =
            DisputeFilter { account: Some(AccountId::new(account)?), limit: 2, ..DisputeFilter::default() };
        let cases = disputes::read::disputes(&self.session.pool, &filter, OffsetDateTime::now_utc()).await?;
        Ok(match &cases[..] {
            [] => "no dispute".to_owned(),
            [one] => one.state.to_string(),
            several => format!("{} disputes", several.len()),
        })
    }

    /// Waits until what is looked at is as expected, and notes what came.
    async fn comes_to(
        &mut self,
        what: &str,
        account: &str,
        expected: &str,
        look: impl AsyncFn(&Self) -> Result<String>,
    ) -> Result<()> {
        self.accounts.insert(account.to_owned());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let came = look(self).await?;
            if came == expected || Instant::now() > deadline {
                self.note(what, expected, &came);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn note(&mut self, what: &str, expected: &str, came: &str) {
        let step = Step { what: what.to_owned(), expected: expected.to_owned(), came: came.to_owned() };
        if !self.session.json {
            let number = self.steps.len() + 1;
            let result = match step.is_well() {
                true => format!("ok  {came}"),
                false => format!("WRONG  expected {expected}, came {came}"),
            };
            say(&format!("{number:>3}. {what}\n     {result}"));
        }
        self.steps.push(step);
    }

    pub fn end(self) -> Result<bool> {
        let well = self.steps.iter().all(Step::is_well);
        if self.session.json {
            let steps: Vec<_> = self
                .steps
                .iter()
                .map(|step| json!({ "what": step.what, "ok": step.is_well(), "expected": step.expected, "came": step.came }))
                .collect();
            say_json(&json!({ "ok": well, "steps": steps }))?;
        } else {
            let wrong = self.steps.iter().filter(|step| !step.is_well()).count();
            say(&match wrong {
                0 => format!("\nAll {} steps came out as they should.", self.steps.len()),
                wrong => format!("\n{wrong} of {} steps came out wrong.", self.steps.len()),
            });
        }
        Ok(well)
    }
}

/// `available held debt`.
fn balances_of(view: &Value) -> String {
    let of = |field: &str| view[field].as_str().unwrap_or("0").to_owned();
    format!("{} {} {}", of("available"), of("held"), of("debt"))
}

fn for_people(account: &str, balances: &str) -> String {
    let parts: Vec<&str> = balances.split(' ').collect();
    format!("{account}: {} available, {} held, {} debt", parts[0], parts[1], parts[2])
}

fn restricted_of(view: &Value) -> String {
    let standing = &view["standing"];
    let kinds = RestrictionKind::ALL.map(RestrictionKind::as_str);
    let restricted: Vec<&str> = kinds.into_iter().filter(|kind| standing[*kind] == "restricted").collect();
    if restricted.is_empty() { "nothing".to_owned() } else { restricted.join(", ") }
}
