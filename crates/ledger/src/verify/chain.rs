//! The hash chain: computed again from the journal's content, in the order of accounts and numbers.

use super::{Audit, CULPRITS_MAX, Culprit};
use db::{Doing, Error, PgConnection};
use domain::journal::{Book, Entry, GENESIS, Hash, Transaction, TransactionKind};
use domain::{Cause, Credits};
use std::collections::HashMap;
use time::OffsetDateTime;

/// Transactions in memory at a time.
const CHUNK: i64 = 2000;

/// A place in the journal: everything up to it has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Place {
    account: String,
    number: i64,
}

/// Where the chain stands: the account in hand and the hash of its last transaction.
#[derive(Default)]
struct Chain {
    account: String,
    previous: Hash,
}

struct Row {
    account: String,
    number: i64,
    kind: String,
    cause_source: String,
    cause_id: String,
    payment: Option<String>,
    at: OffsetDateTime,
    hash: Vec<u8>,
}

/// Adds to `found` every transaction whose hash does not follow from its content and the hash before it.
pub(super) async fn check(audit: &mut Audit<'_>, found: &mut Vec<Culprit>) -> Result<(), Error> {
    let mut chain = Chain::default();
    let mut after = Place { account: audit.scope.unwrap_or("").to_owned(), number: 0 };
    let mut checked = 0;
    loop {
        let rows = transactions(audit.connection, audit.scope, &after).await?;
        let Some(last) = rows.last().map(Row::place) else { return Ok(()) };
        let mut entries = entries(audit.connection, &after, &last).await?;
        checked += rows.len() as i64;
        for row in rows {
            let own = entries.remove(&row.place()).unwrap_or_default();
            let culprit = chain.follow(row, own);
            found.extend(culprit.filter(|_| found.len() <= CULPRITS_MAX));
        }
        audit.progress(checked);
        after = last;
    }
}

impl Chain {
    /// Goes one transaction further. After a break the chain goes on from what is stored: each break is named once.
    fn follow(&mut self, row: Row, entries: Vec<Entry>) -> Option<Culprit> {
        if self.account != row.account {
            *self = Chain { account: row.account.clone(), previous: GENESIS };
        }
        let subject = format!("{} #{}", row.account, row.number);
        let stored: Hash = row.hash.as_slice().try_into().unwrap_or(GENESIS);
        let previous = std::mem::replace(&mut self.previous, stored);
        let expected = match row.transaction(entries) {
            Ok(transaction) => transaction.chained_hash(&previous),
            Err(got) => {
                return Some(Culprit { subject, expected: "a transaction that can be read".into(), got });
            }
        };
        (expected != stored).then(|| Culprit { subject, expected: hex(&expected), got: hex(&stored) })
    }
}

impl Row {
    fn place(&self) -> Place {
        Place { account: self.account.clone(), number: self.number }
    }

    fn transaction(self, entries: Vec<Entry>) -> Result<Transaction, String> {
        Ok(Transaction {
            account: self.account.parse().map_err(|error| format!("{error}"))?,
            number: self.number.unsigned_abs(),
            kind: TransactionKind::parse(&self.kind).ok_or_else(|| format!("a kind {:?}", self.kind))?,
            cause: Cause { source: self.cause_source, id: self.cause_id },
            payment: self.payment.map(|id| id.parse()).transpose().map_err(|error| format!("{error}"))?,
            at: self.at,
            entries,
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
    after: &Place,
) -> Result<Vec<Row>, Error> {
    sqlx::query_as!(
        Row,
        "select account, number, kind, cause_source, cause_id, payment, at, hash from transactions
         where (account, number) > ($1, $2) and ($3::text is null or account = $3)
         order by account, number limit $4",
        after.account,
        after.number,
        scope,
        CHUNK,
    )
    .fetch_all(connection)
    .await
    .doing("reading the journal")
}

/// The entries of the transactions after one place and up to another, in the order of their lines.
async fn entries(
    connection: &mut PgConnection,
    after: &Place,
    last: &Place,
) -> Result<HashMap<Place, Vec<Entry>>, Error> {
    let rows = sqlx::query!(
        "select account, number, book, lot, amount from entries
         where (account, number) > ($1, $2) and (account, number) <= ($3, $4)
         order by account, number, line",
        after.account,
        after.number,
        last.account,
        last.number,
    )
    .fetch_all(connection)
    .await
    .doing("reading entries")?;
    let mut entries: HashMap<Place, Vec<Entry>> = HashMap::new();
    for row in rows {
        let book = Book::parse(&row.book).ok_or_else(|| Error::stored("an entry's book", &row.book))?;
        let entry = Entry { book, lot: row.lot, amount: Credits::new(row.amount) };
        entries.entry(Place { account: row.account, number: row.number }).or_default().push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn entries(credits: i64) -> Vec<Entry> {
        let entry =
            |book, amount| Entry { book, lot: Some("lot_1".to_owned()), amount: Credits::whole(amount) };
        vec![entry(Book::Issued, -credits), entry(Book::Available, credits)]
    }

    fn row(account: &str, number: i64, previous: &Hash) -> Row {
        let row = |hash: Hash| Row {
            account: account.to_owned(),
            number,
            kind: "grant".to_owned(),
            cause_source: "operator/x".to_owned(),
            cause_id: format!("grant_{number}"),
            payment: None,
            at: datetime!(2026-11-20 10:00:00 UTC),
            hash: hash.to_vec(),
        };
        row(row(GENESIS).transaction(entries(number)).unwrap().chained_hash(previous))
    }

    fn stored(row: &Row) -> Hash {
        row.hash.as_slice().try_into().unwrap()
    }

    #[test]
    fn a_chain_is_followed_from_account_to_account() {
        let mut chain = Chain::default();
        let first = row("acct_1", 1, &GENESIS);
        let second = row("acct_1", 2, &stored(&first));
        let other = row("acct_2", 1, &GENESIS);
        for (row, credits) in [(first, 1), (second, 2), (other, 1)] {
            assert_eq!(chain.follow(row, entries(credits)), None);
        }
    }

    #[test]
    fn a_changed_transaction_is_named_once() {
        let mut chain = Chain::default();
        let first = row("acct_1", 1, &GENESIS);
        let second = row("acct_1", 2, &stored(&first));
        let culprit = chain.follow(first, entries(1000)).unwrap();
        assert_eq!(culprit.subject, "acct_1 #1");
        assert_eq!(chain.follow(second, entries(2)), None);
    }

    #[test]
    fn a_transaction_taken_out_breaks_the_chain() {
        let mut chain = Chain::default();
        let first = row("acct_1", 1, &GENESIS);
        let second = row("acct_1", 2, &stored(&first));
        assert!(chain.follow(second, entries(2)).is_some());
    }
}
