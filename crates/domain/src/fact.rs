//! Facts: what a delivery reports, in Bursar's own words, as nouns. Immutable once admitted.
//!
//! Adding a fact: its file here, with its data and what the fleet asks about it ([`FactData`]), and its line in `facts!` below.
//! Fields are added with a default and never change their meaning: facts are stored for good.

mod adjustment;
mod assignment;
mod customer;
mod data;
mod dispute;
mod erasure;
mod expiry;
mod grant;
mod hold;
mod limits;
mod link;
mod movement;
mod origin;
mod payment;
mod refund_request;
mod restriction;
mod serde_form;
mod unrecognised;
mod usage;
mod valuation;

pub use adjustment::{Adjustment, AdjustmentKind};
pub use assignment::{Assignment, AssignmentAct};
pub use customer::Customer;
pub use data::{FactData, Fields, StatedBy};
pub use dispute::{Dispute, DisputeStatus};
pub use erasure::ERASED;
pub use expiry::Expiry;
pub use grant::{Grant, GrantKind};
pub use hold::{Hold, HoldStatus};
pub use limits::TEXT_LENGTH_MAX;
pub use link::{AccountLink, LinkProof};
pub use movement::{MovedLine, Movement, MovementKind, MovementStatus};
pub use origin::{DIGEST_FORM, DIGEST_PREFIX, REMOVED, is_digest, read_digest};
pub use payment::{LineItem, Payment, PaymentStatus, Purpose};
pub use refund_request::RefundRequest;
pub use restriction::{Restriction, RestrictionAct, RestrictionKind};
pub(crate) use serde_form::is_false;
pub use unrecognised::{Unrecognised, UnrecognisedWhy};
pub use usage::Usage;
pub use valuation::Valuation;

use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde_json::value::RawValue;
use time::OffsetDateTime;

/// Makes of the list of facts both enums, and a `match` over each for the functions below: no call of theirs goes through a
/// pointer. `$` is handed in for the macros that it makes.
macro_rules! facts {
    ($d:tt $($name:ident,)*) => {
        /// What a fact is about. Its text is the CloudEvents type and the routing key.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FactKind {
            $($name,)*
        }

        /// One fact, with the data of its kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Fact {
            $($name($name),)*
        }

        impl FactKind {
            pub const ALL: [FactKind; [$(stringify!($name)),*].len()] = [$(FactKind::$name),*];
        }

        impl Fact {
            /// What it is about.
            pub fn kind(&self) -> FactKind {
                match self {
                    $(Fact::$name(_) => FactKind::$name,)*
                }
            }
        }

        $(
            impl From<$name> for Fact {
                fn from(data: $name) -> Fact {
                    Fact::$name(data)
                }
            }
        )*

        /// An expression over the data of a fact, whichever kind it is of.
        macro_rules! of_data {
            ($d fact:expr, $d data:ident => $d body:expr) => {
                match $d fact {
                    $(Fact::$name($d data) => $d body,)*
                }
            };
        }

        /// An expression over the type of a kind's data.
        macro_rules! of_type {
            ($d kind:expr, $d data:ident => $d body:expr) => {
                match $d kind {
                    $(FactKind::$name => {
                        type $d data = $name;
                        $d body
                    })*
                }
            };
        }
    };
}

facts! { $
    Payment,
    Movement,
    Dispute,
    Customer,
    Usage,
    Grant,
    Hold,
    RefundRequest,
    Adjustment,
    Assignment,
    Valuation,
    Expiry,
    Restriction,
    Unrecognised,
}

