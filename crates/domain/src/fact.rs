//! Facts: what a delivery reports, in Bursar's own words, as nouns. Immutable once admitted.
//!
//! Adding a fact: a variant of [`Fact`] and of [`FactKind`], and the arms that the compiler then demands.
//! Fields are added with a default and never change their meaning: facts are stored for good.

use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

/// What a fact is about. Its text is the CloudEvents type and the routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKind {
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
    Unrecognised,
}

impl FactKind {
    pub const ALL: [FactKind; 13] = [
        FactKind::Payment,
        FactKind::Movement,
        FactKind::Dispute,
        FactKind::Customer,
        FactKind::Usage,
        FactKind::Grant,
        FactKind::Hold,
        FactKind::RefundRequest,
        FactKind::Adjustment,
        FactKind::Assignment,
        FactKind::Valuation,
        FactKind::Expiry,
        FactKind::Unrecognised,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            FactKind::Payment => "fact.payment",
            FactKind::Movement => "fact.movement",
            FactKind::Dispute => "fact.dispute",
            FactKind::Customer => "fact.customer",
            FactKind::Usage => "fact.usage",
            FactKind::Grant => "fact.grant",
            FactKind::Hold => "fact.hold",
            FactKind::RefundRequest => "fact.refund_request",
            FactKind::Adjustment => "fact.adjustment",
            FactKind::Assignment => "fact.assignment",
            FactKind::Valuation => "fact.valuation",
            FactKind::Expiry => "fact.expiry",
            FactKind::Unrecognised => "fact.unrecognised",
        }
    }

    pub fn parse(text: &str) -> Option<FactKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Facts that only a processor's verified webhook, an operator, or the fleet itself may state. No publisher and no
    /// token can be given the right to: a forged payment is free money.
    pub fn is_money(self) -> bool {
        match self {
            FactKind::Payment
            | FactKind::Movement
            | FactKind::Dispute
            | FactKind::Hold
            | FactKind::Adjustment
            | FactKind::Assignment
            | FactKind::Valuation
            | FactKind::Expiry
            | FactKind::Unrecognised => true,
            FactKind::Customer | FactKind::Usage | FactKind::Grant | FactKind::RefundRequest => false,
        }
    }
}

impl std::fmt::Display for FactKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One fact, with the data of its kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    Payment(Payment),
    Movement(Movement),
    Dispute(Dispute),
    Customer(Customer),
    Usage(Usage),
    Grant(Grant),
    Hold(Hold),
    RefundRequest(RefundRequest),
    Adjustment(Adjustment),
    Assignment(Assignment),
    Valuation(Valuation),
    Expiry(Expiry),
    Unrecognised(Unrecognised),
}

/// One description of a purchase, by one of the processor's objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    /// The payment's identity: Paddle's transaction; Stripe's payment intent, else the charge, else the session.
    pub payment: PaymentId,
    /// Other ids of the same purchase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<PaymentId>,
    /// The processor's object that says this: `txn_...`, `cs_...`, `pi_...`, `ch_...`.
    pub object: String,
    /// Where descriptions differ, the field of the lowest precedence number wins.
    #[serde(default)]
    pub precedence: u8,
    pub status: PaymentStatus,
    /// What was paid, counted as the processor's movements are: Paddle before tax, Stripe as charged.
    pub amount: Money,
    /// The part before tax, where the processor tells it; a rate applies to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_tax: Option<Money>,
    /// What the goods cost before discounts and tax, where the processor tells it; a catalog's unit amount is held
    /// against this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_discounts: Option<Money>,
    #[serde(default, skip_serializing_if = "Purpose::is_not_asked")]
    pub purpose: Purpose,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountLink>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

