//! The journal: append-only double-entry transactions of one account, chained by hash.
//!
//! Every transaction balances to zero in two halves: what was issued against where it is now (`issued`, `available`,
//! `held`, `consumed`, `reversed`, `expired`, each entry naming its lot), and usage that no credits cover against the
//! account's overdraft (`debt`, `overdrawn`).

use crate::envelope::Cause;
use crate::ids::{AccountId, PaymentId};
use crate::money::Credits;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Book {
    /// The source of credits: minus what was ever granted.
    Issued,
    Available,
    Held,
    Consumed,
    Reversed,
    /// Breakage.
    Expired,
    /// Usage that no credits cover.
    Debt,
    /// The other side of debt.
    Overdrawn,
}

impl Book {
    pub const ALL: [Book; 8] = [
        Book::Issued,
        Book::Available,
        Book::Held,
        Book::Consumed,
        Book::Reversed,
        Book::Expired,
        Book::Debt,
        Book::Overdrawn,
    ];

    /// As it is stored and published.
    pub fn as_str(self) -> &'static str {
        match self {
            Book::Issued => "issued",
            Book::Available => "available",
            Book::Held => "held",
            Book::Consumed => "consumed",
            Book::Reversed => "reversed",
            Book::Expired => "expired",
            Book::Debt => "debt",
            Book::Overdrawn => "overdrawn",
        }
    }

    /// The one of this text; nothing where there is none.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|book| book.as_str() == text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionKind {
    Grant,
    Usage,
    Hold,
    Release,
    Reversal,
    Restoration,
    /// Available credits take over usage that was debt.
    Cover,
    /// What a payment grants turned out to be another amount.
    Correction,
    /// Credits whose time was up: breakage.
    Expiry,
    /// An operator gave or took credits.
    Adjustment,
    /// An operator forgave debt.
    WriteOff,
    /// An operator moved a payment to another account: its credits leave one and come to the other.
    Move,
}

impl TransactionKind {
    pub const ALL: [TransactionKind; 12] = [
        TransactionKind::Grant,
        TransactionKind::Usage,
        TransactionKind::Hold,
        TransactionKind::Release,
        TransactionKind::Reversal,
        TransactionKind::Restoration,
        TransactionKind::Cover,
        TransactionKind::Correction,
        TransactionKind::Expiry,
        TransactionKind::Adjustment,
        TransactionKind::WriteOff,
        TransactionKind::Move,
    ];

    /// As it is stored and published.
    pub fn as_str(self) -> &'static str {
        match self {
            TransactionKind::Grant => "grant",
            TransactionKind::Usage => "usage",
            TransactionKind::Hold => "hold",
            TransactionKind::Release => "release",
            TransactionKind::Reversal => "reversal",
            TransactionKind::Restoration => "restoration",
            TransactionKind::Cover => "cover",
            TransactionKind::Correction => "correction",
            TransactionKind::Expiry => "expiry",
            TransactionKind::Adjustment => "adjustment",
            TransactionKind::WriteOff => "write_off",
            TransactionKind::Move => "move",
        }
    }

    /// The one of this text; nothing where there is none.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Stored as `[book, lot or null, amount]`, the amount as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub book: Book,
    /// Whose credits; debt belongs to the account and to no lot.
    pub lot: Option<String>,
    pub amount: Credits,
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.book.as_str(), self.lot.as_deref(), self.amount).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (book, lot, amount) = <(String, Option<String>, Credits)>::deserialize(deserializer)?;
        let book = Book::parse(&book)
            .ok_or_else(|| D::Error::custom(format!("expected a book of the journal, got {book:?}")))?;
        Ok(Self { book, lot, amount })
    }
}

pub type Hash = [u8; 32];

/// The hash before an account's first transaction.
pub const GENESIS: Hash = [0; 32];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub account: AccountId,
    /// Counts the account's transactions from 1, without gaps.
    pub number: u64,
    pub kind: TransactionKind,
    pub cause: Cause,
    pub payment: Option<PaymentId>,
    pub at: OffsetDateTime,
    pub entries: Vec<Entry>,
    pub hash: Hash,
}

impl Transaction {
    /// As they are stored.
    pub fn entries_to_json(&self) -> String {
        serde_json::to_string(&self.entries).expect("entries hold only text")
    }

    /// Whether its entries sum to zero.
    pub fn balances(&self) -> bool {
        self.entries.iter().map(|entry| entry.amount).sum::<Credits>().is_zero()
    }

    /// SHA-256 over the previous transaction's hash and this one's content, each field ended by a zero byte.
    pub fn chained_hash(&self, previous: &Hash) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(previous);
        let mut field = |text: &str| {
            hasher.update(text.as_bytes());
            hasher.update([0]);
        };
        field(self.account.as_str());
        field(&self.number.to_string());
        field(self.kind.as_str());
        field(&self.cause.source);
        field(&self.cause.id);
        field(self.payment.as_ref().map_or("", PaymentId::as_str));
        // Postgres keeps microseconds: what is hashed is what can be read back.
        field(&(self.at.unix_timestamp_nanos() / 1000).to_string());
        for entry in &self.entries {
            field(entry.book.as_str());
            field(entry.lot.as_deref().unwrap_or(""));
            field(&entry.amount.to_string());
        }
        hasher.finalize().into()
    }
}
