//! Checkout sessions: what was bought, by whom, and whether its money is there.

use super::sold::{describe, items};
use crate::account_link;
use crate::fields::Field;
use crate::set_aside::SetAside;
use crate::stripe::objects::{
    EventContext, NAME, account, expandable_payment, in_currency, money, optional_money, others,
};
use domain::fact::{AccountLink, Payment, PaymentStatus, Purpose};
use domain::{Fact, Money};

/// A session completes before the money of slow payment methods is there, and before an authorised one is captured:
/// `payment_status` decides (<https://docs.stripe.com/checkout/fulfillment>). What it names is known from then on, since
/// no event of the session follows a capture.
///
/// # Errors
/// Why it gives no facts to act on.
pub fn session(context: &EventContext<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let intent = expandable_payment(object.get("payment_intent"))?;
    let mode = object.get("mode");
    let purpose = match &*mode.required_text("payment, setup or subscription")? {
        "payment" => Purpose::Credits,
        // Its invoice's intent and charge tell of the money. A session that does not name them would be counted beside.
        "subscription" if intent.is_some() => Purpose::Other,
        "setup" | "subscription" => return Err(mode.no_effect()),
        _ => return Err(mode.unknown("payment, setup or subscription")),
    };
    let status = status(context, object)?;
    let session = object.get("id").payment_id(NAME)?;
    let payment = intent.unwrap_or_else(|| session.clone());
    let amount = money(object, "amount_total")?;
    Ok(vec![Fact::Payment(Payment {
        aliases: others(&payment, [Some(session)]),
        status,
        before_tax: before_tax(object)?,
        before_discounts: optional_money(object, "amount_subtotal")?,
        purpose,
        items: items(context, object, Some(amount))?,
        account: account(context.settings, object).or_else(|| reference(context, object)),
        ..describe(context, object, payment, amount)?
    })])
}

fn status(context: &EventContext<'_>, session: Field<'_>) -> Result<PaymentStatus, SetAside> {
    const EXPECTED: &str = "paid, unpaid or no_payment_required";
    let status = session.get("payment_status");
    match &*status.required_text(EXPECTED)? {
        "paid" | "no_payment_required" => Ok(PaymentStatus::Paid),
        // Nothing is to be paid yet, and the amount is unknown.
        "unpaid" if session.get("amount_total").is_absent() => Err(status.no_effect()),
        "unpaid" if context.event_type == "checkout.session.async_payment_failed" => {
            Ok(PaymentStatus::Failed)
        }
        "unpaid" => Ok(PaymentStatus::Pending),
        _ => Err(status.unknown(EXPECTED)),
    }
}

/// Platforms put other things there as well, such as order numbers: it only serves where nothing explicit is said.
fn reference(context: &EventContext<'_>, session: Field<'_>) -> Option<AccountLink> {
    let text = session.get("client_reference_id").account_text()?;
    let link = account_link::from_browser(context.settings.link_secret.as_ref(), &text)?;
    Some(AccountLink { by_reference: true, ..link })
}

fn before_tax(session: Field<'_>) -> Result<Option<Money>, SetAside> {
    let tax = session.get("total_details").get("amount_tax");
    if tax.is_absent() {
        return Ok(None);
    }
    let total = session.get("amount_total").minor_units_number()?;
    in_currency(session, tax, total.saturating_sub(tax.minor_units_number()?)).map(Some)
}
