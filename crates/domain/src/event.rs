//! Events: what Bursar tells the world, as past-tense verbs, in sequence per account.

use crate::envelope::Cause;
use crate::ids::{AccountId, PaymentId};
use crate::money::Credits;
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

/// Its text is the CloudEvents type and the routing key. Public names: see the contract before changing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    CreditsGranted,
    CreditsConsumed,
    CreditsHeld,
    CreditsReleased,
    CreditsReversed,
    CreditsRestored,
    CreditsExpired,
    DebtIncurred,
    DebtCovered,
    BalanceLow,
    BalanceExhausted,
    PaymentUndelivered,
    PaymentDelivered,
    /// To operators, as [`EventKind::AlertCleared`]: of no account.
    AlertRaised,
    AlertCleared,
}

impl EventKind {
    pub const ALL: [EventKind; 15] = [
        EventKind::CreditsGranted,
        EventKind::CreditsConsumed,
        EventKind::CreditsHeld,
        EventKind::CreditsReleased,
        EventKind::CreditsReversed,
        EventKind::CreditsRestored,
        EventKind::CreditsExpired,
        EventKind::DebtIncurred,
        EventKind::DebtCovered,
        EventKind::BalanceLow,
        EventKind::BalanceExhausted,
        EventKind::PaymentUndelivered,
        EventKind::PaymentDelivered,
        EventKind::AlertRaised,
        EventKind::AlertCleared,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::CreditsGranted => "credits.granted",
            EventKind::CreditsConsumed => "credits.consumed",
            EventKind::CreditsHeld => "credits.held",
            EventKind::CreditsReleased => "credits.released",
            EventKind::CreditsReversed => "credits.reversed",
            EventKind::CreditsRestored => "credits.restored",
            EventKind::CreditsExpired => "credits.expired",
            EventKind::DebtIncurred => "debt.incurred",
            EventKind::DebtCovered => "debt.covered",
            EventKind::BalanceLow => "balance.low",
            EventKind::BalanceExhausted => "balance.exhausted",
            EventKind::PaymentUndelivered => "payment.undelivered",
            EventKind::PaymentDelivered => "payment.delivered",
            EventKind::AlertRaised => "alert.raised",
            EventKind::AlertCleared => "alert.cleared",
        }
    }
}

/// One event. Those of an account carry its sequence; an unassigned payment's carry none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub account: Option<AccountId>,
    /// Per account, from 1, without gaps.
    pub sequence: Option<u64>,
    pub cause: Cause,
    pub time: OffsetDateTime,
    pub data: EventData,
}

/// What changed, then the account's balances after everything that the cause brought about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct EventData {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub movement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits: Option<Credits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debt_incurred: Option<Credits>,
    /// What `available` fell below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Credits>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub balances: Option<Balances>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Balances {
    pub available: Credits,
    pub held: Credits,
    pub debt: Credits,
}

/// The `source` of events that the ledger emits.
pub const SOURCE_LEDGER: &str = "bursar/ledger";

/// The `source` of alerts about dead letters.
pub const SOURCE_DEAD_LETTERS: &str = "bursar/dead-letters";

impl EventData {
    pub fn to_json(&self) -> Box<RawValue> {
        serde_json::value::to_raw_value(self).expect("what an event tells is text alone")
    }
}
