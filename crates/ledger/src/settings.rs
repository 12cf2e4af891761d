//! What of the ledger is configured: the rules of credits, the catalog and the rates.

use domain::catalog::{Catalog, Price, RateAppliesTo};
use domain::ledger::Rules;
use domain::lot::{BURN_ORDER_DEFAULT, BurnKey};
use domain::money::{Credits, Money, SCALE_MAX, currency, exponent};
use domain::settings::{InvalidSetting, duration};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the worker is configured by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What decides about credits.
    pub rules: Rules,
    /// How often lots are looked for whose time is up.
    pub expire_every: Duration,
}

/// `[credits]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [credits]")]
pub struct CreditSettings {
    /// Decimal places of a credit.
    pub scale: u32,
    pub burn_order: Vec<BurnKey>,
    /// `balance.low` is emitted when what an account can spend falls below one of these.
    pub low: Vec<Credits>,
    /// How long credits that come back to a lot whose time is up can still be spent.
    pub restore_grace: String,
    /// How often lots are looked for whose time is up.
    pub expire_every: String,
}

impl Default for CreditSettings {
    fn default() -> Self {
        Self {
            scale: 6,
            burn_order: BURN_ORDER_DEFAULT.to_vec(),
            low: Vec::new(),
            restore_grace: "30d".to_owned(),
            expire_every: "1m".to_owned(),
        }
    }
}

/// One of `[[catalog]]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "one of [[catalog]]")]
pub struct CatalogEntry {
    pub processor: String,
    pub price: String,
    pub credits: Credits,
    #[serde(default)]
    pub bonus: Credits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after: Option<String>,
    /// What one unit costs before discounts and tax, by currency code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub amount: BTreeMap<String, String>,
}

/// `[rate.<currency>]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "the section [rate.<currency>]")]
pub struct RateEntry {
    pub credits_per_unit: String,
}

/// What payments grant: the sections beside `[credits]` that decide about it.
#[derive(Debug, Clone, Copy)]
pub struct Grants<'a> {
    pub catalog: &'a [CatalogEntry],
    pub rates: &'a BTreeMap<String, RateEntry>,
    pub rate_applies_to: RateAppliesTo,
}

impl CreditSettings {
    /// Checks what neither the rules nor the schedule are made of.
    ///
    /// # Errors
    /// Too many decimal places, or no order in which lots are consumed.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        if self.scale > SCALE_MAX {
            let why = format!("credits.scale: expected 0 to {SCALE_MAX} decimal places, got {}", self.scale);
            return Err(InvalidSetting::new(why));
        }
        if self.burn_order.is_empty() {
            let why = "credits.burn_order: expected at least one of expiry, promotional, oldest";
            return Err(InvalidSetting::new(why));
        }
        Ok(())
    }

    /// What decides about credits.
    ///
    /// # Errors
    /// The first setting that is wrong, of the catalog and the rates too.
    pub fn rules(&self, grants: Grants<'_>) -> Result<Rules, InvalidSetting> {
        let grace = duration(&self.restore_grace).map_err(InvalidSetting::at("credits.restore_grace"))?;
        for low in &self.low {
            if !low.is_positive() {
                let why = format!("credits.low: expected more than zero credits, got {low}");
                return Err(InvalidSetting::new(why));
            }
            low.within(self.scale).map_err(InvalidSetting::at("credits.low"))?;
        }
        Ok(Rules {
            scale: self.scale,
            burn_order: self.burn_order.clone(),
            low: self.low.clone(),
            grace: time::Duration::try_from(grace).map_err(InvalidSetting::at("credits.restore_grace"))?,
            ..Rules::new(self.catalog(grants)?)
        })
    }

    /// How often lots are looked for whose time is up.
    ///
    /// # Errors
    /// It is no duration, or less than a second.
    pub fn expire_every(&self) -> Result<Duration, InvalidSetting> {
        let every = duration(&self.expire_every).map_err(InvalidSetting::at("credits.expire_every"))?;
        if every < Duration::from_secs(1) {
            let why = format!("credits.expire_every: expected a second or more, got {:?}", self.expire_every);
            return Err(InvalidSetting::new(why));
        }
        Ok(every)
    }

    /// What payments grant.
    ///
    /// # Errors
    /// An entry of the catalog or a rate is wrong, or a price stands twice.
    pub fn catalog(&self, grants: Grants<'_>) -> Result<Catalog, InvalidSetting> {
        let mut catalog = Catalog { rate_applies_to: grants.rate_applies_to, ..Catalog::default() };
        for entry in grants.catalog {
            let price = entry.read(self.scale).map_err(InvalidSetting::at(entry.key()))?;
            let prices = catalog.prices.entry(entry.processor.clone()).or_default();
            if prices.insert(entry.price.clone(), price).is_some() {
                return Err(InvalidSetting::new(format!("{}: stands twice in the catalog", entry.key())));
            }
        }
        for (code, rate) in grants.rates {
            let at = || InvalidSetting::at(format!("rate.{code}"));
            let currency = currency(code).map_err(InvalidSetting::at(format!("rate.{code}")))?;
            catalog.rates.insert(currency.code().to_owned(), rate.read().map_err(at())?);
        }
        Ok(catalog)
    }
}

