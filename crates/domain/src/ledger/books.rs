//! The part of the state that a batch touches: accounts with their lots, payments, customer links.

use super::{Refusal, payment_lot};
use crate::catalog::{CatalogVersion, Worth};
use crate::event::Balances;
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::journal::{GENESIS, Hash};
use crate::lot::{BurnKey, Lot, LotKind, burn_order};
use crate::money::Credits;
use crate::record::{Reading, Record};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use time::OffsetDateTime;

/// The accounts, payments and customer links that a batch touches.
#[derive(Debug, Default)]
pub struct Books {
    pub accounts: HashMap<AccountId, Account>,
    pub payments: HashMap<PaymentId, Payment>,
    /// Which account a processor's customer, or an e-mail address, stands for.
    pub customers: HashMap<CustomerId, AccountId>,
    /// The latest address of a processor's customer, as its digest, and when it was told.
    pub emails: HashMap<CustomerId, (OffsetDateTime, CustomerId)>,
}

/// An account's balances, the ends of its chains, and those of its lots that can change.
#[derive(Debug, Clone)]
pub struct Account {
    pub id: AccountId,
    pub balances: Balances,
    /// Number of the last event.
    pub sequence: u64,
    /// Number of the last transaction.
    pub transactions: u64,
    /// Hash of the last transaction.
    pub head: Hash,
    /// Hash of the last event. Whoever stores events keeps it; nothing is decided by it.
    pub events_head: Hash,
    pub lots: Lots,
}

/// An account's lots by name, and which of them can be burned, in burn order.
///
/// The order is kept, not sorted anew for every fact: a hot account's usage costs no more than a cold one's.
#[derive(Debug, Clone, Default)]
pub struct Lots {
    pub(super) by_name: BTreeMap<String, Lot>,
    pub(super) burnable: Vec<String>,
    changed: BTreeSet<String>,
}

#[derive(Debug, Clone)]
pub struct Payment {
    pub id: PaymentId,
    pub record: Record,
    pub state: PaymentState,
    /// Set when it was delivered, and never changed by a fact afterwards.
    pub account: Option<AccountId>,
    /// The catalog of its first grant.
    pub catalog: Option<CatalogVersion>,
    /// Which payment it turned out to be, once merged.
    pub merged_into: Option<PaymentId>,
    /// How its record was understood when it was last settled.
    pub reading: Reading,
    /// Changed since it was read.
    pub changed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaymentState {
    /// Known only by what was said of it in passing: movements wait here for their payment.
    Shell,
    /// Paid, and no credits were given: the account or what it grants is unknown.
    Undelivered,
    Delivered,
    /// It turned out to be another payment, which has taken its record over.
    Merged,
}

impl PaymentState {
    pub const ALL: [PaymentState; 4] =
        [PaymentState::Shell, PaymentState::Undelivered, PaymentState::Delivered, PaymentState::Merged];

    pub fn as_str(self) -> &'static str {
        match self {
            PaymentState::Shell => "shell",
            PaymentState::Undelivered => "undelivered",
            PaymentState::Delivered => "delivered",
            PaymentState::Merged => "merged",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl Books {
    pub fn account(&mut self, id: &AccountId) -> &mut Account {
        self.accounts.entry(id.clone()).or_insert_with(|| Account::new(id.clone()))
    }

    /// The payment, to be changed; a shell where nothing is known of it yet.
    pub fn payment(&mut self, id: &PaymentId) -> &mut Payment {
        let payment = self.payments.entry(id.clone()).or_insert_with(|| Payment::shell(id.clone()));
        payment.changed = true;
        payment
    }

    /// The payment that now stands for this one: itself, or what it turned out to be.
    pub fn standing_for<'a>(&'a self, id: &'a PaymentId) -> &'a PaymentId {
        let mut id = id;
        while let Some(merged_into) = self.payments.get(id).and_then(|payment| payment.merged_into.as_ref()) {
            id = merged_into;
        }
        id
    }

    /// Makes one payment of several whose ids a fact named together, and returns the one that stands for all: a payment
    /// that was delivered keeps its name, else it is what stands for `leading`, the fact's own id for it.
    ///
    /// Only payments that stand for themselves are merged, and only into one that does: merges never form a circle.
    pub fn unite(&mut self, leading: &PaymentId, others: &BTreeSet<PaymentId>) -> Result<PaymentId, Refusal> {
        let leading = self.standing_for(leading).clone();
        let mut standing: BTreeSet<PaymentId> =
            others.iter().map(|id| self.standing_for(id).clone()).collect();
        standing.insert(leading.clone());
        let is_delivered =
            |id: &&PaymentId| self.payments.get(*id).is_some_and(|p| p.state == PaymentState::Delivered);
        let delivered: Vec<&PaymentId> = standing.iter().filter(is_delivered).collect();
        let survivor = match delivered[..] {
            [] => leading,
            [one] => one.clone(),
            [a, b, ..] => return Err(Refusal::TwoDelivered(a.clone(), b.clone())),
        };
        standing.remove(&survivor);
        for other in standing {
            let Some(absorbed) = self.payments.get_mut(&other) else { continue };
            absorbed.state = PaymentState::Merged;
            absorbed.merged_into = Some(survivor.clone());
            absorbed.changed = true;
            let record = std::mem::take(&mut absorbed.record);
            self.payment(&survivor).record.absorb(record);
        }
        Ok(survivor)
    }
}

impl Account {
    pub fn new(id: AccountId) -> Self {
        Self {
            id,
            balances: Balances::default(),
            sequence: 0,
            transactions: 0,
            head: GENESIS,
            events_head: GENESIS,
            lots: Lots::default(),
        }
    }
}

impl Payment {
    fn shell(id: PaymentId) -> Self {
        Self {
            id,
            record: Record::default(),
            state: PaymentState::Shell,
            account: None,
            catalog: None,
            merged_into: None,
            reading: Reading::TODAY,
            changed: true,
        }
    }
}

impl Lots {
    pub fn new(lots: impl IntoIterator<Item = Lot>, keys: &[BurnKey]) -> Self {
        let by_name: BTreeMap<String, Lot> = lots.into_iter().map(|lot| (lot.lot.clone(), lot)).collect();
        let mut burnable: Vec<&Lot> = by_name.values().filter(|lot| lot.remaining.is_positive()).collect();
        burnable.sort_by(|a, b| burn_order(keys, a, b));
        let burnable = burnable.into_iter().map(|lot| lot.lot.clone()).collect();
        Self { by_name, burnable, changed: BTreeSet::new() }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lot> {
        self.by_name.values()
    }

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
