//! The transactions and events that one fact brings about: numbered, chained, and with the balances after all of them.

use super::books::{Account, Books};
use super::decision::{Decision, Refusal};
use super::rules::Rules;
use crate::envelope::Cause;
use crate::event::{BalanceExhausted, BalanceLow, CreditsReversed, DebtIncurred, Event, EventData};
use crate::ids::{AccountId, PaymentId};
use crate::journal::{Book, Entry, GENESIS, Transaction, TransactionKind};
use crate::money::{Credits, SCALE_MAX};
use crate::outcome::Outcome;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// The transactions and events that one fact brings about, while they are being made.
pub(super) struct Posting<'a> {
    pub(super) rules: &'a Rules,
    pub(super) cause: &'a Cause,
    pub(super) at: OffsetDateTime,
    /// The movement that the fact reports, for the events it causes.
    pub(super) movement: Option<String>,
    pub(super) foreign_currency: bool,
    pub(super) transactions: Vec<Transaction>,
    pub(super) events: Vec<Event>,
}

/// One journal transaction while it is being made.
pub(super) struct Draft {
    pub(super) kind: TransactionKind,
    pub(super) payment: Option<PaymentId>,
    pub(super) entries: Vec<Entry>,
}

impl Draft {
    pub(super) fn new(kind: TransactionKind, payment: Option<&PaymentId>) -> Self {
        Self { kind, payment: payment.cloned(), entries: Vec::new() }
    }

    pub(super) fn lot(&mut self, lot: &str, from: Book, to: Book, amount: Credits) {
        self.entries.push(Entry { book: from, lot: Some(lot.to_owned()), amount: -amount });
        self.entries.push(Entry { book: to, lot: Some(lot.to_owned()), amount });
    }

    pub(super) fn debt(&mut self, amount: Credits) {
        self.entries.push(Entry { book: Book::Debt, lot: None, amount });
        self.entries.push(Entry { book: Book::Overdrawn, lot: None, amount: -amount });
    }
}

impl<'a> Posting<'a> {
    pub(super) fn new(rules: &'a Rules, cause: &'a Cause, at: OffsetDateTime) -> Self {
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

    /// Refuses what would take an account's sums out of the range that decimals hold exactly.
    pub(super) fn room(&self, account: &Account, credits: Credits) -> Result<(), Refusal> {
        let sums = [account.balances.available, account.balances.debt];
        if sums.into_iter().any(|sum| (sum + credits).within(SCALE_MAX).is_err()) {
            return Err(Refusal::TooManyCredits(self.cause.clone()));
        }
        Ok(())
    }

    pub(super) fn post(&mut self, account: &mut Account, draft: Draft) {
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

    pub(super) fn tell(&mut self, account: &Account, data: impl Into<EventData>) {
        self.events.push(Event {
            account: Some(account.id.clone()),
            cause: self.cause.clone(),
            time: self.at,
            data: data.into(),
            balances: None,
        });
    }

    pub(super) fn tell_reversed(&mut self, account: &mut Account, reversed: CreditsReversed, short: Credits) {
        let (reversed, debt) = reversed.with_debt(short);
        self.tell(account, reversed);
        self.tell_debt(account, debt);
    }

    pub(super) fn tell_debt(&mut self, account: &mut Account, debt: Option<DebtIncurred>) {
        if let Some(debt) = debt {
            self.tell(account, debt);
        }
    }

    /// Tells of each account whose available credits fell below a threshold, or to nothing, by all that the fact brought
    /// about together.
    pub(super) fn tell_of_low_balances(&mut self, books: &mut Books) {
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
    pub(super) fn finish(mut self, books: &mut Books, outcome: Outcome) -> Decision {
        self.tell_of_low_balances(books);
        for event in &mut self.events {
            event.balances =
                event.account.as_ref().and_then(|id| books.accounts.get(id)).map(|account| account.balances);
        }
        let Self { foreign_currency, transactions, events, .. } = self;
        Decision { outcome, foreign_currency, transactions, events }
    }
}
