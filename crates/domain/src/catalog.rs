//! What a payment grants: prices of the catalog, else a rate. Never what the payment itself claims.
//!
//! A payment remembers the version of the catalog it was first granted by, so a later change of prices does not
//! reach back. A version is the hash of its content: the same catalog is the same version on every machine.

use crate::fact::Item;
use crate::money::{Credits, Money};
use rust_decimal::Decimal;
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
    /// Those that are known to be purchases of credits.
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
    pub fn total(&self) -> Credits {
        self.purchase + self.bonus
    }
}

impl Catalog {
    pub fn version(&self) -> CatalogVersion {
        let content = serde_json::to_vec(self).expect("a catalog holds only strings, numbers and maps");
        CatalogVersion(hex::encode(&Sha256::digest(&content)[..8]))
    }

    /// Credits of the items that the catalog knows, times their quantity; where it knows none of them, the rate of the
    /// currency on the amount before tax; where there is no rate either, nothing is known.
    ///
    /// Items that the catalog does not know beside ones that it does are other goods of the platform: they grant nothing.
    /// Lots of one payment expire together, at the soonest of its items' terms.
    pub fn worth(&self, processor: &str, items: &[Item], before_tax: Money, scale: u32) -> Option<Worth> {
        let prices = self.prices.get(processor);
        let known: Vec<(&Price, u64)> =
            items.iter().filter_map(|item| Some((prices?.get(&item.price)?, item.quantity))).collect();
        if known.is_empty() {
            let rate = self.rates.get(before_tax.currency().code())?;
            let purchase = Credits::at_rate(before_tax, *rate, scale)?;
            return Some(Worth { purchase, ..Worth::default() });
        }
        let mut worth = Worth::default();
        for (price, quantity) in known {
            worth.purchase += price.credits.times(quantity)?;
            worth.bonus += price.bonus.times(quantity)?;
            worth.expires_after = match (worth.expires_after, price.expires_after()) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        Some(worth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::currency;

    fn catalog() -> Catalog {
        let price = |credits, bonus| Price {
            amounts: BTreeMap::new(),
            credits: Credits::whole(credits),
            bonus: Credits::whole(bonus),
            expires_after_seconds: None,
        };
        let paddle =
            BTreeMap::from([("pri_1".to_owned(), price(1000, 50)), ("pri_2".to_owned(), price(10, 0))]);
        Catalog {
            rate_applies_to: RateAppliesTo::default(),
            prices: BTreeMap::from([("paddle".to_owned(), paddle)]),
            rates: BTreeMap::from([("USD".to_owned(), Decimal::from(100))]),
        }
    }

    #[test]
    fn worth_comes_from_the_catalog_else_the_rate_else_is_unknown() {
        let check =
            |processor: &str, items: &[(&str, u64)], minor, code: &str, expect: Option<(i64, i64)>| {
                let items: Vec<Item> =
                    items.iter().map(|(price, quantity)| Item::new(*price, *quantity)).collect();
                let money = Money::from_minor(minor, 2, currency(code).unwrap()).unwrap();
                let worth = catalog().worth(processor, &items, money, 6);
                let expect =
                    expect.map(|(purchase, bonus)| (Credits::whole(purchase), Credits::whole(bonus)));
                assert_eq!(worth.map(|worth| (worth.purchase, worth.bonus)), expect, "{processor} {items:?}");
            };
        check("paddle", &[("pri_1", 2)], 2000, "EUR", Some((2000, 100)));
        check("paddle", &[("pri_1", 1), ("pri_2", 3), ("pri_other", 9)], 1, "EUR", Some((1030, 50)));
        check("paddle", &[("pri_other", 1)], 1000, "USD", Some((1000, 0)));
        check("paddle", &[("pri_other", 1)], 1000, "EUR", None);
        check("stripe", &[("pri_1", 1)], 1000, "EUR", None);
        check("stripe", &[], 0, "USD", Some((0, 0)));
        check("paddle", &[("pri_1", u64::MAX)], 1, "USD", None);
    }

    #[test]
    fn a_version_names_the_content() {
        let mut other = catalog();
        assert_eq!(catalog().version(), other.version());
        other.rates.clear();
        assert_ne!(catalog().version(), other.version());
    }
}
