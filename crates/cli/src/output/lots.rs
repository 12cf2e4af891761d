//! Lots of credits as they are printed.

use super::table::{Column, Style, Table, moment};
use ledger::read::LotView;

/// A lot's name tells its payment and kind: no columns for them.
pub fn lots(lots: &[LotView]) -> Table {
    let mut table = Table::new(&[
        Column::Text("lot"),
        Column::Decimal("granted"),
        Column::Decimal("remaining"),
        Column::Decimal("held"),
        Column::Decimal("consumed"),
        Column::Decimal("reversed"),
        Column::Decimal("expired"),
        Column::Text("expires"),
    ]);
    for lot in lots {
        let amounts = [lot.granted, lot.remaining, lot.held, lot.consumed, lot.reversed, lot.expired];
        let mut cells = vec![lot.lot.clone()];
        cells.extend(amounts.map(|credits| credits.to_string()));
        cells.push(lot.expires_at.map_or_else(|| "never".to_owned(), moment));
        let spent = lot.remaining.is_zero() && lot.held.is_zero();
        table.styled_row(if spent { Style::Dim } else { Style::Plain }, cells);
    }
    table
}
