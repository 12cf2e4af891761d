//! What a pack holds. Plain data: whoever fills it states what is known, and leaves `None` or empty what is not.
//!
//! Lists come in order of time, the oldest first. Lists that are long in the database are bounded by whoever fills the pack, and
//! what was left out is said beside them. The PDF may cut them further, and says so. Moments are such as can be told
//! (`domain::calendar`), as all are that the database holds.

use domain::journal::{Entry, Hash, Transaction, TransactionKind};
use domain::{AccountId, Cause, Credits, CustomerId, Money, PaymentId, ProcessorName};
use serde::{Serialize, Serializer};
use time::serde::rfc3339;
use time::{Date, OffsetDateTime};

/// Everything that is told about one dispute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pack {
    /// The version of the product that gathered this.
    pub product_version: String,
    /// Who sold, as the platform calls itself (configuration).
    pub seller: Option<String>,
    /// The newest moment that the pack knows of. Taken from the data, not from a clock: the same database gives the same pack.
    #[serde(with = "rfc3339")]
    pub as_of: OffsetDateTime,
    pub dispute: Dispute,
    pub purchase: Purchase,
    pub customer: Customer,
    pub grant: Grant,
    pub usage: Usage,
    /// The account's balance over time, for the chart: a point for each change, or for the last change of each day. Oldest first.
    pub balance: Vec<BalancePoint>,
    pub earlier: EarlierPayments,
    /// Refunds offered, asked for, refused or made on this payment.
    pub refunds: Vec<Refund>,
    /// Restrictions that this case put on the account, and those lifted again.
    pub restrictions: Vec<Restriction>,
    /// What the customer was sent about this purchase.
    pub notifications: Vec<Notification>,
    /// Set where money of this payment went back both by refund and by dispute.
    pub overlap: Option<Overlap>,
    /// What happened, step by step. What operators did (`operator/...`) is left out of a PDF that a bank may read.
    pub timeline: Vec<Step>,
    /// The refund policy that held when it was bought.
    pub policy: Option<Policy>,
    /// What contesting and refunding are worth, a sentence each. For the platform: in the JSON, and in the PDF only where it is
    /// for own records, never where a bank may read it.
    pub economics: Vec<String>,
}

/// The case as the processor's object states it now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dispute {
    /// The processor's id (`du_...`); at Paddle, which has none, the id under which the case is kept.
    pub id: String,
    pub processor: ProcessorName,
    /// Bursar's word for where it stands: `warning`, `open`, `under_review`, `won`, `lost`, ...
    pub state: String,
    /// The processor's own word for it, where it differs (`needs_response`).
    pub processor_status: Option<String>,
    /// The processor's word (`fraudulent`, `product_not_received`, ...).
    pub reason: Option<String>,
    /// The card network (`visa`), where known.
    pub network: Option<String>,
    /// The network's own code (`10.4`), where known.
    pub network_reason_code: Option<String>,
    /// What is disputed; may be more or less than what was paid.
    pub amount: Option<Money>,
    #[serde(with = "rfc3339")]
    pub opened_at: OffsetDateTime,
    /// Until when evidence is taken; `None` where no answer is possible or none is taken.
    #[serde(with = "rfc3339::option")]
    pub due_by: Option<OffsetDateTime>,
}

/// The disputed purchase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Purchase {
    pub payment: PaymentId,
    /// Other ids of the same purchase (charge, checkout session).
    pub aliases: Vec<PaymentId>,
    /// What was paid, counted as the processor counts movements.
    pub amount: Money,
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    pub items: Vec<Item>,
    /// What it was, in a sentence, as the buyer saw it; where known.
    pub description: Option<String>,
    /// It is known to be bought once, and to be no fee of a subscription.
    pub is_one_off: bool,
    pub references: References,
}

/// A line of the purchase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// The price's id or name in the catalog.
    pub price: String,
    /// What people call it, where known.
    pub name: Option<String>,
    pub quantity: u64,
    pub amount: Option<Money>,
    /// The credits that this line grants, where they are told by line.
    pub credits: Option<Credits>,
}

