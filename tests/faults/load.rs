//! The load that faults are held against: signed webhooks, and usage published with confirms. Whoever sends repeats
//! until the fleet or the broker has answered that it holds it, as processors and gateways do; only then it counts.

use super::place::Place;
use crate::binary::deliver;
use bus::{Broker, Message, Namespace, Publisher, exchange};
use domain::{Envelope, envelope as wire};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::facts::{PRICE, envelope, usage};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Credits of one purchase, with its bonus.
const CREDITS: i64 = 1050;

/// About as much as purchases bring: accounts do not pile up lots that nobody uses.
const USAGE_MIN: i64 = 100;

const ACCOUNTS: u64 = 200;

/// Deliveries under way at a time, and how often each sender begins one.
const SENDERS: u64 = 8;
const SENDER_PACE: Duration = Duration::from_millis(100);

/// Usage in each step of the gateway: some in one message, the others each in its own.
const PACKED: usize = 8;
const SINGLE: usize = 4;
const GATEWAY_PACE: Duration = Duration::from_millis(40);

/// Between two attempts of one who was refused.
const PAUSE: Duration = Duration::from_millis(50);

/// The processor's own patience.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that was taken from a load: these must be found again.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    pub sources: Vec<String>,
    pub ids: Vec<String>,
    /// What each account is worth by it: available + held - debt.
    pub worth: BTreeMap<String, i64>,
}

impl Sent {
    fn note(&mut self, source: &str, id: &str, account: &str, credits: i64) {
        self.sources.push(source.to_owned());
        self.ids.push(id.to_owned());
        *self.worth.entry(account.to_owned()).or_default() += credits;
    }
}

#[derive(Clone)]
struct Sender {
    /// In front of every id and account of this load.
    name: String,
    webhooks: String,
    namespace: Namespace,
    publisher: Publisher,
    stop: CancellationToken,
    numbers: Arc<AtomicU64>,
    sent: Arc<Mutex<Sent>>,
    accepted: Arc<AtomicU64>,
    refused: Arc<Mutex<BTreeMap<String, u64>>>,
}

/// A load that flows until it is stopped.
pub struct Load {
    sender: Sender,
    senders: JoinSet<()>,
}

impl Load {
    pub fn start(place: &Place, name: &str) -> Self {
        // A connection of its own: under a memory alarm the broker reads nothing from one that publishes.
        let broker = Broker::new(place.site.amqp_url.clone(), "the load");
        let sender = Sender {
            name: name.to_owned(),
            webhooks: place.addresses.http("/webhooks/paddle"),
            namespace: place.site.namespace.clone(),
            publisher: Publisher::spawn(broker, Duration::from_secs(5)),
            stop: CancellationToken::new(),
            numbers: Arc::default(),
            sent: Arc::default(),
            accepted: Arc::default(),
            refused: Arc::default(),
        };
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            senders.spawn(sender.clone().be_a_processor());
        }
        senders.spawn(sender.clone().be_a_gateway());
        Self { sender, senders }
    }

    pub fn name(&self) -> &str {
        &self.sender.name
    }

    /// Facts that were taken so far.
    pub fn taken(&self) -> usize {
        self.sender.sent.lock().unwrap().ids.len()
    }

    /// Webhooks answered with 2xx.
    pub fn accepted(&self) -> u64 {
        self.sender.accepted.load(Ordering::Relaxed)
    }

    /// Webhooks answered otherwise, or not at all, since the last call: how often, by the answer.
    pub fn refused(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.sender.refused.lock().unwrap())
    }

    /// So much usage at once, beside what flows.
    pub async fn flood(&self, facts: usize) {
        let mut left = facts;
        while left > 0 {
            let some = left.min(500);
            self.sender.use_credits(some / 2, some - some / 2).await;
            left -= some;
        }
    }

    /// A fact in a message of so many bytes.
    pub async fn publish_large(&self, bytes: usize) {
        let facts = self.sender.draw(1);
        let (fact, _) = &facts[0];
        // JSON may be followed by any amount of white space.
        let mut body = fact.to_json();
        body.push_str(&" ".repeat(bytes.saturating_sub(body.len())));
        let (to, id) = (self.sender.namespace.name(exchange::INBOUND), fact.cause.id.clone());
        let message = Message::new(to, "fact.usage", id, wire::CONTENT_TYPE, None, body);
        self.sender.publish(vec![message]).await;
        self.sender.note(&facts);
    }

    /// Publishes what is not of the load.
    pub async fn publish(&self, messages: Vec<Message>) {
        self.sender.publish(messages).await;
    }

    /// Lets every sender end what it has in hand.
    pub async fn stop(self) -> Sent {
        self.sender.stop.cancel();
        self.senders.join_all().await;
        self.sender.sent.lock().unwrap().clone()
    }
}

