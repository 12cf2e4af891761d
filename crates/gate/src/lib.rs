//! The gate: every delivery is admitted once.
//!
//! It reads the facts of a door, inserts each fact's identity into the inbox and passes on those that are new.
//! A repeat that says the same is counted and stopped. One event may arrive in several renderings (versions of a processor's
//! API): what a later one adds is admitted as a fact of its own, which says all that is known of it. Where values contradict
//! each other the later one is a dead letter that names their fields: the inbox has what was admitted, the letter's body what
//! came.
//! Facts that no worker reads are kept in the inbox and not passed on: a worker added later is given them from there, by
//! `bursar facts hand-over` (`facts::hand_over`).
//! What was admitted as `fact.unrecognised` and is understood now is no repeat and no conflict: it is admitted anew, as what
//! it was recognised as. Never the other way round.
//!
//! Order: insert, publish with confirms, commit, acknowledge. A crash in between repeats what was published, and the
//! readers make repeats harmless; nothing is lost.

pub mod code;
mod difference;
mod door;
pub mod erasure;
mod repeats;
mod settings;
mod store;
mod unrecognised;
mod worker;

pub use door::{Door, Publishers};
pub use settings::{PublisherEntry, Retention, Settings};
pub use store::{
    RawBody, UnrecognisedFilter, UnrecognisedPlace, erase, purge, raw_body, still_unrecognised, unrecognised,
};
pub use unrecognised::{Today, UnrecognisedDelivery};
pub use worker::{WORKER, member};

use bus::{Decoded, Fate, Fated, Incoming, Message, Namespace, Settled, Verdict, exchange};
use db::Work;
use domain::{Cause, Envelope, FactKind, Outcome};
use facts::Readers;
use repeats::{Repeats, Ruling};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use store::Admitted;
use time::OffsetDateTime;

pub struct Gate {
    door: Door,
    namespace: Namespace,
    readers: Readers,
    /// How today's code translates a stored body, should a repeat differ from what was admitted.
    settings: processors::Settings,
}

const ADMITTED: Verdict = Verdict::Done(Outcome::Admitted);

/// Admitted, and no worker reads its kind.
const KEPT: Verdict = Verdict::Done(Outcome::Kept);

/// It says what was admitted before: counted, and stopped. That it was applied this does not say.
const REPEAT: Verdict = Verdict::Done(Outcome::Repeated);

/// A further rendering of what was admitted before, that says more of it.
const ADDED: Verdict = Verdict::Done(Outcome::Added);

/// It was admitted as not understood, and today's code understands it.
const RECOGNISED: Verdict = Verdict::Done(Outcome::Recognised);

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
#[derive(Clone)]
pub struct Candidate {
    envelope: Envelope,
    canonical: String,
    hash: [u8; 32],
    /// The id of the delivery that it adds to, if it is what another rendering of an event added.
    adds_to: Option<String>,
}

impl Candidate {
    fn new(envelope: Envelope) -> Self {
        let canonical = envelope.fact.canonical().get().to_owned();
        let hash = Sha256::digest(canonical.as_bytes()).into();
        Self { envelope, canonical, hash, adds_to: None }
    }

    fn is_unrecognised(&self) -> bool {
        self.envelope.fact.kind() == FactKind::Unrecognised
    }
}

impl Gate {
    /// `readers`: which facts are passed on.
    pub fn new(door: Door, namespace: Namespace, settings: processors::Settings, readers: Readers) -> Self {
        Self { door, namespace, readers, settings }
    }

    /// A ruling on each. What one was recognised as, or added, is what those after it in the batch are measured by.
    fn rule(
        &self,
        candidates: &[&Candidate],
        is_new: &[bool],
        mut known: BTreeMap<Cause, Admitted>,
    ) -> Vec<Ruling> {
        let repeats = Repeats { settings: &self.settings, is_verified: matches!(self.door, Door::Verified) };
        let mut rulings = Vec::with_capacity(candidates.len());
        for (candidate, is_new) in candidates.iter().zip(is_new) {
            let ruling = match (is_new, known.get_mut(&candidate.envelope.cause)) {
                (true, _) if self.is_read(candidate) => Ruling::Admitted,
                (true, _) => Ruling::Kept,
                (false, None) => Ruling::Repeat,
                (false, Some(admitted)) => {
                    let ruling = repeats.rule(candidate, admitted);
                    admitted.note(&ruling);
                    ruling
                }
            };
            rulings.push(ruling);
        }
        rulings
    }

    fn is_read(&self, candidate: &Candidate) -> bool {
        self.readers.is_read(candidate.envelope.fact.kind())
    }

    /// The admitted facts as messages for their readers: one batch for each kind.
    fn forward(&self, admitted: Vec<Envelope>, now: OffsetDateTime) -> Vec<Message> {
        let envelopes = admitted.into_iter().map(|envelope| {
            let received_at = envelope.received_at.or(Some(now));
            Envelope { raw: None, received_at, ..envelope }
        });
        facts::pack(&self.namespace, exchange::FACTS, envelopes.collect())
    }
}

