//! What a payment grants: prices of the catalog, else a rate. Never what the payment itself claims.
//!
//! A payment remembers the version of the catalog it was first granted by, so a later change of prices does not
//! reach back. A version is the hash of its content: the same catalog is the same version on every machine.

use crate::fact::{LineItem, Purpose};
use crate::money::{Credits, Money, exponent};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use time::Duration;

/// Names one content of the catalog: the first 16 hexadecimal digits of its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CatalogVersion(pub String);

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// By processor, then by price.
    pub prices: BTreeMap<String, BTreeMap<String, Price>>,
    /// Credits per main unit of the amount before tax, by currency code.
    pub rates: BTreeMap<String, Decimal>,
    /// Catalogs that were stored before this could be said meant any payment, and still do.
    #[serde(default, skip_serializing_if = "RateAppliesTo::is_any")]
    pub rate_applies_to: RateAppliesTo,
}

/// Which payments without a price of the catalog a rate grants for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateAppliesTo {
    #[default]
    Any,
    /// Those that are known to be purchases of credits, and those that were described before anybody asked.
    Purchases,
}

impl RateAppliesTo {
    pub fn is_any(&self) -> bool {
        *self == RateAppliesTo::Any
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub credits: Credits,
    #[serde(default)]
    pub bonus: Credits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after_seconds: Option<i64>,
    /// What one unit costs before discounts and tax, in main units by currency code, where the catalog states it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub amounts: BTreeMap<String, Decimal>,
}

impl Price {
    pub fn expires_after(&self) -> Option<Duration> {
        self.expires_after_seconds.map(Duration::seconds)
    }
}

/// What a payment is worth in credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Worth {
    pub purchase: Credits,
    pub bonus: Credits,
    pub expires_after: Option<Duration>,
}

impl Worth {
    /// What was bought and what was given with it.
    pub fn total(&self) -> Credits {
        self.purchase + self.bonus
    }
}

/// What was sold in a payment, as it is said.
#[derive(Debug, Clone, Copy)]
pub struct Sold<'a> {
    pub items: &'a [LineItem],
    pub purpose: Purpose,
    /// What was paid.
    pub total: Money,
    pub before_tax: Money,
    pub before_discounts: Option<Money>,
}

/// Why it is unknown what a payment grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Neither a price of the catalog nor a rate tells it, or it is more than an account can hold.
    Price,
    /// A rate would tell it, and applies only to what is known to be a purchase of credits.
    NotAPurchaseOfCredits,
    /// The catalog states what one unit costs, and the money is no such multiple of it.
    AmountNoMultiple,
}

impl Unknown {
    /// As the event `payment.undelivered` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Unknown::Price => "price_unknown",
            Unknown::NotAPurchaseOfCredits => "not_a_purchase_of_credits",
            Unknown::AmountNoMultiple => "amount_no_multiple",
        }
    }
}

impl Catalog {
    /// The name of its content.
    pub fn version(&self) -> CatalogVersion {
        let content = serde_json::to_vec(self).expect("a catalog holds only strings, numbers and maps");
        CatalogVersion(hex::encode(&Sha256::digest(&content)[..8]))
    }

    /// Credits of the items that the catalog knows, times their quantity and share; where it knows none of them, the rate
    /// of the currency on the amount before tax, if that applies; where there is no rate either, nothing is known. Nor where
    /// nobody can read what an item is.
    ///
    /// Items that the catalog does not know beside ones that it does are other goods of the platform: they grant nothing.
    /// Lots of one payment expire together, at the soonest of its items' terms.
    ///
    /// # Errors
    /// Neither price nor rate tells it, or the money does not fit the price: see [`Unknown`].
    pub fn worth(&self, processor: &str, sold: &Sold<'_>, scale: u32) -> Result<Worth, Unknown> {
        let known = self.known(processor, sold).collect::<Vec<_>>();
        if sold.is_nothing() {
            return Ok(Worth::default());
        }
        if sold.items.iter().any(|item| item.quantity == LineItem::QUANTITY_UNKNOWN) {
            return Err(Unknown::Price);
        }
        if known.is_empty() {
            return self.by_rate(sold, scale);
        }
        let mut worth = Worth::default();
        for (item, price) in known {
            let of_item = price.worth(sold, item, scale)?;
            worth.purchase += of_item.purchase;
            worth.bonus += of_item.bonus;
            worth.expires_after = match (worth.expires_after, of_item.expires_after) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        Ok(worth)
    }

    /// What each named line of a payment grants, bonus included; nothing if the catalog knows no item.
    pub fn credits_by_line(
        &self,
        processor: &str,
        sold: &Sold<'_>,
        scale: u32,
    ) -> Option<BTreeMap<String, Credits>> {
        let lines = sold.items.iter().filter_map(|item| item.line.clone());
        let mut by_line: BTreeMap<String, Credits> = lines.map(|line| (line, Credits::ZERO)).collect();
        let mut any = false;
        for (item, price) in self.known(processor, sold) {
            let worth = price.worth(sold, item, scale).ok()?;
            any = true;
            if let Some(credits) = item.line.as_ref().and_then(|line| by_line.get_mut(line)) {
                *credits += worth.total();
            }
        }
        any.then_some(by_line)
    }

    fn known<'a>(
        &'a self,
        processor: &str,
        sold: &Sold<'a>,
    ) -> impl Iterator<Item = (&'a LineItem, &'a Price)> + use<'a> {
        let prices = self.prices.get(processor);
        sold.items.iter().filter_map(move |item| Some((item, prices?.get(&item.price)?)))
    }

    fn by_rate(&self, sold: &Sold<'_>, scale: u32) -> Result<Worth, Unknown> {
        let rate = self.rates.get(sold.before_tax.currency().code());
        let applies = match (self.rate_applies_to, sold.purpose) {
            (RateAppliesTo::Any, _) | (RateAppliesTo::Purchases, Purpose::Credits | Purpose::NotAsked) => {
                true
            }
            (RateAppliesTo::Purchases, Purpose::Other) => return Err(Unknown::NotAPurchaseOfCredits),
            (RateAppliesTo::Purchases, Purpose::Unstated) => false,
        };
        match rate {
            Some(_) if !applies => Err(Unknown::NotAPurchaseOfCredits),
            Some(rate) => {
                let purchase = Credits::at_rate(sold.before_tax, *rate, scale).ok_or(Unknown::Price)?;
                Ok(Worth { purchase, ..Worth::default() })
            }
            None => Err(Unknown::Price),
        }
    }
}

