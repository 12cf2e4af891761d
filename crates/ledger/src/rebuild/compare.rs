//! What the recorded ledger and the rebuilt one say differently. Each statement returns what is recorded and what is
//! rebuilt, in words; the rebuilt tables are those of the search path, the recorded ones stand in the named schema.

use db::{Doing, Error, Work};
use serde::Serialize;
use sqlx::AssertSqlSafe;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differences {
    pub count: i64,
    /// The first of them.
    pub first: Vec<LedgerDifference>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct LedgerDifference {
    /// An account, a payment, a lot, a transaction (`acct_42 #7`), a fact.
    pub subject: String,
    pub recorded: String,
    pub rebuilt: String,
}

pub(super) struct Comparison {
    pub says: &'static str,
    sql: &'static str,
}

/// In the order of the report's fields.
pub(super) const COMPARISONS: [Comparison; 5] = [
    Comparison { says: "comparing accounts", sql: include_str!("accounts.sql") },
    Comparison { says: "comparing payments", sql: include_str!("payments.sql") },
    Comparison { says: "comparing lots", sql: include_str!("lots.sql") },
    Comparison { says: "comparing the journal", sql: include_str!("journal.sql") },
    Comparison { says: "comparing outcomes", sql: include_str!("outcomes.sql") },
];

impl Comparison {
    pub async fn run(&self, work: &mut Work, main: &str, named_max: i64) -> Result<Differences, Error> {
        differences(work, main, self.sql, self.says, named_max).await
    }
}

/// What a query finds that compares the tables of the named schema with those of the search path.
pub(super) async fn differences(
    work: &mut Work,
    main: &str,
    sql: &str,
    doing: &'static str,
    named_max: i64,
) -> Result<Differences, Error> {
    let found = sql.replace("main.", &format!("{main}."));
    let statement = format!(
        "select subject, recorded, rebuilt, count(*) over () as count from ({found}) d order by subject limit $1"
    );
    let rows: Vec<DifferenceRow> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(named_max)
        .fetch_all(work.connection().await?)
        .await
        .doing(doing)?;
    Ok(Differences {
        count: rows.first().map_or(0, |named| named.count),
        first: rows.into_iter().map(|named| named.difference).collect(),
    })
}

#[derive(sqlx::FromRow)]
struct DifferenceRow {
    #[sqlx(flatten)]
    difference: LedgerDifference,
    count: i64,
}
