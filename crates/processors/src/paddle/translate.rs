//! Paddle's events as facts.
//!
//! What moves money: a transaction that was paid, and adjustments. A transaction never changes afterwards; every
//! refund, chargeback and reversal of one is an adjustment with an id of its own. Amounts are counted before tax and
//! after discounts on both sides, line by line, so an adjustment of tax alone is a movement of nothing
//! (<https://developer.paddle.com/build/transactions/create-transaction-adjustments>).

mod adjustments;
mod transactions;

use super::entities::{NAME, account};
use crate::delivery::{Delivery, read_event_id, read_event_type, read_object};
use crate::fields::{Field, read_rfc3339};
use crate::refused::Malformed;
use crate::set_aside::SetAside;
use crate::settings::{Mode, Settings};
use adjustments::adjustment;
use domain::fact::Customer;
use domain::{CustomerId, Envelope, Fact};
use time::OffsetDateTime;
use transactions::payment;

/// Events that Paddle's simulator makes up; nothing else in a payload tells live from test.
const SIMULATED: &str = "ntfsimevt_";

/// See [`Processor::translate`](crate::Processor::translate).
///
/// # Errors
/// Nothing tells which event it is. Whatever else is wrong makes an `unrecognised` fact.
pub fn translate(
    settings: &Settings,
    body: &[u8],
    received_at: OffsetDateTime,
) -> Result<Vec<Envelope>, Malformed> {
    let document = read_object(body)?;
    let event = Field::root(&document);
    let delivery = Delivery {
        processor: NAME,
        event_id: read_event_id(event.get("event_id"))?,
        event_type: read_event_type(event.get("event_type"))?,
        occurred_at: event.get("occurred_at").text().and_then(|text| read_rfc3339(&text)),
        received_at,
        body,
    };
    let facts = read(settings, &delivery, event.get("data"));
    Ok(delivery.seal(facts, settings.credits_scale))
}

fn read(settings: &Settings, delivery: &Delivery<'_>, data: Field<'_>) -> Result<Vec<Fact>, SetAside> {
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
    let occurred_at = delivery
        .occurred_at
        .ok_or_else(|| SetAside::malformed("occurred_at: expected a time by RFC 3339, got none"))?;
    read(settings, occurred_at, data)
}

fn customer(
    settings: &Settings,
    occurred_at: OffsetDateTime,
    data: Field<'_>,
) -> Result<Vec<Fact>, SetAside> {
    Ok(vec![Fact::Customer(Customer {
        reason: None,
        customer: data.get("id").customer_id(NAME)?,
        email: data.get("email").text().and_then(|text| CustomerId::of_email(&text)),
        account: account(settings, data),
        occurred_at,
    })])
}
