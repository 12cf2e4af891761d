//! Dead letters: messages that a worker gave up on. This crate stores them with everything needed to understand them, and replays
//! them.
//!
//! The worker moves every letter from the queue into Postgres and acknowledges it once it is there: nobody looks into the
//! queue, nothing waits in it, and one that is not empty is an alarm. What operators do they do to rows: [`read`] shows
//! them, [`acts`] changes them, [`replay`] puts messages back into the queues they came from, at a rate.
//!
//! The loop that settles a replayed message publishes its outcome to the same queue before it acknowledges the message: a letter
//! stays until its outcome is known, whatever crashes in between.
//!
//! [`alerts`] raises alerts for what operators should look at.
//!
//! A letter here is never lost for being odd: what Postgres cannot hold as text is replaced, the body is kept as bytes.

pub mod acts;
pub mod alerts;
pub mod code;
mod fingerprint;
mod letter;
pub mod read;
pub mod replay;
mod retention;
mod settings;
mod store;
mod subject;
mod worker;

use letter::FleetContext;
pub use letter::{AsItCame, Letter};
pub use retention::{LetterRetention, purge};
pub use settings::{AlertSettings, DeadLetterSettings, Settings};
pub use subject::Subject;
pub use worker::{WORKER, member};

use bus::{Decoded, Fate, Fated, Incoming, REPLAYED, ReplayOutcome, Settled, Verdict, queue};
use db::Work;
use domain::Outcome;
use time::OffsetDateTime;

pub struct DeadLetters {
    fleet: FleetContext,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] db::Error);

impl Fated for Error {
    fn fate(&self) -> Fate {
        self.0.fate()
    }
}

/// What comes by the queue.
pub enum Arrival {
    Letter(Box<Letter>),
    Outcome(ReplayOutcome),
}

impl DeadLetters {
    /// `settings`: how stored bodies of webhooks are read. `workers`: the names of the fleet's workers.
    pub fn new(settings: processors::Settings, workers: &'static [&'static str]) -> Self {
        Self { fleet: FleetContext { settings, workers } }
    }
}

impl bus::Worker for DeadLetters {
    const NAME: &'static str = WORKER.name;
    const PREFETCH: u16 = 500;
    const CODES: &'static [&'static str] = WORKER.codes;
    const GIVES_UP: bool = false;

    type Item = Arrival;
    type Error = Error;

    fn queue(&self) -> &'static str {
        queue::DEAD_LETTERS
    }

    /// Everything is a letter: what does not say why it died is kept as it is.
    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Arrival>> {
        // What died of a message may have been published under any key: that is the letter's own, and no word of ours.
        let outcomes = match message.death.is_none() && message.routing_key == REPLAYED {
            true => serde_json::from_slice::<Vec<ReplayOutcome>>(&message.body).ok(),
            false => None,
        };
        match outcomes {
            Some(outcomes) => {
                outcomes.into_iter().map(|outcome| Decoded::Item(Arrival::Outcome(outcome))).collect()
            }
            None => vec![Decoded::Item(Arrival::Letter(Box::new(Letter::read(message, &self.fleet, now))))],
        }
    }

    fn encode(&self, item: &Arrival) -> (&'static str, Vec<u8>) {
        match item {
            Arrival::Letter(letter) => ("application/octet-stream", letter.message.body.clone()),
            Arrival::Outcome(outcome) => {
                ("application/json", serde_json::to_vec(&[outcome]).expect("it holds ids, a text and a time"))
            }
        }
    }

    fn received_at(&self, item: &Arrival) -> Option<OffsetDateTime> {
        match item {
            Arrival::Letter(letter) => Some(letter.dead_at),
            Arrival::Outcome(outcome) => Some(outcome.at),
        }
    }

    async fn handle(&self, work: &mut Work, items: &[Arrival]) -> Result<Settled, Error> {
        let mut letters = Vec::new();
        let mut outcomes = Vec::new();
        let mut verdicts = Vec::with_capacity(items.len());
        for item in items {
            verdicts.push(Verdict::Done(match item {
                Arrival::Letter(letter) => {
                    letters.push(&**letter);
                    Outcome::Recorded
                }
                Arrival::Outcome(outcome) => {
                    outcomes.push(outcome);
                    Outcome::ReplayResolved
                }
            }));
        }
        let letters = store::Distinct::of(&letters);
        store::reopen(work, &letters).await?;
        store::record(work, &letters).await?;
        store::settle_replays(work, &letters, &outcomes).await?;
        Ok(Settled { verdicts, ..Settled::default() })
    }
}
