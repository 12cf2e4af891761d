//! Credits on their way between the books: issued, spent, taken from lots, owed and covered.

use super::books::Account;
use super::posting::{Draft, Posting};
use crate::calendar;
use crate::event::{CreditsConsumed, CreditsGranted, DebtCovered};
use crate::journal::{Book, TransactionKind};
use crate::lot::Lot;
use crate::money::Credits;

impl Posting<'_> {
    pub(super) fn issue(
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

    /// Consumes credits in burn order; what no lot covers is debt.
    pub(super) fn spend(
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

    /// Always last: available credits take over usage that is debt, in burn order.
    pub(super) fn cover(&mut self, account: &mut Account) {
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
    pub(super) fn burn(&self, account: &mut Account, credits: Credits, draft: &mut Draft) -> Credits {
        let mut left = credits;
        while left.is_positive() {
            let Some(name) = account.lots.burnable.first().cloned() else { break };
            left -= self.take(account, &[name], Book::Available, Book::Consumed, left, draft);
        }
        left
    }

    /// Usage whose credits were taken away: other lots carry it, and the rest is debt, which is returned.
    pub(super) fn displace(&self, account: &mut Account, usage: Credits, draft: &mut Draft) -> Credits {
        let short = self.burn(account, usage, draft);
        self.owe(account, short, draft);
        short
    }

    pub(super) fn owe(&self, account: &mut Account, credits: Credits, draft: &mut Draft) {
        if credits.is_positive() {
            draft.debt(credits);
            account.balances.debt += credits;
        }
    }

    /// Moves up to `credits` between two places of the given lots, one lot after the other; returns how much it was.
    pub(super) fn take(
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

    pub(super) fn change(&self, account: &mut Account, name: &str, change: impl FnOnce(&mut Lot)) {
        if let Some(lot) = account.lots.by_name.get_mut(name) {
            change(lot);
            account.lots.refile(name, &self.rules.burn_order);
        }
    }

    /// Credits that come, or come back, to a lot whose time is up can be spent for a while.
    pub(super) fn give_grace(&self, lot: &mut Lot) {
        if let Some(until) = calendar::later(self.at, self.rules.grace) {
            lot.give_grace(self.at, until);
        }
    }
}

/// How much of a lot is in a place; a lot has no part of what is booked on the account.
pub(super) fn part(lot: &Lot, book: Book) -> Option<Credits> {
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
