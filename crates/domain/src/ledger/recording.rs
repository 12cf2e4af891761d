//! A fact enters its payment's record, and may contradict what was said or acted upon before.

use super::books::{Books, PaymentState};
use super::posting::Posting;
use crate::ids::PaymentId;
use crate::outcome::Outcome;
use crate::record::PaymentRecord;

impl Posting<'_> {
    /// Merges a statement into a payment's record and posts the difference that it makes.
    pub(super) fn recorded(
        &mut self,
        books: &mut Books,
        id: &PaymentId,
        state: impl FnOnce(&mut PaymentRecord),
    ) -> Outcome {
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
    pub(super) fn contradicts(&self, books: &Books, id: &PaymentId) -> bool {
        self.contradicts_its_account(books, id)
            || self.contradicts_its_grant(books, id)
            || books.payments[id].record.contradicts_its_amount()
    }

    /// A delivered payment is said to belong to someone else, or its descriptions disagree: it stays where it is.
    pub(super) fn contradicts_its_account(&self, books: &Books, id: &PaymentId) -> bool {
        let payment = &books.payments[id];
        let said =
            payment.record.terms(self.rules.reading).and_then(|terms| terms.account).map(|link| link.account);
        let moved = payment.account.is_some() && said.is_some() && payment.account != said;
        moved || payment.record.contradicts_itself()
    }

    /// A delivered payment is said to be for something that the catalog of its grant does not know: it keeps its credits.
    pub(super) fn contradicts_its_grant(&self, books: &Books, id: &PaymentId) -> bool {
        let payment = &books.payments[id];
        let terms = payment.record.terms(self.rules.reading);
        payment.state == PaymentState::Delivered
            && terms.is_some_and(|terms| self.worth(payment, &terms).is_err())
    }
}
