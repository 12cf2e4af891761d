//! The accounting after a fault: every delivery that was taken is found again, once.

use super::load::Sent;
use bus::{exchange, queue};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testkit::{Bursar, Settings, Site, eventually};
use time::OffsetDateTime;
use tokio::time::Instant;

#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// Taken, and neither settled nor a dead letter; events that were stored and never told.
    pub lost: usize,
    /// Facts that had an effect more than once.
    pub doubled: usize,
    pub dead: usize,
    pub wrong: Vec<String>,
}

/// A dead letter, by what it was: a message, and the fact that it or a part of it was about, if that can be told.
#[derive(Debug)]
pub struct Letter {
    pub message_id: String,
    event_id: Option<String>,
}

/// All dead letters since the last call. The one place that knows where they are: where the dead-letters worker runs it has
/// recorded them, elsewhere they lie in their queue.
pub async fn dead_letters(site: &Site) -> Vec<Letter> {
    let recorded: Vec<(String, Vec<u8>)> =
        sqlx::query_as("delete from dead_letters returning message_id, body")
            .fetch_all(&site.pool)
            .await
            .expect("the servers are back");
    let recorded = recorded
        .into_iter()
        .map(|(message_id, body)| (message_id, String::from_utf8_lossy(&body).into_owned()));
    let queued = site
        .dead_letters()
        .await
        .into_iter()
        .map(|letter| (letter.message_id.expect("the fleet gives every dead letter an id"), letter.body));
    let letters = recorded.chain(queued).map(|(message_id, body)| {
        let body: Option<Value> = serde_json::from_str(&body).ok();
        Letter { message_id, event_id: body.and_then(|body| body["id"].as_str().map(str::to_owned)) }
    });
    letters.collect()
}

/// How many dead letters wait to be counted.
pub async fn dead_letters_waiting(site: &Site) -> Option<usize> {
    let queued = depth(site, queue::DEAD_LETTERS).await?;
    let recorded: i64 =
        sqlx::query_scalar("select count(*) from dead_letters").fetch_one(&site.pool).await.ok()?;
    Some(queued + recorded as usize)
}

/// Nothing is on its way any more.
pub struct Calm<'a> {
    pub site: &'a Site,
    pub sent: &'a Sent,
    pub dead: &'a [String],
    /// What was still on its way when it was last looked at.
    pub last: &'static str,
}

impl Calm<'_> {
    /// Waits for it; tells whether it came.
    pub async fn within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            match self.waiting().await {
                Some(what) => self.last = what,
                None => return true,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    async fn waiting(&self) -> Option<&'static str> {
        for queue in [queue::INGESTER, queue::GATE, queue::GATE_INBOUND, ledger::QUEUE] {
            if depth(self.site, queue).await != Some(0) {
                return Some(queue);
            }
        }
        for table in ["kept_messages", "outbox"] {
            if rows(self.site, table).await > 0 {
                return Some(table);
            }
        }
        let letters = dead_letters_waiting(self.site).await;
        if !unsettled(self.site, self.sent).await.is_empty() {
            return Some("facts in hand");
        }
        (letters < Some(self.dead.len())).then_some("dead letters")
    }
}

async fn rows(site: &Site, table: &'static str) -> i64 {
    let query = AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(query).fetch_one(&site.pool).await.unwrap()
}

async fn depth(site: &Site, queue: &str) -> Option<usize> {
    let depth = site.broker.depth(&site.namespace.name(queue)).await.ok()?;
    Some(depth.ready as usize)
}

async fn unsettled(site: &Site, sent: &Sent) -> Vec<String> {
    sqlx::query_scalar(
        "select s.id from unnest($1::text[], $2::text[]) s (source, id)
         where not exists (select from outcomes f where f.source = s.source and f.id = s.id)
            or not exists (select from inbox i where i.source = s.source and i.id = s.id)",
    )
    .bind(&sent.sources)
    .bind(&sent.ids)
    .fetch_all(&site.pool)
    .await
    .unwrap()
}

/// Facts settled by transactions that began after `at`.
pub async fn settled_since(site: &Site, at: OffsetDateTime) -> i64 {
    let query = sqlx::query_scalar("select count(*) from outcomes where settled_at > $1").bind(at);
    // The server may still be coming up.
    query.fetch_one(&site.pool).await.unwrap_or_default()
}

/// Facts settled whose ids are like `ids`.
pub async fn settled_of(site: &Site, ids: &str) -> i64 {
    let query = sqlx::query_scalar("select count(*) from outcomes where id like $1").bind(ids);
    query.fetch_one(&site.pool).await.unwrap()
}