/// Whether a description says that credits were bought. Prices of the catalog grant whatever it says; a rate only what
/// is known to be a purchase of credits, unless the configuration lets it apply to any payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It was described before anybody asked, and the field is not there: a rate applies to it as it did then.
    #[default]
    #[serde(skip)]
    NotAsked,
    /// It was asked, and nothing tells.
    Unstated,
    /// A checkout session in mode `payment`, metadata that names the account or a price, a transaction that the
    /// platform's own page or server began with custom data.
    Credits,
    /// The fee of a subscription, or whatever else is known to be no purchase of credits.
    Other,
}

impl Purpose {
    pub fn is_not_asked(&self) -> bool {
        *self == Purpose::NotAsked
    }

    /// The one, where it says what was bought.
    pub fn stated(self) -> Option<Self> {
        match self {
            Purpose::NotAsked | Purpose::Unstated => None,
            Purpose::Credits | Purpose::Other => Some(self),
        }
    }
}

/// Ordered by rank: of two descriptions by one object the further one is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    Pending,
    Failed,
    Paid,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The processor's price, or what the platform named in Stripe's metadata.
    pub price: String,
    pub quantity: u64,
    /// Nobody said how many: the quantity is 1 unless the catalog's unit amount tells more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub quantity_assumed: bool,
    /// The processor's own id of this line of the payment; a movement may name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// What was paid for this line, counted as the payment's amount is: `T_i` of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// What this line cost before discounts and tax.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_discounts: Option<Money>,
    /// The part of each unit that was sold, where it is not the whole: a proration. From 0, which sells nothing, to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Decimal>,
}

impl Item {
    /// Somebody said how many, and it cannot be read: what was bought nobody knows, and neither a price nor a rate tells.
    pub const QUANTITY_UNKNOWN: u64 = u64::MAX;

    /// So many whole units of a price, with nothing else known of them.
    pub fn new(price: impl Into<String>, quantity: u64) -> Self {
        Self {
            price: price.into(),
            quantity,
            quantity_assumed: false,
            line: None,
            amount: None,
            before_discounts: None,
            share: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Which account a payment or customer belongs to, and what that is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLink {
    pub account: AccountId,
    #[serde(default)]
    pub proof: LinkProof,
    /// Read from a field that only serves (`client_reference_id`): a link under the configured key outranks it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_reference: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkProof {
    /// The deployment does not sign its links, or the platform's server stated it.
    #[default]
    Stated,
    /// The platform's signature was checked.
    Signed,
    /// The deployment signs its links and this one was not: the buyer's browser may have written it.
    Claimed,
}

/// Money going back to the buyer, or coming back from there, on a payment, as it looks now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Movement {
    /// The processor's own id: `adj_...`, `re_...`, `dp_...`.
    pub movement: String,
    pub payment: PaymentId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<PaymentId>,
    pub kind: MovementKind,
    pub status: MovementStatus,
    pub amount: Money,
    /// The processor calls it full: a `back` that is full cancels a chargeback whatever the amounts.
    #[serde(default)]
    pub full: bool,
    /// The hold that this movement carries out, and so replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// The parts of the amount that belong to lines of the payment; what is left of it names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<MovedLine>,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

/// The part of a movement that names a line of its payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedLine {
    /// As in [`Item::line`].
    pub line: String,
    pub amount: Money,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementKind {
    Refund,
    Chargeback,
    /// A chargeback's money coming back, with an id of its own (Paddle's `chargeback_reverse`).
    Back,
}

/// Ordered by rank: pending < final < void, since a refund can fail after it had succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementStatus {
    Pending,
    Final,
    Void,
}

/// A dispute or warning as it looks now. Credits follow movements; this decides about people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dispute {
    /// The processor's id of the case; Paddle has none, there it is the transaction's.
    pub dispute: String,
    pub payment: PaymentId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<PaymentId>,
    pub status: DisputeStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub evidence_due_by: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    Warning,
    Open,
    UnderReview,
    Prevented,
    Won,
    Lost,
}

/// A customer of the processor, and the account it stands for where the platform said so. The platform may also state
/// an account for an e-mail address (`email:jane@example.com`): see [`CustomerId`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Customer {
    pub customer: CustomerId,
    /// The customer's address, as a customer id of its own; the address itself is never kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<CustomerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountLink>,
    /// Why an operator linked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

/// Credits spent by API usage that has already happened; zero where it cost nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub account: AccountId,
    pub credits: Credits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Credits given for no money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    pub account: AccountId,
    pub credits: Credits,
    #[serde(default)]
    pub kind: GrantKind,
    pub reason: String,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<OffsetDateTime>,
    /// Who granted it, where an operator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    #[default]
    Promotional,
    Goodwill,
}

