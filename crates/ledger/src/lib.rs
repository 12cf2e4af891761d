//! The ledger: the only writer of payments, lots, journal and balances.
//!
//! For a batch of facts it locks everything they touch, reads it, decides each fact in memory by the pure rule of
//! [`domain::ledger`], writes the result with a number of statements that does not depend on the batch's size, and
//! commits. Nothing is written until everything has been decided.
//!
//! | step | locks, in this order, each sorted by its key |
//! | --- | --- |
//! | the ids of purchases that facts name | `payment_ids` |
//! | customers whose account may be asked for | `customers` |
//! | the payments that the ids lead to | `payments` |
//! | every account that may change | `accounts` |
//!
//! Customers that only a payment's record names are looked up before anything is locked. Where one shows only once its
//! payment is locked, because it was told of in between, it is locked out of order: two batches that meet so are told
//! apart by Postgres, and one of them is tried again.
//!
//! Lots, journal and facts need no locks of their own: they belong to an account or a payment that is locked.

pub mod code;
pub mod read;
pub mod rebuild;
mod store;
pub mod verify;
mod whereabouts;

use bus::{Announcement, Decoded, Fate, Fated, Incoming, Namespace, Settled, Verdict, queue};
use db::Work;
use db::chain::GENESIS;
use db::outbox::StoredEvent;
use domain::envelope;
use domain::event::{Event, SOURCE_LEDGER};
use domain::ledger::{Books, RecordedRules, Rules, decide};
use domain::{Cause, Envelope, Outcome, PaymentId};
use sqlx::types::Json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use time::OffsetDateTime;
use tokio::sync::RwLock;
use uuid::Uuid;
use whereabouts::Whereabouts;

pub struct Ledger {
    namespace: Namespace,
    /// Every catalog known so far. One is read from the database when a payment granted by another turns up.
    rules: RwLock<Arc<Rules>>,
    /// Names the rules; catalogs that are read later do not change it.
    version: i64,
    /// They are known to be kept in the database.
    recorded: AtomicBool,
    whereabouts: Whereabouts,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] db::Error);

impl Fated for Error {
    fn fate(&self) -> Fate {
        self.0.fate()
    }
}

impl Ledger {
    pub fn new(namespace: Namespace, rules: Rules) -> Self {
        let version = RecordedRules::of(&rules).version();
        Self {
            namespace,
            rules: RwLock::new(Arc::new(rules)),
            version,
            recorded: AtomicBool::new(false),
            whereabouts: Whereabouts::default(),
        }
    }

    /// The rules, with every catalog that the payments of this batch were granted by.
    async fn rules_for(&self, work: &mut Work, shelf: &store::Shelf) -> Result<Arc<Rules>, db::Error> {
        let rules = self.rules.read().await.clone();
        let missing: Vec<String> = shelf
            .books
            .payments
            .values()
            .filter_map(|payment| payment.catalog.as_ref())
            .filter(|version| !rules.catalogs.contains_key(version))
            .map(|version| version.0.clone())
            .collect();
        if missing.is_empty() {
            return Ok(rules);
        }
        let mut more = Rules::clone(&rules);
        more.catalogs.extend(store::catalogs(work, &missing).await?);
        let more = Arc::new(more);
        *self.rules.write().await = more.clone();
        Ok(more)
    }

    fn announcement(&self, row: Uuid, told: &[StoredEvent]) -> Announcement {
        let messages = told.iter().map(|event| bus::outbox::message(&self.namespace, event)).collect();
        Announcement { row, messages }
    }
}

/// As it is stored, at the end of its account's chain.
fn stored(books: &mut Books, event: &Event, traceparent: Option<&str>) -> StoredEvent {
    let stored = StoredEvent {
        id: Uuid::now_v7(),
        source: SOURCE_LEDGER.to_owned(),
        account: event.account.as_ref().map(|account| account.as_str().to_owned()),
        sequence: event.sequence.map(|sequence| sequence as i64),
        kind: event.kind().as_str().to_owned(),
        time: event.time,
        cause: event.cause.to_string(),
        traceparent: traceparent.map(str::to_owned),
        data: Json(event.data_to_json()),
        hash: GENESIS,
    };
    match event.account.as_ref().and_then(|account| books.accounts.get_mut(account)) {
        Some(account) => stored.chained(&mut account.events_head),
        None => stored.alone(),
    }
}

impl bus::Worker for Ledger {
    const NAME: &'static str = "ledger";
    /// The gate sends up to 500 facts in a message: two batches ahead are enough.
    const PREFETCH: u16 = 32;

    type Item = Envelope;
    type Error = Error;

