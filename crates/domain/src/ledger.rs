//! The ledger's rule: facts in, difference out.
//!
//! [`decide`] records a fact, computes what should now hold of its payment (the target), and posts what is missing
//! between the target and what is already reversed and held, as balanced journal transactions. It never adds or
//! subtracts "what the event says": that is how others double-credit, over-claw and under-claw.
//!
//! The target of a payment, from its record alone. Each movement counts at most the whole before it is added; what is gone is
//! refunds, and chargebacks less backs. Where a payment has lines, what a movement names counts against its line and what
//! names none falls on the lines in proportion to what is left of each (`record/gone.rs`); credits to be reversed are the sum
//! of each line's share, rounded once. What a payment grants is quantity times share of the catalog's prices, else a rate, as
//! far as that applies (`catalog.rs`). What is in doubt is not guessed: it stays undelivered, and is told.
//! What only a rate granted and turns out to be for something else is taken back. The order of facts does not matter but for
//! what contradicts: a payment keeps what it was granted where a later description makes its worth unknown.
//!
//! What holds after every call, whatever the facts and their order:
//! - each transaction sums to zero; each lot adds up; each account's balances are the sums of its lots and debt;
//! - a payment's lots have reversed exactly its target, never more than was granted;
//! - `available > 0` and `debt > 0` never together;
//! - each account's transactions and events are numbered without gaps.
//!
//! The [`Books`] hold the part of the state that a batch touches; the caller has locked it. On an error nothing in
//! them has changed.

mod acts;
mod books;
mod rules;

pub use books::{Account, Books, Lots, Payment, PaymentState};
pub use rules::{RecordedRules, Rules};

