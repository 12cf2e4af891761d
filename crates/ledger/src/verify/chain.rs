//! The hash chain: computed again from the journal's content, in the order of accounts and numbers.

use super::{Audit, CULPRITS_MAX, Culprit};
use db::{Doing, Error, PgConnection};
use domain::Cause;
use domain::journal::{GENESIS, Hash, Transaction, TransactionKind};
use time::OffsetDateTime;

/// Transactions in memory at a time.
const CHUNK: i64 = 2000;

/// A place in the journal: everything up to it has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct JournalPlace {
    account: String,
    number: i64,
}

/// Where the chain stands: the account that is being checked and the hash of its last transaction.
#[derive(Default)]
struct JournalChain {
    account: String,
    previous: Hash,
}

struct JournalRow {
    account: String,
    number: i64,
    kind: String,
    cause_source: String,
    cause_id: String,
    payment: Option<String>,
    at: OffsetDateTime,
    hash: Vec<u8>,
    /// In JSON.
    entries: String,
}

/// Adds to `found` every transaction whose hash does not follow from its content and the hash before it.
pub(super) async fn check(audit: &mut Audit<'_>, found: &mut Vec<Culprit>) -> Result<(), Error> {
    let mut chain = JournalChain::default();
    let mut after = JournalPlace { account: audit.scope.unwrap_or("").to_owned(), number: 0 };
    let mut checked = 0;
    loop {
        let rows = transactions(audit.connection, audit.scope, &after).await?;
        let Some(last) = rows.last().map(JournalRow::place) else { return Ok(()) };
        checked += rows.len() as i64;
        for row in rows {
            let culprit = chain.follow(row);
            found.extend(culprit.filter(|_| found.len() <= CULPRITS_MAX));
        }
        audit.progress(checked);
        after = last;
    }
}

impl JournalChain {
    /// Goes one transaction further. After a break the chain goes on from what is stored: each break is named once.
    fn follow(&mut self, row: JournalRow) -> Option<Culprit> {
        if self.account != row.account {
            *self = JournalChain { account: row.account.clone(), previous: GENESIS };
        }
        let subject = format!("{} #{}", row.account, row.number);
        let stored: Hash = row.hash.as_slice().try_into().unwrap_or(GENESIS);
        let previous = std::mem::replace(&mut self.previous, stored);
        let expected = match row.transaction() {
            Ok(transaction) => transaction.chained_hash(&previous),
            Err(got) => {
                return Some(Culprit { subject, expected: "a transaction that can be read".into(), got });
            }
        };
        (expected != stored).then(|| Culprit { subject, expected: hex(&expected), got: hex(&stored) })
    }
}

impl JournalRow {
    fn place(&self) -> JournalPlace {
        JournalPlace { account: self.account.clone(), number: self.number }
    }

    fn transaction(self) -> Result<Transaction, String> {
        Ok(Transaction {
            account: self.account.parse().map_err(|error| format!("{error}"))?,
            number: self.number.unsigned_abs(),
            kind: TransactionKind::parse(&self.kind).ok_or_else(|| format!("a kind {:?}", self.kind))?,
            cause: Cause { source: self.cause_source, id: self.cause_id },
            payment: self.payment.map(|id| id.parse()).transpose().map_err(|error| format!("{error}"))?,
            at: self.at,
            entries: serde_json::from_str(&self.entries).map_err(|error| error.to_string())?,
            hash: GENESIS,
        })
    }
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn transactions(
    connection: &mut PgConnection,
    scope: Option<&str>,
    after: &JournalPlace,
) -> Result<Vec<JournalRow>, Error> {
    sqlx::query_as!(
        JournalRow,
        r#"select account, number, kind, cause_source, cause_id, payment, at, hash, entries::text as "entries!"
         from transactions
         where (account, number) > ($1, $2) and ($3::text is null or account = $3)
         order by account, number limit $4"#,
        after.account,
        after.number,
        scope,
        CHUNK,
    )
    .fetch_all(connection)
    .await
    .doing("reading the journal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn entries(credits: i64) -> String {
        format!(r#"[["issued", "lot_1", "-{credits}"], ["available", "lot_1", "{credits}"]]"#)
    }

    fn row(account: &str, number: i64, previous: &Hash) -> JournalRow {
        let row = |hash: Hash| JournalRow {
            account: account.to_owned(),
            number,
            kind: "grant".to_owned(),
            cause_source: "operator/x".to_owned(),
            cause_id: format!("grant_{number}"),
            payment: None,
            at: datetime!(2026-11-20 10:00:00 UTC),
            hash: hash.to_vec(),
            entries: entries(number),
        };
        row(row(GENESIS).transaction().unwrap().chained_hash(previous))
    }

    fn stored(row: &JournalRow) -> Hash {
        row.hash.as_slice().try_into().unwrap()
    }

    #[test]
    fn a_chain_is_followed_from_account_to_account() {
        let mut chain = JournalChain::default();
        let first = row("acct_1", 1, &GENESIS);
        let second = row("acct_1", 2, &stored(&first));
        let other = row("acct_2", 1, &GENESIS);
        for row in [first, second, other] {
            assert_eq!(chain.follow(row), None);
        }
    }

    #[test]
    fn a_changed_transaction_is_named_once() {
        let mut chain = JournalChain::default();
        let first = row("acct_1", 1, &GENESIS);
        let second = row("acct_1", 2, &stored(&first));
        let culprit = chain.follow(JournalRow { entries: entries(1000), ..first }).unwrap();
        assert_eq!(culprit.subject, "acct_1 #1");
        assert_eq!(chain.follow(second), None);
    }

    #[test]
    fn a_transaction_that_cannot_be_read_is_named() {
        for entries in ["[]]", r#"[["somewhere", null, "1"]]"#, r#"[["debt", null, 1]]"#] {
            let broken = JournalRow { entries: entries.to_owned(), ..row("acct_1", 1, &GENESIS) };
            assert_eq!(JournalChain::default().follow(broken).unwrap().subject, "acct_1 #1");
        }
    }

    #[test]
    fn a_transaction_taken_out_breaks_the_chain() {
        let mut chain = JournalChain::default();
        let first = row("acct_1", 1, &GENESIS);
        let second = row("acct_1", 2, &stored(&first));
        assert!(chain.follow(second).is_some());
    }
}
