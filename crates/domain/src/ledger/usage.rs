//! Usage, and credits given for no money.

use super::books::Books;
use super::decision::Refusal;
use super::posting::Posting;
use crate::fact::{self, GrantKind};
use crate::journal::TransactionKind;
use crate::lot::{Lot, LotKind};
use crate::outcome::Outcome;

impl Posting<'_> {
    pub(super) fn usage(&mut self, books: &mut Books, usage: &fact::Usage) -> Result<Outcome, Refusal> {
        if usage.credits.is_zero() {
            return Ok(Outcome::NoOp);
        }
        let account = books.account(&usage.account);
        self.room(account, usage.credits)?;
        let reference = usage.reference.clone();
        self.spend(account, TransactionKind::Usage, usage.credits, reference, None);
        Ok(Outcome::Applied)
    }

    pub(super) fn grant(&mut self, books: &mut Books, grant: &fact::Grant) -> Result<Outcome, Refusal> {
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
}
