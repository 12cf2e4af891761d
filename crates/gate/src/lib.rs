//! The gate: every delivery is admitted once.
//!
//! It reads what came through a door, inserts each fact's identity into the inbox and passes on those it had not seen.
//! A repeat that says the same is counted and stopped; the same identity with other content is a dead letter with both.
//! Facts that no worker reads are kept in the inbox and passed to nobody: a worker added later finds them there.
//!
//! Order: insert, publish with confirms, commit, acknowledge. A crash in between repeats what was published, and the
//! readers make repeats harmless; nothing is lost.

mod door;
mod store;

pub use door::{Door, Publishers};
pub use store::{RawBody, erase, purge, raw_body};

use bus::{Decoded, Fate, Fated, Incoming, Message, Namespace, Settled, Topology, Verdict, exchange};
use db::Work;
use domain::{Cause, Envelope, envelope};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use time::OffsetDateTime;

pub struct Gate {
    door: Door,
    namespace: Namespace,
    topology: Topology,
    /// How today's code translates a stored body, should a repeat differ from what was admitted.
    settings: processors::Settings,
}

/// It says what was admitted before: counted, and stopped.
const REPEATED: Verdict = Verdict::Done("repeated");

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl Fated for Error {
    fn fate(&self) -> Fate {
        match self {
            Error::Database(error) => error.fate(),
        }
    }
}

/// A fact that asks to be admitted, in its canonical text.
pub struct Candidate {
    envelope: Envelope,
    canonical: String,
    hash: [u8; 32],
}

impl Candidate {
    fn new(envelope: Envelope) -> Self {
        let canonical = envelope.fact.canonical().get().to_owned();
        let hash = Sha256::digest(canonical.as_bytes()).into();
        Self { envelope, canonical, hash }
    }
}

impl Gate {
    pub fn new(door: Door, namespace: Namespace, settings: processors::Settings) -> Self {
        let topology = Topology::new(&namespace);
        Self { door, namespace, topology, settings }
    }

    /// What today's code makes of a stored body, for the fact of this identity.
    fn translate_again(&self, cause: &Cause, body: &[u8], received_at: OffsetDateTime) -> Option<String> {
        let processor = processors::find(cause.source.split('/').next().unwrap_or(""))?;
        let envelopes = (processor.translate)(&self.settings, body, received_at).ok()?;
        let envelope = envelopes.into_iter().find(|envelope| envelope.cause == *cause)?;
        Some(envelope.fact.canonical().get().to_owned())
    }

    /// Whether a repeat says what was admitted. The envelope does not count (a processor's replay changes its
    /// notification id), and neither does an upgrade of the translation: both bodies are read by today's code.
    fn says_the_same(&self, candidate: &Candidate, admitted: &store::Admitted) -> bool {
        if admitted.hash == candidate.hash {
            return true;
        }
        let cause = &candidate.envelope.cause;
        let again = |raw: &RawBody| self.translate_again(cause, &raw.body, raw.received_at);
        admitted.raw.as_ref().and_then(again).is_some_and(|text| text == candidate.canonical)
    }

    fn verdict_on_repeat(&self, candidate: &Candidate, admitted: Option<&store::Admitted>) -> Verdict {
        match admitted {
            Some(admitted) if !self.says_the_same(candidate, admitted) => Verdict::Dead {
                code: "conflict",
                reason: format!(
                    "{} was admitted with another content. Admitted: {}. Came: {}",
                    candidate.envelope.cause, admitted.fact, candidate.canonical
                ),
            },
            Some(_) | None => REPEATED,
        }
    }

    /// The admitted facts as messages for their readers: one batch for each kind.
    fn forward(&self, admitted: &[&Candidate], now: OffsetDateTime) -> Vec<Message> {
        let envelopes = admitted.iter().map(|candidate| {
            let received_at = candidate.envelope.received_at.or(Some(now));
            Envelope { raw: None, received_at, ..candidate.envelope.clone() }
        });
        envelope::parcels(envelopes.collect())
            .into_iter()
            .map(|parcel| {
                let trace = parcel.traceparent.as_deref();
                let kind = parcel.kind.as_str();
                Message::new(
                    self.namespace.name(exchange::FACTS),
                    kind,
                    parcel.message_id,
                    parcel.content_type,
                    trace,
                    parcel.body,
                )
            })
            .collect()
    }
}

impl bus::Worker for Gate {
    const NAME: &'static str = "gate";
    const PREFETCH: u16 = 500;

    type Item = Candidate;
    type Error = Error;

    fn queue(&self) -> &'static str {
        self.door.queue()
    }

    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Candidate>> {
        self.door
            .read(message, now, self.settings.credits_scale)
            .into_iter()
            .map(|read| match read {
                Ok(envelope) => Decoded::Item(Candidate::new(envelope)),
                Err(door::Refused { body, content_type, code, reason }) => {
                    Decoded::Bad { body, content_type, code, reason }
                }
            })
            .collect()
    }

    fn encode(&self, candidate: &Candidate) -> (&'static str, Vec<u8>) {
        (envelope::CONTENT_TYPE, candidate.envelope.to_json().into_bytes())
    }

    fn received_at(&self, candidate: &Candidate) -> Option<OffsetDateTime> {
        candidate.envelope.received_at
    }

    async fn handle(&self, work: &mut Work, candidates: &[Candidate]) -> Result<Settled, Error> {
        // The first of each identity asks for admission; later ones in the batch are repeats of it.
        let mut first: BTreeMap<&Cause, usize> = BTreeMap::new();
        for (index, candidate) in candidates.iter().enumerate() {
            first.entry(&candidate.envelope.cause).or_insert(index);
        }
        let asking: Vec<&Candidate> = first.values().map(|index| &candidates[*index]).collect();
        let fresh = store::insert(work, &asking).await?;

        let is_fresh = |index: usize| fresh.contains(&candidates[index].envelope.cause);
        let repeats: Vec<&Cause> = candidates
            .iter()
            .enumerate()
            .filter(|(index, candidate)| first[&candidate.envelope.cause] != *index || !is_fresh(*index))
            .map(|(_, candidate)| &candidate.envelope.cause)
            .collect();
        let known = store::admitted(work, &repeats).await?;

        let mut verdicts = Vec::with_capacity(candidates.len());
        let mut admitted = Vec::new();
        for (index, candidate) in candidates.iter().enumerate() {
            let cause = &candidate.envelope.cause;
            if first[cause] != index || !is_fresh(index) {
                verdicts.push(self.verdict_on_repeat(candidate, known.get(cause)));
            } else if self.topology.is_read(&self.namespace, candidate.envelope.fact.kind().as_str()) {
                verdicts.push(Verdict::Done("admitted"));
                admitted.push(candidate);
            } else {
                verdicts.push(Verdict::Done("kept"));
            }
        }
        let counted: Vec<&Cause> = candidates
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| **verdict == REPEATED)
            .map(|(candidate, _)| &candidate.envelope.cause)
            .collect();
        store::count_repeats(work, &counted).await?;
        let forward = self.forward(&admitted, work.now);
        Ok(Settled { verdicts, forward, announce: None })
    }
}