impl FactKind {
    /// Its CloudEvents type and routing key.
    pub fn as_str(self) -> &'static str {
        of_type!(self, Data => Data::NAME)
    }

    /// The kind of this name; nothing where no fact has it.
    pub fn parse(text: &str) -> Option<FactKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Who may state it besides the fleet.
    pub fn stated_by(self) -> StatedBy {
        of_type!(self, Data => Data::STATED_BY)
    }

    /// Facts that no publisher and no token can be given the right to state: see [`StatedBy::FleetAlone`].
    pub fn is_money(self) -> bool {
        self.stated_by() == StatedBy::FleetAlone
    }

    /// What anyone may state where nothing else is configured: see [`StatedBy::Anyone`].
    pub fn is_open_to_all(self) -> bool {
        self.stated_by() == StatedBy::Anyone
    }

    /// See [`FactData::IS_DESCRIPTION`].
    pub fn is_description(self) -> bool {
        of_type!(self, Data => Data::IS_DESCRIPTION)
    }

    /// See [`FactData::TEXTS`].
    pub fn texts(self) -> &'static [&'static str] {
        of_type!(self, Data => Data::TEXTS)
    }

    /// See [`FactData::EXAMPLE`].
    pub fn example(self) -> &'static str {
        of_type!(self, Data => Data::EXAMPLE)
    }

    /// See [`FactData::FIELDS`].
    pub fn fields(self) -> Fields {
        of_type!(self, Data => Data::FIELDS)
    }

    /// See [`FactData::outranking`].
    pub(crate) fn outranking<'a>(self, path: &str, lesser: &'a str, greater: &'a str) -> Option<&'a str> {
        of_type!(self, Data => Data::outranking(path, lesser, greater))
    }
}

impl std::fmt::Display for FactKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Fact {
    /// Reads the data of a fact of this kind. Fields that the kind does not have are left out.
    ///
    /// # Errors
    /// A field is missing, or has a value that it cannot have.
    pub fn parse(kind: FactKind, data: &RawValue) -> Result<Fact, serde_json::Error> {
        of_type!(kind, Data => serde_json::from_str::<Data>(data.get()).map(Fact::from))
    }

    /// The fact in its one spelling: two facts say the same exactly if this text is the same.
    pub fn canonical(&self) -> Box<RawValue> {
        of_data!(self, data => serde_json::value::to_raw_value(data))
            .expect("facts hold only strings, numbers and times, which JSON can spell")
    }

    /// The account that the fact itself names; a movement's is known only through its payment.
    pub fn account(&self) -> Option<&AccountId> {
        of_data!(self, data => data.account())
    }

    /// The customer that the fact names.
    pub fn customer(&self) -> Option<&CustomerId> {
        of_data!(self, data => data.customer())
    }

    /// Every id of a purchase that the fact names, the payment's own first; empty for facts about none.
    pub fn payment_ids(&self) -> Vec<&PaymentId> {
        of_data!(self, data => data.payment_ids())
    }

    /// What the fact is about, by the processor's own id; empty where it has none.
    pub fn object_id(&self) -> &str {
        of_data!(self, data => data.object_id())
    }

    /// Every time that it states.
    pub fn times(&self) -> impl Iterator<Item = OffsetDateTime> {
        of_data!(self, data => data.times()).into_iter().flatten()
    }

    /// Money that was paid or goes back, credits that are given or used: how much of them, whatever their sign. What a payment
    /// grants only the ledger can tell.
    pub fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        of_data!(self, data => data.at_stake())
    }

    /// Why it was stated, in the words of whoever did.
    pub fn reason(&self) -> Option<&str> {
        of_data!(self, data => data.reason())
    }

    /// What an operator did by it, in a few words; to whom stands beside it.
    pub fn act(&self) -> String {
        of_data!(self, data => data.act())
    }

    /// Texts of a processor's that become keys or columns.
    pub fn keys(&self) -> Vec<&str> {
        of_data!(self, data => data.keys())
    }

    /// The digests of the address and of the device that it came from, as far as it tells them.
    pub fn origin(&self) -> [Option<&str>; 2] {
        of_data!(self, data => data.origin())
    }

    fn set_origin(&mut self, origin: [Option<String>; 2]) {
        of_data!(self, data => data.set_origin(origin));
    }

    /// Limits that the shape alone does not hold: credits that a platform's service states are more than zero (of usage also
    /// zero) and within the deployment's scale, texts have a length, addresses and devices are digests.
    ///
    /// # Errors
    /// What was expected and what came.
    pub fn check(&self, credits_scale: u32) -> Result<(), String> {
        of_data!(self, data => data.check(credits_scale))
    }

    /// The same fact with each of its texts erased. A text that is not there stays so.
    #[must_use]
    pub fn without_texts(mut self) -> Self {
        of_data!(&mut self, data => data.erase_texts());
        self
    }
}

#[cfg(test)]
mod tests;
