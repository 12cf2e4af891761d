//! A payment is delivered, and brought to what its record says should hold.

use super::books::{Books, LedgerPayment, PaymentState};
use super::posting::Posting;
use crate::catalog::{CatalogVersion, Unknown, Worth};
use crate::event::{Event, PaymentDelivered, PaymentUndelivered};
use crate::ids::PaymentId;
use crate::money::Credits;
use crate::record::Terms;
use std::collections::BTreeMap;

impl Posting<'_> {
    /// Brings a payment's lots to what its record says should hold.
    pub(super) fn settle(&mut self, books: &mut Books, id: &PaymentId) {
        books.payment(id).reading = self.rules.reading;
        let Some(terms) = books.payments[id].record.terms(self.rules.reading) else { return };
        let worth = self.worth(&books.payments[id], &terms);
        if books.payments[id].state != PaymentState::Delivered && !self.deliver(books, id, &terms, &worth) {
            return;
        }
        let payment = &books.payments[id];
        let Some(account) = payment.account.clone() else { return };
        // A later description may name what the catalog of its grant does not know. Money that goes back still takes
        // back its share, of what was granted.
        let granted_before = || books.accounts.get(&account).map(|account| account.lots.granted_by(id));
        let known = worth.ok().map(|(_, worth)| worth);
        let by_line = known.and_then(|_| self.credits_by_line(payment, &terms));
        let worth = known.or_else(granted_before).unwrap_or_default();
        let gone = payment.record.gone(&terms, self.rules.reading);
        self.foreign_currency |= gone.foreign_currency;
        let (reversed, held) = gone.credits(worth.total(), by_line.as_ref(), terms.total, self.rules.scale);
        let account = books.account(&account);
        self.correct(account, id, worth, &terms);
        if let Some(worth) = known {
            self.keep_to_term(account, id, worth, &terms);
        }
        self.reach_reversed(account, id, reversed);
        self.reach_held(account, id, held);
        self.cover(account);
    }

    /// What the payment grants, and by which catalog: that of its first grant, else the current one.
    pub(super) fn worth(
        &self,
        payment: &LedgerPayment,
        terms: &Terms,
    ) -> Result<(CatalogVersion, Worth), Unknown> {
        let version = payment.catalog.as_ref().unwrap_or(&self.rules.current);
        let catalog = self.rules.catalogs.get(version).ok_or(Unknown::Price)?;
        let (processor, scale) = (payment.id.processor(), self.rules.scale);
        let worth = match payment.state {
            PaymentState::Delivered => terms.worth_delivered(processor, catalog, scale)?,
            PaymentState::Shell | PaymentState::Undelivered | PaymentState::Merged => {
                terms.worth(processor, catalog, scale)?
            }
        };
        Ok((version.clone(), worth))
    }

    pub(super) fn credits_by_line(
        &self,
        payment: &LedgerPayment,
        terms: &Terms,
    ) -> Option<BTreeMap<String, Credits>> {
        let catalog = self.rules.catalogs.get(payment.catalog.as_ref()?)?;
        terms.credits_by_line(payment.id.processor(), catalog, self.rules.scale)
    }

    /// Grants a paid payment's credits once the account and the worth are known. Tells whether it is delivered.
    pub(super) fn deliver(
        &mut self,
        books: &mut Books,
        id: &PaymentId,
        terms: &Terms,
        worth: &Result<(CatalogVersion, Worth), Unknown>,
    ) -> bool {
        let named = terms.account.as_ref().map(|link| link.account.clone());
        // Any of them will do: which object names whom first must not decide whether the payment is delivered.
        let linked = || terms.customers.iter().find_map(|customer| books.customers.get(customer).cloned());
        let contradicts = books.payments[id].record.contradicts_itself();
        let (account, (version, _)) = match (named.or_else(linked), worth) {
            (Some(account), Ok(worth)) if !contradicts => (account, worth),
            (Some(_), Ok(_)) => return self.undelivered(books, id, "account_contradicted"),
            // A payment that sells no credits waits for nothing.
            (None, _) if terms.sells_nothing() => return false,
            (None, _) => return self.undelivered(books, id, "account_unknown"),
            (_, Err(unknown)) => return self.undelivered(books, id, unknown.as_str()),
        };
        let payment = books.payment(id);
        payment.state = PaymentState::Delivered;
        payment.account = Some(account.clone());
        payment.catalog = Some(version.clone());
        let account = books.account(&account);
        self.tell(account, PaymentDelivered { payment: id.clone() });
        true
    }

    pub(super) fn undelivered(&mut self, books: &mut Books, id: &PaymentId, reason: &'static str) -> bool {
        let payment = books.payment(id);
        if payment.state != PaymentState::Undelivered {
            payment.state = PaymentState::Undelivered;
            self.events.push(Event {
                account: None,
                cause: self.cause.clone(),
                time: self.at,
                data: PaymentUndelivered { payment: id.clone(), reason }.into(),
                balances: None,
            });
        }
        false
    }
}
