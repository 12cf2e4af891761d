//! Erasing what people wrote: the texts of facts and the bodies of deliveries. Identity, amounts and everything that was
//! posted stand, and so does their proof.
//!
//! What is erased stays so: a repeat is measured by what is left, and brings nothing back.

mod store;

pub use store::{erase, erase_older, erasures};

use serde::Serialize;
use time::OffsetDateTime;

/// The operator who has something erased, why, and what it is about, in words: an account, a fact, a retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub by: String,
    pub reason: Option<String>,
    pub about: String,
    /// One moment for the whole act, however many steps it has.
    pub at: OffsetDateTime,
}

/// What an erasure reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Reached {
    pub facts: u64,
    pub bodies: u64,
    pub letters: u64,
}

impl Reached {
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl std::ops::AddAssign for Reached {
    fn add_assign(&mut self, more: Self) {
        self.facts += more.facts;
        self.bodies += more.bodies;
        self.letters += more.letters;
    }
}

/// One act, as the audit shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErasureLine {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub by: String,
    pub about: String,
    pub reason: Option<String>,
    pub facts: i64,
    pub bodies: i64,
    pub letters: i64,
}
