//! The gate: every delivery is admitted once.
//!
//! It reads what came through a door, inserts each fact's identity into the inbox and passes on those it had not seen.
//! A repeat that says the same is counted and stopped; the same identity with other content is a dead letter that names the fields which
//! differ: the inbox has what was admitted, the letter's body what came.
//! Facts that no worker reads are kept in the inbox and passed to nobody: a worker added later finds them there.
//! What was admitted as `fact.unrecognised` and is understood now is no repeat and no conflict: it is admitted anew, as what
//! it was recognised as. Never the other way round.
//!
//! Order: insert, publish with confirms, commit, acknowledge. A crash in between repeats what was published, and the
//! readers make repeats harmless; nothing is lost.

mod difference;
mod door;
pub mod erasure;
mod store;
mod unrecognised;

pub use door::{Door, Publishers};
pub use store::{
    Place, RawBody, UnrecognisedFilter, erase, purge, raw_body, still_unrecognised, unrecognised,
};
pub use unrecognised::{Today, UnrecognisedDelivery};

use bus::{Decoded, Fate, Fated, Incoming, Message, Namespace, Settled, Topology, Verdict, exchange};
use db::Work;
use domain::{Cause, Envelope, FactKind, envelope};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use store::Admitted;
use time::OffsetDateTime;

pub struct Gate {
    door: Door,
    namespace: Namespace,
    topology: Topology,
    /// How today's code translates a stored body, should a repeat differ from what was admitted.
    settings: processors::Settings,
}

const ADMITTED: Verdict = Verdict::Done("admitted");

/// Admitted, and no worker reads its kind.
const KEPT: Verdict = Verdict::Done("kept");

/// It says what was admitted before: counted, and stopped. That it was applied this does not say.
pub const REPEATED: &str = "repeated";

const REPEAT: Verdict = Verdict::Done(REPEATED);

/// It was admitted when nobody understood it, and now it is understood.
const RECOGNISED: Verdict = Verdict::Done("recognised");

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

    fn is_unrecognised(&self) -> bool {
        self.envelope.fact.kind() == FactKind::Unrecognised
    }

    /// Its canonical text as what was admitted is to be measured: without what was erased there.
    fn beside(&self, admitted: &Admitted) -> Cow<'_, str> {
        match admitted.is_erased {
            true => Cow::Owned(self.envelope.fact.clone().without_texts().canonical().get().to_owned()),
            false => Cow::Borrowed(&self.canonical),
        }
    }
}

impl Gate {
    pub fn new(door: Door, namespace: Namespace, settings: processors::Settings) -> Self {
        let topology = Topology::new(&namespace);
        Self { door, namespace, topology, settings }
    }

    /// What today's code makes of a body, for the fact of this identity.
    fn translate_again(&self, cause: &Cause, body: &[u8], received_at: OffsetDateTime) -> Option<String> {
        let envelopes = unrecognised::translate(&self.settings, cause, body, received_at)?;
        let envelope = envelopes.into_iter().find(|envelope| envelope.cause == *cause)?;
        Some(envelope.fact.canonical().get().to_owned())
    }

    /// What the stored body says by today's code.
    fn admitted_today(&self, cause: &Cause, admitted: &Admitted) -> Option<String> {
        let raw = admitted.raw.as_ref()?;
        self.translate_again(cause, &raw.body, raw.received_at)
    }

    /// Whether a repeat says what was admitted. The envelope does not count (a processor's replay changes its
    /// notification id), and neither does an upgrade of the translation: both bodies are read by today's code.
    fn says_the_same(&self, candidate: &Candidate, admitted: &Admitted) -> bool {
        if admitted.hash == candidate.hash {
            return true;
        }
        if admitted.is_erased && candidate.beside(admitted) == admitted.fact {
            return true;
        }
        let again = self.admitted_today(&candidate.envelope.cause, admitted);
        again.is_some_and(|text| text == candidate.canonical) || self.was_understood(candidate, admitted)
    }

