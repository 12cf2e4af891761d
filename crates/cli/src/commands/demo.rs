//! `demo`: the story of the README on real payloads, told against a fleet of its own, each step with its result.

use super::{events, send};
use crate::config::{Config, Masked};
use crate::fleet::Fleet;
use crate::observe;
use crate::output::{say, say_json};
use crate::scratch::Scratch;
use crate::session::Session;
use crate::subscriber::Subscriber;
use crate::workers;
use anyhow::{Context, Result, bail};
use bus::queue;
use domain::AccountId;
use domain::money::Credits;
use ingester::TokenEntry;
use ledger::CatalogEntry;
use processors::Processor;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A step that has not come true by now will not.
const PATIENCE: Duration = Duration::from_secs(20);

const PURCHASE: &str = include_str!("../../../processors/payloads/paddle/transaction.completed.json");
const REFUND_PENDING: &str =
    include_str!("../../../processors/payloads/paddle/adjustment.created.refund_partial_pending.json");
const REFUND_APPROVED: &str =
    include_str!("../../../processors/payloads/paddle/adjustment.updated.refund_partial_approved.json");
const SESSION: &str = include_str!("../../../processors/payloads/stripe/checkout.session.completed.json");
const INTENT: &str = include_str!("../../../processors/payloads/stripe/payment_intent.succeeded.json");
const CHARGE: &str = include_str!("../../../processors/payloads/stripe/charge.succeeded.json");
const STRIPE_REFUND: &str = include_str!("../../../processors/payloads/stripe/refund.created.succeeded.json");

/// The account in the payloads; other steps put another in its place.
const ACCOUNT: &str = "acct_42";