/// What one payment shares with another, as far as facts carry it: keyed digests as facts spell them, or ids that the platform uses. Two
/// that are equal stand for the same value; the value itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct References {
    /// Where it was bought from: the digest of the IP address.
    pub ip: Option<String>,
    /// What it was bought with: the digest of the device's id or fingerprint.
    pub device: Option<String>,
    /// The digest of the e-mail address.
    pub email: Option<String>,
    /// The digest of the address that it was shipped to; credits have none.
    pub shipping_address: Option<String>,
    /// The digest or the processor's fingerprint of the card or other means of payment.
    pub payment_method: Option<String>,
}

/// Whose account it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Customer {
    pub account: AccountId,
    /// How the payment is tied to the account, in words: `signed link`, `metadata of the charge`, `claimed only`.
    pub link: Option<String>,
    /// The processor's reference.
    pub customer: Option<CustomerId>,
    /// As the customer gave it, where it is known; Bursar's facts name no person.
    pub name: Option<String>,
    /// In the clear, where it is known; it goes to Stripe only if it is there.
    pub email: Option<String>,
    /// The account's first transaction.
    #[serde(with = "rfc3339::option")]
    pub since: Option<OffsetDateTime>,
}

/// What the payment gave to the account, with the journal's proof.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grant {
    /// What was delivered, bonus included. `ZERO` where nothing was.
    pub credits: Credits,
    #[serde(with = "rfc3339::option")]
    pub at: Option<OffsetDateTime>,
    /// What the customer used of them, by the journal's usage of this payment's lots. Taking credits back undoes no use: this is
    /// not the lots' own `consumed`, which is nothing once all is reversed.
    pub consumed: Credits,
    /// Still to be spent.
    pub remaining: Credits,
    pub held: Credits,
    pub reversed: Credits,
    pub expired: Credits,
    /// The journal's transactions of this payment, in order of number: granted, held, reversed, restored. No usage of other
    /// payments, and not each usage of this one.
    pub transactions: Vec<Proof>,
    /// Transactions of this payment that are not in the list.
    pub transactions_left_out: u64,
    /// The last number and hash of the account's chain when this was gathered.
    pub head: Option<Head>,
}

/// One transaction of the journal, with all that its hash is made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    /// Counts the account's transactions from 1.
    pub number: u64,
    #[serde(serialize_with = "kind")]
    pub kind: TransactionKind,
    /// As `{"source": ..., "id": ...}`.
    #[serde(serialize_with = "cause")]
    pub cause: Cause,
    pub payment: Option<PaymentId>,
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// Each as `[book, lot or null, amount]`.
    pub entries: Vec<Entry>,
    /// The hash of the account's transaction before; 32 zero bytes before the first.
    #[serde(serialize_with = "hash")]
    pub previous_hash: Hash,
    #[serde(serialize_with = "hash")]
    pub hash: Hash,
}

impl Proof {
    /// Of a transaction of the journal and the hash of the one before it.
    pub fn new(transaction: Transaction, previous_hash: Hash) -> Self {
        Self {
            number: transaction.number,
            kind: transaction.kind,
            cause: transaction.cause,
            payment: transaction.payment,
            at: transaction.at,
            entries: transaction.entries,
            previous_hash,
            hash: transaction.hash,
        }
    }

    /// Whether its entries sum to zero and its hash follows from what it says and from the hash before it.
    pub fn holds(&self, account: &AccountId) -> bool {
        let transaction = Transaction {
            account: account.clone(),
            number: self.number,
            kind: self.kind,
            cause: self.cause.clone(),
            payment: self.payment.clone(),
            at: self.at,
            entries: self.entries.clone(),
            hash: self.hash,
        };
        transaction.balances() && transaction.chained_hash(&self.previous_hash) == self.hash
    }
}

/// Where an account's chain ends.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Head {
    pub number: u64,
    #[serde(serialize_with = "hash")]
    pub hash: Hash,
}

