//! An account's lots, filed in burn order.

use crate::catalog::Worth;
use crate::ids::PaymentId;
use crate::lot::{BurnKey, Lot, LotKind, burn_order};
use crate::money::Credits;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// An account's lots by name, and which of them can be burned, in burn order.
///
/// The order is kept, not sorted anew for every fact: a hot account's usage costs no more than a cold one's.
#[derive(Debug, Clone, Default)]
pub struct Lots {
    pub(super) by_name: BTreeMap<String, Lot>,
    pub(super) burnable: Vec<String>,
    changed: BTreeSet<String>,
}

impl Lots {
    /// Files lots by the configured order.
    pub fn new(lots: impl IntoIterator<Item = Lot>, keys: &[BurnKey]) -> Self {
        let by_name: BTreeMap<String, Lot> = lots.into_iter().map(|lot| (lot.lot.clone(), lot)).collect();
        let mut burnable: Vec<&Lot> = by_name.values().filter(|lot| lot.remaining.is_positive()).collect();
        burnable.sort_by(|a, b| burn_order(keys, a, b));
        let burnable = burnable.into_iter().map(|lot| lot.lot.clone()).collect();
        Self { by_name, burnable, changed: BTreeSet::new() }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Lot> {
        self.by_name.values()
    }

    /// The lot of this name.
    pub fn get(&self, lot: &str) -> Option<&Lot> {
        self.by_name.get(lot)
    }

    pub(super) fn insert(&mut self, lot: Lot, keys: &[BurnKey]) {
        let name = lot.lot.clone();
        self.by_name.insert(name.clone(), lot);
        self.refile(&name, keys);
    }

    /// Puts a lot where it now belongs among those that can be burned.
    pub(super) fn refile(&mut self, name: &str, keys: &[BurnKey]) {
        self.changed.insert(name.to_owned());
        let lot = &self.by_name[name];
        let mut filed = self.burnable.iter().position(|other| other == name);
        // A grace that it was given may have changed its place.
        if let Some(place) = filed
            && !self.is_in_order_at(place, keys)
        {
            self.burnable.remove(place);
            filed = None;
        }
        match (filed, lot.remaining.is_positive()) {
            (None, true) => {
                let place = self
                    .burnable
                    .partition_point(|other| burn_order(keys, &self.by_name[other], lot).is_lt());
                self.burnable.insert(place, name.to_owned());
            }
            (Some(place), false) => {
                self.burnable.remove(place);
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    fn is_in_order_at(&self, place: usize, keys: &[BurnKey]) -> bool {
        let lot = |place: usize| self.burnable.get(place).map(|name| &self.by_name[name]);
        let follows = |a: Option<&Lot>, b: Option<&Lot>| {
            a.zip(b).is_none_or(|(earlier, later)| burn_order(keys, earlier, later).is_lt())
        };
        let before = place.checked_sub(1).and_then(lot);
        follows(before, lot(place)) && follows(lot(place), lot(place + 1))
    }

    /// The payment's own lots. They are found by their names: a hot account may have very many others.
    pub(super) fn of_payment(&self, payment: &PaymentId) -> Vec<String> {
        [LotKind::Purchase, LotKind::Bonus]
            .into_iter()
            .map(|kind| payment_lot(payment, kind))
            .filter(|name| self.by_name.contains_key(name))
            .collect()
    }

    /// What the payment's own lots were granted.
    pub(super) fn granted_by(&self, payment: &PaymentId) -> Worth {
        let granted = |kind| self.get(&payment_lot(payment, kind)).map_or(Credits::ZERO, |lot| lot.granted);
        Worth { purchase: granted(LotKind::Purchase), bonus: granted(LotKind::Bonus), expires_after: None }
    }

    /// Lots with credits left whose time has come, in burn order.
    pub(super) fn due(&self, as_of: OffsetDateTime) -> Vec<String> {
        let is_due = |lot: &Lot| lot.expires_at.is_some_and(|expires_at| expires_at <= as_of);
        self.burnable.iter().filter(|name| is_due(&self.by_name[*name])).cloned().collect()
    }

    /// They belong to another account now, which writes them.
    pub(super) fn remove(&mut self, names: &[String]) {
        for name in names {
            self.by_name.remove(name);
            self.changed.remove(name);
            self.burnable.retain(|other| other != name);
        }
    }

    /// Lots that were made or changed since they were read.
    pub fn changed(&self) -> impl Iterator<Item = &Lot> {
        self.changed.iter().filter_map(|name| self.by_name.get(name))
    }
}

/// The name of a payment's own lot.
pub fn payment_lot(payment: &PaymentId, kind: LotKind) -> String {
    format!("{payment}#{}", kind.as_str())
}
