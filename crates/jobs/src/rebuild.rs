//! How `ledger rebuild --compare` follows a reader of facts that keeps tables of its own.

use db::{Error, Work};
use domain::Envelope;
use futures_util::future::BoxFuture;

/// A reader of facts whose tables can be made anew from the facts that it settled.
///
/// Everything happens in a transaction that is rolled back, whose search path is a scratch schema: statements name tables without
/// a schema, as they always do.
pub trait Rebuilds: Send + Sync {
    /// As it stands in `outcomes`.
    fn reader(&self) -> &'static str;

    /// Writes to the reader's tables what these facts lead to, as the worker does at `work.now`; no events, no outcomes. Facts come
    /// in the order in which they were settled, among those of the other readers.
    ///
    /// # Errors
    /// Those of the database.
    fn replay<'a>(&'a self, work: &'a mut Work, facts: &'a [Envelope]) -> BoxFuture<'a, Result<(), Error>>;

    /// Once every fact of every reader was replayed: what the worker does later, and by itself.
    ///
    /// # Errors
    /// Those of the database.
    fn finish<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Error>>;

    /// What is compared at the end.
    fn comparisons(&self) -> &'static [ComparisonSpec];
}

/// What stands and what was made anew, side by side.
#[derive(Debug, Clone, Copy)]
pub struct ComparisonSpec {
    /// What is compared, in the plural: a public name.
    pub name: &'static str,
    /// A query that gives `subject`, `recorded` and `rebuilt` of each that differs, all in words. Recorded tables are `main.<table>`.
    pub sql: &'static str,
}