impl CatalogEntry {
    fn key(&self) -> String {
        format!("catalog {}:{}", self.processor, self.price)
    }

    fn read(&self, scale: u32) -> Result<Price, InvalidSetting> {
        for (field, credits) in [("credits", self.credits), ("bonus", self.bonus)] {
            credits.within(scale).map_err(InvalidSetting::at(field))?;
            if credits < Credits::ZERO {
                return Err(InvalidSetting::new(format!("{field}: expected zero or more, got {credits}")));
            }
        }
        let expires = self.expires_after.as_deref().map(duration).transpose()?;
        Ok(Price {
            amounts: unit_amounts(&self.amount)?,
            credits: self.credits,
            bonus: self.bonus,
            expires_after_seconds: expires.map(|after| after.as_secs() as i64),
        })
    }
}

impl RateEntry {
    /// Credits per main unit of a currency.
    fn read(&self) -> Result<Decimal, InvalidSetting> {
        let wrong = |why: String| Err(InvalidSetting::new(why));
        match self.credits_per_unit.parse::<Decimal>() {
            Ok(per_unit) if per_unit > Decimal::ZERO => Ok(per_unit),
            Ok(per_unit) => wrong(format!("expected more than zero credits_per_unit, got {per_unit}")),
            Err(_) => {
                wrong(format!("expected credits_per_unit as a decimal, got {:?}", self.credits_per_unit))
            }
        }
    }
}

/// What one unit of a price costs, in main units by currency code.
fn unit_amounts(stated: &BTreeMap<String, String>) -> Result<BTreeMap<String, Decimal>, InvalidSetting> {
    let mut amounts = BTreeMap::new();
    for (code, text) in stated {
        let (code, amount) = unit_amount(code, text).map_err(InvalidSetting::at(format!("amount.{code}")))?;
        if amounts.insert(code.clone(), amount).is_some() {
            return Err(InvalidSetting::new(format!("amount.{code}: stands twice")));
        }
    }
    Ok(amounts)
}

fn unit_amount(code: &str, text: &str) -> Result<(String, Decimal), InvalidSetting> {
    let currency = currency(code).map_err(|why| InvalidSetting::new(why.to_string()))?;
    let places = exponent(currency);
    let amount = text.parse::<Decimal>().ok().map(|amount| amount.normalize());
    let fits = |amount: &Decimal| *amount > Decimal::ZERO && amount.scale() <= places;
    let amount =
        amount.filter(fits).and_then(|amount| Money::new(amount, currency).ok()).ok_or_else(|| {
            InvalidSetting::new(format!(
                "expected more than zero with at most {places} decimal places, in quotes, got {text:?}"
            ))
        })?;
    Ok((currency.code().to_owned(), amount.amount()))
}
