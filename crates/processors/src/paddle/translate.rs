//! Paddle's events as facts.
//!
//! What moves money: a transaction that was paid, and adjustments. A transaction never changes afterwards; every
//! refund, chargeback and reversal of one is an adjustment with an id of its own. Amounts are counted before tax on
//! both sides, so an adjustment of tax alone is a movement of nothing
//! (<https://developer.paddle.com/build/transactions/create-transaction-adjustments>).

use super::NAME;
use crate::delivery::{Delivery, SetAside, read_event_id, read_event_type, read_object};
use crate::fields::{Field, read_rfc3339};
use crate::{Malformed, Mode, Settings, account_link};
use domain::fact::{
    AccountLink, Customer, Dispute, DisputeStatus, Item, Movement, MovementKind, MovementStatus, Payment,
    PaymentStatus,
};
use domain::money::exponent;
use domain::{CustomerId, Envelope, Fact, Money};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;

/// Events that Paddle's simulator makes up; nothing else in a payload tells live from test.
const SIMULATED: &str = "ntfsimevt_";

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    occurred_at: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

pub fn translate(
    settings: &Settings,
    body: &[u8],
    received_at: OffsetDateTime,
) -> Result<Vec<Envelope>, Malformed> {
    let wire: Wire<'_> = read_object(body)?;
    let occurred_at = wire.occurred_at.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let delivery = Delivery {
        processor: NAME,
        event_id: read_event_id("event_id", wire.event_id)?,
        event_type: read_event_type("event_type", wire.event_type)?,
        occurred_at: occurred_at.and_then(|text| read_rfc3339(&text)),
        received_at,
        body,
    };
    let facts = read(settings, &delivery, wire.data);
    Ok(delivery.seal(facts, settings.credits_scale))
}

