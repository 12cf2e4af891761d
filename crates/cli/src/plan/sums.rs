//! What a plan comes to: how many messages would fare how, and what that would do to credits and accounts.

use super::{Part, PlannedMessage};
use domain::Credits;
use domain::event::Balances;
use domain::journal::Book;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Sums {
    pub messages: usize,
    /// Messages by their verdict.
    pub verdicts: BTreeMap<&'static str, usize>,
    /// Messages that would fail, by the code of the dead letter.
    pub codes: BTreeMap<&'static str, usize>,
    /// Facts by what each worker would make of them.
    pub outcomes: BTreeMap<&'static str, BTreeMap<&'static str, usize>>,
    /// Events by their type.
    pub events: BTreeMap<String, usize>,
    pub transactions: usize,
    pub credits: CreditSums,
    /// Only those whose balances would change; the greatest change first.
    pub accounts: Vec<AccountChange>,
}

/// By how much each book of the journal would change; what is granted is what the others get.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CreditSums {
    pub granted: Credits,
    pub available: Credits,
    pub held: Credits,
    pub consumed: Credits,
    pub reversed: Credits,
    pub expired: Credits,
    pub debt: Credits,
}

/// By how much all messages together would change an account's balances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountChange {
    pub account: String,
    #[serde(flatten)]
    pub change: Balances,
}

impl Sums {
    pub fn of(messages: &[PlannedMessage]) -> Self {
        let mut sums = Self { messages: messages.len(), ..Self::default() };
        for message in messages {
            *sums.verdicts.entry(message.verdict.as_str()).or_default() += 1;
            if let Some(failure) = &message.failure {
                *sums.codes.entry(failure.code).or_default() += 1;
            }
        }
        let parts = || messages.iter().flat_map(|message| &message.parts);
        parts().for_each(|part| sums.add(part));
        sums.accounts = account_changes(parts());
        sums
    }

    fn add(&mut self, part: &Part) {
        for outcome in &part.outcomes {
            *self.outcomes.entry(outcome.worker).or_default().entry(outcome.outcome.as_str()).or_default() +=
                1;
        }
        for event in &part.events {
            *self.events.entry(event.kind.clone()).or_default() += 1;
        }
        self.transactions += part.transactions.len();
        for entry in part.transactions.iter().flat_map(|transaction| &transaction.entries) {
            if let Some(book) = Book::parse(&entry.book) {
                self.credits.add(book, entry.amount);
            }
        }
    }
}

impl CreditSums {
    fn add(&mut self, book: Book, amount: Credits) {
        match book {
            Book::Issued => self.granted -= amount,
            Book::Available => self.available += amount,
            Book::Held => self.held += amount,
            Book::Consumed => self.consumed += amount,
            Book::Reversed => self.reversed += amount,
            Book::Expired => self.expired += amount,
            Book::Debt => self.debt += amount,
            // The other side of debt.
            Book::Overdrawn => {}
        }
    }

    /// Named as they are shown.
    pub fn named(&self) -> [(&'static str, Credits); 7] {
        [
            ("granted", self.granted),
            ("available", self.available),
            ("held", self.held),
            ("consumed", self.consumed),
            ("reversed", self.reversed),
            ("expired", self.expired),
            ("debt", self.debt),
        ]
    }
}

fn account_changes<'a>(parts: impl Iterator<Item = &'a Part>) -> Vec<AccountChange> {
    let mut changes: BTreeMap<&str, Balances> = BTreeMap::new();
    for change in parts.flat_map(|part| &part.balances) {
        let sum = changes.entry(&change.account).or_default();
        sum.available += change.after.available - change.before.available;
        sum.held += change.after.held - change.before.held;
        sum.debt += change.after.debt - change.before.debt;
    }
    let mut changes: Vec<AccountChange> = changes
        .into_iter()
        .filter(|(_, change)| *change != Balances::default())
        .map(|(account, change)| AccountChange { account: account.to_owned(), change })
        .collect();
    changes.sort_by_key(|account| Reverse(size(&account.change)));
    changes
}

fn size(change: &Balances) -> Credits {
    change.available.abs() + change.held.abs() + change.debt.abs()
}
