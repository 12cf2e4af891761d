//! The part of the state that a batch touches: accounts with their lots, payments, customer links.

use super::decision::Refusal;
use super::lots::Lots;
use crate::catalog::CatalogVersion;
use crate::event::Balances;
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::journal::{GENESIS, Hash};
use crate::record::{PaymentRecord, Reading};
use std::collections::{BTreeSet, HashMap};
use time::OffsetDateTime;

/// The accounts, payments and customer links that a batch touches.
#[derive(Debug, Default)]
pub struct Books {
    pub accounts: HashMap<AccountId, Account>,
    pub payments: HashMap<PaymentId, LedgerPayment>,
    /// Which account a processor's customer, or an e-mail address, stands for.
    pub customers: HashMap<CustomerId, AccountId>,
    /// The latest address of a processor's customer, as its digest, and when it was told.
    pub emails: HashMap<CustomerId, (OffsetDateTime, CustomerId)>,
}

/// An account's balances, the end of its journal, and those of its lots that can change.
#[derive(Debug, Clone)]
pub struct Account {
    pub id: AccountId,
    pub balances: Balances,
    /// Number of the last transaction.
    pub transactions: u64,
    /// Hash of the last transaction.
    pub head: Hash,
    pub lots: Lots,
}

#[derive(Debug, Clone)]
pub struct LedgerPayment {
    pub id: PaymentId,
    pub record: PaymentRecord,
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

    /// As it is stored and published.
    pub fn as_str(self) -> &'static str {
        match self {
            PaymentState::Shell => "shell",
            PaymentState::Undelivered => "undelivered",
            PaymentState::Delivered => "delivered",
            PaymentState::Merged => "merged",
        }
    }

    /// The one of this text; `None` if there is none.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl Books {
    /// The account, to be changed; a new one where nothing is known of it yet.
    pub fn account(&mut self, id: &AccountId) -> &mut Account {
        self.accounts.entry(id.clone()).or_insert_with(|| Account::new(id.clone()))
    }

    /// The payment, to be changed; a shell where nothing is known of it yet.
    pub fn payment(&mut self, id: &PaymentId) -> &mut LedgerPayment {
        let payment = self.payments.entry(id.clone()).or_insert_with(|| LedgerPayment::shell(id.clone()));
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
    ///
    /// # Errors
    /// [`Refusal::TwoDelivered`]: two of them were delivered, and nothing was changed.
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
        Self { id, balances: Balances::default(), transactions: 0, head: GENESIS, lots: Lots::default() }
    }
}

impl LedgerPayment {
    fn shell(id: PaymentId) -> Self {
        Self {
            id,
            record: PaymentRecord::default(),
            state: PaymentState::Shell,
            account: None,
            catalog: None,
            merged_into: None,
            reading: Reading::TODAY,
            changed: true,
        }
    }
}
