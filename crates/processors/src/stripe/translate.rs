//! Stripe's events as facts.
//!
//! Stripe tells of one purchase in three objects: checkout session, payment intent, charge, each in events of its own.
//! All become payments with the same identity, the payment intent, and are merged by the ledger; where they differ the
//! session leads, then the intent, then the charge. Amounts are as charged, tax included, on both sides.
//!
//! What an object says counts, not the event's name: events are stamped in whole seconds and come in any order.

mod disputes;
mod payments;
mod refunds;

use super::NAME;
use crate::delivery::{Delivery, SetAside, read_event_id, read_event_type, read_object};
use crate::fields::{Field, read_unix_seconds};
use crate::{Malformed, Mode, Settings, account_link};
use disputes::{dispute, early_fraud_warning};
use domain::fact::{AccountLink, Customer};
use domain::money::{self, Currency};
use domain::{CustomerId, Envelope, Fact, Money, PaymentId};
use payments::{charge, payment_intent, session};
use refunds::{refund, refunded_charge};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;

/// Events that tell only of an id, to be fetched: <https://docs.stripe.com/event-destinations>.
const THIN_EVENT: &str = "v2.core.event";

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    livemode: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Wire<'_> {
    fn is_thin(&self) -> bool {
        self.object
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .is_some_and(|text: String| text == THIN_EVENT)
    }

    fn livemode(&self) -> Option<bool> {
        serde_json::from_str(self.livemode?.get()).ok()
    }
}

/// What every translation of an object needs besides the object.
struct Context<'a> {
    settings: &'a Settings,
    event_type: &'a str,
    occurred_at: OffsetDateTime,
}

pub fn translate(
    settings: &Settings,
    body: &[u8],
    received_at: OffsetDateTime,
) -> Result<Vec<Envelope>, Malformed> {
    let wire: Wire<'_> = read_object(body)?;
    let created = wire.created.and_then(|raw| serde_json::from_str::<i64>(raw.get()).ok());
    let delivery = Delivery {
        processor: NAME,
        event_id: read_event_id("id", wire.id)?,
        event_type: read_event_type("type", wire.event_type)?,
        occurred_at: created.and_then(read_unix_seconds),
        received_at,
        body,
    };
    let facts = read(settings, &delivery, &wire);
    Ok(delivery.seal(facts, settings.credits_scale))
}

fn read(settings: &Settings, delivery: &Delivery<'_>, wire: &Wire<'_>) -> Result<Vec<Fact>, SetAside> {
    if wire.is_thin() {
        return Err(SetAside::event_type());
    }
    check_mode(settings.mode, wire.livemode())?;
    let read = translation(&delivery.event_type)?;
    let data: Value = wire
        .data
        .and_then(|data| serde_json::from_str(data.get()).ok())
        .ok_or_else(|| SetAside::malformed("data: expected an object, got something unreadable"))?;
    let occurred_at = delivery
        .occurred_at
        .ok_or_else(|| SetAside::malformed("created: expected unix seconds, got none"))?;
    let context = Context { settings, event_type: &delivery.event_type, occurred_at };
    read(&context, Field::root("data", &data).get("object"))
}

type Read = fn(&Context<'_>, Field<'_>) -> Result<Vec<Fact>, SetAside>;

fn translation(event_type: &str) -> Result<Read, SetAside> {
    Ok(match event_type {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => session,
        "payment_intent.succeeded" => payment_intent,
        "charge.succeeded" | "charge.captured" | "charge.updated" => charge,
        "charge.refunded" => refunded_charge,
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => refund,
        "charge.dispute.created"
        | "charge.dispute.updated"
        | "charge.dispute.closed"
        | "charge.dispute.funds_withdrawn"
        | "charge.dispute.funds_reinstated" => dispute,
        "radar.early_fraud_warning.created" | "radar.early_fraud_warning.updated" => early_fraud_warning,
        "customer.created" | "customer.updated" => customer,
        "checkout.session.async_payment_failed"
        | "checkout.session.expired"
        | "charge.failed"
        | "charge.expired"
        | "charge.pending" => return Err(SetAside::no_effect("tells that no money came")),
        other if other.starts_with("payment_intent.") => {
            return Err(SetAside::no_effect(
                "of payment intents only payment_intent.succeeded tells of money",
            ));
        }
        _ => return Err(SetAside::event_type()),
    })
}

/// An event that does not say is no proof of real money.
fn check_mode(mode: Mode, livemode: Option<bool>) -> Result<(), SetAside> {
    match (mode, livemode) {
        (Mode::Live, Some(true)) | (Mode::Test, Some(false) | None) => Ok(()),
        (Mode::Live, Some(false)) => {
            Err(SetAside::mode("livemode: expected true on a live ledger, got false"))
        }
        (Mode::Live, None) => Err(SetAside::mode("livemode: expected true on a live ledger, got none")),
        (Mode::Test, Some(true)) => {
            Err(SetAside::mode("livemode: expected false on a test ledger, got true"))
        }
    }
}

fn customer(context: &Context<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    Ok(vec![Fact::Customer(Customer {
        reason: None,
        customer: object.get("id").customer_id(NAME)?,
        email: object.get("email").text().and_then(CustomerId::of_email),
        account: account(context.settings, object),
        occurred_at: context.occurred_at,
    })])
}

/// Metadata is set with the secret key: the platform's server states it.
fn account(settings: &Settings, object: Field<'_>) -> Option<AccountLink> {
    let text = object.get("metadata").account_text(&settings.custom_data_key)?;
    account_link::from_server(settings.link_secret.as_ref(), &text)
}

/// The payment that a refund, dispute or warning is about: by its intent, else by its charge.
fn payment_of(object: Field<'_>) -> Result<(PaymentId, Vec<PaymentId>), SetAside> {
    let charge = expandable_payment(object.get("charge"))?;
    let intent = expandable_payment(object.get("payment_intent"))?;
    let payment = intent
        .or_else(|| charge.clone())
        .ok_or_else(|| object.get("payment_intent").malformed("an id, here or in charge"))?;
    let aliases = others(&payment, [charge]);
    Ok((payment, aliases))
}

fn expandable_payment(field: Field<'_>) -> Result<Option<PaymentId>, SetAside> {
    let id = field.expandable_id()?;
    id.map(|id| PaymentId::new(NAME, id).map_err(|_| field.malformed("an id that is short enough")))
        .transpose()
}

fn others<const N: usize>(payment: &PaymentId, ids: [Option<PaymentId>; N]) -> Vec<PaymentId> {
    ids.into_iter().flatten().filter(|id| id != payment).collect()
}

fn money(object: Field<'_>, name: &'static str) -> Result<Money, SetAside> {
    let field = object.get(name);
    in_currency(object, field, field.minor_units_number()?)
}

fn in_currency(object: Field<'_>, field: Field<'_>, minor_units: i128) -> Result<Money, SetAside> {
    let currency = object.get("currency").currency()?;
    Money::from_minor(minor_units, exponent(currency), currency).map_err(|error| field.unfit_amount(&error))
}

/// Decimal places as Stripe counts them. It charges UGX and ISK with two though nothing is worth that little, and MGA
/// with none: <https://docs.stripe.com/currencies#special-cases>.
fn exponent(currency: Currency) -> u32 {
    match currency {
        Currency::UGX | Currency::ISK => 2,
        Currency::MGA => 0,
        _ => money::exponent(currency),
    }
}
