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
mod sessions;
mod sold;

use super::objects::{EventContext, NAME, account};
use crate::delivery::{Delivery, read_event_id, read_event_type, read_object};
use crate::fields::{Field, read_unix_seconds};
use crate::refused::Malformed;
use crate::set_aside::SetAside;
use crate::settings::{Mode, Settings};
use disputes::{dispute, early_fraud_warning};
use domain::fact::Customer;
use domain::{CustomerId, Envelope, Fact};
use payments::{charge, payment_intent};
use refunds::refund;
use sessions::session;
use time::OffsetDateTime;

/// Events that tell only of an id, to be fetched: <https://docs.stripe.com/event-destinations>.
const THIN_EVENT: &str = "v2.core.event";

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
        event_id: read_event_id(event.get("id"))?,
        event_type: read_event_type(event.get("type"))?,
        occurred_at: event.get("created").integer().and_then(read_unix_seconds),
        received_at,
        body,
    };
    let facts = read(settings, &delivery, event);
    Ok(delivery.seal(facts, settings.credits_scale))
}

fn read(settings: &Settings, delivery: &Delivery<'_>, event: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    if event.get("object").text().as_deref() == Some(THIN_EVENT) {
        return Err(SetAside::event_type());
    }
    check_mode(settings.mode, event.get("livemode").boolean())?;
    check_account(settings, event)?;
    let read = translation(&delivery.event_type)?;
    let occurred_at = delivery
        .occurred_at
        .ok_or_else(|| SetAside::malformed("created: expected unix seconds, got none"))?;
    let api_version = event.get("api_version").text();
    let context = EventContext {
        settings,
        event_type: &delivery.event_type,
        api_version: api_version.as_deref(),
        occurred_at,
    };
    read(&context, event.get("data").get("object"))
}

type Read = fn(&EventContext<'_>, Field<'_>) -> Result<Vec<Fact>, SetAside>;

fn translation(event_type: &str) -> Result<Read, SetAside> {
    Ok(match event_type {
        "checkout.session.completed"
        | "checkout.session.async_payment_succeeded"
        | "checkout.session.async_payment_failed" => session,
        "payment_intent.succeeded" | "payment_intent.amount_capturable_updated" => payment_intent,
        "charge.succeeded" | "charge.captured" | "charge.updated" | "charge.refunded" => charge,
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => refund,
        "charge.dispute.created"
        | "charge.dispute.updated"
        | "charge.dispute.closed"
        | "charge.dispute.funds_withdrawn"
        | "charge.dispute.funds_reinstated" => dispute,
        "radar.early_fraud_warning.created" | "radar.early_fraud_warning.updated" => early_fraud_warning,
        "customer.created" | "customer.updated" => customer,
        "checkout.session.expired" | "charge.failed" | "charge.expired" | "charge.pending" => {
            return Err(SetAside::no_effect("tells that no money came"));
        }
        // Every checkout that was begun makes some of these, and what they say is said again when the money comes.
        other if other.starts_with("payment_intent.") => {
            return Err(SetAside::no_effect(
                "of payment intents only payment_intent.succeeded and .amount_capturable_updated tell of money",
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

/// Whose event it is: `account` stands in those of connected accounts (<https://docs.stripe.com/connect/webhooks>). An
/// organisation's destination tells of several accounts, each named at the end of `context`
/// (<https://docs.stripe.com/changelog/basil/2025-04-30/additional-context-organization-events>). Neither stands in an
/// event of the platform's own.
fn check_account(settings: &Settings, event: Field<'_>) -> Result<(), SetAside> {
    let (account, context) = (event.get("account"), event.get("context"));
    let named = if account.is_absent() { context } else { account };
    if named.is_absent() {
        return Ok(());
    }
    let account = named.text().and_then(|text| text.rsplit('/').next().map(str::to_owned));
    let is_listed = account.is_some_and(|account| settings.stripe_accounts.contains(&account));
    if is_listed {
        return Ok(());
    }
    Err(SetAside::foreign_account(&format!(
        "{named}: expected none or an account of stripe.accounts, got another account's event"
    )))
}

fn customer(context: &EventContext<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    Ok(vec![Fact::Customer(Customer {
        reason: None,
        customer: object.get("id").customer_id(NAME)?,
        email: object.get("email").text().and_then(|text| CustomerId::of_email(&text)),
        account: account(context.settings, object),
        occurred_at: context.occurred_at,
    })])
}
