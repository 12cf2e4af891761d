//! Facts to begin a story with. A test changes what it is about: `Payment { account: None, ..payment("txn_1", "a") }`.

use domain::catalog::{Catalog, Price};
use domain::fact::{
    AccountLink, Customer, Dispute, DisputeStatus, Grant, GrantKind, LineItem, LinkProof, Movement,
    MovementKind, MovementStatus, Payment, PaymentStatus, Restriction, RestrictionAct, RestrictionKind,
    Usage,
};
use domain::money::currency;
use domain::{AccountId, Cause, Credits, CustomerId, Envelope, Fact, Money, PaymentId};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::macros::datetime;

/// When everything happened, as the processors state it.
pub const AT: OffsetDateTime = datetime!(2026-11-20 10:00:00 UTC);

/// The price that [`payment`] pays: 10.00 USD for 1000 credits and 50 as a bonus.
pub const PRICE: &str = "pri_1000";

/// What [`PRICE`] grants, at Paddle and at Stripe; no rates.
pub fn catalog() -> Catalog {
    let price = Price {
        amounts: BTreeMap::new(),
        credits: Credits::whole(1000),
        bonus: Credits::whole(50),
        expires_after_seconds: None,
    };
    let prices = BTreeMap::from([(PRICE.to_owned(), price)]);
    let processors = ["paddle", "stripe"].map(|processor| (processor.to_owned(), prices.clone()));
    Catalog {
        rate_applies_to: domain::catalog::RateAppliesTo::default(),
        prices: processors.into(),
        rates: BTreeMap::new(),
    }
}

/// A fact under its cause, written `<source>/<id>`.
pub fn envelope(cause: &str, fact: Fact) -> Envelope {
    let (source, id) = cause.rsplit_once('/').expect("a cause is <source>/<id>");
    Envelope {
        cause: Cause { source: source.to_owned(), id: id.to_owned() },
        time: AT,
        received_at: None,
        traceparent: None,
        raw: None,
        fact,
    }
}

pub fn usd(minor: i128) -> Money {
    money(minor, "USD")
}

pub fn money(minor: i128, code: &str) -> Money {
    let currency = currency(code).expect("a currency");
    Money::from_minor(minor, 2, currency).expect("an amount")
}

pub fn account_id(text: &str) -> AccountId {
    AccountId::new(text).expect("an account id")
}

pub fn payment_id(text: &str) -> PaymentId {
    text.parse().expect("a payment id")
}

pub fn customer_id(text: &str) -> CustomerId {
    text.parse().expect("a customer id")
}

pub fn link(account: &str) -> AccountLink {
    AccountLink { by_reference: false, account: account_id(account), proof: LinkProof::Stated }
}

/// 10.00 USD paid at Paddle for one of [`PRICE`].
pub fn payment(transaction: &str, account: &str) -> Payment {
    Payment {
        before_discounts: None,
        purpose: domain::fact::Purpose::default(),
        payment: PaymentId::new("paddle", transaction).expect("a payment id"),
        aliases: Vec::new(),
        object: transaction.to_owned(),
        precedence: 0,
        status: PaymentStatus::Paid,
        amount: usd(1000),
        before_tax: Some(usd(1000)),
        items: vec![LineItem::new(PRICE.to_owned(), 1)],
        account: Some(link(account)),
        customer: None,
        ip: None,
        device: None,
        occurred_at: AT,
    }
}

/// A refund of a Paddle transaction that has been carried out.
pub fn refund(movement: &str, transaction: &str, minor: i128) -> Movement {
    Movement {
        lines: Vec::new(),
        movement: movement.to_owned(),
        payment: PaymentId::new("paddle", transaction).expect("a payment id"),
        aliases: Vec::new(),
        kind: MovementKind::Refund,
        status: MovementStatus::Final,
        amount: usd(minor),
        full: false,
        hold: None,
        occurred_at: AT,
    }
}

/// What a processor says of a dispute of 10.00 USD.
pub fn dispute(case: &str, payment: &str, status: DisputeStatus) -> Dispute {
    Dispute {
        dispute: case.to_owned(),
        payment: payment_id(payment),
        aliases: Vec::new(),
        status,
        amount: Some(usd(1000)),
        reason: None,
        evidence_due_by: None,
        round: None,
        began_at: None,
        is_early_warning: false,
        is_refundable: None,
        network_reason: None,
        fee: None,
        by: None,
        by_silence: false,
        occurred_at: AT,
    }
}

/// What the operator ada says an account may or may not do.
pub fn restriction(account: &str, kind: RestrictionKind, act: RestrictionAct) -> Fact {
    Fact::Restriction(Restriction {
        account: account_id(account),
        kind,
        act,
        reason: "seen".to_owned(),
        by: "ada".to_owned(),
        occurred_at: AT,
    })
}

pub fn usage(account: &str, credits: i64) -> Fact {
    let credits = Credits::whole(credits);
    Fact::Usage(Usage {
        account: account_id(account),
        credits,
        reference: None,
        description: None,
        ip: None,
        device: None,
    })
}

pub fn grant(account: &str, credits: i64) -> Fact {
    Fact::Grant(Grant {
        account: account_id(account),
        credits: Credits::whole(credits),
        kind: GrantKind::Promotional,
        reason: "welcome".to_owned(),
        expires_at: None,
        by: None,
    })
}

/// A processor's customer, said to be an account.
pub fn customer(customer: &str, account: &str) -> Fact {
    Fact::Customer(Customer {
        reason: None,
        customer: customer_id(customer),
        email: None,
        account: Some(link(account)),
        occurred_at: AT,
    })
}
