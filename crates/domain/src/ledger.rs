//! The ledger's rule: facts in, difference out.
//!
//! [`decide`] records a fact, computes what should now hold of its payment (the target), and posts what is missing
//! between the target and what is already reversed and held, as balanced journal transactions. It never adds or
//! subtracts "what the event says": that is how others double-credit, over-claw and under-claw.
//!
//! What holds after every call, whatever the facts and their order:
//! - each transaction sums to zero; each lot adds up; each account's balances are the sums of its lots and debt;
//! - a payment's lots have reversed exactly its target, never more than was granted;
//! - `available > 0` and `debt > 0` never together;
//! - each account's transactions and events are numbered without gaps.
//!
//! The [`Books`] hold the part of the state that a batch touches; the caller has locked it. On an error nothing in
//! them has changed.

use crate::catalog::{Catalog, CatalogVersion, Worth};
use crate::envelope::Cause;
use crate::event::{Balances, Event, EventData, EventKind};
use crate::fact::{self, Fact, GrantKind};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::journal::{Book, Entry, GENESIS, Hash, Transaction, TransactionKind};
use crate::lot::{BurnKey, Lot, LotKind, burn_order};
use crate::money::Credits;
use crate::record::{Record, Terms};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use time::OffsetDateTime;

/// The deployment's settings that decide about credits.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Decimal places of a credit.
    pub scale: u32,
    pub burn_order: Vec<BurnKey>,
    /// The catalog that new payments are granted by.
    pub current: CatalogVersion,
    /// Every catalog that a payment was ever granted by, the current one included.
    pub catalogs: BTreeMap<CatalogVersion, Catalog>,
}

/// The accounts, payments and customer links that a batch touches.
#[derive(Debug, Default)]
pub struct Books {
    pub accounts: HashMap<AccountId, Account>,
    pub payments: HashMap<PaymentId, Payment>,
    /// Which account a processor's customer stands for.
    pub customers: HashMap<CustomerId, AccountId>,
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
    pub lots: Lots,
}

/// An account's lots by name, and which of them can be burned, in burn order.
///
/// The order is kept, not sorted anew for every fact: a hot account's usage costs no more than a cold one's.
#[derive(Debug, Clone, Default)]
pub struct Lots {
    by_name: BTreeMap<String, Lot>,
    burnable: Vec<String>,
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

/// What became of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It changed the ledger.
    Applied,
    /// It said nothing new.
    NoOp,
    /// It waits in a payment that is not delivered yet.
    Waiting,
    /// It does not concern the ledger.
    Ignored,
    /// It contradicts what was acted upon; nothing was guessed, an operator decides.
    Contradicts,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::NoOp => "no_op",
            Outcome::Waiting => "waiting",
            Outcome::Ignored => "ignored",
            Outcome::Contradicts => "contradicts",
        }
    }
}

#[derive(Debug)]
pub struct Decision {
    pub outcome: Outcome,
    /// A movement in another currency than its payment's: the rest of the payment is held, an operator states the amount.
    pub foreign_currency: bool,
    pub transactions: Vec<Transaction>,
    pub events: Vec<Event>,
}

/// Why a fact can never be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "expected ids of one purchase, got ids of two payments that were both delivered ({0} and {1}): an operator must say which is right"
    )]
    TwoDelivered(PaymentId, PaymentId),
    #[error("expected an account's credits to stay below 10^15, got more from {0}")]
    TooManyCredits(Cause),
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

    fn insert(&mut self, lot: Lot, keys: &[BurnKey]) {
        let name = lot.lot.clone();
        self.by_name.insert(name.clone(), lot);
        self.refile(&name, keys);
    }

    /// Puts a lot where it now belongs among those that can be burned.
    fn refile(&mut self, name: &str, keys: &[BurnKey]) {
        self.changed.insert(name.to_owned());
        let lot = &self.by_name[name];
        let filed = self.burnable.iter().position(|other| other == name);
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

    /// The payment's own lots. They are found by their names: a hot account may have very many others.
    fn of_payment(&self, payment: &PaymentId) -> Vec<String> {
        [LotKind::Purchase, LotKind::Bonus]
            .into_iter()
            .map(|kind| payment_lot(payment, kind))
            .filter(|name| self.by_name.contains_key(name))
            .collect()
    }

    /// What the payment's own lots were granted.
    fn granted_by(&self, payment: &PaymentId) -> Worth {
        let granted = |kind| self.get(&payment_lot(payment, kind)).map_or(Credits::ZERO, |lot| lot.granted);
        Worth { purchase: granted(LotKind::Purchase), bonus: granted(LotKind::Bonus), expires_after: None }
    }

    /// Lots that were made or changed since they were read.
    pub fn changed(&self) -> impl Iterator<Item = &Lot> {
        self.changed.iter().filter_map(|name| self.by_name.get(name))
    }
}