pub async fn run(session: Session, keep: bool) -> Result<ExitCode> {
    let secrets = [("paddle", random("pdl_ntfset")), ("stripe", random("whsec"))];
    let token = random("bsr");
    let scratch = Scratch::make("demo", config(&session.config, &secrets, &token)).await?;
    let scratch = scratch.with_two_roles().await?;
    let session = Arc::new(Session::new(scratch.config.clone(), session.json)?);
    let metrics = observe::start_metrics()?;
    let fleet = Fleet::start(session.clone(), &workers::ALL, true, metrics).await?;
    let stop = fleet.stopper();
    let told = tell(&session, &fleet, &secrets, &token).await;
    if keep && told.is_ok() {
        keep_running(&scratch, &fleet).await?;
    }
    stop.cancel();
    let ended = fleet.join().await;
    scratch.remove(&session).await?;
    ended?;
    let all_well = told?;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn random(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

fn config(like: &Config, secrets: &[(&str, String)], token: &str) -> Config {
    let entry = |processor: &str, price: &str, bonus| CatalogEntry {
        amount: Default::default(),
        processor: processor.to_owned(),
        price: price.to_owned(),
        credits: Credits::whole(1000),
        bonus: Credits::whole(bonus),
        expires_after: None,
    };
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        database_url: like.database_url.clone(),
        amqp_url: like.amqp_url.clone(),
        http_addr: local,
        admin_addr: local,
        webhook_secrets: secrets
            .iter()
            .map(|(name, secret)| ((*name).to_owned(), vec![Masked::new(secret)]))
            .collect(),
        catalog: vec![entry("paddle", "pri_01h1vjes1y163xfj1rh1tkfb65", 50), entry("stripe", "pack-1000", 0)],
        tokens: vec![TokenEntry {
            name: "gateway".to_owned(),
            sha256: ingester::hash(token),
            scopes: vec!["facts".to_owned()],
            facts: None,
            sources: None,
        }],
        ..Config::default()
    }
}

async fn keep_running(scratch: &Scratch, fleet: &Fleet) -> Result<()> {
    let addr = |addr: Option<SocketAddr>| addr.map(|addr| addr.to_string()).unwrap_or_default();
    say(&format!(
        "\nThe fleet keeps running until Ctrl-C: webhooks at http://{}, metrics at http://{}/metrics.\nTo look around:\n  \
         export BURSAR_DATABASE_URL=<the server>/{} BURSAR_NAMESPACE={}\n  bursar account show {ACCOUNT}",
        addr(fleet.http_addr),
        addr(fleet.admin_addr),
        scratch.database,
        scratch.config.namespace
    ));
    tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")
}

/// The story and what came of it.
struct Story<'a> {
    session: &'a Session,
    secrets: BTreeMap<&'static str, SecretString>,
    token: &'a str,
    base: String,
    steps: Vec<Step>,
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

async fn tell(
    session: &Session,
    fleet: &Fleet,
    secrets: &[(&'static str, String)],
    token: &str,
) -> Result<bool> {
    let http = fleet.http_addr.context("the front door is not open")?;
    let admin = fleet.admin_addr.context("the admin address is not open")?;
    wait_until_ready(admin).await?;
    let broker = session.broker("demo subscriber");
    let mut subscriber = Subscriber::to_exchange(&broker, &session.namespace()?).await?;
    let secrets = secrets.iter().map(|(name, secret)| (*name, SecretString::from(secret.clone()))).collect();
    let mut story = Story { session, secrets, token, base: format!("http://{http}"), steps: Vec::new() };
    if !session.json {
        say(
            "Bursar, from webhook to credits. Payloads are signed and posted over HTTP; balances are read from the ledger.\n",
        );
    }
    story.paddle().await?;
    story.refund_first().await?;
    story.stripe().await?;
    story.forged().await?;
    story.subscriber(&mut subscriber).await?;
    story.verified().await?;
    broker.close().await;
    story.end()
}

async fn wait_until_ready(admin: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ready = reqwest::get(format!("http://{admin}/readyz")).await;
        if ready.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "the fleet did not become ready: are Postgres and RabbitMQ running? deploy/demo.sh starts them"
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Story<'_> {
    async fn paddle(&mut self) -> Result<()> {
        for _ in 0..3 {
            self.post("paddle", PURCHASE).await?;
        }
        self.balances(
            "Paddle: a purchase of 1000 credits and 50 bonus, delivered three times",
            ACCOUNT,
            "1050 0 0",
        )
        .await?;
        self.use_credits("300", "req_1").await?;
        self.balances("The gateway reports usage of 300", ACCOUNT, "750 0 0").await?;
        self.post("paddle", REFUND_PENDING).await?;
        self.balances("A refund of 4.00 of 10.00 is requested: its share is held", ACCOUNT, "330 420 0")
            .await?;
        self.post("paddle", REFUND_APPROVED).await?;
        self.balances("It is approved: 40 % of what was granted goes back", ACCOUNT, "330 0 0").await?;
        self.post("paddle", REFUND_APPROVED).await?;
        self.settled().await?;
        self.balances("The refund is delivered again", ACCOUNT, "330 0 0").await
    }

    async fn refund_first(&mut self) -> Result<()> {
        // The same two payloads about another purchase, the refund before the purchase it belongs to.
        let other = |payload: &str| {
            payload
                .replace(ACCOUNT, "acct_43")
                .replace("txn_01kajed38mnp3y9zjfszrhsak0", "txn_01kajed38mnp3y9zjfszrhsak1")
                .replace("adj_01kajjfvyxhdm4c0j007ffahy8", "adj_01kajjfvyxhdm4c0j007ffahy9")
                .replace("\"evt_01k", "\"evt_01m")
        };
        self.post("paddle", &other(REFUND_APPROVED)).await?;
        self.settled().await?;
        self.balances("A refund that arrives before its purchase waits", "acct_43", "0 0 0").await?;
        self.post("paddle", &other(PURCHASE)).await?;
        self.balances("Its purchase arrives: the end is the same", "acct_43", "630 0 0").await
    }

    async fn stripe(&mut self) -> Result<()> {
        let other = |payload: &str| payload.replace(ACCOUNT, "acct_44");
        // Charge, intent, session: the last one brings the account and the price.
        for payload in [CHARGE, INTENT, SESSION] {
            self.post("stripe", &other(payload)).await?;
        }
        self.balances(
            "Stripe: one purchase told by three objects, in the wrong order",
            "acct_44",
            "1000 0 0",
        )
        .await?;
        self.post("stripe", &other(STRIPE_REFUND)).await?;
        self.balances("Stripe: a refund of 4.80 of 12.00", "acct_44", "600 0 0").await
    }

    async fn forged(&mut self) -> Result<()> {
        let forger = SecretString::from(random("pdl_ntfset"));
        let (processor, url) = self.door("paddle")?;
        let (status, _) = send::post(&url, processor, &forger, PURCHASE.as_bytes()).await?;
        self.note("A webhook signed with another secret is refused", "401", &status.to_string());
        Ok(())
    }

    /// Every event of every account came, each sequence from 1 without a gap.
    async fn subscriber(&mut self, subscriber: &mut Subscriber) -> Result<()> {
        let mut expected = 0;
        for account in [ACCOUNT, "acct_43", "acct_44"] {
            expected += self.account(account).await?["sequence"].as_u64().unwrap_or(0);
        }
        let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut lines = Vec::new();
        while (seen.values().map(Vec::len).sum::<usize>() as u64) < expected {
            let event =
                tokio::time::timeout(PATIENCE, subscriber.next()).await.context("events are missing")??;
            lines.push(events::line(&event));
            if let (Some(account), Some(sequence)) = (event["subject"].as_str(), event["sequence"].as_u64()) {
                seen.entry(account.to_owned()).or_default().push(sequence);
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
        Ok(())
    }

    async fn verified(&mut self) -> Result<()> {
        let (scale, readers) = (self.session.config.credits.scale, self.session.readers()?);
        let report = ledger::verify::verify(&self.session.pool, scale, None, &readers, &mut |_| {}).await?;
        let report = serde_json::to_value(&report)?;
        let came = if report["ok"] == json!(true) { "clean".to_owned() } else { report.to_string() };
        self.note("bursar ledger verify", "clean", &came);
        Ok(())
    }

    fn door(&self, name: &str) -> Result<(&'static Processor, String)> {
        let processor = processors::find(name).with_context(|| format!("no processor {name}"))?;
        Ok((processor, format!("{}/webhooks/{name}", self.base)))
    }

    async fn post(&self, name: &str, payload: &str) -> Result<()> {
        let (processor, url) = self.door(name)?;
        let (status, body) = send::post(&url, processor, &self.secrets[name], payload.as_bytes()).await?;
        if status != 200 {
            bail!("posting to {url}: expected 200, got {status} {body}");
        }
        Ok(())
    }

    async fn use_credits(&self, credits: &str, reference: &str) -> Result<()> {
        let fact = json!({
            "specversion": "1.0", "type": "fact.usage", "source": "gateway/eu-1", "id": format!("use_{reference}"),
            "data": { "account": ACCOUNT, "credits": credits, "reference": reference }
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
    async fn settled(&self) -> Result<()> {
        let broker = self.session.broker("demo");
        let namespace = self.session.namespace()?;
        let deadline = Instant::now() + PATIENCE;
        for name in [queue::GATE, ledger::QUEUE] {
            while broker.depth(&namespace.name(name)).await?.ready > 0 && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        broker.close().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    /// Waits for `available held debt` of an account, and notes what came.
    async fn balances(&mut self, what: &str, account: &str, expected: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let view = self.account(account).await?;
            let of = |field: &str| view[field].as_str().unwrap_or("0").to_owned();
            let came = format!("{} {} {}", of("available"), of("held"), of("debt"));
            if came == expected || Instant::now() > deadline {
                let people = |text: &str| {
                    let parts: Vec<&str> = text.split(' ').collect();
                    format!("{account}: {} available, {} held, {} debt", parts[0], parts[1], parts[2])
                };
                self.note(what, &people(expected), &people(&came));
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn note(&mut self, what: &str, expected: &str, came: &str) {
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

    fn end(self) -> Result<bool> {
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