/// What the account used from the purchase on.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Usage {
    /// How often something was used, all days together, those left out included.
    pub count: u64,
    /// What was used, all days together, those left out included.
    pub credits: Credits,
    #[serde(with = "rfc3339::option")]
    pub first_at: Option<OffsetDateTime>,
    #[serde(with = "rfc3339::option")]
    pub last_at: Option<OffsetDateTime>,
    /// Days (UTC) on which something was used, the oldest first.
    pub days: Vec<UsageDay>,
    /// Days on which something was used and which are not in the list.
    pub days_left_out: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsageDay {
    #[serde(with = "day")]
    pub day: Date,
    pub count: u64,
    pub credits: Credits,
    /// The platform's own ids of usages of that day, some of them.
    pub references: Vec<String>,
    pub references_left_out: u64,
    /// Digests of the IP addresses that it came from, each once.
    pub ips: Vec<String>,
    /// Digests of devices, each once.
    pub devices: Vec<String>,
}

/// From this moment on, until the next point, the account stood so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BalancePoint {
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    pub available: Credits,
    pub held: Credits,
    pub debt: Credits,
}

/// Payments of the same account before this one that nobody disputed.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct EarlierPayments {
    /// The oldest first.
    pub payments: Vec<EarlierPayment>,
    pub left_out: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EarlierPayment {
    pub payment: PaymentId,
    pub aliases: Vec<PaymentId>,
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    pub amount: Money,
    /// What it was, where known.
    pub description: Option<String>,
    pub references: References,
}

/// One step of a refund on this payment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refund {
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// In a word: `offered`, `requested`, `denied`, `approved`, `completed`, `failed`, ...
    pub state: String,
    pub amount: Option<Money>,
    /// The processor's or the case's id.
    pub reference: Option<String>,
    /// Why, in a sentence.
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Restriction {
    /// `access`, `checkout` or `balance`.
    pub kind: String,
    /// What it stands for: this case, a rule, an operator.
    pub cause: String,
    #[serde(with = "rfc3339")]
    pub since: OffsetDateTime,
    /// When it was lifted; `None` while it stands.
    #[serde(with = "rfc3339::option")]
    pub until: Option<OffsetDateTime>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notification {
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// `mail`, `webhook`, ...
    pub channel: String,
    /// What it told, in a sentence.
    pub what: String,
    /// The id that it can be found by.
    pub reference: Option<String>,
    /// What became of it: `delivered`, `bounced`, ...
    pub outcome: Option<String>,
}

/// Money of one payment that went back twice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overlap {
    /// Movements of the payment: refunds, chargebacks and what came back.
    pub movements: Vec<Movement>,
    /// What went back beyond what was paid, in the payment's currency.
    pub paid_twice: Option<Money>,
    /// What the processor took for it, in the currency of settlement.
    pub fees: Option<Money>,
    /// What it is and what it costs, in a sentence or two.
    pub note: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Movement {
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// The processor's id.
    pub id: String,
    /// `refund`, `chargeback` or `back`.
    pub kind: String,
    pub amount: Money,
    /// `pending`, `final` or `void`.
    pub status: String,
}

/// One line of the case's timeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// Who did or said it: the processor's name, `bursar`, `operator/<name>`, `customer`.
    pub who: String,
    /// What it was, in a sentence.
    pub what: String,
    /// What it did to credits, in words; `None` where nothing.
    pub credits: Option<String>,
    /// What it did to the account's standing, in words; `None` where nothing.
    pub standing: Option<String>,
}

/// The refund policy that the buyer was shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Policy {
    /// Its version or date.
    pub version: Option<String>,
    /// Its words.
    pub text: String,
    /// How and when it was shown, in a sentence, where known.
    pub disclosure: Option<String>,
}

fn kind<S: Serializer>(kind: &TransactionKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

fn cause<S: Serializer>(cause: &Cause, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct;
    let mut fields = serializer.serialize_struct("Cause", 2)?;
    fields.serialize_field("source", &cause.source)?;
    fields.serialize_field("id", &cause.id)?;
    fields.end()
}

fn hash<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(hash))
}

mod day {
    use serde::Serializer;
    use time::Date;
    use time::macros::format_description;

    /// `2026-11-20`.
    pub fn serialize<S: Serializer>(day: &Date, serializer: S) -> Result<S::Ok, S::Error> {
        let text = day.format(format_description!("[year]-[month]-[day]"));
        serializer.serialize_str(&text.map_err(serde::ser::Error::custom)?)
    }
}