    /// Whether a repeat that its translator did not understand (an older ingester's, while a fleet is upgraded) says by
    /// today's code what was admitted.
    fn was_understood(&self, candidate: &Candidate, admitted: &Admitted) -> bool {
        let Some(raw) = candidate.envelope.raw.as_ref().filter(|_| candidate.is_unrecognised()) else {
            return false;
        };
        let received_at = candidate.envelope.received_at.unwrap_or(candidate.envelope.time);
        let again = self.translate_again(&candidate.envelope.cause, &raw.body, received_at);
        again.is_some_and(|text| text == admitted.fact)
    }

    /// Whether a repeat tells what of its delivery was not understood when it was admitted. The stored body must say so by
    /// today's code; where it is gone, what came through the door of verified deliveries is believed.
    fn is_recognised(&self, candidate: &Candidate, admitted: &Admitted) -> bool {
        if candidate.is_unrecognised() || admitted.kind != FactKind::Unrecognised.as_str() {
            return false;
        }
        match (&admitted.raw, &self.door) {
            (Some(_), _) => {
                let again = self.admitted_today(&candidate.envelope.cause, admitted);
                again.is_some_and(|text| text == candidate.canonical)
            }
            (None, Door::Verified) => true,
            (None, Door::Inbound(_)) => false,
        }
    }

    /// What a candidate is whose identity was admitted before, by another batch or by this one.
    fn verdict_on_repeat(&self, candidate: &Candidate, admitted: Option<&Admitted>) -> Verdict {
        match admitted {
            Some(admitted) if self.is_recognised(candidate, admitted) => RECOGNISED,
            Some(admitted) if !self.says_the_same(candidate, admitted) => Verdict::Dead {
                code: "conflict",
                reason: format!(
                    "expected what was admitted under {}, got another {}",
                    candidate.envelope.cause,
                    difference::fields(
                        (&admitted.kind, &admitted.fact),
                        (candidate.envelope.fact.kind().as_str(), &candidate.beside(admitted))
                    )
                ),
            },
            Some(_) | None => REPEAT,
        }
    }

    /// A verdict on each. What one was recognised as is what those after it in the batch are measured by.
    fn judge(
        &self,
        candidates: &[Candidate],
        is_new: &[bool],
        mut known: BTreeMap<Cause, Admitted>,
    ) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(candidates.len());
        for (candidate, is_new) in candidates.iter().zip(is_new) {
            let admitted = known.get_mut(&candidate.envelope.cause);
            let verdict = match is_new {
                true if self.is_read(candidate) => ADMITTED,
                true => KEPT,
                false => self.verdict_on_repeat(candidate, admitted.as_deref()),
            };
            if let (Some(admitted), true) = (admitted, verdict == RECOGNISED) {
                admitted.recognise(candidate);
            }
            verdicts.push(verdict);
        }
        verdicts
    }

    fn is_read(&self, candidate: &Candidate) -> bool {
        self.topology.is_read(&self.namespace, candidate.envelope.fact.kind().as_str())
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

        let is_new: Vec<bool> = candidates
            .iter()
            .enumerate()
            .map(|(index, candidate)| {
                let cause = &candidate.envelope.cause;
                first[cause] == index && fresh.contains(cause)
            })
            .collect();
        let repeats = candidates.iter().zip(&is_new).filter(|(_, is_new)| !**is_new);
        let repeats: Vec<&Cause> = repeats.map(|(candidate, _)| &candidate.envelope.cause).collect();
        let known = store::admitted(work, &repeats).await?;

        let verdicts = self.judge(candidates, &is_new, known);
        store::recognise(work, &judged(candidates, &verdicts, &[RECOGNISED])).await?;
        store::count_repeats(work, &judged(candidates, &verdicts, &[REPEAT])).await?;
        let mut passed_on = judged(candidates, &verdicts, &[ADMITTED, RECOGNISED]);
        passed_on.retain(|candidate| self.is_read(candidate));
        let forward = self.forward(&passed_on, work.now);
        Ok(Settled { verdicts, forward, announce: None })
    }
}

/// Those whose verdict is one of these.
fn judged<'a>(candidates: &'a [Candidate], verdicts: &[Verdict], which: &[Verdict]) -> Vec<&'a Candidate> {
    let judged = candidates.iter().zip(verdicts).filter(|(_, verdict)| which.contains(verdict));
    judged.map(|(candidate, _)| candidate).collect()
}
