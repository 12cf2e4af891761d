//! What was paid and for what, as far as a record tells, and what it grants.

use crate::catalog::{Catalog, Sold, Unknown, Worth};
use crate::fact::{AccountLink, LineItem, Purpose};
use crate::ids::CustomerId;
use crate::money::{Credits, Money, SCALE_MAX};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// What was paid and for what, once a description says that it was paid.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// What movements count against: `T` of the rule.
    pub total: Money,
    pub before_tax: Money,
    pub before_discounts: Option<Money>,
    pub purpose: Purpose,
    pub items: Vec<LineItem>,
    pub account: Option<AccountLink>,
    /// Whoever it is said to be by, in the order in which they are asked for their account: the processor's own customers,
    /// then the addresses of guests.
    pub customers: Vec<CustomerId>,
    /// What it grants by an operator's word, whatever catalog and rate say.
    pub credits: Option<Credits>,
    /// When the processor says it was paid: the leading description's time.
    pub at: OffsetDateTime,
}

impl Terms {
    /// What a delivered payment grants: nothing where a rate would tell it and it is known to be for something else. What
    /// was delivered before that was known is taken back, so that the order of facts does not matter.
    ///
    /// # Errors
    /// As [`Terms::worth`].
    pub fn worth_delivered(&self, processor: &str, catalog: &Catalog, scale: u32) -> Result<Worth, Unknown> {
        match self.worth(processor, catalog, scale) {
            Err(Unknown::NotAPurchaseOfCredits) if self.purpose == Purpose::Other => Ok(Worth::default()),
            worth => worth,
        }
    }

    /// What the payment grants: by an operator's word, else by the catalog. Why it is unknown where neither knows, or
    /// where it is more than an account can hold.
    ///
    /// # Errors
    /// Neither price nor rate tells it, or the money does not fit the price: see [`Unknown`].
    pub fn worth(&self, processor: &str, catalog: &Catalog, scale: u32) -> Result<Worth, Unknown> {
        let worth = match self.credits {
            Some(credits) => Worth { purchase: credits, ..Worth::default() },
            None => catalog.worth(processor, &self.sold(), scale)?,
        };
        worth.total().within(SCALE_MAX).map_err(|_| Unknown::Price)?;
        Ok(worth)
    }

    /// What each line grants, where the catalog's prices tell it: what an operator or a rate says has no lines.
    pub fn credits_by_line(
        &self,
        processor: &str,
        catalog: &Catalog,
        scale: u32,
    ) -> Option<BTreeMap<String, Credits>> {
        match self.credits {
            Some(_) => None,
            None => catalog.credits_by_line(processor, &self.sold(), scale),
        }
    }

    /// It was paid for something that sells no credits, and says so: nothing is to be delivered, whichever account it names.
    pub fn sells_nothing(&self) -> bool {
        self.credits.is_none() && self.sold().is_nothing()
    }

    fn sold(&self) -> Sold<'_> {
        Sold {
            items: &self.items,
            purpose: self.purpose,
            total: self.total,
            before_tax: self.before_tax,
            before_discounts: self.before_discounts,
        }
    }
}
