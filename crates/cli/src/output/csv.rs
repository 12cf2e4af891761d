//! Fields of CSV, as spreadsheets read them: text from outside is never a formula, and looks like what it is.
//!
//! A spreadsheet takes a field that begins with one of a few characters for a formula and carries it out. Such a text is
//! shown with an apostrophe before it, which says "text" to a spreadsheet. Our own numbers are no texts, and stay numbers.

use crate::visible;

/// What formulas begin with, also in the full width of East Asian keyboards.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// A text as a field.
pub fn field(text: &str) -> String {
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
        let check = |text: &str, expect: &str| assert_eq!(field(text), expect, "{text:?}");
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
}
