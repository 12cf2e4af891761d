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
//! payment is locked, because a fact named it in between, it is locked out of order: where two batches meet so, Postgres
//! ends one of them, and the loop tries it again.
//!
//! Lots, journal and facts need no locks of their own: they belong to an account or a payment that is locked.

pub mod code;
pub mod expiry;
pub mod read;
pub mod rebuild;
mod settings;
mod shard_key;
mod store;
pub mod verify;
mod worker;

pub use settings::{CatalogEntry, CreditSettings, Grants, RateEntry, Settings};
pub use worker::{QUEUE, WORKER, member};

use bus::{Decoded, Fate, Fated, Incoming, Namespace, Settled, Verdict};
use db::Work;
use db::outbox::StoredEvent;
use domain::ledger::{RecordedRules, Rules, decide};
use domain::{Cause, Envelope, Outcome, PaymentId};
use facts::emit::{Emitted, NewEvent};
use shard_key::ShardKeys;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use time::OffsetDateTime;
use tokio::sync::RwLock;

pub struct Ledger {
    namespace: Namespace,
    /// Every catalog known so far. One is read from the database when a payment granted by another turns up.
    rules: RwLock<Arc<Rules>>,
    /// Names the rules; catalogs that are read later do not change it.
    version: i64,
    /// They are known to be kept in the database.
    recorded: AtomicBool,
    shard_keys: ShardKeys,
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
            shard_keys: ShardKeys::default(),
        }
    }

    /// The rules, with every catalog that the payments of this batch were granted by.
    async fn rules_for(&self, work: &mut Work, batch: &store::BatchState) -> Result<Arc<Rules>, db::Error> {
        let rules = self.rules.read().await.clone();
        let missing: Vec<String> = batch
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
}

impl bus::Worker for Ledger {
    const NAME: &'static str = WORKER.name;
    /// The gate sends up to 500 facts in a message: two batches ahead are enough.
    const PREFETCH: u16 = 32;
    const CODES: &'static [&'static str] = WORKER.codes;

    type Item = Envelope;
    type Error = Error;

    fn queue(&self) -> &'static str {
        QUEUE
    }

    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Envelope>> {
        facts::decode(message, now)
    }

    fn encode(&self, envelope: &Envelope) -> (&'static str, Vec<u8>) {
        facts::encode(envelope)
    }

    fn received_at(&self, envelope: &Envelope) -> Option<OffsetDateTime> {
        envelope.received_at
    }

    fn key(&self, envelope: &Envelope) -> Option<u64> {
        Some(self.shard_keys.of(&envelope.fact))
    }

    async fn handle(&self, work: &mut Work, envelopes: &[Envelope]) -> Result<Settled, Error> {
        let mut batch = store::lock(work, envelopes, &self.rules.read().await.clone()).await?;
        let rules = self.rules_for(work, &batch).await?;
        let mut effects = Effects::default();
        let mut verdicts = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            verdicts.push(settle(&mut batch, &rules, work.now, envelope, &mut effects)?);
        }
        if !self.recorded.load(Ordering::Relaxed) {
            // Kept by an earlier transaction: this one may still fail.
            let kept = store::record_rules(work, &rules, self.version).await?;
            self.recorded.store(kept, Ordering::Relaxed);
        }
        store::save(work, batch, self.version).await?;
        effects.raise_alarms();
        let stored = Emitted::store(work, effects.events).await?;
        let emitted = stored.map(|stored| stored.emitted(&self.namespace));
        Ok(Settled { verdicts, forward: Vec::new(), emitted })
    }
}

/// What a batch causes outside of the books: events to be published, alarms for operators.
#[derive(Default)]
struct Effects {
    events: Vec<StoredEvent>,
    alarms: Vec<Alarm>,
}

struct Alarm {
    cause: Cause,
    payment: Option<PaymentId>,
    contradicts: bool,
    foreign_currency: bool,
}

impl Effects {
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
    batch: &mut store::BatchState,
    rules: &Rules,
    now: OffsetDateTime,
    envelope: &Envelope,
    effects: &mut Effects,
) -> Result<Verdict, db::Error> {
    let cause = &envelope.cause;
    if batch.settlements.is_settled(cause) {
        return Ok(Verdict::Done(Outcome::Repeated));
    }
    let decided = batch.address(&envelope.fact).and_then(|payment| {
        let decision = decide(&mut batch.books, rules, cause, now, &envelope.fact, payment.as_ref())?;
        Ok((decision, payment))
    });
    let (decision, payment) = match decided {
        Ok(decided) => decided,
        Err(refusal) => {
            batch.settlements.settle(envelope, Outcome::Refused, None);
            return Ok(Verdict::Dead { code: code::of(&refusal), reason: refusal.to_string() });
        }
    };
    let contradicts = decision.outcome == Outcome::Contradicts;
    if contradicts || decision.foreign_currency {
        let (cause, payment) = (cause.clone(), payment.clone());
        effects.alarms.push(Alarm {
            cause,
            payment,
            contradicts,
            foreign_currency: decision.foreign_currency,
        });
    }
    for event in &decision.events {
        effects.events.push(batch.heads.emit(NewEvent::of(event, envelope.traceparent.as_deref()))?);
    }
    batch.journal.extend(decision.transactions);
    batch.settlements.settle(envelope, decision.outcome, payment);
    Ok(Verdict::Done(decision.outcome))
}
