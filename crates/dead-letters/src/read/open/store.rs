//! SQL of the figures of open letters.

use super::OpenLetters;
use db::{Doing, Error, PgConnection};
use rust_decimal::Decimal;

/// What is open, by worker and code; and the money and credits at stake, by unit.
///
/// # Errors
/// Those of the database.
pub async fn gauges(
    connection: &mut PgConnection,
) -> Result<(Vec<OpenLetters>, Vec<(String, Decimal)>), Error> {
    Ok((open(connection).await?, at_stake(connection).await?))
}

async fn open(connection: &mut PgConnection) -> Result<Vec<OpenLetters>, Error> {
    sqlx::query_as!(
        OpenLetters,
        r#"select worker, code, count(*) as "open!", min(first_failed_at) as "oldest!"
           from dead_letters where closed_at is null group by worker, code"#,
    )
    .fetch_all(connection)
    .await
    .doing("counting open dead letters")
}

/// What hangs on open letters: money by currency, and credits as `credits`.
pub(crate) async fn at_stake(connection: &mut PgConnection) -> Result<Vec<(String, Decimal)>, Error> {
    let at_stake = sqlx::query!(
        r#"select currency as "unit!", sum(amount) as "sum!" from dead_letters
           where closed_at is null and currency is not null group by currency
           union all
           select 'credits', sum(credits) from dead_letters
           where closed_at is null and credits is not null having count(*) > 0"#,
    )
    .fetch_all(connection)
    .await
    .doing("adding up what is at stake")?;
    Ok(at_stake.into_iter().map(|row| (row.unit, row.sum)).collect())
}