fn read(
    settings: &Settings,
    delivery: &Delivery<'_>,
    data: Option<&RawValue>,
) -> Result<Vec<Fact>, SetAside> {
    if settings.mode == Mode::Live && delivery.event_id.starts_with(SIMULATED) {
        return Err(SetAside::mode("event_id: expected an event of a live ledger, got one of the simulator"));
    }
    let read: fn(&Settings, OffsetDateTime, Field<'_>) -> Result<Vec<Fact>, SetAside> = match delivery
        .event_type
        .as_str()
    {
        "transaction.paid" | "transaction.completed" => payment,
        "adjustment.created" | "adjustment.updated" => adjustment,
        "customer.created" | "customer.updated" | "customer.imported" => customer,
        // `transaction.updated` comes beside `completed` with the same status: it must not pay again.
        other if other.starts_with("transaction.") => {
            return Err(SetAside::no_effect("only transaction.paid and transaction.completed tell of money"));
        }
        _ => return Err(SetAside::event_type()),
    };
    let data: Value = data
        .and_then(|data| serde_json::from_str(data.get()).ok())
        .ok_or_else(|| SetAside::malformed("data: expected an object, got something unreadable"))?;
    let occurred_at = delivery
        .occurred_at
        .ok_or_else(|| SetAside::malformed("occurred_at: expected a time by RFC 3339, got none"))?;
    read(settings, occurred_at, Field::root("data", &data))
}

/// `paid` says that the money came, `completed` that Paddle has finished its books: whichever comes first counts, and
/// both describe the same object.
fn payment(settings: &Settings, occurred_at: OffsetDateTime, data: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let status = data.get("status");
    match status.required_text("paid or completed")? {
        "paid" | "completed" => {}
        "draft" | "ready" | "billed" | "canceled" | "past_due" => return Err(status.no_effect()),
        _ => return Err(status.unknown("paid or completed")),
    }
    let totals = data.get("details").get("totals");
    let tax = totals.get("tax").minor_units_text()?;
    let before_tax = totals.get("total").minor_units_text()?.checked_sub(tax);
    let amount = money(data, totals.get("total"), before_tax)?;
    Ok(vec![Fact::Payment(Payment {
        before_discounts: None,
        purpose: domain::fact::Purpose::default(),
        payment: data.get("id").payment_id(NAME)?,
        aliases: Vec::new(),
        object: data.get("id").id()?.to_owned(),
        precedence: 0,
        status: PaymentStatus::Paid,
        amount,
        before_tax: Some(amount),
        items: items(data.get("items"))?,
        account: account(settings, data),
        customer: data.get("customer_id").customer_id(NAME).ok(),
        occurred_at,
    })])
}

fn items(items: Field<'_>) -> Result<Vec<Item>, SetAside> {
    if items.is_absent() {
        return Err(items.malformed("a list"));
    }
    items
        .elements()?
        .map(|item| {
            let price = item.get("price").get("id");
            let price = if price.is_absent() { item.get("price_id") } else { price };
            Ok(Item::new(price.id()?.to_owned(), quantity(item.get("quantity"))?))
        })
        .collect()
}

fn quantity(quantity: Field<'_>) -> Result<u64, SetAside> {
    if quantity.is_absent() {
        return Ok(1);
    }
    let whole = quantity.integer().and_then(|number| u64::try_from(number).ok());
    whole.ok_or_else(|| quantity.malformed("a whole number of zero or more"))
}

/// The direction of the money is the action's, never the sign of an amount: no source says what signs real reversals
/// carry, so a negative amount is set aside for a person to look at.
fn adjustment(_: &Settings, occurred_at: OffsetDateTime, data: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let action = data.get("action");
    let kind = match action.required_text(ACTIONS)? {
        "refund" => MovementKind::Refund,
        // Unlike Stripe's early warnings this one has refunded the buyer already.
        "chargeback" | "chargeback_warning" => MovementKind::Chargeback,
        "chargeback_reverse" | "chargeback_warning_reverse" => MovementKind::Back,
        // Goes to the customer's balance at Paddle, to be spent there: no money returns to the buyer.
        "credit" | "credit_reverse" => return Err(action.no_effect()),
        _ => return Err(action.unknown(ACTIONS)),
    };
    let status = movement_status(data.get("status"))?;
    let subtotal = data.get("totals").get("subtotal");
    let amount = money(data, subtotal, Some(subtotal.minor_units_text()?))?;
    let payment = data.get("transaction_id").payment_id(NAME)?;
    let movement = Movement {
        lines: Vec::new(),
        movement: data.get("id").id()?.to_owned(),
        payment: payment.clone(),
        aliases: Vec::new(),
        kind,
        status,
        amount,
        full: data.get("type").text() == Some("full"),
        hold: None,
        occurred_at,
    };
    let dispute = dispute_status(action.text(), data.get("status").text()).map(|status| Dispute {
        // Paddle names no case: a warning, the chargeback after it and its reversal meet in the transaction.
        dispute: payment.id().to_owned(),
        payment,
        aliases: Vec::new(),
        status,
        amount: Some(amount),
        reason: data.get("reason").word().map(str::to_owned),
        evidence_due_by: None,
        occurred_at,
    });
    Ok([Fact::Movement(movement)].into_iter().chain(dispute.map(Fact::Dispute)).collect())
}

const ACTIONS: &str = "refund, credit, chargeback, chargeback_warning or a reverse of them";

fn movement_status(status: Field<'_>) -> Result<MovementStatus, SetAside> {
    const EXPECTED: &str = "pending_approval, approved, rejected or reversed";
    match status.required_text(EXPECTED)? {
        "pending_approval" => Ok(MovementStatus::Pending),
        // `reversed` is set on the original when its reversal is made. The reversal is a movement of its own; taking
        // this for the money's return as well would give it back twice.
        "approved" | "reversed" => Ok(MovementStatus::Final),
        "rejected" => Ok(MovementStatus::Void),
        _ => Err(status.unknown(EXPECTED)),
    }
}

/// How the case stands. A chargeback that was reversed is closed, so that news of the original cannot open it again; a
/// reversal that is not approved leaves the case as it is.
fn dispute_status(action: Option<&str>, status: Option<&str>) -> Option<DisputeStatus> {
    let is_standing = matches!(status, Some("pending_approval" | "approved"));
    let is_reversed = matches!(status, Some("approved" | "reversed"));
    match action? {
        "chargeback" if is_standing => Some(DisputeStatus::Open),
        "chargeback" if is_reversed => Some(DisputeStatus::Won),
        "chargeback_warning" if is_standing => Some(DisputeStatus::Warning),
        "chargeback" | "chargeback_warning" => Some(DisputeStatus::Prevented),
        "chargeback_reverse" if is_reversed => Some(DisputeStatus::Won),
        "chargeback_warning_reverse" if is_reversed => Some(DisputeStatus::Prevented),
        _ => None,
    }
}

fn customer(
    settings: &Settings,
    occurred_at: OffsetDateTime,
    data: Field<'_>,
) -> Result<Vec<Fact>, SetAside> {
    Ok(vec![Fact::Customer(Customer {
        reason: None,
        customer: data.get("id").customer_id(NAME)?,
        email: data.get("email").text().and_then(CustomerId::of_email),
        account: account(settings, data),
        occurred_at,
    })])
}

/// Custom data can be set in the buyer's browser.
fn account(settings: &Settings, data: Field<'_>) -> Option<AccountLink> {
    let text = data.get("custom_data").account_text(&settings.custom_data_key)?;
    account_link::from_browser(settings.link_secret.as_ref(), &text)
}

/// Amounts come in the lowest denomination of the entity's currency. Payout totals may be in another currency and are
/// never read.
fn money(data: Field<'_>, field: Field<'_>, minor_units: Option<i128>) -> Result<Money, SetAside> {
    let currency = data.get("currency_code").currency()?;
    let minor_units = minor_units.ok_or_else(|| field.malformed("an amount above the tax"))?;
    Money::from_minor(minor_units, exponent(currency), currency).map_err(|error| field.unfit_amount(&error))
}
