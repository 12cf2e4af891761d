//! What a payment's own lots were granted, brought to what it is worth.

use super::books::Account;
use super::lots::payment_lot;
use super::posting::{Draft, Posting};
use crate::calendar;
use crate::catalog::Worth;
use crate::event::{CreditsGranted, CreditsReversed};
use crate::ids::PaymentId;
use crate::journal::{Book, TransactionKind};
use crate::lot::{Lot, LotKind};
use crate::money::Credits;
use crate::record::Terms;
use time::OffsetDateTime;

impl Posting<'_> {
    /// Brings what the payment's lots were granted to what it is worth: issues them at first, later posts what a fact
    /// changed.
    pub(super) fn correct(&mut self, account: &mut Account, id: &PaymentId, worth: Worth, terms: &Terms) {
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
    pub(super) fn keep_to_term(&self, account: &mut Account, id: &PaymentId, worth: Worth, terms: &Terms) {
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

    pub(super) fn grant_more(&mut self, account: &mut Account, lot: &str, id: &PaymentId, credits: Credits) {
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
    pub(super) fn grant_less(&mut self, account: &mut Account, lot: &str, id: &PaymentId, credits: Credits) {
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
}

/// When what a payment bought expires. Past the last moment that can be told, credits do not.
fn term(worth: Worth, terms: &Terms) -> Option<OffsetDateTime> {
    worth.expires_after.and_then(|after| calendar::later(terms.at, after))
}
