//! What operators and time do: adjustments, assignments, expiry.

use super::{Account, Books, Draft, Posting, Refusal};
use crate::event::{CreditsExpired, CreditsGranted, CreditsReversed, PaymentDelivered};
use crate::fact::{self, AdjustmentKind, AssignmentAct};
use crate::ids::{AccountId, PaymentId};
use crate::journal::{Book, TransactionKind};
use crate::lot::{Lot, LotKind};
use crate::money::Credits;
use crate::outcome::Outcome;

/// Why credits leave one account and come to another.
const MOVED: &str = "moved";

impl Posting<'_> {
    /// What an operator takes away is spent like usage, so that every balance still adds up; what is given, and what
    /// is forgiven, comes as a lot.
    pub(super) fn adjust(
        &mut self,
        books: &mut Books,
        adjustment: &fact::Adjustment,
    ) -> Result<Outcome, Refusal> {
        let account = books.account(&adjustment.account);
        let credits = adjustment.credits;
        self.room(account, credits.abs())?;
        let (credits, kind, reason) = match adjustment.kind {
            AdjustmentKind::Correction => (credits, TransactionKind::Adjustment, "adjustment"),
            AdjustmentKind::WriteOff => {
                (credits.min(account.balances.debt), TransactionKind::WriteOff, "write_off")
            }
        };
        if credits.is_zero() {
            return Ok(Outcome::NoOp);
        }
        if credits < Credits::ZERO {
            self.spend(account, kind, -credits, None, Some(reason));
        } else {
            let lot = format!("{}#{}", self.cause, LotKind::Adjustment.as_str());
            let lot = Lot::issued(lot, account.id.clone(), None, LotKind::Adjustment, credits, self.at, None);
            self.issue(account, lot, kind, Some(reason));
            self.cover(account);
        }
        Ok(Outcome::Applied)
    }

    /// Credits of lots whose time has come are breakage. What is held expires once it is released.
    pub(super) fn expire(&mut self, books: &mut Books, expiry: &fact::Expiry) -> Outcome {
        let account = books.account(&expiry.account);
        let due: Vec<String> = account.lots.due(expiry.as_of);
        if due.is_empty() {
            return Outcome::NoOp;
        }
        let mut draft = Draft::new(TransactionKind::Expiry, None);
        let mut expired = Vec::new();
        for name in due {
            let Some(lot) = account.lots.get(&name) else { continue };
            let (payment, remaining) = (lot.payment.clone(), lot.remaining);
            let names = [name];
            self.take(account, &names, Book::Available, Book::Expired, remaining, &mut draft);
            let [name] = names;
            expired.push(CreditsExpired { payment, lot: name, credits: remaining });
        }
        self.post(account, draft);
        for expired in expired {
            self.tell(account, expired);
        }
        Outcome::Applied
    }

    /// An operator's word on whose a payment is. What was delivered changes hands by a move alone.
    pub(super) fn assign(
        &mut self,
        books: &mut Books,
        id: &PaymentId,
        assignment: &fact::Assignment,
    ) -> Result<Outcome, Refusal> {
        let cause = self.cause;
        if assignment.act == AssignmentAct::Restate && assignment.by_todays_catalog {
            let payment = books.payment(id);
            payment.catalog = payment.catalog.is_some().then(|| self.rules.current.clone());
        }
        if let (Some(holder), Some(account)) = (books.payment(id).account.clone(), &assignment.account) {
            match assignment.act {
                AssignmentAct::Deliver if holder != *account => return Ok(Outcome::Contradicts),
                AssignmentAct::Deliver | AssignmentAct::Restate => {}
                AssignmentAct::Move => {
                    let mut record = books.payment(id).record.clone();
                    record.note_assignment(&cause.id, assignment);
                    if let Some(owner) = record.moved_to().filter(|owner| *owner != holder) {
                        self.room_to_move(books, id, &holder, &owner)?;
                    }
                }
            }
        }
        Ok(self.recorded(books, id, |record| record.note_assignment(&cause.id, assignment)))
    }

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

    fn room_to_move(
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
    fn relocate(&mut self, books: &mut Books, id: &PaymentId, from: &AccountId, to: &AccountId) {
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

    fn receive(&mut self, account: &mut Account, id: &PaymentId, lots: Vec<Lot>, spendable: Credits) {
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