impl bus::Worker for Gate {
    const NAME: &'static str = WORKER.name;
    const PREFETCH: u16 = 500;
    const CODES: &'static [&'static str] = WORKER.codes;

    type Item = Candidate;
    type Error = Error;

    fn queue(&self) -> &'static str {
        self.door.queue()
    }

    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Candidate>> {
        self.door
            .read(message, now, &self.settings)
            .into_iter()
            .map(|read| match read {
                Ok(envelope) => Decoded::Item(Candidate::new(envelope)),
                Err(door::RefusedPart { code, what }) => what.given_up(code),
            })
            .collect()
    }

    fn encode(&self, candidate: &Candidate) -> (&'static str, Vec<u8>) {
        facts::encode(&candidate.envelope)
    }

    fn received_at(&self, candidate: &Candidate) -> Option<OffsetDateTime> {
        candidate.envelope.received_at
    }

    async fn handle(&self, work: &mut Work, candidates: &[Candidate]) -> Result<Settled, Error> {
        let mut passed_on = Vec::new();
        let all: Vec<&Candidate> = candidates.iter().collect();
        let mut rulings = self.admit(work, &all, &mut passed_on).await?;
        let moved: Vec<(usize, Candidate)> = rulings
            .iter()
            .enumerate()
            .filter_map(|(index, ruling)| ruling.elsewhere().map(|candidate| (index, candidate)))
            .collect();
        let again: Vec<&Candidate> = moved.iter().map(|(_, candidate)| candidate).collect();
        if !again.is_empty() {
            let again = self.admit(work, &again, &mut passed_on).await?;
            for ((index, _), ruling) in moved.iter().zip(again) {
                rulings[*index] = ruling;
            }
        }
        let verdicts = rulings.into_iter().map(Ruling::verdict).collect();
        let forward = self.forward(passed_on, work.now);
        Ok(Settled { verdicts, forward, emitted: None })
    }
}

impl Gate {
    /// Admits what is new of these, and what is new in those that came again; what has to be read goes to `passed_on`.
    async fn admit(
        &self,
        work: &mut Work,
        candidates: &[&Candidate],
        passed_on: &mut Vec<Envelope>,
    ) -> Result<Vec<Ruling>, Error> {
        // The first of each identity asks for admission; later ones in the batch are repeats of it.
        let mut first: BTreeMap<&Cause, usize> = BTreeMap::new();
        for (index, candidate) in candidates.iter().enumerate() {
            first.entry(&candidate.envelope.cause).or_insert(index);
        }
        let asking: Vec<&Candidate> = first.values().map(|index| candidates[*index]).collect();
        let fresh = store::insert(work, &asking).await?;

        let is_new: Vec<bool> = candidates
            .iter()
            .enumerate()
            .map(|(index, candidate)| {
                let cause = &candidate.envelope.cause;
                first[cause] == index && fresh.contains(cause)
            })
            .collect();
        let known = self.known(work, candidates, &is_new).await?;

        let mut rulings = self.rule(candidates, &is_new, known);
        self.add(work, &mut rulings).await?;
        let recognised: Vec<&Candidate> = rulings.iter().filter_map(Ruling::recognised).collect();
        store::recognise(work, &recognised).await?;
        let ruled = || candidates.iter().copied().zip(&rulings);
        let repeats = ruled().filter(|(_, ruling)| matches!(ruling, Ruling::Repeat));
        store::count_repeats(work, &repeats.map(|(candidate, _)| candidate).collect::<Vec<_>>()).await?;
        let read = ruled().filter_map(|(candidate, ruling)| ruling.passed_on(candidate));
        passed_on.extend(
            read.filter(|candidate| self.is_read(candidate)).map(|candidate| candidate.envelope.clone()),
        );
        Ok(rulings)
    }

    /// What was admitted of those that came again.
    async fn known(
        &self,
        work: &mut Work,
        candidates: &[&Candidate],
        is_new: &[bool],
    ) -> Result<BTreeMap<Cause, Admitted>, Error> {
        let repeats = || candidates.iter().zip(is_new).filter(|(_, is_new)| !**is_new).map(|(c, _)| c);
        let causes: Vec<&Cause> = repeats().map(|candidate| &candidate.envelope.cause).collect();
        let mut known = store::admitted(work, &causes).await?;
        let differing: BTreeSet<&Cause> = repeats()
            .filter(|candidate| {
                known.get(&candidate.envelope.cause).is_some_and(|admitted| admitted.differs(candidate))
            })
            .map(|candidate| &candidate.envelope.cause)
            .collect();
        store::additions(work, &mut known, &differing).await?;
        Ok(known)
    }

    /// Admits what renderings add to what was admitted of their events.
    async fn add(&self, work: &mut Work, rulings: &mut [Ruling]) -> Result<(), Error> {
        let mut additions: Vec<&Candidate> = rulings.iter().filter_map(Ruling::addition).collect();
        if additions.is_empty() {
            return Ok(());
        }
        additions.sort_by(|a, b| a.envelope.cause.cmp(&b.envelope.cause));
        let fresh = store::insert(work, &additions).await?;
        for ruling in rulings {
            if let Some(taken) = ruling.addition().filter(|added| !fresh.contains(&added.envelope.cause)) {
                let cause = &taken.envelope.cause;
                *ruling = Ruling::Conflict(format!(
                    "expected {cause} for what this rendering adds, got a fact that has that identity already"
                ));
            }
        }
        Ok(())
    }
}