    fn queue(&self) -> &'static str {
        queue::LEDGER
    }

    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Envelope>> {
        let bad =
            |body, content_type, reason| Decoded::Bad { body, content_type, code: code::MALFORMED, reason };
        let Ok(text) = std::str::from_utf8(&message.body) else {
            return vec![bad(
                message.body.clone(),
                None,
                "expected JSON in UTF-8, got other bytes".to_owned(),
            )];
        };
        let read = match envelope::is_batch(message.content_type.as_deref()) {
            true => Envelope::parse_batch(text, now),
            false => Envelope::parse(text, now).map(|envelope| vec![Ok(envelope)]),
        };
        match read {
            Err(error) => vec![bad(message.body.clone(), None, error.to_string())],
            Ok(read) => read
                .into_iter()
                .map(|read| match read {
                    Ok(envelope) => Decoded::Item(envelope),
                    Err(unreadable) => {
                        let part = Some(envelope::CONTENT_TYPE);
                        bad(unreadable.text.into_bytes(), part, unreadable.error.to_string())
                    }
                })
                .collect(),
        }
    }

    fn encode(&self, envelope: &Envelope) -> (&'static str, Vec<u8>) {
        (envelope::CONTENT_TYPE, envelope.to_json().into_bytes())
    }

    fn received_at(&self, envelope: &Envelope) -> Option<OffsetDateTime> {
        envelope.received_at
    }

    fn key(&self, envelope: &Envelope) -> Option<u64> {
        Some(self.whereabouts.key(&envelope.fact))
    }

    async fn handle(&self, work: &mut Work, envelopes: &[Envelope]) -> Result<Settled, Error> {
        let mut shelf = store::lock(work, envelopes, &self.rules.read().await.clone()).await?;
        let rules = self.rules_for(work, &shelf).await?;
        let mut told = Told::default();
        let mut verdicts = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            verdicts.push(settle(&mut shelf, &rules, work.now, envelope, &mut told));
        }
        if !self.recorded.load(Ordering::Relaxed) {
            // Kept by an earlier transaction: this one may still fail.
            let kept = store::record_rules(work, &rules, self.version).await?;
            self.recorded.store(kept, Ordering::Relaxed);
        }
        store::save(work, &shelf, self.version).await?;
        told.raise_alarms();
        let row = db::outbox::put(work, &told.events).await?;
        let announce = row.map(|row| self.announcement(row, &told.events));
        Ok(Settled { verdicts, forward: Vec::new(), announce })
    }
}

/// What a batch has to tell: events to the world, alarms to operators.
#[derive(Default)]
struct Told {
    events: Vec<StoredEvent>,
    alarms: Vec<Alarm>,
}

struct Alarm {
    cause: Cause,
    payment: Option<PaymentId>,
    contradicts: bool,
    foreign_currency: bool,
}

impl Told {
    fn raise_alarms(&self) {
        for Alarm { cause, payment, contradicts, foreign_currency } in &self.alarms {
            let payment = payment.as_ref().map(PaymentId::as_str);
            if *contradicts {
                tracing::error!(%cause, payment, "a fact does not fit what was said or acted upon before; an operator decides");
            }
            if *foreign_currency {
                metrics::counter!("bursar_foreign_currency_total").increment(1);
                tracing::error!(%cause, payment, "a movement in another currency than its payment's: the rest is held, an operator states the amount");
            }
        }
    }
}

/// Settles one fact in memory. A fact that can never be applied leaves everything as it was, and is given up on alone.
fn settle(
    shelf: &mut store::Shelf,
    rules: &Rules,
    now: OffsetDateTime,
    envelope: &Envelope,
    told: &mut Told,
) -> Verdict {
    let cause = &envelope.cause;
    if !shelf.seen.insert(cause.clone()) {
        return Verdict::Done(Outcome::Repeated);
    }
    let decided = shelf.address(&envelope.fact).and_then(|payment| {
        let decision = decide(&mut shelf.books, rules, cause, now, &envelope.fact, payment.as_ref())?;
        Ok((decision, payment))
    });
    let (decision, payment) = match decided {
        Ok(decided) => decided,
        Err(refusal) => {
            shelf.facts.push(store::SettledFact::new(envelope, Outcome::Refused, None));
            return Verdict::Dead { code: code::of(&refusal), reason: refusal.to_string() };
        }
    };
    let contradicts = decision.outcome == Outcome::Contradicts;
    if contradicts || decision.foreign_currency {
        let (cause, payment) = (cause.clone(), payment.clone());
        told.alarms.push(Alarm { cause, payment, contradicts, foreign_currency: decision.foreign_currency });
    }
    for event in &decision.events {
        told.events.push(stored(&mut shelf.books, event, envelope.traceparent.as_deref()));
    }
    shelf.journal.extend(decision.transactions);
    shelf.facts.push(store::SettledFact::new(envelope, decision.outcome, payment));
    Verdict::Done(decision.outcome)
}
