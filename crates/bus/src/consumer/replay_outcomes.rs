//! What became of messages that a replay put back, in a message to the worker that keeps dead letters.

use crate::incoming::Incoming;
use crate::message::Message;
use crate::returned::ReplayedLetter;
use crate::topology::{Namespace, exchange};
use domain::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// The routing key, on the exchange of dead letters, of a list of [`ReplayOutcome`]s.
pub const REPLAYED: &str = "replayed";

/// What became of a message that a replay put back, where none of it is a dead letter again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayOutcome {
    #[serde(flatten)]
    pub replayed: ReplayedLetter,
    /// The outcomes of its facts, each once: `admitted`, `applied`.
    pub outcome: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

impl ReplayOutcome {
    /// Whether it says what became of the message in the end. What no worker of ours says counts as the last word.
    pub fn is_last_word(&self) -> bool {
        self.outcome.split(',').all(|word| word.parse().map_or(true, Outcome::is_last_word))
    }
}

/// The outcomes of a batch's messages that a replay put back, by their place in the batch.
#[derive(Default)]
pub(super) struct ReplayOutcomes(BTreeMap<usize, BTreeSet<Outcome>>);

impl ReplayOutcomes {
    /// An item of that message has this outcome.
    pub fn add(&mut self, origin: usize, outcome: Outcome) {
        self.0.entry(origin).or_default().insert(outcome);
    }

    /// Some of this message was not settled: the message that carries that on speaks for it.
    pub fn forget(&mut self, origin: usize) {
        self.0.remove(&origin);
    }

    /// One message for all of a batch: they are many in a replay, and each message costs more than what is in it.
    pub fn into_message(self, namespace: &Namespace, messages: &[Incoming]) -> Option<Message> {
        let at = OffsetDateTime::now_utc();
        let outcomes = self.0.into_iter().filter_map(|(origin, outcomes)| {
            let words: BTreeSet<&str> = outcomes.into_iter().map(Outcome::as_str).collect();
            let outcome = words.into_iter().collect::<Vec<_>>().join(",");
            Some(ReplayOutcome { replayed: messages[origin].replayed()?, outcome, at })
        });
        let outcomes: Vec<ReplayOutcome> = outcomes.collect();
        let first = outcomes.first()?.replayed;
        let body = serde_json::to_string(&outcomes).expect("it holds ids, texts and times");
        let id = format!("{}-{}+{}", first.replay, first.letter, outcomes.len() - 1);
        let to = namespace.name(exchange::DEAD);
        Some(Message::new(to, REPLAYED, id, "application/json", None, body))
    }
}