/// Credits of a payment to be frozen by the refund desk, as the hold looks now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    pub hold: String,
    pub payment: PaymentId,
    pub amount: Money,
    pub status: HoldStatus,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldStatus {
    Placed,
    Lifted,
}

/// A request for a refund. What it says of a person (mail address, explanation) is not part of the fact: it stays in
/// the delivery's raw body, which has a retention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefundRequest {
    /// As the customer wrote it; the desk looks it up.
    pub transaction: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An operator's correction of an account's credits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adjustment {
    pub account: AccountId,
    /// Not zero. More than zero is given, less is taken as if it had been used; a write-off is more than zero.
    pub credits: Credits,
    #[serde(default)]
    pub kind: AdjustmentKind,
    pub reason: String,
    pub by: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdjustmentKind {
    #[default]
    Correction,
    /// Debt is forgiven, as far as there is any.
    WriteOff,
}

/// An operator's word on a payment: whose it is, and what it grants where no catalog knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub payment: PaymentId,
    pub act: AssignmentAct,
    /// None leaves it to what the payment itself says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// What the payment grants in all, instead of what catalog and rate say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<Credits>,
    /// Restated by the catalog of the day, no longer by that of its first grant.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_todays_catalog: bool,
    pub reason: String,
    pub by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentAct {
    /// Never takes a delivered payment away from its account.
    #[default]
    Deliver,
    /// Also a delivered payment goes to the named account, with everything that became of it.
    Move,
    /// What is known of it is read as it is read today, and the difference is posted.
    Restate,
}

/// An operator's statement of what a movement in another currency is in the payment's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Valuation {
    pub payment: PaymentId,
    pub movement: String,
    pub amount: Money,
    pub reason: String,
    pub by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

/// The lots of an account whose time had come at `as_of`: stated by the scheduled pass, so that a rebuild expires the
/// same credits at the same place in the account's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expiry {
    pub account: AccountId,
    #[serde(with = "time::serde::rfc3339")]
    pub as_of: OffsetDateTime,
}

/// A delivery that was genuine and told nothing that Bursar acts on; kept so that a later version can.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unrecognised {
    pub processor: String,
    /// The processor's name of the event, cut to 200 characters.
    pub event_type: String,
    pub why: UnrecognisedWhy,
    /// What exactly was not understood. Never a value that could identify a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnrecognisedWhy {
    /// An event type that no translation exists for.
    EventType,
    /// A known event type whose state moves no money and links nobody (a draft, a failed attempt).
    NoEffect,
    /// A known event with an unknown action or status.
    Value,
    /// A known event whose fields are missing or malformed. Raises an alarm.
    Malformed,
    /// A test-mode event on a live ledger, or the other way round.
    Mode,
    /// An event about money of another account of the processor's than the platform's.
    ForeignAccount,
}

impl UnrecognisedWhy {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            UnrecognisedWhy::EventType => "event_type",
            UnrecognisedWhy::NoEffect => "no_effect",
            UnrecognisedWhy::Value => "value",
            UnrecognisedWhy::Malformed => "malformed",
            UnrecognisedWhy::Mode => "mode",
            UnrecognisedWhy::ForeignAccount => "foreign_account",
        }
    }
}