/// Decides what a fact changes. `at` is when the batch was taken up: the time of its transactions and events.
///
/// A fact about a payment is addressed by `payment`, which [`Books::unite`] gave for the ids that it names.
pub fn decide(
    books: &mut Books,
    rules: &Rules,
    cause: &Cause,
    at: OffsetDateTime,
    fact: &Fact,
    payment: Option<&PaymentId>,
) -> Result<Decision, Refusal> {
    let mut posting = Posting::new(rules, cause, at);
    let outcome = match (fact, payment) {
        (Fact::Usage(usage), _) => posting.usage(books, usage)?,
        (Fact::Grant(grant), _) => posting.grant(books, grant)?,
        (Fact::Customer(customer), _) => posting.customer(books, customer),
        (Fact::Payment(described), Some(id)) => {
            posting.recorded(books, id, |record| record.describe(&cause.id, described))
        }
        (Fact::Movement(movement), Some(id)) => {
            posting.movement = Some(movement.movement.clone());
            posting.recorded(books, id, |record| record.note_movement(&cause.id, movement))
        }
        (Fact::Hold(hold), Some(id)) => {
            posting.recorded(books, id, |record| record.note_hold(&cause.id, hold))
        }
        (Fact::Dispute(_) | Fact::RefundRequest(_) | Fact::Unrecognised(_), _)
        | (Fact::Payment(_) | Fact::Movement(_) | Fact::Hold(_), None) => Outcome::Ignored,
    };
    Ok(posting.finish(books, outcome))
}

/// The transactions and events that one fact brings about, while they are being made.
struct Posting<'a> {
    rules: &'a Rules,
    cause: &'a Cause,
    at: OffsetDateTime,
    /// The movement that the fact reports, for the events it causes.
    movement: Option<String>,
    foreign_currency: bool,
    transactions: Vec<Transaction>,
    events: Vec<Event>,
}

/// One journal transaction while it is being made.
struct Draft {
    kind: TransactionKind,
    payment: Option<PaymentId>,
    entries: Vec<Entry>,
}

impl Draft {
    fn new(kind: TransactionKind, payment: Option<&PaymentId>) -> Self {
        Self { kind, payment: payment.cloned(), entries: Vec::new() }
    }

    fn lot(&mut self, lot: &str, from: Book, to: Book, amount: Credits) {
        self.entries.push(Entry { book: from, lot: Some(lot.to_owned()), amount: -amount });
        self.entries.push(Entry { book: to, lot: Some(lot.to_owned()), amount });
    }

    fn debt(&mut self, amount: Credits) {
        self.entries.push(Entry { book: Book::Debt, lot: None, amount });
        self.entries.push(Entry { book: Book::Overdrawn, lot: None, amount: -amount });
    }
}

impl<'a> Posting<'a> {
    fn new(rules: &'a Rules, cause: &'a Cause, at: OffsetDateTime) -> Self {
        Self {
            rules,
            cause,
            at,
            movement: None,
            foreign_currency: false,
            transactions: Vec::new(),
            events: Vec::new(),
        }
    }

