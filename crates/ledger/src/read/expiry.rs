//! The scheduled pass: lots whose time has come, stated as facts that the ledger settles like any other.
//!
//! Any number of passes may run at once. A fact is named by the account's last transaction and the moment it speaks of:
//! two passes that see the same state make the same fact, which the gate admits once; and whatever it finds left to
//! expire, it changes the account, so that a later pass is never taken for an earlier one.

use db::{Doing, Error, Pool};
use domain::{AccountId, Cause, Envelope, Fact, fact};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// What stands in the facts of a pass as their source.
pub const SOURCE: &str = "bursar/expiry";

/// Accounts of one step of a pass.
const STEP: i64 = 500;

/// The next accounts, after the given one, that have credits left in lots whose time has come; empty when the pass is
/// through. It only reads.
///
/// # Errors
/// Those of the database, and where a stored id is none.
pub async fn due(
    pool: &Pool,
    after: Option<&AccountId>,
    now: OffsetDateTime,
) -> Result<Vec<Envelope>, Error> {
    let rows = sqlx::query!(
        r#"select a.account, a.transactions, max(l.expires_at) as "as_of!"
           from lots l join accounts a using (account)
           where l.burnable and l.expires_at <= $1 and a.account > $2
           group by a.account, a.transactions order by a.account limit $3"#,
        now,
        after.map_or("", AccountId::as_str),
        STEP,
    )
    .fetch_all(pool)
    .await
    .doing("finding lots whose time has come")?;
    rows.into_iter()
        .map(|row| {
            let account: AccountId =
                row.account.parse().map_err(|error| Error::stored("an account id", error))?;
            Ok(stated(account, row.transactions, row.as_of, now))
        })
        .collect()
}

fn stated(account: AccountId, transactions: i64, as_of: OffsetDateTime, now: OffsetDateTime) -> Envelope {
    let state = format!("{account}\0{transactions}\0{}", as_of.unix_timestamp_nanos());
    let id = format!("expiry_{}", hex::encode(&Sha256::digest(state)[..16]));
    Envelope {
        cause: Cause { source: SOURCE.to_owned(), id },
        time: now,
        received_at: Some(now),
        traceparent: None,
        raw: None,
        fact: Fact::Expiry(fact::Expiry { account, as_of }),
    }
}