impl Fact {
    pub fn kind(&self) -> FactKind {
        match self {
            Fact::Payment(_) => FactKind::Payment,
            Fact::Movement(_) => FactKind::Movement,
            Fact::Dispute(_) => FactKind::Dispute,
            Fact::Customer(_) => FactKind::Customer,
            Fact::Usage(_) => FactKind::Usage,
            Fact::Grant(_) => FactKind::Grant,
            Fact::Hold(_) => FactKind::Hold,
            Fact::RefundRequest(_) => FactKind::RefundRequest,
            Fact::Adjustment(_) => FactKind::Adjustment,
            Fact::Assignment(_) => FactKind::Assignment,
            Fact::Valuation(_) => FactKind::Valuation,
            Fact::Expiry(_) => FactKind::Expiry,
            Fact::Unrecognised(_) => FactKind::Unrecognised,
        }
    }

    /// The account that the fact itself names; a movement's is known only through its payment.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Fact::Payment(payment) => payment.account.as_ref().map(|link| &link.account),
            Fact::Customer(customer) => customer.account.as_ref().map(|link| &link.account),
            Fact::Usage(usage) => Some(&usage.account),
            Fact::Grant(grant) => Some(&grant.account),
            Fact::RefundRequest(request) => request.account.as_ref(),
            Fact::Adjustment(adjustment) => Some(&adjustment.account),
            Fact::Assignment(assignment) => assignment.account.as_ref(),
            Fact::Expiry(expiry) => Some(&expiry.account),
            Fact::Movement(_)
            | Fact::Dispute(_)
            | Fact::Hold(_)
            | Fact::Valuation(_)
            | Fact::Unrecognised(_) => None,
        }
    }

    /// Every id of a purchase that the fact names, the payment's own first; empty for facts about none.
    pub fn payment_ids(&self) -> Vec<&PaymentId> {
        fn all<'a>(first: &'a PaymentId, aliases: &'a [PaymentId]) -> Vec<&'a PaymentId> {
            std::iter::once(first).chain(aliases).collect()
        }
        match self {
            Fact::Payment(payment) => all(&payment.payment, &payment.aliases),
            Fact::Movement(movement) => all(&movement.payment, &movement.aliases),
            Fact::Dispute(dispute) => all(&dispute.payment, &dispute.aliases),
            Fact::Hold(hold) => vec![&hold.payment],
            Fact::Assignment(assignment) => vec![&assignment.payment],
            Fact::Valuation(valuation) => vec![&valuation.payment],
            Fact::Customer(_)
            | Fact::Usage(_)
            | Fact::Grant(_)
            | Fact::RefundRequest(_)
            | Fact::Adjustment(_)
            | Fact::Expiry(_)
            | Fact::Unrecognised(_) => Vec::new(),
        }
    }

    pub fn parse(kind: FactKind, data: &RawValue) -> Result<Fact, serde_json::Error> {
        fn read<'a, T: Deserialize<'a>>(data: &'a RawValue) -> Result<T, serde_json::Error> {
            serde_json::from_str(data.get())
        }
        Ok(match kind {
            FactKind::Payment => Fact::Payment(read(data)?),
            FactKind::Movement => Fact::Movement(read(data)?),
            FactKind::Dispute => Fact::Dispute(read(data)?),
            FactKind::Customer => Fact::Customer(read(data)?),
            FactKind::Usage => Fact::Usage(read(data)?),
            FactKind::Grant => Fact::Grant(read(data)?),
            FactKind::Hold => Fact::Hold(read(data)?),
            FactKind::RefundRequest => Fact::RefundRequest(read(data)?),
            FactKind::Adjustment => Fact::Adjustment(read(data)?),
            FactKind::Assignment => Fact::Assignment(read(data)?),
            FactKind::Valuation => Fact::Valuation(read(data)?),
            FactKind::Expiry => Fact::Expiry(read(data)?),
            FactKind::Unrecognised => Fact::Unrecognised(read(data)?),
        })
    }

    /// The fact in its one spelling: two facts say the same exactly if this text is the same.
    pub fn canonical(&self) -> Box<RawValue> {
        let text = match self {
            Fact::Payment(fact) => serde_json::value::to_raw_value(fact),
            Fact::Movement(fact) => serde_json::value::to_raw_value(fact),
            Fact::Dispute(fact) => serde_json::value::to_raw_value(fact),
            Fact::Customer(fact) => serde_json::value::to_raw_value(fact),
            Fact::Usage(fact) => serde_json::value::to_raw_value(fact),
            Fact::Grant(fact) => serde_json::value::to_raw_value(fact),
            Fact::Hold(fact) => serde_json::value::to_raw_value(fact),
            Fact::RefundRequest(fact) => serde_json::value::to_raw_value(fact),
            Fact::Adjustment(fact) => serde_json::value::to_raw_value(fact),
            Fact::Assignment(fact) => serde_json::value::to_raw_value(fact),
            Fact::Valuation(fact) => serde_json::value::to_raw_value(fact),
            Fact::Expiry(fact) => serde_json::value::to_raw_value(fact),
            Fact::Unrecognised(fact) => serde_json::value::to_raw_value(fact),
        };
        text.expect("facts hold only strings, numbers and times, which JSON can spell")
    }

    /// Limits that the shape alone does not hold: credits that a platform's service states are more than zero (of usage also
    /// zero: a call that cost nothing is no mistake) and within the deployment's scale, texts have a length. Returns what was
    /// expected and what came.
    pub fn check(&self, credits_scale: u32) -> Result<(), String> {
        let positive = |field: &str, credits: Credits| {
            if !credits.is_positive() {
                return Err(format!("{field}: expected more than zero credits, got {credits}"));
            }
            credits.within(credits_scale).map(drop).map_err(|error| format!("{field}: {error}"))
        };
        let short = |field: &str, text: Option<&String>| match text {
            Some(text) if text.len() > TEXT_LENGTH_MAX => {
                Err(format!("{field}: expected at most {TEXT_LENGTH_MAX} bytes, got {}", text.len()))
            }
            // Postgres stores no such character in a text.
            Some(text) if text.contains('\0') => Err(format!("{field}: expected text, got a NUL character")),
            _ => Ok(()),
        };
        let by_operator = |reason: &String, by: &String| {
            if reason.trim().is_empty() || by.trim().is_empty() {
                return Err("data: expected a reason and the operator's name, got an empty text".to_owned());
            }
            short("data.reason", Some(reason))?;
            short("data.by", Some(by))
        };
        match self {
            Fact::Usage(usage) if usage.credits < Credits::ZERO => {
                Err(format!("data.credits: expected zero or more credits, got {}", usage.credits))
            }
            Fact::Usage(usage) => {
                usage.credits.within(credits_scale).map_err(|error| format!("data.credits: {error}"))?;
                short("data.reference", usage.reference.as_ref())?;
                short("data.description", usage.description.as_ref())
            }
            Fact::Grant(grant) => {
                positive("data.credits", grant.credits)?;
                short("data.reason", Some(&grant.reason))?;
                short("data.by", grant.by.as_ref())
            }
            Fact::RefundRequest(request) => {
                short("data.transaction", Some(&request.transaction))?;
                short("data.reason", request.reason.as_ref())
            }
            Fact::Payment(payment) => {
                if payment.aliases.len() > 8 || payment.items.len() > 1000 {
                    return Err("data: expected at most 8 aliases and 1000 items".to_owned());
                }
                payment.items.iter().try_for_each(|item| short("data.items", Some(&item.price)))?;
                short("data.object", Some(&payment.object))
            }
            Fact::Movement(movement) => short("data.movement", Some(&movement.movement)),
            Fact::Dispute(dispute) => {
                short("data.dispute", Some(&dispute.dispute))?;
                short("data.reason", dispute.reason.as_ref())
            }
            Fact::Hold(hold) => short("data.hold", Some(&hold.hold)),
            Fact::Adjustment(adjustment) => {
                match adjustment.kind {
                    AdjustmentKind::Correction if adjustment.credits.is_zero() => {
                        return Err("data.credits: expected more or less than zero credits, got 0".to_owned());
                    }
                    AdjustmentKind::Correction => adjustment
                        .credits
                        .within(credits_scale)
                        .map(drop)
                        .map_err(|error| format!("data.credits: {error}"))?,
                    AdjustmentKind::WriteOff => positive("data.credits", adjustment.credits)?,
                }
                by_operator(&adjustment.reason, &adjustment.by)
            }
            Fact::Assignment(assignment) => {
                if let Some(credits) = assignment.credits {
                    positive("data.credits", credits)?;
                }
                if assignment.act == AssignmentAct::Move && assignment.account.is_none() {
                    return Err(
                        "data.account: expected the account that the payment moves to, got none".to_owned()
                    );
                }
                let is_restated = assignment.act == AssignmentAct::Restate;
                if is_restated && (assignment.account.is_some() || assignment.credits.is_some()) {
                    return Err("data.act: expected restate without an account or credits".to_owned());
                }
                if assignment.by_todays_catalog && !is_restated {
                    return Err("data.by_todays_catalog: expected of restate alone".to_owned());
                }
                by_operator(&assignment.reason, &assignment.by)
            }
            Fact::Valuation(valuation) => {
                short("data.movement", Some(&valuation.movement))?;
                by_operator(&valuation.reason, &valuation.by)
            }
            Fact::Customer(customer) if customer.email.as_ref().is_some_and(|email| !email.is_email()) => {
                Err("data.email: expected email:<address>, got another customer id".to_owned())
            }
            Fact::Customer(customer) => short("data.reason", customer.reason.as_ref()),
            Fact::Expiry(_) | Fact::Unrecognised(_) => Ok(()),
        }
    }
}

