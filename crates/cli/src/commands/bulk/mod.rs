//! What commands that act on many things at once have in common: somebody has seen how many there are, and how fast it goes.

pub mod acts;
pub mod portions;
pub mod rate;

use super::act::By;
use crate::config::duration;
use crate::visible;
use anyhow::Result;
use clap::Args;
use rate::Rate;
use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

/// How to act on many, one after the other.
#[derive(Args)]
pub struct Bulk {
    #[command(flatten)]
    pub agreement: Agreement,
    #[command(flatten)]
    pub speed: Speed,
}

/// On how many to act: somebody has seen how many there are. And who acts.
#[derive(Args)]
pub struct Agreement {
    /// Go on only if exactly this many are found; required where standard input is no terminal
    #[arg(long, value_name = "N")]
    expect: Option<usize>,
    /// At most this many now, the oldest first
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub max: Option<usize>,
    #[command(flatten)]
    by: By,
}

/// How fast to go about it.
#[derive(Args)]
pub struct Speed {
    /// No faster than this: 50/s, 100/m, 1000/h
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// This many first; the rest only if every one of them ends well
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub canary: Option<usize>,
    /// How long to wait for what becomes of each; of a dead letter longer, by its rests between attempts ([retries] delays)
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub wait: Duration,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number of at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// Whether to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    Given,
    /// Why not. Nothing was done: exit status 2.
    Refused(String),
}

impl Agreement {
    pub fn by(&self) -> Result<String> {
        self.by.name()
    }

    /// Whether a count was expected at all.
    pub fn is_expecting(&self) -> bool {
        self.expect.is_some()
    }

    /// How many of those found it is about.
    pub fn of(&self, found: usize) -> usize {
        self.max.map_or(found, |max| max.min(found))
    }

    /// The count that was expected must be the count that was found; where none was, whoever sits at the terminal is asked.
    pub fn consent(&self, found: usize, question: &str) -> Consent {
        match (self.expect, std::io::stdin().is_terminal()) {
            (Some(expect), _) => expected(expect, found),
            // Nothing to agree to.
            (None, true) if found == 0 => Consent::Given,
            (None, true) => asked(question, &mut std::io::stdin().lock()),
            (None, false) => Consent::Refused(
                "nobody can be asked here: say with --expect how many there should be".to_owned(),
            ),
        }
    }
}

fn expected(expect: usize, found: usize) -> Consent {
    match expect == found {
        true => Consent::Given,
        false => Consent::Refused(format!("expected {expect}, found {found}")),
    }
}

/// Asks whoever sits at the terminal; where nobody does, the command itself is the consent.
pub fn agreed_where_asked(question: &str) -> Consent {
    match std::io::stdin().is_terminal() {
        true => asked(question, &mut std::io::stdin().lock()),
        false => Consent::Given,
    }
}

fn asked(question: &str, answers: &mut dyn BufRead) -> Consent {
    let mut stderr = std::io::stderr().lock();
    let mut answer = String::new();
    let said = write!(stderr, "{} [y/N] ", visible::printed(question)).and_then(|()| stderr.flush());
    let heard = said.and_then(|()| answers.read_line(&mut answer));
    match heard.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        true => Consent::Given,
        false => Consent::Refused("not agreed to".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_is_the_expected_count_or_a_yes() {
        assert_eq!(expected(3, 3), Consent::Given);
        assert_eq!(expected(3, 4), Consent::Refused("expected 3, found 4".to_owned()));
        let answer = |text: &str| asked("Go on?", &mut text.as_bytes()) == Consent::Given;
        assert!(answer("y\n") && answer("Yes\n"));
        assert!(!answer("\n") && !answer("") && !answer("n\n"));
    }
}
