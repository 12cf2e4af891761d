//! What was paid, and what was sold for it.

use crate::fields::{Field, read_rfc3339};
use crate::origin::Origins;
use crate::paddle::entities::{NAME, account, money};
use crate::set_aside::SetAside;
use crate::settings::Settings;
use domain::fact::{LineItem, Payment, PaymentStatus, Purpose};
use domain::{Fact, Money};
use rust_decimal::Decimal;
use std::borrow::Cow;
use time::OffsetDateTime;

/// How a transaction began (<https://developer.paddle.com/api-reference/transactions>, `origin`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// `web`, `api`: the platform's own page or server began it.
    Platform,
    /// `subscription_recurring`, `subscription_update`, `subscription_charge`, and whatever else a subscription begins.
    Subscription,
    /// `subscription_payment_method_change`: the items of the subscription stand in it, and none of them is sold
    /// (<https://developer.paddle.com/build/subscriptions/update-payment-details>).
    CardChange,
    /// Not stated, or a word that Paddle has added since.
    Unknown,
}

impl Origin {
    fn read(data: Field<'_>) -> Result<Self, SetAside> {
        Ok(match data.get("origin").optional_text("a word")?.as_deref() {
            Some("web" | "api") => Origin::Platform,
            Some("subscription_payment_method_change") => Origin::CardChange,
            Some(other) if other.starts_with("subscription_") => Origin::Subscription,
            Some(_) | None => Origin::Unknown,
        })
    }
}

/// `paid` says that the money came, `completed` that Paddle has finished its books: whichever comes first counts, and
/// both describe the same object.
///
/// # Errors
/// Why it gives no facts to act on.
pub fn payment(
    settings: &Settings,
    occurred_at: OffsetDateTime,
    data: Field<'_>,
) -> Result<Vec<Fact>, SetAside> {
    check_status(data.get("status"))?;
    let origin = Origin::read(data)?;
    let totals = data.get("details").get("totals");
    let paid = before_tax(totals)?;
    check_sells(origin, data, totals, paid)?;
    let amount = money(data, totals.get("total"), paid)?;
    let sold = sold(origin, data, amount)?;
    let [ip, device] = Origins::of_purchase(settings, data.get("custom_data"));
    Ok(vec![Fact::Payment(Payment {
        payment: data.get("id").payment_id(NAME)?,
        aliases: Vec::new(),
        object: data.get("id").id()?,
        precedence: 0,
        status: PaymentStatus::Paid,
        amount,
        before_tax: Some(amount),
        before_discounts: if sold.is_some() { optional_money(data, totals.get("subtotal"))? } else { None },
        purpose: if sold.is_some() { purpose(origin, data)? } else { Purpose::Other },
        items: sold.unwrap_or_default(),
        account: account(settings, data),
        customer: data.get("customer_id").customer_id(NAME).ok(),
        ip,
        device,
        occurred_at,
    })])
}

fn check_status(status: Field<'_>) -> Result<(), SetAside> {
    match &*status.required_text("paid or completed")? {
        "paid" | "completed" => Ok(()),
        "draft" | "ready" | "billed" | "canceled" | "past_due" => Err(status.no_effect()),
        _ => Err(status.unknown("paid or completed")),
    }
}

/// What was paid before tax, after discounts, in minor units. An adjustment's subtotal is counted after discounts too.
fn before_tax(totals: Field<'_>) -> Result<i128, SetAside> {
    let tax = totals.get("tax").minor_units_text()?;
    let total = totals.get("total");
    let before_tax = total.minor_units_text()?.checked_sub(tax);
    before_tax.ok_or_else(|| total.malformed("an amount above the tax"))
}

/// A change of the card costs nothing, and a change of a subscription may leave the buyer with a balance at Paddle: then
/// no money came.
fn check_sells(origin: Origin, data: Field<'_>, totals: Field<'_>, paid: i128) -> Result<(), SetAside> {
    let is_free = totals.get("total").minor_units_text()? == 0;
    match origin {
        Origin::CardChange if is_free => Err(data.get("origin").no_effect()),
        Origin::Subscription if paid < 0 => {
            Err(SetAside::no_effect("data.details.totals.total is below zero: no money came"))
        }
        Origin::CardChange | Origin::Subscription | Origin::Platform | Origin::Unknown => Ok(()),
    }
}

/// A subscription's first fee comes from the platform's page as well, and custom data is copied from transaction to
/// subscription: what recurs is no purchase of credits. A price of the catalog grants them none the less.
fn purpose(origin: Origin, data: Field<'_>) -> Result<Purpose, SetAside> {
    let recurs = !data.get("subscription_id").is_absent() || has_recurring_price(data.get("items"));
    Ok(match origin {
        Origin::Subscription | Origin::CardChange => Purpose::Other,
        Origin::Platform | Origin::Unknown if recurs => Purpose::Other,
        Origin::Platform if data.get("custom_data").is_filled_object() => Purpose::Credits,
        Origin::Platform | Origin::Unknown => Purpose::Unstated,
    })
}