    fn usage(&mut self, books: &mut Books, usage: &fact::Usage) -> Result<Outcome, Refusal> {
        let account = books.account(&usage.account);
        self.room(account, usage.credits)?;
        let mut draft = Draft::new(TransactionKind::Usage, None);
        let short = self.burn(account, usage.credits, &mut draft);
        self.owe(account, short, &mut draft);
        self.post(account, draft);
        let reference = usage.reference.clone();
        let consumed = EventData { credits: Some(usage.credits), reference, ..EventData::default() };
        self.tell_with_debt(account, EventKind::CreditsConsumed, consumed, short);
        Ok(Outcome::Applied)
    }

    fn grant(&mut self, books: &mut Books, grant: &fact::Grant) -> Result<Outcome, Refusal> {
        let account = books.account(&grant.account);
        self.room(account, grant.credits)?;
        let kind = match grant.kind {
            GrantKind::Promotional => LotKind::Promotional,
            GrantKind::Goodwill => LotKind::Goodwill,
        };
        let lot = format!("{}#{}", self.cause, kind.as_str());
        self.issue(account, lot, None, kind, grant.credits, self.at, grant.expires_at);
        self.cover(account);
        Ok(Outcome::Applied)
    }

    /// Links a customer to an account, and delivers the payments that waited for it.
    fn customer(&mut self, books: &mut Books, fact: &fact::Customer) -> Outcome {
        let Some(link) = &fact.account else { return Outcome::NoOp };
        match books.customers.get(&fact.customer) {
            Some(known) if *known == link.account => return Outcome::NoOp,
            // A link that contradicts never moves anything by itself.
            Some(_) => return Outcome::Contradicts,
            None => books.customers.insert(fact.customer.clone(), link.account.clone()),
        };
        let mut waiting: Vec<PaymentId> = books
            .payments
            .values()
            .filter(|payment| payment.state == PaymentState::Undelivered)
            .filter(|payment| {
                payment.record.terms().is_some_and(|t| t.customer.as_ref() == Some(&fact.customer))
            })
            .map(|payment| payment.id.clone())
            .collect();
        waiting.sort();
        for payment in waiting {
            self.settle(books, &payment);
        }
        Outcome::Applied
    }

    /// Merges a statement into a payment's record and posts the difference that it makes.
    fn recorded(&mut self, books: &mut Books, id: &PaymentId, state: impl FnOnce(&mut Record)) -> Outcome {
        let payment = books.payment(id);
        let before = payment.record.clone();
        state(&mut payment.record);
        let changed = !payment.record.says_the_same_as(&before);
        let contradicts = self.contradicts_its_account(books, id) || self.contradicts_its_grant(books, id);
        self.settle(books, id);
        match (books.payments[id].state, contradicts, changed || !self.transactions.is_empty()) {
            (_, true, true) => Outcome::Contradicts,
            (PaymentState::Delivered, _, true) => Outcome::Applied,
            (_, _, false) => Outcome::NoOp,
            (PaymentState::Shell | PaymentState::Undelivered | PaymentState::Merged, _, true) => {
                Outcome::Waiting
            }
        }
    }

    /// A delivered payment is said to belong to someone else, or its descriptions disagree: it stays where it is.
    fn contradicts_its_account(&self, books: &Books, id: &PaymentId) -> bool {
        let payment = &books.payments[id];
        let said = payment.record.terms().and_then(|terms| terms.account).map(|link| link.account);
        let moved = payment.account.is_some() && said.is_some() && payment.account != said;
        moved || payment.record.contradicts_itself()
    }

    /// A delivered payment is said to be for something that the catalog of its grant does not know: it keeps its credits.
    fn contradicts_its_grant(&self, books: &Books, id: &PaymentId) -> bool {
        let payment = &books.payments[id];
        let terms = payment.record.terms();
        payment.state == PaymentState::Delivered
            && terms.is_some_and(|terms| self.worth(payment, &terms).is_none())
    }

