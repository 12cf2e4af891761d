//! A purchase, as one of the processor's objects describes it.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::erase_if_any;
use super::limits::short;
use super::link::AccountLink;
use super::origin::{self, digest_if_any};
use super::serde_form::is_false;
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// One description of a purchase, by one of the processor's objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    /// The payment's identity: Paddle's transaction; Stripe's payment intent, else the charge, else the session.
    pub payment: PaymentId,
    /// Other ids of the same purchase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<PaymentId>,
    /// The processor's object that says this: `txn_...`, `cs_...`, `pi_...`, `ch_...`.
    pub object: String,
    /// Where descriptions differ, the field of the lowest precedence number wins.
    #[serde(default)]
    pub precedence: u8,
    pub status: PaymentStatus,
    /// What was paid, counted as the processor's movements are: Paddle before tax, Stripe as charged.
    pub amount: Money,
    /// The part before tax, where the processor tells it; a rate applies to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_tax: Option<Money>,
    /// What the goods cost before discounts and tax, where the processor tells it; a catalog's unit amount is held
    /// against this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_discounts: Option<Money>,
    #[serde(default, skip_serializing_if = "Purpose::is_not_asked")]
    pub purpose: Purpose,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<LineItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountLink>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// The digest of the address that the purchase was made from: `hmac-sha256:<64 hexadecimal digits>`. Where it came through
    /// the buyer's browser it is worth no more than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The digest of the device's id or fingerprint, spelled alike, and worth as much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

/// Whether a description says that credits were bought. Prices of the catalog grant whatever it says; a rate only what
/// is known to be a purchase of credits, unless the configuration lets it apply to any payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It was described before anybody asked, and the field is not there: a rate applies to it as it did then.
    #[default]
    #[serde(skip)]
    NotAsked,
    /// It was asked, and nothing tells.
    Unstated,
    /// A checkout session in mode `payment`, metadata that names the account or a price, a transaction that the
    /// platform's own page or server began with custom data.
    Credits,
    /// The fee of a subscription, or whatever else is known to be no purchase of credits.
    Other,
}

impl Purpose {
    pub fn is_not_asked(&self) -> bool {
        *self == Purpose::NotAsked
    }

    /// The one, where it says what was bought.
    pub fn stated(self) -> Option<Self> {
        match self {
            Purpose::NotAsked | Purpose::Unstated => None,
            Purpose::Credits | Purpose::Other => Some(self),
        }
    }
}

/// Ordered by rank: of two descriptions by one object the further one is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    Pending,
    Failed,
    Paid,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineItem {
    /// The processor's price, or what the platform named in Stripe's metadata.
    pub price: String,
    pub quantity: u64,
    /// Nobody said how many: the quantity is 1 unless the catalog's unit amount tells more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub quantity_assumed: bool,
    /// The processor's own id of this line of the payment; a movement may name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// What was paid for this line, counted as the payment's amount is: `T_i` of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// What this line cost before discounts and tax.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_discounts: Option<Money>,
    /// The part of each unit that was sold, where it is not the whole: a proration. From 0, which sells nothing, to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Decimal>,
}

impl LineItem {
    /// Somebody said how many, and it cannot be read: what was bought nobody knows, and neither a price nor a rate tells.
    pub const QUANTITY_UNKNOWN: u64 = u64::MAX;

    /// So many whole units of a price, with nothing else known of them.
    pub fn new(price: impl Into<String>, quantity: u64) -> Self {
        Self {
            price: price.into(),
            quantity,
            quantity_assumed: false,
            line: None,
            amount: None,
            before_discounts: None,
            share: None,
        }
    }
}

impl FactData for Payment {
    const NAME: &'static str = "fact.payment";
    const STATED_BY: StatedBy = StatedBy::FleetAlone;
    const IS_DESCRIPTION: bool = true;
    const TEXTS: &'static [&'static str] = &["ip", "device"];
    const EXAMPLE: &'static str = r#"{ "payment": "paddle:t", "aliases": ["paddle:u"], "object": "t", "precedence": 1, "status": "paid",
        "amount": {"amount": "1.00", "currency": "USD"},
        "before_tax": {"amount": "1.00", "currency": "USD"}, "items": [{"price": "p", "quantity": 1}],
        "account": {"account": "a", "proof": "stated"}, "customer": "paddle:c",
        "ip": "hmac-sha256:6a01d2b8a2f7ba19b9ab1a0c6bd2bbfc7d0f6e3e2f6ac4d9a21d0e0f6b8f9c10",
        "device": "hmac-sha256:b81d4c2e7f3a90655a4b3c2d1e0f19283746556473829100a1b2c3d4e5f60718",
        "occurred_at": "2026-11-20T10:00:00Z" }"#;
    const FIELDS: Fields = Fields {
        identity: &["payment", "aliases", "object", "account", "customer"],
        money: &["precedence", "status", "amount", "before_tax", "items", "occurred_at"],
        free: &["ip", "device"],
        person: &["customer", "ip", "device"],
    };

    fn account(&self) -> Option<&AccountId> {
        self.account.as_ref().map(|link| &link.account)
    }

    fn customer(&self) -> Option<&CustomerId> {
        self.customer.as_ref()
    }

    fn payment_ids(&self) -> Vec<&PaymentId> {
        std::iter::once(&self.payment).chain(&self.aliases).collect()
    }

    fn object_id(&self) -> &str {
        &self.object
    }

    fn times(&self) -> [Option<OffsetDateTime>; 3] {
        [Some(self.occurred_at), None, None]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (Some(self.amount), None)
    }

    fn reason(&self) -> Option<&str> {
        None
    }

    fn check(&self, _credits_scale: u32) -> Result<(), String> {
        if self.aliases.len() > 8 || self.items.len() > 1000 {
            return Err("data: expected at most 8 aliases and 1000 items".to_owned());
        }
        self.items.iter().try_for_each(|item| short("data.items", &item.price))?;
        short("data.object", &self.object)?;
        digest_if_any("data.ip", self.ip.as_deref())?;
        digest_if_any("data.device", self.device.as_deref())
    }

    fn erase_texts(&mut self) {
        [&mut self.ip, &mut self.device].into_iter().for_each(erase_if_any);
    }

    fn origin(&self) -> [Option<&str>; 2] {
        [self.ip.as_deref(), self.device.as_deref()]
    }

    fn set_origin(&mut self, origin: [Option<String>; 2]) {
        [self.ip, self.device] = origin;
    }

    fn keys(&self) -> Vec<&str> {
        let items = self.items.iter().flat_map(|item| [Some(&item.price), item.line.as_ref()]);
        [&self.object].into_iter().chain(items.flatten()).map(String::as_str).collect()
    }

    fn outranking<'a>(path: &str, lesser: &'a str, greater: &'a str) -> Option<&'a str> {
        let is_email = |customer: &str| customer.starts_with("email:");
        match (path, lesser, greater) {
            // What shows that it is something else is seen by whoever sees more.
            ("purpose", "credits", "other") => Some(greater),
            ("ip" | "device", ..) => origin::outranking(lesser, greater),
            // An address stands in where no customer is named.
            ("customer", ..) if is_email(lesser) != is_email(greater) => {
                Some(if is_email(lesser) { greater } else { lesser })
            }
            _ => None,
        }
    }
}