fn has_recurring_price(items: Field<'_>) -> bool {
    let items = items.elements().into_iter().flatten();
    items.into_iter().any(|item| item.get("price").get("billing_cycle").is_filled_object())
}

/// Line by line, from `details.line_items`: these have ids, which adjustments name, and amounts. Older transactions have
/// `items` alone. Nothing where a line gives something back: what such a change of a subscription is worth in credits
/// is stated nowhere, so it waits for an operator to decide.
fn sold(origin: Origin, data: Field<'_>, amount: Money) -> Result<Option<Vec<LineItem>>, SetAside> {
    let lines = data.get("details").get("line_items");
    let (lines, told_by) = match lines.elements()?.next() {
        Some(_) => (lines, LineDetail::WithAmounts),
        None => (data.get("items"), LineDetail::WithoutAmounts),
    };
    if lines.is_absent() {
        return Err(lines.malformed("a list"));
    }
    let mut items = Vec::new();
    for line in lines.elements()? {
        if is_given_back(line)? {
            return Ok(None);
        }
        items.push(item(origin, data, line, told_by)?);
    }
    forget_lines_that_do_not_add_up(&mut items, amount);
    Ok(Some(items))
}

#[derive(Clone, Copy)]
enum LineDetail {
    WithAmounts,
    WithoutAmounts,
}

/// Since 2024-03 a change of a subscription shows as lines of negative quantity or amount
/// (<https://developer.paddle.com/changelog/2024/proration-improvements>).
fn is_given_back(line: Field<'_>) -> Result<bool, SetAside> {
    let total = line.get("totals").get("total");
    let is_negative = |text: Cow<'_, str>| text.starts_with('-');
    Ok(line.get("quantity").integer().is_some_and(i64::is_negative) || total.text().is_some_and(is_negative))
}

fn item(origin: Origin, data: Field<'_>, line: Field<'_>, told: LineDetail) -> Result<LineItem, SetAside> {
    let price = line.get("price_id");
    let price = if price.is_absent() { line.get("price").get("id") } else { price };
    let mut item = LineItem::new(price.id()?, quantity(line.get("quantity"))?);
    item.share = match origin {
        Origin::CardChange => Some(Decimal::ZERO),
        Origin::Platform | Origin::Subscription | Origin::Unknown => share(line.get("proration"))?,
    };
    let totals = line.get("totals");
    match told {
        LineDetail::WithAmounts if !totals.is_absent() => {
            item.line = line.get("id").optional_id()?;
            item.amount = Some(money(data, totals.get("total"), before_tax(totals)?)?);
            item.before_discounts = optional_money(data, totals.get("subtotal"))?;
        }
        LineDetail::WithAmounts | LineDetail::WithoutAmounts => {}
    }
    Ok(item)
}

/// A movement's part of a line is right only where the lines are parts of the whole.
fn forget_lines_that_do_not_add_up(items: &mut [LineItem], amount: Money) {
    let sum: Option<Decimal> = items.iter().map(|item| item.amount.map(|amount| amount.amount())).sum();
    let is_whole = sum == Some(amount.amount()) && items.iter().all(|item| item.line.is_some());
    if !is_whole {
        for item in items {
            item.line = None;
            item.amount = None;
        }
    }
}

fn quantity(quantity: Field<'_>) -> Result<u64, SetAside> {
    if quantity.is_absent() {
        return Ok(1);
    }
    let whole = quantity.integer().and_then(|number| u64::try_from(number).ok());
    whole.ok_or_else(|| quantity.malformed("a whole number of zero or more"))
}

/// The part of a period that was sold; `None` if it was the whole. A rate of 0 for a period of the year 1 is how
/// Paddle has written that there was no proration.
fn share(proration: Field<'_>) -> Result<Option<Decimal>, SetAside> {
    let rate = proration.get("rate");
    if proration.is_absent() || rate.is_absent() {
        return Ok(None);
    }
    let share = rate.share()?;
    let begins = proration.get("billing_period").get("starts_at").text();
    let is_placeholder = share.is_zero() && begins.is_some_and(|text| read_rfc3339(&text).is_none());
    Ok(Some(share).filter(|share| *share != Decimal::ONE && !is_placeholder))
}

fn optional_money(data: Field<'_>, field: Field<'_>) -> Result<Option<Money>, SetAside> {
    if field.is_absent() {
        return Ok(None);
    }
    money(data, field, field.minor_units_text()?).map(Some)
}