use crate::calendar;
use crate::catalog::{CatalogVersion, Unknown, Worth};
use crate::envelope::Cause;
use crate::event::{
    BalanceExhausted, BalanceLow, CreditsConsumed, CreditsGranted, CreditsHeld, CreditsReleased,
    CreditsRestored, CreditsReversed, DebtCovered, DebtIncurred, Event, EventData, PaymentDelivered,
    PaymentUndelivered,
};
use crate::fact::{self, Fact, GrantKind};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::journal::{Book, Entry, GENESIS, Transaction, TransactionKind};
use crate::lot::{Lot, LotKind};
use crate::money::Credits;
use crate::outcome::Outcome;
use crate::record::{Record, Terms};
use std::collections::BTreeMap;
use time::OffsetDateTime;

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
        (Fact::Adjustment(adjustment), _) => posting.adjust(books, adjustment)?,
        (Fact::Expiry(expiry), _) => posting.expire(books, expiry),
        (Fact::Assignment(assignment), Some(id)) => posting.assign(books, id, assignment)?,
        (Fact::Valuation(valuation), Some(id)) => {
            posting.movement = Some(valuation.movement.clone());
            posting.recorded(books, id, |record| record.note_valuation(&cause.id, valuation))
        }
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
        | (
            Fact::Payment(_) | Fact::Movement(_) | Fact::Hold(_) | Fact::Assignment(_) | Fact::Valuation(_),
            None,
        ) => Outcome::Ignored,
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
        if usage.credits.is_zero() {
            return Ok(Outcome::NoOp);
        }
        let account = books.account(&usage.account);
        self.room(account, usage.credits)?;
        let reference = usage.reference.clone();
        self.spend(account, TransactionKind::Usage, usage.credits, reference, None);
        Ok(Outcome::Applied)
    }

    /// Consumes credits in burn order; what no lot covers is debt.
    fn spend(
        &mut self,
        account: &mut Account,
        kind: TransactionKind,
        credits: Credits,
        reference: Option<String>,
        reason: Option<&'static str>,
    ) {
        let mut draft = Draft::new(kind, None);
        let short = self.burn(account, credits, &mut draft);
        self.owe(account, short, &mut draft);
        self.post(account, draft);
        let consumed = CreditsConsumed { reference, reason, credits, debt_incurred: None };
        let (consumed, debt) = consumed.with_debt(short);
        self.tell(account, consumed);
        self.tell_debt(account, debt);
    }

    fn grant(&mut self, books: &mut Books, grant: &fact::Grant) -> Result<Outcome, Refusal> {
        let account = books.account(&grant.account);
        self.room(account, grant.credits)?;
        let kind = match grant.kind {
            GrantKind::Promotional => LotKind::Promotional,
            GrantKind::Goodwill => LotKind::Goodwill,
        };
        let lot = format!("{}#{}", self.cause, kind.as_str());
        let lot = Lot::issued(lot, account.id.clone(), None, kind, grant.credits, self.at, grant.expires_at);
        self.issue(account, lot, TransactionKind::Grant, None);
        self.cover(account);
        Ok(Outcome::Applied)
    }

    /// Links a customer to an account, and delivers the payments that waited for it. A customer without a link of its own
    /// has that of its address.
    fn customer(&mut self, books: &mut Books, fact: &fact::Customer) -> Outcome {
        let known = books.customers.get(&fact.customer).cloned();
        let told = fact.email.clone().map(|email| (fact.occurred_at, email));
        let noted = told.filter(|told| books.emails.get(&fact.customer).is_none_or(|known| known < told));
        let is_noted = noted.is_some();
        books.emails.extend(noted.map(|noted| (fact.customer.clone(), noted)));
        let stated = fact.account.as_ref().map(|link| link.account.clone());
        let by_address =
            || books.emails.get(&fact.customer).and_then(|(_, email)| books.customers.get(email).cloned());
        let account = match (known, stated) {
            // A link that contradicts never moves anything by itself.
            (Some(known), Some(stated)) if known != stated => return Outcome::Contradicts,
            (Some(_), _) => None,
            (None, stated) => stated.or_else(by_address),
        };
        let Some(account) = account else { return if is_noted { Outcome::Applied } else { Outcome::NoOp } };
        let mut linked: Vec<CustomerId> = books
            .emails
            .iter()
            .filter(|(customer, (_, email))| {
                *email == fact.customer && !books.customers.contains_key(*customer)
            })
            .map(|(customer, _)| customer.clone())
            .collect();
        linked.push(fact.customer.clone());
        books.customers.extend(linked.iter().map(|customer| (customer.clone(), account.clone())));
        let mut waiting: Vec<PaymentId> = books
            .payments
            .values()
            .filter(|payment| payment.state == PaymentState::Undelivered)
            .filter(|payment| {
                let terms = payment.record.terms(self.rules.reading);
                terms.is_some_and(|terms| terms.customers.iter().any(|customer| linked.contains(customer)))
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
        let before = books.payment(id).record.clone();
        let contradicted = self.contradicts(books, id);
        let payment = books.payment(id);
        state(&mut payment.record);
        let changed = !payment.record.says_the_same_as(&before);
        self.follow_move(books, id);
        let contradicts = self.contradicts(books, id) && !contradicted;
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

    /// What is said of a payment does not fit together, or not what was acted upon: an operator must look at it.
    fn contradicts(&self, books: &Books, id: &PaymentId) -> bool {
        self.contradicts_its_account(books, id)
            || self.contradicts_its_grant(books, id)
            || books.payments[id].record.contradicts_its_amount()
    }

    /// A delivered payment is said to belong to someone else, or its descriptions disagree: it stays where it is.
    fn contradicts_its_account(&self, books: &Books, id: &PaymentId) -> bool {
        let payment = &books.payments[id];
        let said =
            payment.record.terms(self.rules.reading).and_then(|terms| terms.account).map(|link| link.account);
        let moved = payment.account.is_some() && said.is_some() && payment.account != said;
        moved || payment.record.contradicts_itself()
    }

    /// A delivered payment is said to be for something that the catalog of its grant does not know: it keeps its credits.
    fn contradicts_its_grant(&self, books: &Books, id: &PaymentId) -> bool {
        let payment = &books.payments[id];
        let terms = payment.record.terms(self.rules.reading);
        payment.state == PaymentState::Delivered
            && terms.is_some_and(|terms| self.worth(payment, &terms).is_err())
    }

    /// Brings a payment's lots to what its record says should hold.
    fn settle(&mut self, books: &mut Books, id: &PaymentId) {
        books.payment(id).reading = self.rules.reading;
        let Some(terms) = books.payments[id].record.terms(self.rules.reading) else { return };
        let worth = self.worth(&books.payments[id], &terms);
        if books.payments[id].state != PaymentState::Delivered && !self.deliver(books, id, &terms, &worth) {
            return;
        }
        let payment = &books.payments[id];
        let Some(account) = payment.account.clone() else { return };
        // A later description may name what the catalog of its grant does not know. Money that goes back still takes
        // back its share, of what was granted.
        let granted_before = || books.accounts.get(&account).map(|account| account.lots.granted_by(id));
        let known = worth.ok().map(|(_, worth)| worth);
        let by_line = known.and_then(|_| self.credits_by_line(payment, &terms));
        let worth = known.or_else(granted_before).unwrap_or_default();
        let gone = payment.record.gone(&terms, self.rules.reading);
        self.foreign_currency |= gone.foreign_currency;
        let (reversed, held) = gone.credits(worth.total(), by_line.as_ref(), terms.total, self.rules.scale);
        let account = books.account(&account);
        self.correct(account, id, worth, &terms);
        if let Some(worth) = known {
            self.keep_to_term(account, id, worth, &terms);
        }
        self.reach_reversed(account, id, reversed);
        self.reach_held(account, id, held);
        self.cover(account);
    }

    /// What the payment grants, and by which catalog: that of its first grant, else the current one.
    fn worth(&self, payment: &Payment, terms: &Terms) -> Result<(CatalogVersion, Worth), Unknown> {
        let version = payment.catalog.as_ref().unwrap_or(&self.rules.current);
        let catalog = self.rules.catalogs.get(version).ok_or(Unknown::Price)?;
        let (processor, scale) = (payment.id.processor(), self.rules.scale);
        let worth = match payment.state {
            PaymentState::Delivered => terms.worth_delivered(processor, catalog, scale)?,
            PaymentState::Shell | PaymentState::Undelivered | PaymentState::Merged => {
                terms.worth(processor, catalog, scale)?
            }
        };
        Ok((version.clone(), worth))
    }

    fn credits_by_line(&self, payment: &Payment, terms: &Terms) -> Option<BTreeMap<String, Credits>> {
        let catalog = self.rules.catalogs.get(payment.catalog.as_ref()?)?;
        terms.credits_by_line(payment.id.processor(), catalog, self.rules.scale)
    }

    /// Grants a paid payment's credits once the account and the worth are known. Tells whether it is delivered.
    fn deliver(
        &mut self,
        books: &mut Books,
        id: &PaymentId,
        terms: &Terms,
        worth: &Result<(CatalogVersion, Worth), Unknown>,
    ) -> bool {
        let named = terms.account.as_ref().map(|link| link.account.clone());
        // Any of them will do: which object names whom first must not decide whether the payment is delivered.
        let linked = || terms.customers.iter().find_map(|customer| books.customers.get(customer).cloned());
        let contradicts = books.payments[id].record.contradicts_itself();
        let (account, (version, _)) = match (named.or_else(linked), worth) {
            (Some(account), Ok(worth)) if !contradicts => (account, worth),
            (Some(_), Ok(_)) => return self.undelivered(books, id, "account_contradicted"),
            // What sells nothing is nobody's business: it waits for nothing.
            (None, _) if terms.sells_nothing() => return false,
            (None, _) => return self.undelivered(books, id, "account_unknown"),
            (_, Err(unknown)) => return self.undelivered(books, id, unknown.as_str()),
        };
        let payment = books.payment(id);
        payment.state = PaymentState::Delivered;
        payment.account = Some(account.clone());
        payment.catalog = Some(version.clone());
        let account = books.account(&account);
        self.tell(account, PaymentDelivered { payment: id.clone() });
        true
    }

    fn undelivered(&mut self, books: &mut Books, id: &PaymentId, reason: &'static str) -> bool {
        let payment = books.payment(id);
        if payment.state != PaymentState::Undelivered {
            payment.state = PaymentState::Undelivered;
            self.events.push(Event {
                account: None,
                sequence: None,
                cause: self.cause.clone(),
                time: self.at,
                data: PaymentUndelivered { payment: id.clone(), reason }.into(),
                balances: None,
            });
        }
        false
    }

    /// Brings what the payment's lots were granted to what it is worth: issues them at first, later posts what a fact
    /// changed.
    fn correct(&mut self, account: &mut Account, id: &PaymentId, worth: Worth, terms: &Terms) {
        for (kind, target) in [(LotKind::Purchase, worth.purchase), (LotKind::Bonus, worth.bonus)] {
            let name = payment_lot(id, kind);
            let granted = account.lots.get(&name).map(|lot| lot.granted);
            match granted {
                None if target.is_zero() => {}
                None => {
                    let payment = Some(id.clone());
                    let mut lot = Lot::issued(
                        name,
                        account.id.clone(),
                        payment,
                        kind,
                        target,
                        terms.at,
                        term(worth, terms),
                    );
                    // It may be delivered long after it was paid.
                    self.give_grace(&mut lot);
                    self.issue(account, lot, TransactionKind::Grant, None);
                }
                Some(granted) if granted < target => self.grant_more(account, &name, id, target - granted),
                Some(granted) if granted > target => self.grant_less(account, &name, id, granted - target),
                Some(_) => {}
            }
        }
    }

    /// A later description may tell since when, and until when, the credits are there.
    fn keep_to_term(&self, account: &mut Account, id: &PaymentId, worth: Worth, terms: &Terms) {
        for name in account.lots.of_payment(id) {
            let lot = &account.lots.by_name[&name];
            let mut kept = lot.clone();
            kept.since = terms.at;
            kept.expire_at(term(worth, terms));
            if kept != *lot {
                self.change(account, &name, |lot| *lot = kept);
            }
        }
    }

    fn issue(
        &mut self,
        account: &mut Account,
        lot: Lot,
        kind: TransactionKind,
        reason: Option<&'static str>,
    ) {
        let mut draft = Draft::new(kind, lot.payment.as_ref());
        draft.lot(&lot.lot, Book::Issued, Book::Available, lot.granted);
        account.balances.available += lot.granted;
        let granted = CreditsGranted {
            payment: lot.payment.clone(),
            lot: Some(lot.lot.clone()),
            reason,
            credits: lot.granted,
        };
        account.lots.insert(lot, &self.rules.burn_order);
        self.post(account, draft);
        self.tell(account, granted);
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
        let (payment, lot) = (Some(id.clone()), Some(lot.to_owned()));
        self.tell(account, CreditsGranted { payment, lot, reason: None, credits });
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
        let reversed = CreditsReversed {
            payment: id.clone(),
            movement: None,
            lot: Some(lot.to_owned()),
            reason: Some("grant_corrected"),
            credits,
            debt_incurred: None,
        };
        self.tell_reversed(account, reversed, short);
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
        let reversed = CreditsReversed {
            payment: id.clone(),
            movement: self.movement.clone(),
            lot: None,
            reason: None,
            credits,
            debt_incurred: None,
        };
        self.tell_reversed(account, reversed, short);
    }

    fn restore(&mut self, account: &mut Account, id: &PaymentId, lots: &[String], credits: Credits) {
        let mut draft = Draft::new(TransactionKind::Restoration, Some(id));
        let before: Vec<Credits> = lots.iter().map(|lot| account.lots.by_name[lot].remaining).collect();
        self.take(account, lots, Book::Reversed, Book::Available, credits, &mut draft);
        for (lot, before) in lots.iter().zip(before) {
            if account.lots.by_name[lot].remaining > before {
                self.change(account, lot, |lot| self.give_grace(lot));
            }
        }
        self.post(account, draft);
        let (payment, movement) = (id.clone(), self.movement.clone());
        self.tell(account, CreditsRestored { payment, movement, credits });
    }

    /// Credits that come, or come back, to a lot whose time is up can be spent for a while.
    fn give_grace(&self, lot: &mut Lot) {
        if let Some(until) = calendar::later(self.at, self.rules.grace) {
            lot.give_grace(self.at, until);
        }
    }

    /// Holds or releases between what remains and what is held of the payment's own lots, as far as they reach.
    fn reach_held(&mut self, account: &mut Account, id: &PaymentId, target: Credits) {
        let lots = account.lots.of_payment(id);
        let sum = |part: fn(&Lot) -> Credits| -> Credits {
            lots.iter().map(|lot| part(&account.lots.by_name[lot])).sum()
        };
        let (held, remaining) = (sum(|lot| lot.held), sum(|lot| lot.remaining));
        let target = target.min(held + remaining);
        let (payment, movement) = (id.clone(), self.movement.clone());
        let (kind, from, to, credits, data): (_, _, _, _, EventData) = if held < target {
            let credits = target - held;
            let held = CreditsHeld { payment, movement, credits };
            (TransactionKind::Hold, Book::Available, Book::Held, credits, held.into())
        } else if held > target {
            let credits = held - target;
            let released = CreditsReleased { payment, movement, credits };
            (TransactionKind::Release, Book::Held, Book::Available, credits, released.into())
        } else {
            return;
        };
        let mut draft = Draft::new(kind, Some(id));
        self.take(account, &lots, from, to, credits, &mut draft);
        self.post(account, draft);
        self.tell(account, data);
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
        self.tell(account, DebtCovered { credits: covered });
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
        // A payment that granted nothing moves without a trace in the journal.
        if draft.entries.is_empty() {
            return;
        }
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

    fn tell(&mut self, account: &mut Account, data: impl Into<EventData>) {
        account.sequence += 1;
        self.events.push(Event {
            account: Some(account.id.clone()),
            sequence: Some(account.sequence),
            cause: self.cause.clone(),
            time: self.at,
            data: data.into(),
            balances: None,
        });
    }

    fn tell_reversed(&mut self, account: &mut Account, reversed: CreditsReversed, short: Credits) {
        let (reversed, debt) = reversed.with_debt(short);
        self.tell(account, reversed);
        self.tell_debt(account, debt);
    }

    fn tell_debt(&mut self, account: &mut Account, debt: Option<DebtIncurred>) {
        if let Some(debt) = debt {
            self.tell(account, debt);
        }
    }

    /// Tells of each account whose available credits fell below a threshold, or to nothing, by all that the fact brought
    /// about together.
    fn tell_of_low_balances(&mut self, books: &mut Books) {
        let mut changes: BTreeMap<AccountId, Credits> = BTreeMap::new();
        for transaction in &self.transactions {
            let available = transaction.entries.iter().filter(|entry| entry.book == Book::Available);
            *changes.entry(transaction.account.clone()).or_default() +=
                available.map(|entry| entry.amount).sum::<Credits>();
        }
        for (account, change) in changes.into_iter().filter(|(_, change)| *change < Credits::ZERO) {
            let account = books.account(&account);
            let after = account.balances.available;
            let before = after - change;
            let crossed = |threshold: &&Credits| after < **threshold && **threshold <= before;
            if let Some(threshold) = self.rules.low.iter().filter(crossed).min() {
                self.tell(account, BalanceLow { threshold: *threshold });
            }
            if after.is_zero() {
                self.tell(account, BalanceExhausted {});
            }
        }
    }

    /// Events carry the balances after everything that the fact brought about, never those in between.
    fn finish(mut self, books: &mut Books, outcome: Outcome) -> Decision {
        self.tell_of_low_balances(books);
        for event in &mut self.events {
            event.balances =
                event.account.as_ref().and_then(|id| books.accounts.get(id)).map(|account| account.balances);
        }
        let Self { foreign_currency, transactions, events, .. } = self;
        Decision { outcome, foreign_currency, transactions, events }
    }
}

/// When what a payment bought expires. Past the last moment that can be told, credits do not.
fn term(worth: Worth, terms: &Terms) -> Option<OffsetDateTime> {
    worth.expires_after.and_then(|after| calendar::later(terms.at, after))
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
