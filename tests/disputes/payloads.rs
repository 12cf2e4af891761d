//! Webhooks of disputes, made of the payloads that the processors' translations are tested with.

use crate::payloads::payload;
use serde_json::{Value, json};
use testkit::facts::PRICE;

/// When Stripe's stories begin, in seconds since 1970.
pub const BEGIN: i64 = 1_795_568_800;

/// What Stripe says of a dispute at a moment, in seconds after [`BEGIN`].
#[derive(Clone, Copy)]
pub struct StripeDispute<'a> {
    /// Also a part of the event's id, with the moment and the status.
    pub dispute: &'a str,
    /// The number of the purchase.
    pub purchase: &'a str,
    pub amount: i64,
    /// When evidence is due, in seconds after [`BEGIN`].
    pub due: Option<i64>,
}

impl<'a> StripeDispute<'a> {
    pub fn new(dispute: &'a str, purchase: &'a str) -> Self {
        Self { dispute, purchase, amount: 1200, due: None }
    }

    pub fn says(&self, status: &str, at: i64) -> Value {
        self.event("charge.dispute.updated", status, at)
    }

    pub fn event(&self, event_type: &str, status: &str, at: i64) -> Value {
        let mut event = payload("stripe", "charge.dispute.created");
        event["id"] = format!("evt_{}_{status}_{at}", self.dispute).into();
        event["type"] = event_type.into();
        event["created"] = (BEGIN + at).into();
        let object = &mut event["data"]["object"];
        object["id"] = format!("du_{}", self.dispute).into();
        object["charge"] = format!("ch_{}", self.purchase).into();
        object["payment_intent"] = format!("pi_{}", self.purchase).into();
        object["amount"] = self.amount.into();
        object["status"] = status.into();
        object["created"] = BEGIN.into();
        object["evidence_details"]["due_by"] = self.due.map(|due| BEGIN + due).into();
        event
    }
}

/// A purchase at Stripe of [`PRICE`]: 12.00 USD for 1050 credits.
pub fn stripe_purchase(number: &str, account: &str) -> Value {
    let mut event = payload("stripe", "checkout.session.completed");
    event["id"] = format!("evt_purchase_{number}").into();
    let object = &mut event["data"]["object"];
    object["id"] = format!("cs_live_{number}").into();
    object["payment_intent"] = format!("pi_{number}").into();
    object["customer"] = Value::Null;
    object["metadata"] = json!({ "account_id": account, "price": PRICE });
    event
}

/// A refund of so many cents of a purchase.
pub fn stripe_refund(number: &str, amount: i64, at: i64) -> Value {
    let mut event = payload("stripe", "refund.created.succeeded");
    event["id"] = format!("evt_refund_{number}").into();
    event["created"] = (BEGIN + at).into();
    let object = &mut event["data"]["object"];
    object["id"] = format!("re_{number}").into();
    object["charge"] = format!("ch_{number}").into();
    object["payment_intent"] = format!("pi_{number}").into();
    object["amount"] = amount.into();
    event
}

pub fn early_fraud_warning(warning: &str, purchase: &str, at: i64) -> Value {
    let mut event = payload("stripe", "radar.early_fraud_warning.created");
    event["id"] = format!("evt_{warning}").into();
    event["created"] = (BEGIN + at).into();
    let object = &mut event["data"]["object"];
    object["id"] = format!("issfr_{warning}").into();
    object["created"] = (BEGIN + at).into();
    object["charge"] = format!("ch_{purchase}").into();
    object["payment_intent"] = format!("pi_{purchase}").into();
    event
}

/// A purchase at Paddle of [`PRICE`]: 10.00 USD before tax for 1050 credits.
pub fn paddle_purchase(number: &str, account: &str) -> Value {
    let mut event = payload("paddle", "transaction.completed");
    event["event_id"] = format!("evt_purchase_{number}").into();
    let data = &mut event["data"];
    data["id"] = format!("txn_{number}").into();
    data["customer_id"] = format!("ctm_{number}").into();
    data["custom_data"]["account_id"] = account.into();
    data["items"][0]["price_id"] = PRICE.into();
    data["items"][0]["price"]["id"] = PRICE.into();
    data["details"]["line_items"][0]["price_id"] = PRICE.into();
    event
}

/// What Paddle says of an adjustment of a whole transaction: made in one minute, said in the same or a later one.
pub fn paddle_adjustment(number: &str, action: &str, made: u8, status: &str, said: u8) -> Value {
    let mut event = payload("paddle", "adjustment.created.chargeback");
    event["event_id"] = format!("evt_{number}_{action}_{made}_{said}").into();
    event["occurred_at"] = format!("2026-11-22T07:{said:02}:00.1Z").into();
    let data = &mut event["data"];
    data["id"] = format!("adj_{number}_{made}").into();
    data["transaction_id"] = format!("txn_{number}").into();
    data["customer_id"] = format!("ctm_{number}").into();
    data["action"] = action.into();
    data["status"] = status.into();
    data["created_at"] = format!("2026-11-22T07:{made:02}:00Z").into();
    event
}

/// A refund of so many cents before tax of a transaction.
pub fn paddle_refund(number: &str, subtotal: &str, made: u8) -> Value {
    let mut event = paddle_adjustment(number, "refund", made, "approved", made);
    let data = &mut event["data"];
    data["type"] = "partial".into();
    data["totals"]["subtotal"] = subtotal.into();
    data["items"] = json!([]);
    event
}
