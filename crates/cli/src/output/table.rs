//! Tables for people: light lines, decimals aligned at the point, colours only where a terminal shows them.
//!
//! Cells are never wrapped or cut: an id that is broken in two cannot be copied.

use crate::visible;
use comfy_table::{CellAlignment, LineStyle, TableStyle};
use std::fmt;
use std::io::IsTerminal;
use std::sync::LazyLock;
use time::OffsetDateTime;
use time::macros::format_description;

/// How a text stands out on a terminal; elsewhere it is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
}

impl Style {
    pub fn paint(self, text: &str) -> String {
        match (self, *COLOURS) {
            (Style::Plain, _) | (_, false) => text.to_owned(),
            (Style::Bold, true) => visible::styled(1, text),
            (Style::Dim, true) => visible::styled(2, text),
            (Style::Good, true) => visible::styled(32, text),
            (Style::Bad, true) => visible::styled(31, text),
        }
    }
}

/// `NO_COLOR` (no-color.org) and `TERM=dumb` are respected.
static COLOURS: LazyLock<bool> = LazyLock::new(|| {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !refused && !dumb
});

/// How a column's cells line up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Text(&'static str),
    /// Whole numbers, to the right.
    Number(&'static str),
    /// Decimals, with their points one below the other.
    Decimal(&'static str),
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Column::Text(name) | Column::Number(name) | Column::Decimal(name) => name,
        }
    }

    fn alignment(self) -> CellAlignment {
        match self {
            Column::Text(_) => CellAlignment::Left,
            Column::Number(_) | Column::Decimal(_) => CellAlignment::Right,
        }
    }
}

pub struct Table {
    columns: Vec<Column>,
    rows: Vec<(Style, Vec<String>)>,
}

impl Table {
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.styled_row(Style::Plain, cells);
    }

    /// A row of one line that stands out as a whole.
    pub fn styled_row(&mut self, style: Style, cells: Vec<String>) {
        // Before it is laid out: what stands for a character is wider than it.
        self.rows.push((style, cells.iter().map(|cell| visible::on_a_line(cell)).collect()));
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    fn lines(&self) -> Vec<String> {
        let mut cells: Vec<Vec<String>> = self.rows.iter().map(|(_, cells)| cells.clone()).collect();
        for (place, column) in self.columns.iter().enumerate() {
            if let Column::Decimal(_) = column {
                align_points(cells.iter_mut().filter_map(|row| row.get_mut(place)).collect());
            }
        }
        laid_out(self.columns.iter().map(|column| (column.name(), column.alignment())), cells)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let styles = [Style::Dim, Style::Dim].into_iter().chain(self.rows.iter().map(|(style, _)| *style));
        let lines: Vec<String> =
            self.lines().iter().zip(styles).map(|(line, style)| style.paint(line)).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A table of texts, whose cells may have several lines.
pub fn plain(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    laid_out(header.iter().map(|name| (*name, CellAlignment::Left)), rows.collect()).join("\n")
}

fn laid_out<'a>(
    columns: impl Iterator<Item = (&'a str, CellAlignment)>,
    rows: Vec<Vec<String>>,
) -> Vec<String> {
    let (names, alignments): (Vec<&str>, Vec<CellAlignment>) = columns.unzip();
    let mut table = comfy_table::Table::new();
    let line = LineStyle::none().fill('─');
    table.load_style(TableStyle::new().header_separator(line)).set_header(names).add_rows(rows);
    for (column, alignment) in table.column_iter_mut().zip(alignments) {
        column.set_padding((0, 2)).set_cell_alignment(alignment);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Pads fractions with spaces, so that numbers aligned to the right have their points one below the other.
fn align_points(mut cells: Vec<&mut String>) {
    let fraction = |cell: &str| cell.find('.').map_or(0, |point| cell.len() - point);
    let longest = cells.iter().map(|cell| fraction(cell)).max().unwrap_or(0);
    for cell in &mut cells {
        let missing = longest - fraction(cell);
        cell.push_str(&" ".repeat(missing));
    }
}

/// A moment as people read it, in UTC to the second.
pub fn moment(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    let utc = at.checked_to_offset(time::UtcOffset::UTC).unwrap_or(at);
    utc.format(&format).unwrap_or_else(|_| at.to_string())
}

/// What a cell shows where there is nothing to show.
pub fn or_none(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn points_are_one_below_the_other() {
        let mut table = Table::new(&[Column::Text("lot"), Column::Decimal("remaining"), Column::Number("n")]);
        for (lot, remaining, number) in [("a", "1000", "1"), ("b", "12.5", "10"), ("c", "-0.333333", "100")] {
            table.row(vec![lot.to_owned(), remaining.to_owned(), number.to_owned()]);
        }
        let expect = "\
lot    remaining    n
───────────────────────
a    1000           1
b      12.5        10
c      -0.333333  100";
        let lines: Vec<String> = table.lines();
        assert_eq!(lines.join("\n"), expect);
    }

    #[test]
    fn a_cell_cannot_break_out_of_its_row() {
        let mut table = Table::new(&[Column::Text("worker"), Column::Text("code")]);
        table.row(vec!["evil\x1b[2J\nok".to_owned(), "c".to_owned()]);
        assert_eq!(table.lines()[2], "evil\\u{1b}[2J\\nok  c");
    }

    #[test]
    fn long_ids_are_not_broken() {
        let id = "paddle:txn_01hv8wptq8987qeep44cyrewp9".repeat(8);
        let text = plain(&["payment"], [vec![id.clone()]].into_iter());
        assert!(text.contains(&id), "{text}");
    }

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(moment(datetime!(2026-11-20 12:00:01.5 +2)), "2026-11-20 10:00:01Z");
    }
}
