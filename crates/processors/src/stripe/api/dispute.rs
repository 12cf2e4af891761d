//! Disputes: <https://docs.stripe.com/api/disputes>.

use super::evidence::Evidence;
use super::form::{FORM, Form};
use super::{answer, get, in_path, post};
use crate::api::{ApiAnswer, IdempotencyKey, RawAnswer, Request};
use crate::fields::read_unix_seconds;
use crate::stripe::currencies;
use domain::Money;
use domain::money::{Currency, InvalidAmount, currency};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;

/// Stripe's most: every page counts against what may be read (<https://docs.stripe.com/rate-limits>).
const PAGE: &str = "100";

/// What of a dispute decides. What is not named here may be missing or new, and is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "DisputeWire")]
pub struct Dispute {
    pub id: String,
    /// An open list: `needs_response`, `under_review`, `won`, `lost`, `warning_...`.
    pub status: String,
    /// May be more or less than the charge's.
    pub amount: Money,
    pub reason: Option<String>,
    pub charge: Option<String>,
    pub payment_intent: Option<String>,
    /// Whether the charge can be given back now; of several disputes of a charge each must say so.
    pub is_charge_refundable: bool,
    pub evidence: EvidenceDetails,
    /// The file that stands there as documentation of the service: `file_...`.
    pub service_documentation: Option<String>,
    /// At most two: what was withdrawn, what came back. In the currency of the settlement, which may be another.
    pub rows: Vec<BalanceRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct EvidenceDetails {
    /// Nothing where no answer is possible.
    #[serde(deserialize_with = "moment_if_any")]
    pub due_by: Option<OffsetDateTime>,
    /// Staged evidence counts.
    pub has_evidence: bool,
    pub past_due: bool,
    /// How often evidence was sent to the bank, by whomever: also by Stripe itself, for an account with Smart Disputes.
    pub submission_count: u32,
}

/// A row of our balance that the dispute made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BalanceRow {
    pub id: String,
    /// `dispute`, `dispute_reversal`, `fee`; an open list.
    pub reporting_category: Option<String>,
    pub currency: String,
    /// In the currency's minor unit; less than zero where money went.
    pub amount: i64,
    /// What Stripe took for it, in the same unit; less than zero where it came back.
    #[serde(default)]
    pub fee: i64,
}

impl Dispute {
    /// What Stripe took when the dispute came, as far as a row tells. Sunk, win or lose, but for Mexico
    /// (<https://docs.stripe.com/disputes/how-disputes-work>).
    pub fn received_fee(&self) -> Option<Money> {
        let row = self.rows.iter().find(|row| row.amount < 0 && row.fee > 0)?;
        money(row.fee, currency(&row.currency).ok()?).ok()
    }
}