impl Sender {
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn account(&self, number: u64) -> String {
        format!("{}-{}", self.name, number % ACCOUNTS)
    }

    /// Purchases, some of them told twice, some of them refunded.
    async fn be_a_processor(self) {
        let client = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).build().unwrap();
        let mut pace = tokio::time::interval(SENDER_PACE);
        while !self.stop.is_cancelled() {
            pace.tick().await;
            let number = self.number();
            let (id, account) = (format!("{}-evt-{number}", self.name), self.account(number));
            let body = self.purchase(&id, number, &account);
            for _ in 0..1 + u64::from(number.is_multiple_of(7)) {
                self.deliver(&client, &body).await;
            }
            self.sent.lock().unwrap().note("paddle", &id, &account, CREDITS);
            if number.is_multiple_of(5) {
                let id = format!("{}-back-{number}", self.name);
                self.deliver(&client, &self.refund(&id, number)).await;
                self.sent.lock().unwrap().note("paddle", &id, &account, -CREDITS);
            }
        }
    }

    async fn deliver(&self, client: &reqwest::Client, body: &Value) {
        let body = body.to_string().into_bytes();
        loop {
            let answer = deliver(client, self.webhooks.clone(), "paddle", body.clone()).await;
            if answer.as_ref().ok() == Some(&StatusCode::OK) {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let why = answer.map_or_else(|error| format!("{error:?}"), |status| status.to_string());
            *self.refused.lock().unwrap().entry(why).or_default() += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn purchase(&self, id: &str, number: u64, account: &str) -> Value {
        json!({
            "event_id": id,
            "event_type": "transaction.completed",
            "occurred_at": "2026-11-20T10:00:04.825325Z",
            "data": {
                "id": format!("{}-txn-{number}", self.name),
                "status": "completed",
                "custom_data": { "account_id": account },
                "currency_code": "USD",
                "items": [{ "price": { "id": PRICE }, "quantity": 1 }],
                "details": { "totals": { "subtotal": "1000", "tax": "200", "total": "1200", "currency_code": "USD" } },
            },
        })
    }

    fn refund(&self, id: &str, number: u64) -> Value {
        json!({
            "event_id": id,
            "event_type": "adjustment.created",
            "occurred_at": "2026-11-21T10:00:04.825325Z",
            "data": {
                "id": format!("{}-adj-{number}", self.name),
                "action": "refund",
                "type": "full",
                "transaction_id": format!("{}-txn-{number}", self.name),
                "status": "approved",
                "currency_code": "USD",
                "totals": { "subtotal": "1000", "tax": "200", "total": "1200", "currency_code": "USD" },
            },
        })
    }

    async fn be_a_gateway(self) {
        let mut pace = tokio::time::interval(GATEWAY_PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.stop.is_cancelled() {
            pace.tick().await;
            self.use_credits(PACKED, SINGLE).await;
        }
    }

    async fn use_credits(&self, packed: usize, single: usize) {
        let facts = self.draw(packed + single);
        let envelopes = |facts: &[(Envelope, i64)]| facts.iter().map(|(fact, _)| fact.clone()).collect();
        let mut messages = facts::pack(&self.namespace, exchange::INBOUND, envelopes(&facts[..packed]));
        for fact in &facts[packed..] {
            messages.extend(facts::pack(&self.namespace, exchange::INBOUND, vec![fact.0.clone()]));
        }
        self.publish(messages).await;
        self.note(&facts);
    }

    fn draw(&self, facts: usize) -> Vec<(Envelope, i64)> {
        (0..facts).map(|_| self.usage(self.number())).collect()
    }

    fn usage(&self, number: u64) -> (Envelope, i64) {
        let credits = USAGE_MIN + i64::try_from(number % 9).unwrap() * 30;
        let cause = format!("gateway/{}-use-{number}", self.name);
        (envelope(&cause, usage(&self.account(number), credits)), credits)
    }

    fn note(&self, facts: &[(Envelope, i64)]) {
        let mut sent = self.sent.lock().unwrap();
        for (fact, credits) in facts {
            let account = fact.fact.account().expect("usage has an account").to_string();
            sent.note(&fact.cause.source, &fact.cause.id, &account, -credits);
        }
    }

    /// Publishes until every message is confirmed.
    async fn publish(&self, mut messages: Vec<Message>) {
        loop {
            let outcomes = self.publisher.publish(messages.clone()).await;
            let mut failed = outcomes.iter().map(Result::is_err);
            messages.retain(|_| failed.next().unwrap());
            if messages.is_empty() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
