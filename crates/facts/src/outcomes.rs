//! What became of facts, at each of their readers.
//!
//! A reader settles each fact once: its outcome is committed together with what the fact changed, and stays. Only a refusal
//! goes, where the fact is decided anew ([`Settlements`]). A fact is settled when each reader that is bound to its kind has settled it; of
//! several outcomes the worst is what an operator sees first.

mod settlements;
mod store;

pub use settlements::Settlements;
pub use store::{of, states};

use domain::{Cause, FactKind, Outcome, PaymentId};
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

/// What a reader made of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settlement {
    cause: Cause,
    kind: FactKind,
    outcome: Outcome,
    /// The payment that the reader found it to be about, if any.
    payment: Option<PaymentId>,
}

/// What one reader made of a fact, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReaderOutcome {
    pub reader: String,
    pub outcome: Outcome,
    #[serde(with = "time::serde::rfc3339")]
    pub settled_at: OffsetDateTime,
}

/// How a fact stands at one of its readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReaderStanding {
    Settled {
        outcome: Outcome,
        at: OffsetDateTime,
    },
    /// Without an outcome, and not lost: its letter waits for an operator, or was discarded. None where retention has deleted
    /// it.
    GivenUp {
        letter: Option<Uuid>,
    },
    InFlight,
    /// It was admitted before the reader existed, and no hand-over has given it to the reader.
    NotHandedOver,
}

/// How an admitted fact stands, at each reader that is bound to its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactState {
    pub cause: Cause,
    pub kind: String,
    /// By name. Empty if no worker reads its kind.
    pub readers: Vec<(String, ReaderStanding)>,
}

impl FactState {
    /// What became of it, once every reader has settled it: the worst of their outcomes. Nothing before. [`Outcome::Kept`]
    /// where it is for nobody.
    pub fn outcome(&self) -> Option<Outcome> {
        let standings = self.readers.iter().map(|(_, standing)| standing);
        let is_open = |standing: &ReaderStanding| {
            matches!(standing, ReaderStanding::GivenUp { .. } | ReaderStanding::InFlight)
        };
        if standings.clone().any(is_open) {
            return None;
        }
        Some(worst(standings.filter_map(ReaderStanding::outcome)).unwrap_or(Outcome::Kept))
    }

    /// What whoever waits for the fact is told. A failure at one of its readers is known at once; that it went well once all of
    /// them have settled it.
    pub fn end(&self) -> Option<FactEnd> {
        let is_given_up = self.readers.iter().any(|(_, at)| matches!(at, ReaderStanding::GivenUp { .. }));
        let given_up = is_given_up.then_some(FactEnd::DeadLetter);
        let settled = || self.outcome().map(FactEnd::Settled);
        self.failure().map(FactEnd::Settled).or(given_up).or_else(settled)
    }

    /// The worst outcome so far that an operator has to look at, whatever others have still to say.
    pub fn failure(&self) -> Option<Outcome> {
        let outcomes = self.readers.iter().filter_map(|(_, standing)| standing.outcome());
        worst(outcomes.filter(|outcome| outcome.is_failure()))
    }
}

/// What is told of a fact that a reader gave up on.
pub const DEAD_LETTER: &str = "dead letter";

/// What is known of a fact, at all its readers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactEnd {
    Settled(Outcome),
    /// A reader gave up on it, and it has no outcome of that reader.
    DeadLetter,
}

impl FactEnd {
    pub fn is_failure(self) -> bool {
        match self {
            FactEnd::Settled(outcome) => outcome.is_failure(),
            FactEnd::DeadLetter => true,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            FactEnd::Settled(outcome) => outcome.as_str(),
            FactEnd::DeadLetter => DEAD_LETTER,
        }
    }
}

impl ReaderStanding {
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            ReaderStanding::Settled { outcome, .. } => Some(*outcome),
            ReaderStanding::GivenUp { .. } | ReaderStanding::InFlight | ReaderStanding::NotHandedOver => None,
        }
    }
}

/// Of several readers' outcomes of one fact the one that an operator sees first: a failure before what waits, what changed
/// something before what did not.
pub fn worst(outcomes: impl IntoIterator<Item = Outcome>) -> Option<Outcome> {
    outcomes.into_iter().max_by_key(|outcome| urgency(*outcome))
}

fn urgency(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Refused => 6,
        Outcome::Contradicts => 5,
        Outcome::Waiting => 4,
        Outcome::Applied => 3,
        Outcome::NoOp => 2,
        Outcome::Ignored => 1,
        // No reader of facts ends with these.
        Outcome::Repeated
        | Outcome::Translated
        | Outcome::Admitted
        | Outcome::Kept
        | Outcome::Added
        | Outcome::Recognised
        | Outcome::Recorded
        | Outcome::ReplayResolved => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(outcome: Outcome) -> ReaderStanding {
        ReaderStanding::Settled { outcome, at: OffsetDateTime::UNIX_EPOCH }
    }

    fn state(standings: &[ReaderStanding]) -> FactState {
        let readers = standings.iter().map(|standing| ("reader".to_owned(), standing.clone())).collect();
        let cause = Cause { source: "paddle".to_owned(), id: "evt_1".to_owned() };
        FactState { cause, kind: "fact.payment".to_owned(), readers }
    }

    #[track_caller]
    fn check(standings: &[ReaderStanding], outcome: Option<Outcome>, failure: Option<Outcome>) {
        let state = state(standings);
        assert_eq!((state.outcome(), state.failure()), (outcome, failure), "{standings:?}");
    }

    #[test]
    fn a_fact_is_settled_once_all_its_readers_have_settled_it_and_the_worst_is_told() {
        use Outcome::{Applied, Contradicts, Ignored, Kept, Refused, Waiting};
        let given_up = ReaderStanding::GivenUp { letter: None };
        check(&[], Some(Kept), None);
        check(&[settled(Applied)], Some(Applied), None);
        check(&[settled(Applied), settled(Ignored)], Some(Applied), None);
        check(&[settled(Applied), settled(Waiting)], Some(Waiting), None);
        check(&[settled(Applied), ReaderStanding::InFlight], None, None);
        check(&[settled(Refused), ReaderStanding::InFlight], None, Some(Refused));
        check(&[settled(Applied), settled(Refused)], Some(Refused), Some(Refused));
        check(&[settled(Contradicts), settled(Refused)], Some(Refused), Some(Refused));
        check(&[settled(Applied), given_up], None, None);
        check(&[settled(Applied), ReaderStanding::NotHandedOver], Some(Applied), None);
        check(&[ReaderStanding::NotHandedOver], Some(Kept), None);
    }

    #[test]
    fn a_failure_at_one_reader_is_known_whatever_others_have_still_to_say() {
        use Outcome::{Applied, Refused};
        let given_up = || ReaderStanding::GivenUp { letter: None };
        let check = |standings: &[ReaderStanding], expect: Option<FactEnd>| {
            assert_eq!(state(standings).end(), expect, "{standings:?}");
        };
        check(&[settled(Refused), ReaderStanding::InFlight], Some(FactEnd::Settled(Refused)));
        check(&[given_up(), ReaderStanding::InFlight], Some(FactEnd::DeadLetter));
        check(&[given_up(), settled(Applied)], Some(FactEnd::DeadLetter));
        check(&[settled(Applied), ReaderStanding::InFlight], None);
        check(&[settled(Applied), ReaderStanding::NotHandedOver], Some(FactEnd::Settled(Applied)));
    }
}
