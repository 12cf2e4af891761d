//! What the fault matrix shows.

use super::proof::Proof;
use std::any::Any;
use std::fmt;
use std::time::Duration;

#[derive(Debug, Clone, Default)]
pub struct Row {
    pub fault: &'static str,
    /// Facts taken while it lasted and until the fleet had recovered.
    pub facts: usize,
    pub proof: Proof,
    pub dead_expected: usize,
    /// From the end of the fault until a transaction that began after it had settled a fact.
    pub recovered: Option<Duration>,
    /// From the end of the fault until nothing waited anywhere.
    pub drained: Option<Duration>,
    pub notes: Vec<String>,
}

impl Row {
    /// What could not be gone through to its end.
    pub fn given_up(what: &'static str, panic: &(dyn Any + Send)) -> Self {
        let wrong = vec![format!("given up: {}", bus::panic_text(panic))];
        Self { fault: what, proof: Proof { wrong, ..Proof::default() }, ..Self::default() }
    }

    pub fn holds(&self) -> bool {
        self.proof.lost == 0
            && self.proof.doubled == 0
            && self.proof.dead == self.dead_expected
            && self.proof.wrong.is_empty()
            && self.recovered.is_some()
            && self.drained.is_some()
    }

    fn columns(&self) -> [String; COLUMNS] {
        let time = |time: Option<Duration>| time.map_or("never".to_owned(), |time| format!("{time:.2?}"));
        [
            self.fault.to_owned(),
            self.facts.to_string(),
            self.proof.lost.to_string(),
            self.proof.doubled.to_string(),
            format!("{} of {}", self.proof.dead, self.dead_expected),
            time(self.recovered),
            time(self.drained),
        ]
    }
}

const COLUMNS: usize = 7;

const HEAD: [&str; COLUMNS] =
    ["fault", "facts", "lost", "doubled", "dead letters", "recovered in", "drained in"];

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.columns().join(" | "))?;
        for note in &self.notes {
            write!(f, "\n    {note}")?;
        }
        for wrong in &self.proof.wrong {
            write!(f, "\n    WRONG: {wrong}")?;
        }
        Ok(())
    }
}

/// The table, in Markdown.
pub fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; COLUMNS]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(Row::columns)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.map(|width| "-".repeat(width));
    let mut text = line(&cells[0]) + &line(&rule);
    text.extend(cells[1..].iter().map(line));
    for row in rows {
        for note in row.notes.iter().chain(&row.proof.wrong) {
            text += &format!("\n{}: {note}\n", row.fault);
        }
    }
    text
}
