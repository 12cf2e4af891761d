//! A purchase in Stripe's three objects: checkout session, payment intent, charge.

use super::{Context, account, expandable_payment, in_currency, money, others};
use crate::account_link;
use crate::delivery::SetAside;
use crate::fields::Field;
use crate::stripe::NAME;
use domain::fact::{Item, Payment, PaymentStatus};
use domain::{CustomerId, Fact, Money, PaymentId};

/// A session completes before the money of slow payment methods is there: `payment_status` decides, and
/// `async_payment_succeeded` follows (<https://docs.stripe.com/checkout/fulfillment>).
pub fn session(context: &Context<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let mode = object.get("mode");
    match mode.required_text("payment, setup or subscription")? {
        "payment" => {}
        "setup" | "subscription" => return Err(mode.no_effect()),
        _ => return Err(mode.unknown("payment, setup or subscription")),
    }
    let status = object.get("payment_status");
    match status.required_text("paid, unpaid or no_payment_required")? {
        "paid" | "no_payment_required" => {}
        "unpaid" => return Err(status.no_effect()),
        _ => return Err(status.unknown("paid, unpaid or no_payment_required")),
    }
    let session = object.get("id").payment_id(NAME)?;
    let payment = expandable_payment(object.get("payment_intent"))?.unwrap_or_else(|| session.clone());
    let amount = money(object, "amount_total")?;
    let settings = context.settings;
    let reference = object.account_text("client_reference_id");
    let reference =
        reference.and_then(|text| account_link::from_browser(settings.link_secret.as_ref(), &text));
    Ok(vec![Fact::Payment(Payment {
        aliases: others(&payment, [Some(session)]),
        object: object.get("id").id()?.to_owned(),
        precedence: 0,
        before_tax: before_tax(object)?,
        account: account(settings, object).or(reference),
        ..paid(context, object, payment, amount)?
    })])
}

fn before_tax(session: Field<'_>) -> Result<Option<Money>, SetAside> {
    let tax = session.get("total_details").get("amount_tax");
    if tax.is_absent() {
        return Ok(None);
    }
    let minor = session.get("amount_total").minor_units_number()? - tax.minor_units_number()?;
    in_currency(session, tax, minor).map(Some)
}

pub fn payment_intent(context: &Context<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    const EXPECTED: &str = "succeeded";
    let status = object.get("status");
    match status.required_text(EXPECTED)? {
        "succeeded" => {}
        "requires_payment_method"
        | "requires_confirmation"
        | "requires_action"
        | "processing"
        | "requires_capture"
        | "canceled" => return Err(status.no_effect()),
        _ => return Err(status.unknown(EXPECTED)),
    }
    let payment = object.get("id").payment_id(NAME)?;
    let charge = expandable_payment(object.get("latest_charge"))?;
    let amount = money(object, "amount_received")?;
    Ok(vec![Fact::Payment(Payment {
        aliases: others(&payment, [charge]),
        precedence: 1,
        ..paid(context, object, payment, amount)?
    })])
}

pub fn charge(context: &Context<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    const EXPECTED: &str = "succeeded, pending or failed";
    let status = object.get("status");
    match status.required_text(EXPECTED)? {
        "succeeded" => {}
        "pending" | "failed" => return Err(status.no_effect()),
        _ => return Err(status.unknown(EXPECTED)),
    }
    // An authorisation has succeeded as well; it pays when it is captured, and if it never is, "refunding" it moves
    // nothing.
    if object.get("paid").boolean() != Some(true) || object.get("captured").boolean() != Some(true) {
        return Err(SetAside::no_effect("data.object: is not both paid and captured"));
    }
    let charge = object.get("id").payment_id(NAME)?;
    let payment = expandable_payment(object.get("payment_intent"))?.unwrap_or_else(|| charge.clone());
    let has_captured = object.get("amount_captured").integer().is_some_and(|amount| amount > 0);
    let amount = money(object, if has_captured { "amount_captured" } else { "amount" })?;
    Ok(vec![Fact::Payment(Payment {
        aliases: others(&payment, [Some(charge)]),
        precedence: 2,
        ..paid(context, object, payment, amount)?
    })])
}

/// What session, intent and charge have in common.
fn paid(
    context: &Context<'_>,
    object: Field<'_>,
    payment: PaymentId,
    amount: Money,
) -> Result<Payment, SetAside> {
    let settings = context.settings;
    let price = object.get("metadata").printable(&settings.metadata_price_key);
    let customer = object.get("customer");
    let customer = if customer.get("id").is_absent() { customer } else { customer.get("id") };
    Ok(Payment {
        before_discounts: None,
        purpose: domain::fact::Purpose::default(),
        payment,
        aliases: Vec::new(),
        object: object.get("id").id()?.to_owned(),
        precedence: 0,
        status: PaymentStatus::Paid,
        amount,
        before_tax: None,
        items: price.map(|price| Item::new(price.to_owned(), 1)).into_iter().collect(),
        account: account(settings, object),
        // A guest has none: then whoever has the address that was given at the checkout.
        customer: customer.customer_id(NAME).ok().or_else(|| email(object)),
        occurred_at: context.occurred_at,
    })
}

fn email(object: Field<'_>) -> Option<CustomerId> {
    let places = [object.get("customer_details").get("email"), object.get("billing_details").get("email")];
    places.into_iter().find_map(|place| place.text().and_then(CustomerId::of_email))
}