/// Counts what is lost and doubled of a load named `name`.
pub async fn prove(
    site: &Site,
    settings: &Settings,
    told: &mut Told,
    name: &str,
    sent: &Sent,
    dead_expected: &[String],
) -> Proof {
    let dead = dead_letters(site).await;
    let missing = unsettled(site, sent).await;
    let buried: BTreeSet<&String> = dead.iter().filter_map(|letter| letter.event_id.as_ref()).collect();
    let lost = missing.iter().filter(|id| !buried.contains(id)).count();
    let untold = told.missing(site).await;
    let mut wrong = Vec::new();
    let mut note = |is_wrong: bool, what: String| wrong.extend(is_wrong.then_some(what));
    note(lost > 0, format!("lost: {:?}", &missing[..missing.len().min(5)]));
    note(untold > 0, format!("{untold} events were never told"));
    let found = count(dead.iter().map(|letter| &letter.message_id));
    let expected = count(dead_expected);
    let unforeseen: Vec<_> =
        found.iter().filter(|(id, times)| expected.get(*id) != Some(times)).take(5).collect();
    note(!unforeseen.is_empty(), format!("dead letters that should not be: {unforeseen:?}"));
    let alive: Vec<_> = expected.keys().filter(|id| !found.contains_key(*id)).take(5).collect();
    note(!alive.is_empty(), format!("not dead-lettered: {alive:?}"));
    let balances = wrong_balances(site, name, sent).await;
    note(!balances.is_empty(), format!("balances: {balances:?}"));
    let broken = broken_invariants(site, settings).await;
    note(!broken.is_empty(), format!("ledger verify: {broken:?}"));
    Proof { lost: lost + untold, doubled: doubled(site, name).await, dead: dead.len(), wrong }
}

pub fn count<'a>(ids: impl IntoIterator<Item = &'a String>) -> BTreeMap<&'a String, usize> {
    let mut counts = BTreeMap::new();
    for id in ids {
        *counts.entry(id).or_default() += 1;
    }
    counts
}

/// Usage posted twice, payments that granted more than they bought.
async fn doubled(site: &Site, name: &str) -> usize {
    let query = sqlx::query_scalar(
        "select (select count(*) from (
                    select from transactions where kind = 'usage' and account like $1
                    group by cause_source, cause_id having count(*) > 1) usage)
              + (select count(*) from (
                    select from lots where payment is not null and account like $1
                    group by payment having sum(granted) > 1050) grants)",
    )
    .bind(format!("{name}-%"));
    let doubled: i64 = query.fetch_one(&site.pool).await.unwrap();
    usize::try_from(doubled).unwrap()
}

/// Accounts that are worth something else than what was sent makes them: account, found, expected.
async fn wrong_balances(site: &Site, name: &str, sent: &Sent) -> Vec<(String, i64, i64)> {
    let query = sqlx::query_as(
        "select account, (available + held - debt)::bigint from accounts where account like $1",
    )
    .bind(format!("{name}-%"));
    let found: Vec<(String, i64)> = query.fetch_all(&site.pool).await.unwrap();
    let found: BTreeMap<String, i64> = found.into_iter().collect();
    let accounts: BTreeSet<&String> = found.keys().chain(sent.worth.keys()).collect();
    let worth = |of: &BTreeMap<String, i64>, account: &String| of.get(account).copied().unwrap_or_default();
    accounts
        .into_iter()
        .map(|account| (account.clone(), worth(&found, account), worth(&sent.worth, account)))
        .filter(|(_, found, expected)| found != expected)
        .collect()
}

/// What `bursar ledger verify` finds.
async fn broken_invariants(site: &Site, settings: &Settings) -> Vec<String> {
    let output = Bursar::run(site, settings, &["ledger", "verify", "--json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    if report["ok"] == json!(true) {
        return Vec::new();
    }
    let checks = report["checks"].as_array().into_iter().flatten();
    checks.filter(|check| check["ok"] != json!(true)).map(Value::to_string).collect()
}

/// A subscriber whose queue outlives its connection, as one that matters has.
pub struct Told {
    queue: String,
    ids: BTreeSet<String>,
}

impl Told {
    pub async fn subscribe(site: &Site) -> Self {
        let (queue, events) = (site.namespace.name("subscriber"), site.namespace.name(exchange::EVENTS));
        let channel = site.broker.channel().await.unwrap();
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.as_str().into(), durable, arguments).await.unwrap();
        let options = QueueBindOptions::default();
        channel
            .queue_bind(
                queue.as_str().into(),
                events.as_str().into(),
                "#".into(),
                options,
                FieldTable::default(),
            )
            .await
            .unwrap();
        drop(channel.close(200, "done".into()).await);
        Self { queue, ids: BTreeSet::new() }
    }

    /// How many stored events never came.
    async fn missing(&mut self, site: &Site) -> usize {
        let stored: Vec<String> = site.texts("select id::text from events").await;
        let missing = |ids: &BTreeSet<String>| stored.iter().filter(|id| !ids.contains(*id)).count();
        // The queue may still be looking for its leader.
        let (channel, mut consumer) =
            eventually("the subscriber's queue to be read", async || self.subscribed(site).await.ok()).await;
        // Everything is published by now: what does not come within this does not come.
        while let Ok(Some(Ok(delivery))) = tokio::time::timeout(PATIENCE, consumer.next()).await {
            let id = delivery.properties.message_id().as_ref().expect("an event has an id");
            self.ids.insert(id.as_str().to_owned());
            // What is told from now on stays in the queue for the next time.
            drop(delivery.acker.ack(BasicAckOptions::default()).await);
            if self.ids.len() >= stored.len() && missing(&self.ids) == 0 {
                break;
            }
        }
        drop(channel.close(200, "done".into()).await);
        missing(&self.ids)
    }

    async fn subscribed(&self, site: &Site) -> Result<(Channel, Consumer), Box<dyn std::error::Error>> {
        let channel = site.broker.channel().await?;
        channel.basic_qos(500, BasicQosOptions::default()).await?;
        let (queue, options) = (self.queue.as_str().into(), BasicConsumeOptions::default());
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        Ok((channel, consumer))
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
