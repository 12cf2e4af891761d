//! What a session, intent or charge says in common: who bought what, and what for.
//!
//! Metadata is set with the secret key. It may name a price of the catalog and how many of it; webhooks carry no lines of
//! a cart unless the sender expanded them.

use crate::fields::Field;
use crate::origin::Origins;
use crate::set_aside::SetAside;
use crate::stripe::objects::{EventContext, NAME, account, in_currency};
use domain::fact::{LineItem, Payment, PaymentStatus, Purpose};
use domain::{CustomerId, Money, PaymentId};
use rust_decimal::Decimal;

/// A description of a purchase, paid unless its caller knows better.
///
/// # Errors
/// Why it gives no facts to act on.
pub fn describe(
    context: &EventContext<'_>,
    object: Field<'_>,
    payment: PaymentId,
    amount: Money,
) -> Result<Payment, SetAside> {
    let account = account(context.settings, object);
    let items = items(context, object, None)?;
    let [ip, device] = Origins::of_purchase(context.settings, object.get("metadata"));
    let customer = object.get("customer");
    let customer = if customer.get("id").is_absent() { customer } else { customer.get("id") };
    Ok(Payment {
        payment,
        aliases: Vec::new(),
        object: object.get("id").id()?,
        precedence: 0,
        status: PaymentStatus::Paid,
        amount,
        before_tax: None,
        before_discounts: None,
        purpose: purpose(object, account.is_some() || !items.is_empty()),
        items,
        account,
        // A guest has none: then the customer with the e-mail address that was given at the checkout.
        customer: customer.customer_id(NAME).ok().or_else(|| email(object)),
        ip,
        device,
        occurred_at: context.occurred_at,
    })
}

/// An invoice's intent and charge are a subscription's fee. API version 2025-03-31.basil took `invoice` away: then
/// nothing is stated, unless the platform's own metadata stands there.
fn purpose(object: Field<'_>, names_a_purchase: bool) -> Purpose {
    if !object.get("invoice").is_absent() {
        Purpose::Other
    } else if names_a_purchase {
        Purpose::Credits
    } else {
        Purpose::Unstated
    }
}

/// The price that metadata names, else the lines of the cart where they are told whole.
///
/// # Errors
/// Why it gives no facts to act on.
pub fn items(
    context: &EventContext<'_>,
    object: Field<'_>,
    cart_of: Option<Money>,
) -> Result<Vec<LineItem>, SetAside> {
    let lines = match cart_of {
        Some(amount) => cart(object, amount)?,
        None => Vec::new(),
    };
    let price = object.get("metadata").under(&context.settings.metadata_price_key);
    if price.is_twice() {
        return Err(price.malformed("one price"));
    }
    if is_unset(price) {
        return Ok(lines);
    }
    let Some(price) = readable_price(price) else {
        return Ok(vec![LineItem::new(UNREADABLE, LineItem::QUANTITY_UNKNOWN)]);
    };
    let stated = stated_quantity(context, object);
    // The one line of a cart says how many of the one price that is named.
    let told = stated.or(if let [line] = &lines[..] { Some(line.quantity) } else { None });
    let mut item = LineItem::new(price, told.unwrap_or(1));
    item.quantity_assumed = told.is_none();
    Ok(vec![item])
}

/// Stands for a price that cannot be read. The payment waits: a rate on its money may not be what was meant.
const UNREADABLE: &str = "unreadable";

const PRICE_LENGTH_MAX: usize = 200;

/// An empty text is how Stripe's metadata is unset.
fn is_unset(field: Field<'_>) -> bool {
    field.is_absent() || field.text().is_some_and(|text| text.trim().is_empty())
}

/// Platforms name prices in words, too: "1000 credits".
fn readable_price(price: Field<'_>) -> Option<String> {
    let text = price.account_text()?;
    let text = text.trim();
    (text.len() <= PRICE_LENGTH_MAX && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// A quantity that cannot be read is not one: whoever bought three would be given one. Nobody knows then what was bought, but
/// that it was paid.
fn stated_quantity(context: &EventContext<'_>, object: Field<'_>) -> Option<u64> {
    let quantity = object.get("metadata").under(&context.settings.metadata_quantity_key);
    if is_unset(quantity) {
        return None;
    }
    let is_plain = |text: &String| text.bytes().all(|byte| byte.is_ascii_digit());
    let text = quantity.account_text().filter(is_plain);
    let number = text.and_then(|text| text.parse().ok()).filter(|quantity| *quantity >= 1);
    Some(number.unwrap_or(LineItem::QUANTITY_UNKNOWN))
}

/// `line_items`, in events that a platform sends on after expanding them. A part of a list says nothing of the whole.
fn cart(session: Field<'_>, amount: Money) -> Result<Vec<LineItem>, SetAside> {
    let list = session.get("line_items");
    if list.get("has_more").boolean() == Some(true) {
        return Ok(Vec::new());
    }
    let lines = list.get("data").elements()?;
    let mut items = lines.map(|line| cart_line(session, line)).collect::<Result<Vec<_>, _>>()?;
    let sum: Option<Decimal> = items.iter().map(|item| item.amount.map(|amount| amount.amount())).sum();
    // With shipping the lines are not the whole: then none has a part of its own.
    if sum != Some(amount.amount()) {
        items.iter_mut().for_each(|item| (item.line, item.amount) = (None, None));
    }
    Ok(items)
}

fn cart_line(session: Field<'_>, line: Field<'_>) -> Result<LineItem, SetAside> {
    let price = line.get("price");
    let id = price.expandable_id()?.ok_or_else(|| price.malformed("an id"))?;
    let quantity = line.get("quantity");
    let whole = quantity.integer().and_then(|number| u64::try_from(number).ok());
    let mut item =
        LineItem::new(id, whole.ok_or_else(|| quantity.malformed("a whole number of zero or more"))?);
    item.line = line.get("id").optional_id()?;
    let part = |field: Field<'_>| match field.is_absent() {
        true => Ok(None),
        false => in_currency(session, field, field.minor_units_number()?).map(Some),
    };
    item.amount = part(line.get("amount_total"))?;
    item.before_discounts = part(line.get("amount_subtotal"))?;
    Ok(item)
}

fn email(object: Field<'_>) -> Option<CustomerId> {
    let places = [object.get("customer_details").get("email"), object.get("billing_details").get("email")];
    places.into_iter().find_map(|place| place.text().and_then(|text| CustomerId::of_email(&text)))
}
