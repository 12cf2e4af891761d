//! What operators do with letters. Each act is one transaction, is in the audit, and takes the letters as they are when it
//! happens: of two operators who act on the same letters, the second gets an error that says so.

mod edit;
mod erase;
mod replays;
mod store;

pub use edit::{Edit, edit};
pub use erase::{Erased, Whose, erase};
pub use replays::{ReplayPace, cancel, pause, release, resume, start_replay};
pub use store::{discard, note, record, undo};

use crate::read::{Filter, LetterState};
use serde_json::Value;
use uuid::Uuid;

#[derive(Debug, thiserror::Error)]
pub enum ActError {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error(
        "expected {expected} letters, found {found}: they changed since you looked. Look again, then say how many there are"
    )]
    Count { expected: i64, found: i64 },
    #[error("expected a letter that is {wanted}, found none that the filter means: see `bursar dlq list`")]
    Nothing { wanted: LetterState },
    #[error(
        "expected letter {letter} to be {wanted}, it is {state}: somebody else has dealt with it, see `bursar dlq show {letter}`"
    )]
    Otherwise { letter: Uuid, wanted: LetterState, state: String },
    #[error("expected the id of a letter, got {0}: see `bursar dlq list`")]
    Unknown(Uuid),
    #[error(
        "expected letters that still say something, {0} of them were erased: what they said is gone for good"
    )]
    Erased(i64),
    #[error("expected who does it, got an empty name: see --by")]
    Nobody,
    #[error("expected the id of a replay that is {wanted}, got {replay}, {found}: see `bursar dlq replays`")]
    Replay { replay: Uuid, wanted: &'static str, found: String },
}

/// Who acts on which letters, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct ActRequest {
    pub by: String,
    pub reason: Option<String>,
    /// `states` is set by the act.
    pub filter: Filter,
    /// So many are expected; whatever there is where it is not said.
    pub expected: Option<i64>,
    /// At most so many, the oldest.
    pub max: Option<i64>,
}

/// Something done that changed no letter: an export, what was drained, deliveries that were admitted again. What may be
/// broken off is written down before it begins, without letters, and again with what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    pub by: String,
    pub action: &'static str,
    /// What was meant, in the words of the act.
    pub filter: Option<Value>,
    pub letters: Option<i64>,
    pub reason: Option<String>,
    pub result: Option<Value>,
}

/// What a note is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoteTarget {
    Letter(Uuid),
    Fingerprint(String),
}
