//! Lists as they are printed: a document or a table, and below the table whether there is more.

use super::table::{Style, Table};
use super::{say, say_json};
use crate::visible::on_a_line;
use anyhow::Result;
use serde::Serialize;
use std::process::ExitCode;

/// The most that a list may be asked for.
const LIMIT_MAX: i64 = 10_000;

/// Prints a list: as JSON the document; as text the table with what stands `below` it, or where it is empty that there is
/// `none`.
pub fn print(
    as_json: bool,
    document: &impl Serialize,
    table: &Table,
    none: &str,
    below: impl IntoIterator<Item = String>,
) -> Result<ExitCode> {
    match as_json {
        true => say_json(document)?,
        false if table.is_empty() => say(none),
        false => {
            say(&table.to_string());
            below.into_iter().for_each(|line| say(&Style::Dim.paint(&line)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How wide a table is.
pub fn width(table: &Table) -> usize {
    table.to_string().lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// Where a list is as long as it may be there may be more: how to see it.
pub fn may_go_on(shown: usize, limit: i64) -> Option<String> {
    let is_full = shown as i64 == limit;
    is_full.then(|| format!("There may be more: --limit {}", (limit * 10).min(LIMIT_MAX)))
}

/// How many groups were left out, and how to see them.
pub fn more_groups(shown: usize, more: usize) -> Option<String> {
    (more > 0).then(|| format!("{more} more groups: --limit {}", shown + more))
}

/// What is said of a plan that is of a part only: of what, and how to plan more.
pub fn oldest_of(planned: usize, found: &str, more: &str, most: usize) -> String {
    format!("The oldest {planned} of {found}: --max plans more{more}, up to {most}.")
}

/// What stands below those that are named of several; nothing where all are.
pub fn and_more(count: i64, named: usize) -> String {
    match count - named as i64 {
        0 => String::new(),
        more => format!("\nand {more} more"),
    }
}

/// Names and values, one pair a line, the values one below the other.
pub fn pairs(lines: &[(&str, String)], width: usize) -> String {
    let line = |(name, value): &(&str, String)| format!("  {name:<width$}{}", on_a_line(value));
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A titled table; nothing where it is empty.
pub fn section(title: &str, table: &Table) -> Option<String> {
    section_of(title, table, table.len() as i64)
}

/// A titled table of some of a total; nothing where it is empty.
pub fn section_of(title: &str, table: &Table, total: i64) -> Option<String> {
    if table.is_empty() {
        return None;
    }
    let more = total - table.len() as i64;
    let rest = match more > 0 {
        true => format!("\n{}", Style::Dim.paint(&format!("... and {more} more"))),
        false => String::new(),
    };
    Some(format!("\n{}\n{table}{rest}", Style::Bold.paint(title)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_that_there_may_be_more_only_where_it_is_full() {
        let said = |shown, limit| may_go_on(shown, limit);
        assert_eq!(said(49, 50), None);
        assert_eq!(said(50, 50).as_deref(), Some("There may be more: --limit 500"));
        assert_eq!(said(10_000, 10_000).as_deref(), Some("There may be more: --limit 10000"));
    }

    #[test]
    fn what_is_left_out_is_counted() {
        assert_eq!(more_groups(3, 0), None);
        assert_eq!(more_groups(3, 2).as_deref(), Some("2 more groups: --limit 5"));
        assert_eq!((and_more(3, 3).as_str(), and_more(5, 3).as_str()), ("", "\nand 2 more"));
        assert_eq!(oldest_of(5, "7", "", 500), "The oldest 5 of 7: --max plans more, up to 500.");
    }
}
