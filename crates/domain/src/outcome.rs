//! What can become of a message or a fact at a worker: one closed list for all workers, in metrics, tables and plans.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a worker made of a message or a fact. Its text is a public name, and is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It changed what the worker keeps.
    Applied,
    /// It said nothing new.
    NoOp,
    /// It waits for something that is not known yet: a movement for its payment, a payment for its account.
    Waiting,
    /// It does not concern the worker.
    Ignored,
    /// It does not fit what was said, or acted upon, before; nothing was guessed, an operator decides.
    Contradicts,
    /// The worker gave up on it: a dead letter says why, and a replay tries it again.
    Refused,
    /// The worker has settled it before.
    Repeated,
    /// A delivery was translated to facts.
    Translated,
    /// The gate admitted it.
    Admitted,
    /// The gate admitted it, and no worker reads its kind.
    Kept,
    /// A further rendering of what was admitted before, that says more of it.
    Added,
    /// It was admitted as not understood, and today's code understands it.
    Recognised,
    /// A dead letter is in Postgres.
    Recorded,
    /// How a replay went is in Postgres.
    ReplayResolved,
}

/// What an outcome means for the one who waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It is settled, and has had its effect.
    Done,
    /// It is settled; everything stays as it was.
    NothingNew,
    /// It is recorded; it has its effect once something else comes.
    Waits,
    /// It was given up on.
    Refused,
    /// Those who read on have the last word.
    PassedOn,
}

impl Outcome {
    pub const ALL: [Outcome; 14] = [
        Outcome::Applied,
        Outcome::NoOp,
        Outcome::Waiting,
        Outcome::Ignored,
        Outcome::Contradicts,
        Outcome::Refused,
        Outcome::Repeated,
        Outcome::Translated,
        Outcome::Admitted,
        Outcome::Kept,
        Outcome::Added,
        Outcome::Recognised,
        Outcome::Recorded,
        Outcome::ReplayResolved,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::NoOp => "no_op",
            Outcome::Waiting => "waiting",
            Outcome::Ignored => "ignored",
            Outcome::Contradicts => "contradicts",
            Outcome::Refused => "refused",
            Outcome::Repeated => "repeated",
            Outcome::Translated => "translated",
            Outcome::Admitted => "admitted",
            Outcome::Kept => "kept",
            Outcome::Added => "added",
            Outcome::Recognised => "recognised",
            Outcome::Recorded => "recorded",
            Outcome::ReplayResolved => "replay_resolved",
        }
    }

    pub fn meaning(self) -> Meaning {
        match self {
            Outcome::Applied
            | Outcome::Ignored
            | Outcome::Contradicts
            | Outcome::Kept
            | Outcome::Recorded
            | Outcome::ReplayResolved => Meaning::Done,
            Outcome::NoOp | Outcome::Repeated => Meaning::NothingNew,
            Outcome::Waiting => Meaning::Waits,
            Outcome::Refused => Meaning::Refused,
            Outcome::Translated | Outcome::Admitted | Outcome::Added | Outcome::Recognised => {
                Meaning::PassedOn
            }
        }
    }

    /// Whether it says what became of the fact in the end. A worker that has passed a fact on, now or before, does not know.
    pub fn is_last_word(self) -> bool {
        self.meaning() != Meaning::PassedOn && self != Outcome::Repeated
    }

    /// Whether an operator has to look at it.
    pub fn is_failure(self) -> bool {
        matches!(self, Outcome::Refused | Outcome::Contradicts)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = String;

    /// Fails with what was expected where the text names no outcome.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or_else(|| {
            format!("expected one of {}, got {text:?}", Self::ALL.map(Outcome::as_str).join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_read_as_it_is_written() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
            let json = serde_json::to_string(&outcome).unwrap();
            assert_eq!(json, format!("{:?}", outcome.as_str()));
            assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome);
        }
        assert!("seen".parse::<Outcome>().is_err());
    }
}