    /// Brings a payment's lots to what its record says should hold.
    fn settle(&mut self, books: &mut Books, id: &PaymentId) {
        let Some(terms) = books.payments[id].record.terms() else { return };
        let worth = self.worth(&books.payments[id], &terms);
        if books.payments[id].state != PaymentState::Delivered
            && !self.deliver(books, id, &terms, worth.as_ref())
        {
            return;
        }
        let payment = &books.payments[id];
        let Some(account) = payment.account.clone() else { return };
        // A later description may name what the catalog of its grant does not know. Money that goes back still takes
        // back its share, of what was granted.
        let granted_before = || books.accounts.get(&account).map(|account| account.lots.granted_by(id));
        let worth = worth.map(|(_, worth)| worth).or_else(granted_before).unwrap_or_default();
        let gone = payment.record.gone(terms.total);
        self.foreign_currency |= gone.foreign_currency;
        let whole = terms.total.amount();
        let granted = worth.total();
        let reversed = granted.share(gone.reversed, whole, self.rules.scale);
        let both = granted.share(gone.reversed + gone.held, whole, self.rules.scale);
        let account = books.account(&account);
        self.correct(account, id, worth, &terms);
        self.reach_reversed(account, id, reversed);
        self.reach_held(account, id, both - reversed);
        self.cover(account);
    }

    /// What the payment grants, and by which catalog: that of its first grant, else the current one.
    fn worth(&self, payment: &Payment, terms: &Terms) -> Option<(CatalogVersion, Worth)> {
        let version = payment.catalog.as_ref().unwrap_or(&self.rules.current);
        let catalog = self.rules.catalogs.get(version)?;
        let worth =
            catalog.worth(payment.id.processor(), &terms.items, terms.before_tax, self.rules.scale)?;
        worth.total().within(crate::money::SCALE_MAX).ok()?;
        Some((version.clone(), worth))
    }

    /// Grants a paid payment's credits once the account and the worth are known. Tells whether it is delivered.
    fn deliver(
        &mut self,
        books: &mut Books,
        id: &PaymentId,
        terms: &Terms,
        worth: Option<&(CatalogVersion, Worth)>,
    ) -> bool {
        let named = terms.account.as_ref().map(|link| link.account.clone());
        let linked = || terms.customer.as_ref().and_then(|customer| books.customers.get(customer).cloned());
        let contradicts = books.payments[id].record.contradicts_itself();
        let (account, (version, _)) = match (named.or_else(linked), worth) {
            (Some(account), Some(worth)) if !contradicts => (account, worth),
            (Some(_), Some(_)) => return self.undelivered(books, id, "account_contradicted"),
            (None, _) => return self.undelivered(books, id, "account_unknown"),
            (_, None) => return self.undelivered(books, id, "price_unknown"),
        };
        let payment = books.payment(id);
        payment.state = PaymentState::Delivered;
        payment.account = Some(account.clone());
        payment.catalog = Some(version.clone());
        let account = books.account(&account);
        let data = EventData { payment: Some(id.clone()), ..EventData::default() };
        self.tell(account, EventKind::PaymentDelivered, data);
        true
    }

    fn undelivered(&mut self, books: &mut Books, id: &PaymentId, reason: &'static str) -> bool {
        let payment = books.payment(id);
        if payment.state != PaymentState::Undelivered {
            payment.state = PaymentState::Undelivered;
            self.events.push(Event {
                kind: EventKind::PaymentUndelivered,
                account: None,
                sequence: None,
                cause: self.cause.clone(),
                time: self.at,
                data: EventData { payment: Some(id.clone()), reason: Some(reason), ..EventData::default() },
            });
        }
        false
    }