impl Sold<'_> {
    /// Each of its items says that nothing of it was sold.
    pub fn is_nothing(&self) -> bool {
        let is_nothing = |item: &LineItem| item.share.is_some_and(|share| share.is_zero());
        !self.items.is_empty() && self.items.iter().all(is_nothing)
    }

    /// What an item cost before discounts and tax, where somebody says so: the whole payment is its only item's.
    fn cost(&self, item: &LineItem) -> Option<Money> {
        item.before_discounts.or_else(|| self.before_discounts.filter(|_| self.items.len() == 1))
    }
}

impl Price {
    fn worth(&self, sold: &Sold<'_>, item: &LineItem, scale: u32) -> Result<Worth, Unknown> {
        let quantity = self.quantity(sold, item)?;
        let of = |credits: Credits| credits.times(quantity, item.share, scale).ok_or(Unknown::Price);
        Ok(Worth { purchase: of(self.credits)?, bonus: of(self.bonus)?, expires_after: self.expires_after() })
    }

    /// How many were sold. Where the catalog states what one costs, the money must be that many times it: a quantity that
    /// nobody stated is told by it, one that was stated is held against it. Where nobody says what the one item cost before
    /// discounts, what was paid for it is the best that is known.
    fn quantity(&self, sold: &Sold<'_>, item: &LineItem) -> Result<u64, Unknown> {
        let share = item.share.unwrap_or(Decimal::ONE);
        let unit = |money: Money| self.amounts.get(money.currency().code()).copied();
        if share.is_zero() {
            return Ok(item.quantity);
        }
        let cost = sold.cost(item).or_else(|| Some(sold.before_tax).filter(|_| sold.items.len() == 1));
        match cost {
            // Of one among several nothing is known but that it was sold.
            None => match unit(sold.total).filter(|_| item.quantity_assumed) {
                Some(_) => Err(Unknown::AmountNoMultiple),
                None => Ok(item.quantity),
            },
            Some(cost) => match unit(cost) {
                None => Ok(item.quantity),
                Some(unit) if item.quantity_assumed => whole_quotient(cost, unit, item.share),
                Some(unit) if is_so_many(cost, unit, item.quantity, item.share) => Ok(item.quantity),
                Some(_) => Err(Unknown::AmountNoMultiple),
            },
        }
    }
}

fn whole_quotient(cost: Money, unit: Decimal, share: Option<Decimal>) -> Result<u64, Unknown> {
    let each = unit.checked_mul(share.unwrap_or(Decimal::ONE)).filter(|each| !each.is_zero());
    let quotient = each.and_then(|each| cost.amount().checked_div(each)).ok_or(Unknown::AmountNoMultiple)?;
    let quantity = quotient.round().to_u64().ok_or(Unknown::AmountNoMultiple)?;
    if quantity >= 1 && is_so_many(cost, unit, quantity, share) {
        Ok(quantity)
    } else {
        Err(Unknown::AmountNoMultiple)
    }
}

/// Whether that many units cost just that. A share is stated with so many digits, and what it makes of money is rounded:
/// both may leave a little.
fn is_so_many(cost: Money, unit: Decimal, quantity: u64, share: Option<Decimal>) -> bool {
    let Some(whole) = unit.checked_mul(quantity.into()) else { return false };
    match share {
        None => whole == cost.amount(),
        Some(share) => {
            let last_digit = Decimal::new(1, share.scale().max(4));
            let cent = Decimal::new(1, exponent(cost.currency()));
            let expect = whole.checked_mul(share);
            let slack = whole.checked_mul(last_digit).and_then(|slack| slack.checked_add(cent));
            expect.zip(slack).is_some_and(|(expect, slack)| (expect - cost.amount()).abs() <= slack)
        }
    }
}

#[cfg(test)]
mod tests;
