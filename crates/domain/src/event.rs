//! Events: what Bursar tells the world, as past-tense verbs.
//!
//! Adding an event: its data in `event/data.rs`, its line in `events!` below, and where it is told.

mod data;

pub use data::{
    AccountRestored, AccountRestricted, BalanceExhausted, BalanceLow, CreditsConsumed, CreditsExpired,
    CreditsGranted, CreditsHeld, CreditsReleased, CreditsRestored, CreditsReversed, DebtCovered,
    DebtIncurred, DisputeLost, DisputeOpened, DisputeTold, DisputeUpdated, DisputeWon, PaymentDelivered,
    PaymentUndelivered,
};

use crate::envelope::Cause;
use crate::ids::AccountId;
use crate::money::Credits;
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

/// Makes of the list of events the enum of their kinds and that of their data. Alerts have no data here: what they say is for
/// whoever raises them.
macro_rules! events {
    (
        with_data { $($(#[$doc:meta])* $name:ident $text:literal,)* }
        of_alerts { $($(#[$other_doc:meta])* $other:ident $other_text:literal,)* }
    ) => {
        /// Its text is the CloudEvents type and the routing key. Public names: see the contract before changing one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $($(#[$doc])* $name,)*
            $($(#[$other_doc])* $other,)*
        }

        impl EventKind {
            pub const ALL: [EventKind; [$($text,)* $($other_text,)*].len()] =
                [$(EventKind::$name,)* $(EventKind::$other,)*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(EventKind::$name => $text,)*
                    $(EventKind::$other => $other_text,)*
                }
            }
        }

        /// What changed, by the kind of the event.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum EventData {
            $($name($name),)*
        }

        impl EventData {
            pub fn kind(&self) -> EventKind {
                match self {
                    $(EventData::$name(_) => EventKind::$name,)*
                }
            }
        }

        $(
            impl From<$name> for EventData {
                fn from(data: $name) -> EventData {
                    EventData::$name(data)
                }
            }
        )*
    };
}

events! {
    with_data {
        CreditsGranted "credits.granted",
        CreditsConsumed "credits.consumed",
        CreditsHeld "credits.held",
        CreditsReleased "credits.released",
        CreditsReversed "credits.reversed",
        CreditsRestored "credits.restored",
        CreditsExpired "credits.expired",
        DebtIncurred "debt.incurred",
        DebtCovered "debt.covered",
        BalanceLow "balance.low",
        BalanceExhausted "balance.exhausted",
        PaymentUndelivered "payment.undelivered",
        PaymentDelivered "payment.delivered",
        AccountRestricted "account.restricted",
        AccountRestored "account.restored",
        DisputeOpened "dispute.opened",
        DisputeUpdated "dispute.updated",
        DisputeWon "dispute.won",
        DisputeLost "dispute.lost",
    }
    of_alerts {
        /// To operators, as [`EventKind::AlertCleared`]: of no account.
        AlertRaised "alert.raised",
        AlertCleared "alert.cleared",
    }
}

/// One event as it is decided. Whoever emits it gives it its number in the sequence of its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Nothing for what an unassigned payment brings about.
    pub account: Option<AccountId>,
    pub cause: Cause,
    pub time: OffsetDateTime,
    pub data: EventData,
    /// The account's, after everything that the cause brought about.
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

/// The `source` of events that the disputes worker emits.
pub const SOURCE_DISPUTES: &str = "bursar/disputes";

/// The `source` of alerts about dead letters.
pub const SOURCE_DEAD_LETTERS: &str = "bursar/dead-letters";

impl Event {
    pub fn kind(&self) -> EventKind {
        self.data.kind()
    }

    /// The event's `data` as it is stored, hashed and published: what changed, then the balances.
    pub fn data_to_json(&self) -> Box<RawValue> {
        #[derive(Serialize)]
        struct Spelled<'a> {
            #[serde(flatten)]
            data: &'a EventData,
            #[serde(flatten)]
            balances: Option<Balances>,
        }
        serde_json::value::to_raw_value(&Spelled { data: &self.data, balances: self.balances })
            .expect("what an event says is text alone")
    }
}