    /// Brings what the payment's lots were granted to what it is worth: issues them at first, later posts what a fact
    /// changed.
    fn correct(&mut self, account: &mut Account, id: &PaymentId, worth: Worth, terms: &Terms) {
        // Past the last moment that can be told, credits do not expire.
        let expires_at = worth.expires_after.and_then(|after| terms.at.checked_add(after));
        for (kind, target) in [(LotKind::Purchase, worth.purchase), (LotKind::Bonus, worth.bonus)] {
            let name = payment_lot(id, kind);
            let granted = account.lots.get(&name).map(|lot| lot.granted);
            match granted {
                None if target.is_zero() => {}
                None => self.issue(account, name, Some(id), kind, target, terms.at, expires_at),
                Some(granted) if granted < target => self.grant_more(account, &name, id, target - granted),
                Some(granted) if granted > target => self.grant_less(account, &name, id, granted - target),
                Some(_) => {}
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a lot's fields, each of its own type")]
    fn issue(
        &mut self,
        account: &mut Account,
        lot: String,
        payment: Option<&PaymentId>,
        kind: LotKind,
        credits: Credits,
        since: OffsetDateTime,
        expires_at: Option<OffsetDateTime>,
    ) {
        let mut draft = Draft::new(TransactionKind::Grant, payment);
        draft.lot(&lot, Book::Issued, Book::Available, credits);
        account.balances.available += credits;
        let new = Lot {
            lot: lot.clone(),
            account: account.id.clone(),
            payment: payment.cloned(),
            kind,
            granted: credits,
            remaining: credits,
            held: Credits::ZERO,
            consumed: Credits::ZERO,
            reversed: Credits::ZERO,
            expired: Credits::ZERO,
            since,
            expires_at,
        };
        account.lots.insert(new, &self.rules.burn_order);
        self.post(account, draft);
        let data = EventData {
            payment: payment.cloned(),
            lot: Some(lot),
            credits: Some(credits),
            ..EventData::default()
        };
        self.tell(account, EventKind::CreditsGranted, data);
    }

    fn grant_more(&mut self, account: &mut Account, lot: &str, id: &PaymentId, credits: Credits) {
        let mut draft = Draft::new(TransactionKind::Correction, Some(id));
        draft.lot(lot, Book::Issued, Book::Available, credits);
        self.change(account, lot, |lot| {
            lot.granted += credits;
            lot.remaining += credits;
        });
        account.balances.available += credits;
        self.post(account, draft);
        let data = EventData {
            payment: Some(id.clone()),
            lot: Some(lot.to_owned()),
            credits: Some(credits),
            ..EventData::default()
        };
        self.tell(account, EventKind::CreditsGranted, data);
    }

    /// Credits that a payment turned out not to have granted: taken from where they do least harm first. What was
    /// already reversed comes last; the target of reversal is reached again right after.
    fn grant_less(&mut self, account: &mut Account, lot: &str, id: &PaymentId, credits: Credits) {
        let mut draft = Draft::new(TransactionKind::Correction, Some(id));
        let names = [lot.to_owned()];
        let mut left = credits;
        let mut short = Credits::ZERO;
        for book in [Book::Available, Book::Held, Book::Expired, Book::Consumed, Book::Reversed] {
            let taken = self.take(account, &names, book, Book::Issued, left, &mut draft);
            left -= taken;
            if book == Book::Consumed {
                short = self.displace(account, taken, &mut draft);
            }
        }
        self.change(account, lot, |lot| lot.granted -= credits);
        self.post(account, draft);
        let data = EventData {
            payment: Some(id.clone()),
            lot: Some(lot.to_owned()),
            credits: Some(credits),
            reason: Some("grant_corrected"),
            ..EventData::default()
        };
        self.tell_with_debt(account, EventKind::CreditsReversed, data, short);
    }

    /// Reverses or restores until the payment's lots have reversed exactly `target`.
    fn reach_reversed(&mut self, account: &mut Account, id: &PaymentId, target: Credits) {
        let lots = account.lots.of_payment(id);
        let reversed: Credits = lots.iter().map(|lot| account.lots.by_name[lot].reversed).sum();
        if reversed < target {
            self.reverse(account, id, &lots, target - reversed);
        } else if reversed > target {
            self.restore(account, id, &lots, reversed - target);
        }
    }

    /// Takes credits of the payment's own lots: what is held, then remaining, then expired, then consumed. Usage that
    /// loses its lot moves to the account's other lots, and what no lot covers is debt.
    fn reverse(&mut self, account: &mut Account, id: &PaymentId, lots: &[String], credits: Credits) {
        let mut draft = Draft::new(TransactionKind::Reversal, Some(id));
        let mut left = credits;
        let mut short = Credits::ZERO;
        for book in [Book::Held, Book::Available, Book::Expired, Book::Consumed] {
            let taken = self.take(account, lots, book, Book::Reversed, left, &mut draft);
            left -= taken;
            if book == Book::Consumed {
                short = self.displace(account, taken, &mut draft);
            }
        }
        debug_assert!(left.is_zero(), "the target is at most what was granted");
        self.post(account, draft);
        let data = self.about(id, credits);
        self.tell_with_debt(account, EventKind::CreditsReversed, data, short);
    }

    fn restore(&mut self, account: &mut Account, id: &PaymentId, lots: &[String], credits: Credits) {
        let mut draft = Draft::new(TransactionKind::Restoration, Some(id));
        self.take(account, lots, Book::Reversed, Book::Available, credits, &mut draft);
        self.post(account, draft);
        let data = self.about(id, credits);
        self.tell(account, EventKind::CreditsRestored, data);
    }

    /// Holds or releases between what remains and what is held of the payment's own lots, as far as they reach.
    fn reach_held(&mut self, account: &mut Account, id: &PaymentId, target: Credits) {
        let lots = account.lots.of_payment(id);
        let sum = |part: fn(&Lot) -> Credits| -> Credits {
            lots.iter().map(|lot| part(&account.lots.by_name[lot])).sum()
        };
        let (held, remaining) = (sum(|lot| lot.held), sum(|lot| lot.remaining));
        let target = target.min(held + remaining);
        let (kind, event, from, to, credits) = if held < target {
            (TransactionKind::Hold, EventKind::CreditsHeld, Book::Available, Book::Held, target - held)
        } else if held > target {
            (TransactionKind::Release, EventKind::CreditsReleased, Book::Held, Book::Available, held - target)
        } else {
            return;
        };
        let mut draft = Draft::new(kind, Some(id));
        self.take(account, &lots, from, to, credits, &mut draft);
        self.post(account, draft);
        let data = self.about(id, credits);
        self.tell(account, event, data);
    }

    /// Always last: available credits take over usage that is debt, in burn order.
    fn cover(&mut self, account: &mut Account) {
        let debt = account.balances.debt;
        if !debt.is_positive() || !account.balances.available.is_positive() {
            return;
        }
        let mut draft = Draft::new(TransactionKind::Cover, None);
        let left = self.burn(account, debt, &mut draft);
        let covered = debt - left;
        draft.debt(-covered);
        account.balances.debt = left;
        self.post(account, draft);
        self.tell(
            account,
            EventKind::DebtCovered,
            EventData { credits: Some(covered), ..EventData::default() },
        );
    }

    /// Consumes available credits in burn order; returns what they did not cover.
    fn burn(&self, account: &mut Account, credits: Credits, draft: &mut Draft) -> Credits {
        let mut left = credits;
        while left.is_positive() {
            let Some(name) = account.lots.burnable.first().cloned() else { break };
            left -= self.take(account, &[name], Book::Available, Book::Consumed, left, draft);
        }
        left
    }

    /// Usage whose credits were taken away: other lots carry it, and the rest is debt, which is returned.
    fn displace(&self, account: &mut Account, usage: Credits, draft: &mut Draft) -> Credits {
        let short = self.burn(account, usage, draft);
        self.owe(account, short, draft);
        short
    }

    fn owe(&self, account: &mut Account, credits: Credits, draft: &mut Draft) {
        if credits.is_positive() {
            draft.debt(credits);
            account.balances.debt += credits;
        }
    }

    /// Moves up to `credits` between two places of the given lots, one lot after the other; returns how much it was.
    fn take(
        &self,
        account: &mut Account,
        lots: &[String],
        from: Book,
        to: Book,
        credits: Credits,
        draft: &mut Draft,
    ) -> Credits {
        let mut left = credits;
        for name in lots {
            let there = account.lots.by_name.get(name).and_then(|lot| part(lot, from)).unwrap_or_default();
            let taken = there.min(left);
            if !taken.is_positive() {
                continue;
            }
            self.change(account, name, |lot| {
                add_to(lot, from, -taken);
                add_to(lot, to, taken);
            });
            for (book, amount) in [(from, -taken), (to, taken)] {
                match book {
                    Book::Available => account.balances.available += amount,
                    Book::Held => account.balances.held += amount,
                    Book::Issued
                    | Book::Consumed
                    | Book::Reversed
                    | Book::Expired
                    | Book::Debt
                    | Book::Overdrawn => {}
                }
            }
            draft.lot(name, from, to, taken);
            left -= taken;
        }
        credits - left
    }

    fn change(&self, account: &mut Account, name: &str, change: impl FnOnce(&mut Lot)) {
        if let Some(lot) = account.lots.by_name.get_mut(name) {
            change(lot);
            account.lots.refile(name, &self.rules.burn_order);
        }
    }

    /// Refuses what would take an account's sums out of the range that decimals hold exactly.
    fn room(&self, account: &Account, credits: Credits) -> Result<(), Refusal> {
        let sums = [account.balances.available, account.balances.debt];
        if sums.into_iter().any(|sum| (sum + credits).within(crate::money::SCALE_MAX).is_err()) {
            return Err(Refusal::TooManyCredits(self.cause.clone()));
        }
        Ok(())
    }

    fn post(&mut self, account: &mut Account, draft: Draft) {
        account.transactions += 1;
        let mut transaction = Transaction {
            account: account.id.clone(),
            number: account.transactions,
            kind: draft.kind,
            cause: self.cause.clone(),
            payment: draft.payment,
            at: self.at,
            entries: draft.entries,
            hash: GENESIS,
        };
        debug_assert!(transaction.balances(), "{transaction:?}");
        transaction.hash = transaction.chained_hash(&account.head);
        account.head = transaction.hash;
        self.transactions.push(transaction);
    }

    fn about(&self, id: &PaymentId, credits: Credits) -> EventData {
        EventData {
            payment: Some(id.clone()),
            movement: self.movement.clone(),
            credits: Some(credits),
            ..EventData::default()
        }
    }

    fn tell(&mut self, account: &mut Account, kind: EventKind, data: EventData) {
        account.sequence += 1;
        self.events.push(Event {
            kind,
            account: Some(account.id.clone()),
            sequence: Some(account.sequence),
            cause: self.cause.clone(),
            time: self.at,
            data,
        });
    }

    /// An event, and beside it `debt.incurred` where credits fell short.
    fn tell_with_debt(&mut self, account: &mut Account, kind: EventKind, data: EventData, short: Credits) {
        let short = Some(short).filter(|short| short.is_positive());
        let debt = EventData { credits: short, reference: data.reference.clone(), ..data.clone() };
        self.tell(account, kind, EventData { debt_incurred: short, ..data });
        if short.is_some() {
            self.tell(account, EventKind::DebtIncurred, debt);
        }
    }

    /// Events carry the balances after everything that the fact brought about, never those in between.
    fn finish(mut self, books: &Books, outcome: Outcome) -> Decision {
        for event in &mut self.events {
            event.data.balances =
                event.account.as_ref().and_then(|id| books.accounts.get(id)).map(|account| account.balances);
        }
        let Self { foreign_currency, transactions, events, .. } = self;
        Decision { outcome, foreign_currency, transactions, events }
    }
}

/// The name of a payment's own lot.
pub fn payment_lot(payment: &PaymentId, kind: LotKind) -> String {
    format!("{payment}#{}", kind.as_str())
}

/// How much of a lot is in a place; a lot has no part of what is booked on the account.
fn part(lot: &Lot, book: Book) -> Option<Credits> {
    match book {
        Book::Available => Some(lot.remaining),
        Book::Held => Some(lot.held),
        Book::Consumed => Some(lot.consumed),
        Book::Reversed => Some(lot.reversed),
        Book::Expired => Some(lot.expired),
        Book::Issued | Book::Debt | Book::Overdrawn => None,
    }
}

fn add_to(lot: &mut Lot, book: Book, amount: Credits) {
    match book {
        Book::Available => lot.remaining += amount,
        Book::Held => lot.held += amount,
        Book::Consumed => lot.consumed += amount,
        Book::Reversed => lot.reversed += amount,
        Book::Expired => lot.expired += amount,
        // Issued is the other side of `granted`, which its caller sets; debt belongs to no lot.
        Book::Issued | Book::Debt | Book::Overdrawn => {}
    }
}

#[cfg(test)]
mod tests;
