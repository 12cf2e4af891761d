//! Transactions of the journal as they are printed.

use super::table::{Column, Table, moment, or_none};
use domain::Credits;
use ledger::read::TransactionView;

/// One line for each transaction; the balances where a statement tells them.
pub fn journal(transactions: &[TransactionView]) -> Table {
    let with_balances = transactions.iter().any(|transaction| transaction.after.is_some());
    let mut columns =
        vec![Column::Number("number"), Column::Text("time"), Column::Text("kind"), Column::Text("moved")];
    if with_balances {
        columns.extend([Column::Decimal("available"), Column::Decimal("held"), Column::Decimal("debt")]);
    }
    columns.extend([Column::Text("cause"), Column::Text("payment")]);
    let mut table = Table::new(&columns);
    for transaction in transactions {
        let mut cells = vec![
            transaction.number.to_string(),
            moment(transaction.at),
            transaction.kind.clone(),
            moved(|book| transaction.change(book)),
        ];
        if let Some(after) = transaction.after {
            cells.extend([after.available, after.held, after.debt].map(|credits| credits.to_string()));
        }
        cells.extend([transaction.cause.clone(), or_none(transaction.payment.as_deref())]);
        table.row(cells);
    }
    table
}

/// What was moved, book by book: `available -12.5, consumed +12.5`. The sources of credits and of debt only mirror the
/// others.
pub fn moved(change: impl Fn(&str) -> Credits) -> String {
    let books = ["available", "held", "consumed", "reversed", "expired", "debt"];
    let changes = books.map(|book| (book, change(book)));
    let signed =
        |credits: Credits| if credits.is_positive() { format!("+{credits}") } else { credits.to_string() };
    let parts: Vec<String> = changes
        .into_iter()
        .filter(|(_, credits)| !credits.is_zero())
        .map(|(book, credits)| format!("{book} {}", signed(credits)))
        .collect();
    if parts.is_empty() { "between lots".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::read::EntryView;
    use time::macros::datetime;

    fn transaction(entries: &[(&str, i64)]) -> TransactionView {
        TransactionView {
            account: "acct_1".to_owned(),
            number: 1,
            at: datetime!(2026-11-20 10:00:00 UTC),
            kind: "usage".to_owned(),
            cause: "gateway/use_1".to_owned(),
            payment: None,
            entries: entries
                .iter()
                .map(|(book, amount)| EntryView {
                    book: (*book).to_owned(),
                    lot: None,
                    amount: Credits::whole(*amount),
                })
                .collect(),
            after: None,
        }
    }

    #[test]
    fn a_line_tells_what_moved_in_each_book() {
        let check = |entries: &[(&str, i64)], expect: &str| {
            let transaction = transaction(entries);
            assert_eq!(moved(|book| transaction.change(book)), expect);
        };
        check(&[("issued", -10), ("available", 10)], "available +10");
        let usage = [("available", -3), ("consumed", 3), ("debt", 2), ("overdrawn", -2)];
        check(&usage, "available -3, consumed +3, debt +2");
        check(
            &[("consumed", -3), ("reversed", 3), ("available", -3), ("consumed", 3)],
            "available -3, reversed +3",
        );
        check(&[("consumed", -3), ("consumed", 3)], "between lots");
    }
}
