//! Read models: what commands, the console and evidence packs are made of.
//!
//! Nothing here decides or changes anything. What people wrote (reasons) stands in the facts alone, where it can be erased, and is
//! joined by the fact's source and id. What takes several statements is read from one snapshot. Lists have a limit.

mod case;
mod list;
mod restrictions;
mod timeline;

pub(crate) use case::within;
pub use case::{CaseView, case};
pub use list::{DisputeFilter, DisputeLine, disputes};
pub use restrictions::{RestrictionLine, restrictions};
pub use timeline::{Happening, Heard, Moment, Noted, Posted, Said, Unattached};

use db::{Doing, Error, Pool};
use sqlx::{Postgres, Transaction};

/// A transaction that sees one moment of the database, and changes nothing.
async fn snapshot(pool: &Pool) -> Result<Transaction<'static, Postgres>, Error> {
    pool.begin_with("begin isolation level repeatable read, read only").await.doing("beginning a snapshot")
}
