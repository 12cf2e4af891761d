//! A delivered payment goes to another account, by an operator's word.

use super::books::{Account, Books};
use super::decision::Refusal;
use super::posting::{Draft, Posting};
use crate::event::{CreditsGranted, CreditsReversed, PaymentDelivered};
use crate::ids::{AccountId, PaymentId};
use crate::journal::{Book, TransactionKind};
use crate::lot::Lot;
use crate::money::Credits;

/// Why credits leave one account and come to another.
const MOVED: &str = "moved";

impl Posting<'_> {
    /// Moves a delivered payment to where an operator's last word says. That word may have waited in a shell that turned
    /// out to be this payment; where the credits do not fit it stays, and contradicts.
    pub(super) fn follow_move(&mut self, books: &mut Books, id: &PaymentId) {
        let payment = &books.payments[id];
        let (Some(holder), Some(owner)) = (payment.account.clone(), payment.record.moved_to()) else {
            return;
        };
        if holder != owner && self.room_to_move(books, id, &holder, &owner).is_ok() {
            self.relocate(books, id, &holder, &owner);
        }
    }

    pub(super) fn room_to_move(
        &self,
        books: &mut Books,
        id: &PaymentId,
        from: &AccountId,
        to: &AccountId,
    ) -> Result<(), Refusal> {
        let granted = books.account(from).lots.granted_by(id).total();
        [from, to].into_iter().try_for_each(|account| self.room(books.account(account), granted))
    }

    /// Takes a payment's lots out of one account and brings them to another, with what of them was reversed and has
    /// expired. Usage that they carried stays where it happened.
    pub(super) fn relocate(&mut self, books: &mut Books, id: &PaymentId, from: &AccountId, to: &AccountId) {
        let granted = books.account(from).lots.granted_by(id).total();
        let leaving = books.account(from);
        let names = leaving.lots.of_payment(id);
        let mut lots: Vec<Lot> = names.iter().filter_map(|name| leaving.lots.get(name)).cloned().collect();
        let mut draft = Draft::new(TransactionKind::Move, Some(id));
        let mut short = Credits::ZERO;
        for book in [Book::Available, Book::Held, Book::Reversed, Book::Expired, Book::Consumed] {
            let taken = self.take(leaving, &names, book, Book::Issued, granted, &mut draft);
            if book == Book::Consumed {
                short = self.displace(leaving, taken, &mut draft);
            }
        }
        leaving.lots.remove(&names);
        for lot in &mut lots {
            lot.account = to.clone();
            lot.remaining = lot.granted - lot.reversed - lot.expired;
            (lot.held, lot.consumed) = (Credits::ZERO, Credits::ZERO);
            self.give_grace(lot);
        }
        let spendable: Credits = lots.iter().map(|lot| lot.remaining).sum();
        self.post(leaving, draft);
        if granted.is_positive() {
            let reversed = CreditsReversed {
                payment: id.clone(),
                movement: None,
                lot: None,
                reason: Some(MOVED),
                credits: spendable,
                debt_incurred: None,
            };
            self.tell_reversed(leaving, reversed, short);
        }
        self.receive(books.account(to), id, lots, spendable);
        books.payment(id).account = Some(to.clone());
    }

    pub(super) fn receive(
        &mut self,
        account: &mut Account,
        id: &PaymentId,
        lots: Vec<Lot>,
        spendable: Credits,
    ) {
        let mut draft = Draft::new(TransactionKind::Move, Some(id));
        for lot in lots {
            let parts = [
                (Book::Available, lot.remaining),
                (Book::Reversed, lot.reversed),
                (Book::Expired, lot.expired),
            ];
            for (book, credits) in parts.into_iter().filter(|(_, credits)| credits.is_positive()) {
                draft.lot(&lot.lot, Book::Issued, book, credits);
            }
            account.balances.available += lot.remaining;
            account.lots.insert(lot, &self.rules.burn_order);
        }
        self.post(account, draft);
        self.tell(account, PaymentDelivered { payment: id.clone() });
        if spendable.is_positive() {
            let (payment, reason) = (Some(id.clone()), Some(MOVED));
            self.tell(account, CreditsGranted { payment, lot: None, reason, credits: spendable });
        }
    }
}