/// References, reasons and descriptions: long enough for any id or sentence, short enough to index.
pub const TEXT_LENGTH_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_own_text() {
        for kind in FactKind::ALL {
            assert_eq!(FactKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(FactKind::parse("fact.other"), None);
    }

    #[test]
    fn usage_may_be_of_nothing_and_never_of_less() {
        let check = |credits: &str, expect: Result<&str, &str>| {
            let text = format!(r#"{{"account":"a","credits":"{credits}"}}"#);
            let fact = Fact::parse(FactKind::Usage, &RawValue::from_string(text).unwrap()).unwrap();
            let Fact::Usage(usage) = &fact else { unreachable!() };
            match (fact.check(6), expect) {
                (Ok(()), Ok(expect)) => assert_eq!(usage.credits.to_string(), expect, "{credits}"),
                (Err(why), Err(expect)) => assert!(why.contains(expect), "{credits}: {why}"),
                (got, _) => panic!("{credits}: {got:?}"),
            }
        };
        for zero in ["0", "-0", "0.000", "-0.0", "0.0000000000"] {
            check(zero, Ok("0"));
        }
        check("0.000001", Ok("0.000001"));
        check("1.0000000", Ok("1"));
        check("0.0000001", Err("6 decimal places"));
        check("-0.000001", Err("expected zero or more credits, got -0.000001"));
        check("1000000000000000", Err("credits"));
        let grant = r#"{"account":"a","credits":"0","reason":"r"}"#;
        let grant = Fact::parse(FactKind::Grant, &RawValue::from_string(grant.to_owned()).unwrap()).unwrap();
        assert!(grant.check(6).unwrap_err().contains("expected more than zero credits, got 0"));
    }

    #[test]
    fn unknown_fields_do_not_change_the_canonical_text() {
        let read = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            Fact::parse(FactKind::Usage, &raw).unwrap().canonical().get().to_owned()
        };
        let plain = read(r#"{"account":"a","credits":"12.5"}"#);
        assert_eq!(plain, read(r#"{ "credits": "12.50", "colour": 1, "account": "a" }"#));
        assert_ne!(plain, read(r#"{"account":"a","credits":"12.51"}"#));
    }
}
