//! Lots: credits of one origin, and where each of them is now.

use crate::ids::{AccountId, PaymentId};
use crate::money::Credits;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use time::OffsetDateTime;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LotKind {
    Purchase,
    Bonus,
    Promotional,
    Goodwill,
    Adjustment,
}

impl LotKind {
    pub const ALL: [LotKind; 5] =
        [LotKind::Purchase, LotKind::Bonus, LotKind::Promotional, LotKind::Goodwill, LotKind::Adjustment];

    /// As it is stored and published.
    pub fn as_str(self) -> &'static str {
        match self {
            LotKind::Purchase => "purchase",
            LotKind::Bonus => "bonus",
            LotKind::Promotional => "promotional",
            LotKind::Goodwill => "goodwill",
            LotKind::Adjustment => "adjustment",
        }
    }

    /// The one of this text; `None` if there is none.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Credits that were given without a payment.
    fn is_given(self) -> bool {
        match self {
            LotKind::Bonus | LotKind::Promotional | LotKind::Goodwill => true,
            LotKind::Purchase | LotKind::Adjustment => false,
        }
    }
}

/// Credits of one origin. `granted = remaining + held + consumed + reversed + expired`, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lot {
    /// Derived from its origin, so that a rebuild gives it the same name: `paddle:txn_1#purchase`.
    pub lot: String,
    pub account: AccountId,
    pub payment: Option<PaymentId>,
    pub kind: LotKind,
    pub granted: Credits,
    pub remaining: Credits,
    pub held: Credits,
    pub consumed: Credits,
    pub reversed: Credits,
    pub expired: Credits,
    pub since: OffsetDateTime,
    /// The term of what was bought or given, or the end of a grace where that is later.
    pub expires_at: Option<OffsetDateTime>,
    /// Credits that came back after the term can be spent until then.
    pub grace_until: Option<OffsetDateTime>,
}

impl Lot {
    /// A new lot of which everything remains.
    pub fn issued(
        lot: String,
        account: AccountId,
        payment: Option<PaymentId>,
        kind: LotKind,
        credits: Credits,
        since: OffsetDateTime,
        expires_at: Option<OffsetDateTime>,
    ) -> Self {
        let none = Credits::ZERO;
        Self {
            lot,
            account,
            payment,
            kind,
            granted: credits,
            remaining: credits,
            held: none,
            consumed: none,
            reversed: none,
            expired: none,
            since,
            expires_at,
            grace_until: None,
        }
    }

    /// Sets the term, which a grace that was given may outlast.
    pub fn expire_at(&mut self, term: Option<OffsetDateTime>) {
        self.expires_at = term.map(|term| self.grace_until.map_or(term, |grace| grace.max(term)));
    }

    /// What is left after the term can be spent until then.
    pub fn give_grace(&mut self, at: OffsetDateTime, until: OffsetDateTime) {
        if self.remaining.is_positive() && self.expires_at.is_some_and(|expires_at| expires_at <= at) {
            self.grace_until = Some(until);
            self.expire_at(self.expires_at);
        }
    }

    /// Whether what was granted is what is in its parts, none of which is less than zero.
    pub fn adds_up(&self) -> bool {
        let parts = [self.remaining, self.held, self.consumed, self.reversed, self.expired];
        parts.iter().all(|part| *part >= Credits::ZERO) && parts.into_iter().sum::<Credits>() == self.granted
    }
}

/// One criterion of the order in which usage burns lots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BurnKey {
    /// Soonest expiry first; lots that never expire last.
    Expiry,
    /// Given before paid.
    Promotional,
    Oldest,
}

pub const BURN_ORDER_DEFAULT: [BurnKey; 3] = [BurnKey::Expiry, BurnKey::Promotional, BurnKey::Oldest];

/// Compares two lots by the configured keys, then by name, so that the order is total.
pub fn burn_order(keys: &[BurnKey], a: &Lot, b: &Lot) -> Ordering {
    let by_key = |key: &BurnKey| match key {
        BurnKey::Expiry => match (a.expires_at, b.expires_at) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        },
        BurnKey::Promotional => b.kind.is_given().cmp(&a.kind.is_given()),
        BurnKey::Oldest => a.since.cmp(&b.since),
    };
    keys.iter().map(by_key).find(|order| order.is_ne()).unwrap_or_else(|| a.lot.cmp(&b.lot))
}
