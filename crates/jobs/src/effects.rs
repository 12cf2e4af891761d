//! What a worker's decision changed in the journal, as plans and statements show it.

use domain::Credits;
use domain::event::Balances;
use serde::Serialize;
use time::OffsetDateTime;

/// What one fact posted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Posted {
    /// By account and number.
    pub transactions: Vec<TransactionView>,
    /// Of every account with a transaction among them.
    pub balances: Vec<BalanceChange>,
}

/// An account's balances before a fact and after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BalanceChange {
    pub account: String,
    pub before: Balances,
    pub after: Balances,
}

/// A transaction of the journal as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TransactionView {
    pub account: String,
    pub number: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub kind: String,
    pub cause: String,
    pub payment: Option<String>,
    pub entries: Vec<EntryView>,
    /// The account's balances after it; only a statement says them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Balances>,
}

/// An entry of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryView {
    pub book: String,
    pub lot: Option<String>,
    pub amount: Credits,
}

impl TransactionView {
    /// By how much it changed a book.
    pub fn change(&self, book: &str) -> Credits {
        self.entries.iter().filter(|entry| entry.book == book).map(|entry| entry.amount).sum()
    }

    /// The account's balances after it, from those before it.
    pub fn after(&self, before: Balances) -> Balances {
        Balances {
            available: before.available + self.change("available"),
            held: before.held + self.change("held"),
            debt: before.debt + self.change("debt"),
        }
    }
}
