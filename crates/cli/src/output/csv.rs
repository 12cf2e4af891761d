//! CSV, as spreadsheets read it: text from outside is never a formula, and looks like what it is.
//!
//! A spreadsheet takes a field that begins with one of a few characters for a formula and carries it out. Such a text is
//! shown with an apostrophe before it, which says "text" to a spreadsheet. Our own numbers are no texts, and stay numbers.

use crate::visible;
use csv::{QuoteStyle, Writer, WriterBuilder};
use std::io::Write;

/// What formulas begin with, also in the full width of East Asian keyboards.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// Rows of a CSV document, each with as many fields as the header has.
pub struct Rows<W: Write>(Writer<W>);

impl<W: Write> Rows<W> {
    /// The writer quotes what RFC 4180 asks for. Spreadsheets ask for more (many take `;` for a comma), so [`text`] quotes.
    pub fn begin<'a>(out: W, header: impl IntoIterator<Item = &'a str>) -> Result<Self, csv::Error> {
        let mut rows = Self(WriterBuilder::new().quote_style(QuoteStyle::Never).from_writer(out));
        rows.row(header)?;
        Ok(rows)
    }

    /// Each field is a number, a word of ours, or a [`text`].
    pub fn row<'a>(&mut self, fields: impl IntoIterator<Item = &'a str>) -> Result<(), csv::Error> {
        self.0.write_record(fields)
    }

    pub fn end(mut self) -> Result<(), csv::Error> {
        Ok(self.0.flush()?)
    }
}

/// A text from outside as a field.
pub fn text(text: &str) -> String {
    let is_formula = text.trim_start().starts_with(FORMULA) || text.starts_with(['\t', '\r', '\n']);
    let shown = visible::on_a_line(text);
    let shown = if is_formula { format!("'{shown}") } else { shown };
    match shown.contains([',', ';', '"', '\'', ' ']) {
        true => format!("\"{}\"", shown.replace('"', "\"\"")),
        false => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula_or_a_line_of_its_own_in_csv() {
        let check = |from: &str, expect: &str| assert_eq!(text(from), expect, "{from:?}");
        check("acct_42", "acct_42");
        check("", "");
        check("a,\"b\"", "\"a,\"\"b\"\"\"");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "＝1+1"] {
            check(formula, &format!("\"'{formula}\""));
        }
        check(" =1", "\"' =1\"");
        check("\t=1", "\"'\\t=1\"");
        check("\r", "\"'\\r\"");
        check("a\nb", "a\\nb");
        check("a\u{202e}b\u{2028}", "a\\u{202e}b\\u{2028}");
        check("a-b=c", "a-b=c");
    }

    #[test]
    fn whoever_reads_it_gets_the_rows_that_were_written() {
        let accounts = ["acct_42", "a,\"b\"", "a;b c", "=1+1", "a\nb", ""];
        let mut written = Vec::new();
        let mut rows = Rows::begin(&mut written, ["account", "opening"]).unwrap();
        accounts.iter().for_each(|account| rows.row([text(account).as_str(), "-1.5"]).unwrap());
        rows.end().unwrap();
        assert!(written.starts_with(b"account,opening\nacct_42,-1.5\n"), "lines end as they did");
        let mut reader = csv::Reader::from_reader(&*written);
        let read: Vec<String> = reader
            .records()
            .map(|record| record.unwrap())
            .map(|record| {
                assert_eq!(record.get(1), Some("-1.5"));
                record[0].to_owned()
            })
            .collect();
        assert_eq!(read, ["acct_42", "a,\"b\"", "a;b c", "'=1+1", "a\\nb", ""]);
    }
}
