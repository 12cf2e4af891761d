//! What operators and time do: adjustments, assignments, expiry.

use super::books::Books;
use super::decision::Refusal;
use super::posting::{Draft, Posting};
use crate::event::CreditsExpired;
use crate::fact::{self, AdjustmentKind, AssignmentAct};
use crate::ids::PaymentId;
use crate::journal::{Book, TransactionKind};
use crate::lot::{Lot, LotKind};
use crate::money::Credits;
use crate::outcome::Outcome;

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
}
