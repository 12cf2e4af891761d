//! What commands that act on many things at once have in common: somebody has seen how many there are, and how fast it goes.

use super::act::By;
use crate::config::duration;
use crate::visible;
use anyhow::Result;
use clap::Args;
use std::io::{BufRead, IsTerminal, Write};
use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

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

/// So many in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a rate such as 50/s, 100/m or 1000/h, got {text:?}");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?;
        Ok(Self { count, per: Duration::from_secs(seconds) })
    }
}

impl Rate {
    #[expect(clippy::float_arithmetic, reason = "a rate is no amount")]
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }

    /// As people say what is stored by the second: 0.0166 is 1/m.
    #[expect(clippy::float_arithmetic, reason = "a rate is no amount")]
    pub fn text(per_second: f64) -> String {
        let units = [(1.0, "s"), (60.0, "m"), (3600.0, "h")];
        let whole = units.into_iter().find_map(|(seconds, unit)| {
            let count = per_second * seconds;
            let is_whole = count >= 0.5 && (count - count.round()).abs() < 1e-6;
            is_whole.then(|| format!("{count:.0}/{unit}"))
        });
        whole.unwrap_or_else(|| format!("{per_second}/s"))
    }

    /// How long so many take.
    fn time_for(self, count: u64) -> Duration {
        let nanoseconds = self.per.as_nanos() * u128::from(count) / u128::from(self.count);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// How long after one the next may go.
    pub fn interval(self) -> Duration {
        self.time_for(1)
    }

    /// How many there are in a while.
    fn count_in(self, while_: Duration) -> usize {
        let count = while_.as_nanos() * u128::from(self.count) / self.per.as_nanos();
        usize::try_from(count).unwrap_or(usize::MAX)
    }
}

/// Sees to it that no more go out than the rate allows.
pub struct Pace {
    rate: Option<Rate>,
    since: Instant,
    gone: u64,
}

/// Between two portions where there is a rate.
const BEAT: Duration = Duration::from_millis(200);

impl Pace {
    pub fn new(rate: Option<Rate>) -> Self {
        Self { rate, since: Instant::now(), gone: 0 }
    }

    /// How many to take at a time, at most `most`.
    pub fn portion(&self, most: usize) -> usize {
        self.rate.map_or(most, |rate| rate.count_in(BEAT).clamp(1, most))
    }

    /// Waits until `count` more may go out.
    pub async fn wait_for(&mut self, count: usize) {
        if let Some(rate) = self.rate {
            tokio::time::sleep_until(self.since + rate.time_for(self.gone)).await;
        }
        self.gone += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_so_many_in_a_second_a_minute_or_an_hour() {
        let check = |text: &str, milliseconds: u64| {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.time_for(10), Duration::from_millis(milliseconds), "{text}");
        };
        check("50/s", 200);
        check("100/m", 6_000);
        check("1000/h", 36_000);
        for wrong in ["", "50", "0/s", "-1/s", "50/d", "1.5/s", "/s", "s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_rate_is_shown_as_it_was_said() {
        for text in ["50/s", "1/m", "100/m", "7/h", "1001/h"] {
            assert_eq!(Rate::text(text.parse::<Rate>().unwrap().per_second()), text);
        }
    }

    #[test]
    fn portions_are_small_where_it_goes_slowly() {
        let check = |rate: &str, expect| {
            assert_eq!(Pace::new(Some(rate.parse().unwrap())).portion(100), expect, "{rate}");
        };
        check("50/s", 10);
        check("100/m", 1);
        check("100000/s", 100);
        assert_eq!(Pace::new(None).portion(100), 100);
    }

    #[test]
    fn consent_is_the_expected_count_or_a_yes() {
        assert_eq!(expected(3, 3), Consent::Given);
        assert_eq!(expected(3, 4), Consent::Refused("expected 3, found 4".to_owned()));
        let answer = |text: &str| asked("Go on?", &mut text.as_bytes()) == Consent::Given;
        assert!(answer("y\n") && answer("Yes\n"));
        assert!(!answer("\n") && !answer("") && !answer("n\n"));
    }
}
