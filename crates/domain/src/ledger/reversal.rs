//! What of a payment's credits is reversed and held, brought to its target.

use super::books::Account;
use super::posting::{Draft, Posting};
use crate::event::{CreditsHeld, CreditsReleased, CreditsRestored, CreditsReversed, EventData};
use crate::ids::PaymentId;
use crate::journal::{Book, TransactionKind};
use crate::lot::Lot;
use crate::money::Credits;

impl Posting<'_> {
    /// Reverses or restores until the payment's lots have reversed exactly `target`.
    pub(super) fn reach_reversed(&mut self, account: &mut Account, id: &PaymentId, target: Credits) {
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
    pub(super) fn reverse(
        &mut self,
        account: &mut Account,
        id: &PaymentId,
        lots: &[String],
        credits: Credits,
    ) {
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

    pub(super) fn restore(
        &mut self,
        account: &mut Account,
        id: &PaymentId,
        lots: &[String],
        credits: Credits,
    ) {
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

    /// Holds or releases between what remains and what is held of the payment's own lots, as far as they reach.
    pub(super) fn reach_held(&mut self, account: &mut Account, id: &PaymentId, target: Credits) {
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
}
