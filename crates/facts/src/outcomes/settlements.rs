//! What a reader settles in one transaction, from the look at what was settled before to the rows that are written at the end.

use super::{Settlement, store};
use db::{Error, Work};
use domain::{Cause, Envelope, Outcome, PaymentId};
use std::collections::BTreeSet;

/// The settlements of one reader's batch.
///
/// [`Settlements::begin`] once the batch holds its locks, so that no other transaction settles the same facts meanwhile. Then for
/// each fact: [`Settlements::is_settled`], else decide and [`Settlements::settle`]. [`Settlements::save`] with whatever else the
/// batch writes. A fact that the reader refused before counts as not settled: its new outcome takes the place of the old one.
#[derive(Debug)]
pub struct Settlements {
    reader: &'static str,
    /// Facts that were settled before, and those settled in this batch.
    seen: BTreeSet<Cause>,
    /// Facts of this batch that were refused before and came again.
    refused: BTreeSet<Cause>,
    settled: Vec<Settlement>,
}

impl Settlements {
    /// Looks which facts of the batch this reader has settled before. One statement.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(work: &mut Work, reader: &'static str, envelopes: &[Envelope]) -> Result<Self, Error> {
        let causes = envelopes.iter().map(|envelope| &envelope.cause);
        let before = store::settled_before(work, reader, causes).await?;
        Ok(Self { reader, seen: before.settled, refused: before.refused, settled: Vec::new() })
    }

    /// Whether the fact was settled before, in an earlier batch or in this one: it is repeated, and is not decided again.
    pub fn is_settled(&self, cause: &Cause) -> bool {
        self.seen.contains(cause)
    }

    /// Notes what the reader made of a fact that was not settled. `payment`: the one it was found to be about, if any.
    ///
    /// To settle a fact twice in a batch is a fault of the caller, which the table's primary key refuses.
    pub fn settle(&mut self, envelope: &Envelope, outcome: Outcome, payment: Option<PaymentId>) {
        let cause = envelope.cause.clone();
        self.seen.insert(cause.clone());
        self.settled.push(Settlement { cause, kind: envelope.fact.kind(), outcome, payment });
    }

    /// Whether nothing was settled in this batch: then there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.settled.is_empty()
    }

    /// Writes what was settled, in the order in which it was: a rebuild reads that from the rows' positions. `rules` is the
    /// recorded version of those that decided, where the reader has such. One statement, two where a refusal is replaced, none
    /// where nothing was settled.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn save(self, work: &mut Work, rules: Option<i64>) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        let causes = self.settled.iter().map(|settlement| &settlement.cause);
        let replaced: Vec<&Cause> = causes.filter(|cause| self.refused.contains(cause)).collect();
        store::forget_refusals(work, self.reader, &replaced).await?;
        store::insert(work, self.reader, &self.settled, rules).await
    }
}