/// Whose disputes are asked for.
#[derive(Debug, Clone, Copy)]
pub enum DisputesOf<'a> {
    Charge(&'a str),
    PaymentIntent(&'a str),
}

/// Newest first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "PageWire")]
pub struct DisputePage {
    pub disputes: Vec<Dispute>,
    /// What the next page begins after; nothing where this is the last.
    pub next: Option<String>,
}

pub fn retrieve_dispute(dispute: &str) -> Request {
    get(format!("/v1/disputes/{}", in_path(dispute)))
}

/// A page of at most 100. There is no filter by status.
pub fn list_disputes(of: DisputesOf<'_>, after: Option<&str>) -> Request {
    let query = match of {
        DisputesOf::Charge(id) => Form::default().with("charge", id),
        DisputesOf::PaymentIntent(id) => Form::default().with("payment_intent", id),
    };
    let query = query.with("limit", PAGE);
    let query = match after {
        Some(last) => query.with("starting_after", last),
        None => query,
    };
    get(format!("/v1/disputes?{}", query.text()))
}

/// Stages evidence, or with `submit` sends it to the bank: that happens once and cannot be taken back. Which of them is always
/// said, because Stripe submits where nothing is. Fields that are not named keep what they have.
///
/// Staged is not at rest: an account with Smart Disputes submits before the deadline by itself, with what is staged
/// (<https://docs.stripe.com/disputes/set-up-smart-disputes>).
pub fn update_dispute(dispute: &str, evidence: &Evidence, submit: bool, key: &IdempotencyKey) -> Request {
    let named = |field: &str| format!("evidence[{field}]");
    let form = evidence
        .fields()
        .fold(Form::default(), |form, (field, value)| form.with(&named(field.as_str()), value))
        .with("submit", if submit { "true" } else { "false" });
    post(format!("/v1/disputes/{}", in_path(dispute)), FORM.to_owned(), form.text().into_bytes(), key)
}

/// Accepts the dispute: it is lost then, and that cannot be taken back.
pub fn close_dispute(dispute: &str, key: &IdempotencyKey) -> Request {
    post(format!("/v1/disputes/{}/close", in_path(dispute)), FORM.to_owned(), Vec::new(), key)
}

/// Reads the answer to [`retrieve_dispute`].
pub fn read_dispute(answer: RawAnswer<'_>) -> ApiAnswer<Dispute> {
    answer::read(answer)
}

/// Reads the answer to [`list_disputes`].
pub fn read_disputes(answer: RawAnswer<'_>) -> ApiAnswer<DisputePage> {
    answer::read(answer)
}

/// Reads the answer to [`update_dispute`] and [`close_dispute`]. A dispute that is closed already is refused without a code:
/// what became of it, [`retrieve_dispute`] tells.
pub fn read_dispute_change(answer: RawAnswer<'_>) -> ApiAnswer<Dispute> {
    answer::read_change(answer)
}

#[derive(Deserialize)]
struct DisputeWire {
    id: String,
    status: String,
    amount: i64,
    currency: String,
    reason: Option<String>,
    charge: Option<Expandable>,
    payment_intent: Option<Expandable>,
    #[serde(default)]
    is_charge_refundable: bool,
    evidence_details: Option<EvidenceDetails>,
    evidence: Option<EvidenceWire>,
    balance_transactions: Option<Vec<BalanceRow>>,
}

/// An object, or its id alone.
#[derive(Deserialize)]
struct EvidenceWire {
    service_documentation: Option<Expandable>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expandable {
    Id(String),
    Object { id: String },
}

impl From<Expandable> for String {
    fn from(named: Expandable) -> Self {
        match named {
            Expandable::Id(id) | Expandable::Object { id } => id,
        }
    }
}

#[derive(Deserialize)]
struct PageWire {
    data: Vec<Dispute>,
    has_more: bool,
}

impl From<PageWire> for DisputePage {
    fn from(page: PageWire) -> Self {
        let next = page.data.last().filter(|_| page.has_more).map(|dispute| dispute.id.clone());
        Self { disputes: page.data, next }
    }
}

impl TryFrom<DisputeWire> for Dispute {
    type Error = InvalidAmount;

    fn try_from(wire: DisputeWire) -> Result<Self, InvalidAmount> {
        Ok(Self {
            amount: money(wire.amount, currency(&wire.currency)?)?,
            id: wire.id,
            status: wire.status,
            reason: wire.reason,
            charge: wire.charge.map(String::from),
            payment_intent: wire.payment_intent.map(String::from),
            is_charge_refundable: wire.is_charge_refundable,
            evidence: wire.evidence_details.unwrap_or_default(),
            service_documentation: wire
                .evidence
                .and_then(|evidence| evidence.service_documentation)
                .map(String::from),
            rows: wire.balance_transactions.unwrap_or_default(),
        })
    }
}

fn money(minor: i64, currency: Currency) -> Result<Money, InvalidAmount> {
    Money::from_minor(minor.into(), currencies::exponent(currency), currency)
}

/// Unix seconds; null and 0 are none.
fn moment_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    match Option::<i64>::deserialize(deserializer)? {
        None | Some(0) => Ok(None),
        Some(seconds) => read_unix_seconds(seconds)
            .map(Some)
            .ok_or_else(|| D::Error::custom(format!("expected a time in unix seconds, got {seconds}"))),
    }
}
