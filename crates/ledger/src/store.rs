//! The ledger's SQL: lock and read what a batch touches, write what it changed. See the crate's page for the order.

mod accounts;
mod customers;
mod journal;
mod lots;
mod payment_ids;
mod payments;
mod rules;

pub(crate) use payments::reading;
pub(crate) use rules::{catalogs, record_rules};

use crate::Ledger;
use bus::Worker;
use db::{Error, Work};
use domain::journal::Transaction;
use domain::ledger::{Books, Refusal, Rules};
use domain::{Envelope, Fact, PaymentId};
use facts::emit::Heads;
use facts::outcomes::Settlements;
use payment_ids::PaymentIds;
use std::collections::BTreeSet;

/// Everything a batch touches, locked and read; then what it changed, to be written.
pub(crate) struct BatchState {
    pub books: Books,
    /// Of the accounts whose rows this transaction holds: no other may be written.
    pub heads: Heads,
    pub journal: Vec<Transaction>,
    pub settlements: Settlements,
    ids: PaymentIds,
}

impl BatchState {
    /// The payment that a fact is about: every id it names leads there from now on.
    pub fn address(&mut self, fact: &Fact) -> Result<Option<PaymentId>, Refusal> {
        let named: Vec<PaymentId> = fact.payment_ids().into_iter().cloned().collect();
        let Some(own) = named.first() else { return Ok(None) };
        let known: BTreeSet<PaymentId> = named.iter().map(|id| self.resolve(id)).collect();
        // A fact that names a single id speaks of whatever payment that id leads to.
        let leading = if named.len() == 1 { self.resolve(own) } else { own.clone() };
        let payment = self.books.unite(&leading, &known)?;
        for id in named.into_iter().chain(known) {
            self.ids.leads_to.insert(id, payment.clone());
        }
        Ok(Some(payment))
    }

    /// Follows an id to the payment that now stands for it.
    fn resolve(&self, id: &PaymentId) -> PaymentId {
        let payment = self.ids.leads_to.get(id).unwrap_or(id);
        self.books.standing_for(payment).clone()
    }
}

fn parse_id<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| Error::stored(what, error))
}

/// Locks and reads everything that the facts touch.
pub(crate) async fn lock(
    work: &mut Work,
    envelopes: &[Envelope],
    rules: &Rules,
) -> Result<BatchState, Error> {
    let mut books = Books::default();
    let ids = payment_ids::lock(work, envelopes).await?;
    let mut customers = customers::named(envelopes);
    customers.extend(customers::foreseen(work, envelopes).await?);
    let mut locked = BTreeSet::new();
    customers::lock(work, &mut books, &mut locked, customers).await?;
    let linked = customers::linked(work, &mut books, &mut locked, envelopes).await?;
    let mut wanted: BTreeSet<PaymentId> = ids.leads_to.values().cloned().collect();
    wanted.extend(payments::waiting_for(work, &linked).await?);
    payments::lock(work, &mut books, wanted).await?;
    let recorded = customers::recorded(&books);
    customers::lock(work, &mut books, &mut locked, recorded).await?;
    let heads = accounts::lock(work, &mut books, envelopes).await?;
    lots::read(work, &mut books, rules).await?;
    let settlements = Settlements::begin(work, Ledger::NAME, envelopes).await?;
    Ok(BatchState { books, heads, journal: Vec::new(), settlements, ids })
}

/// Writes everything that the batch changed, in a constant number of statements.
/// `rules` is their recorded version.
pub(crate) async fn save(work: &mut Work, batch: BatchState, rules: i64) -> Result<(), Error> {
    if batch.settlements.is_empty() {
        return Ok(());
    }
    payments::save(work, &batch).await?;
    payment_ids::save(work, &batch).await?;
    customers::save(work, &batch).await?;
    accounts::save(work, &batch).await?;
    lots::save(work, &batch).await?;
    journal::save(work, &batch).await?;
    batch.settlements.save(work, Some(rules)).await
}
