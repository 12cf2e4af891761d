//! Disputes: what is done about people while the money of a payment is in question.
//!
//! Credits follow the movements of money, and those are the ledger's. This worker keeps the case: how it stands, what the
//! account may not do meanwhile, what must be done by when, and the proof. A case is a function of the set of its facts
//! ([`domain::dispute`]); what is written, and told in events, is the difference to what was written before.
//!
//! | step | locks, in this order, each sorted by its key |
//! | --- | --- |
//! | the cases that facts are about | `disputes` |
//! | the accounts that they, or operators' words, are about | `accounts` |
//!
//! What an account may not do follows from all of its cases: they are read once its row is locked, and nobody changes a case's
//! state without that lock. Payments are read, not locked: where the ledger delivers one meanwhile, [`take_up`] finds the case.

pub mod code;
pub mod deadlines;
mod desk;
pub mod erasure;
pub mod evidence;
pub mod read;
mod rebuild;
mod settings;
pub mod silence;
mod store;
pub mod submission;
pub mod take_up;
mod verify;
mod worker;

pub use rebuild::DisputesRebuilt;
pub use settings::{DisputeSettings, RestrictSettings, RiskSettings, Settings};
pub use worker::{QUEUE, WORKER, member};

use bus::{Decoded, Fate, Fated, Incoming, Namespace, Settled, Verdict};
use db::Work;
use desk::Desk;
use domain::dispute::Policy;
use domain::{Envelope, Fact, Outcome};
use facts::emit::Emitted;
use facts::outcomes::Settlements;
use std::hash::{DefaultHasher, Hash, Hasher};
use time::OffsetDateTime;

/// The reader of facts about disputes, and of operators' words on restrictions.
pub struct Disputes {
    namespace: Namespace,
    policy: Policy,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] db::Error);

impl Fated for Error {
    fn fate(&self) -> Fate {
        self.0.fate()
    }
}

impl Disputes {
    pub fn new(namespace: Namespace, policy: Policy) -> Self {
        Self { namespace, policy }
    }
}

impl bus::Worker for Disputes {
    const NAME: &'static str = WORKER.name;
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
        let mut hasher = DefaultHasher::new();
        match envelope.fact.account() {
            Some(account) => account.as_str().hash(&mut hasher),
            None => envelope.fact.payment_ids().first()?.as_str().hash(&mut hasher),
        }
        Some(hasher.finish())
    }

    async fn handle(&self, work: &mut Work, envelopes: &[Envelope]) -> Result<Settled, Error> {
        let mut desk = Desk::open(work, &self.policy, envelopes).await?;
        let mut settlements = Settlements::begin(work, WORKER.name, envelopes).await?;
        let mut verdicts = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            if settlements.is_settled(&envelope.cause) {
                verdicts.push(Verdict::Done(Outcome::Repeated));
                continue;
            }
            let verdict = desk.settle(envelope)?;
            let outcome = match &verdict {
                Verdict::Done(outcome) => *outcome,
                Verdict::Dead { .. } => Outcome::Refused,
            };
            let payment = match &envelope.fact {
                Fact::Dispute(dispute) => desk.payment_of(dispute),
                _ => None,
            };
            settlements.settle(envelope, outcome, payment);
            verdicts.push(verdict);
        }
        let events = desk.close(work).await?;
        settlements.save(work, None).await?;
        let stored = Emitted::store(work, events).await?;
        let emitted = stored.map(|stored| stored.emitted(&self.namespace));
        Ok(Settled { verdicts, forward: Vec::new(), emitted })
    }
}
