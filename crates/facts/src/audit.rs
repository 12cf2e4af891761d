//! What operators did, to anything: written down by whoever carries it out, and read in one list.
//!
//! An act that states a fact is in the inbox, under the operator's source; acts on dead letters, erasures and hand-overs are in
//! tables of their own. Any other act is a row of `audit`, which is written here and never changes. A further place is one more part of
//! `audit/acts.sql`.

mod store;

pub use store::{acts, write};

use domain::{AccountId, Outcome};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

/// An act that is no fact and has no table of its own.
///
/// An erasure does not reach what is written here: `reason` and `details` name nobody but the operator.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorAct<'a> {
    /// Who did it. Not empty.
    pub by: &'a str,
    /// The worker that it was done at.
    pub worker: &'static str,
    /// A word of that worker's own: `note`, `close`, `deny`. Small letters, digits and `_`.
    pub act: &'static str,
    pub subject: ActSubject,
    /// Whose subject it is, where it is an account's.
    pub account: Option<&'a AccountId>,
    pub reason: Option<&'a str>,
    pub details: Option<Value>,
}

/// What an act was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActSubject {
    /// `account`, `payment`, `letter`, `fact`, `case`, `job`. Small letters, digits and `_`.
    pub kind: String,
    pub id: String,
}

impl ActSubject {
    pub fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.to_owned(), id: id.to_owned() }
    }
}

/// One act, wherever it was written down.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PastAct {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub by: String,
    /// Where it was done. Nothing where it is a fact: that is for each of its readers.
    pub worker: Option<String>,
    /// One word: a fact's kind, what was done to dead letters, `erase`, `hand_over`, or a worker's own.
    pub act: String,
    /// The same for people, with its figures.
    pub what: String,
    /// Nothing where it is about whatever a filter meant: then that is in the details.
    pub about: Option<ActSubject>,
    /// Whose it was found to be.
    pub account: Option<String>,
    pub reason: Option<String>,
    /// The fact that it is, where it is one.
    pub fact: Option<String>,
    /// What became of the fact; nothing as long as one of its readers has not settled it.
    pub outcome: Option<Outcome>,
    pub details: Option<Value>,
}

/// Which acts to list; everything that is set must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActQuery {
    pub account: Option<AccountId>,
    pub by: Option<String>,
    /// The id of a subject, of whichever kind.
    pub about: Option<String>,
    /// At or after this.
    pub since: Option<OffsetDateTime>,
    /// Before this.
    pub until: Option<OffsetDateTime>,
    pub limit: i64,
}
