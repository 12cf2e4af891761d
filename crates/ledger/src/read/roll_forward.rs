//! The roll-forward of a month: from what was there at its beginning to what is there at its end.
//!
//! For each account, and for all together,
//!
//! ```text
//! opening + granted - consumed - reversed + restored - expired + adjusted = closing
//! ```
//!
//! in credits and in money. A month is UTC's; a transaction belongs to the month in which it was posted.
//!
//! **Credits.** What is bridged is `available + held - debt`. Each transaction balances, so whatever it moves into or out
//! of that sum is an entry of another book, and the columns are these entries:
//!
//! | column | entries of | in transactions |
//! | --- | --- | --- |
//! | granted | `issued`, negated | all but an operator's: grants, and corrections of what a payment grants |
//! | consumed | `consumed` and `debt` | all but an operator's: usage. A cover, or a reversal that moves usage to another lot or into debt, adds nothing |
//! | reversed | `reversed` | all but an operator's and restorations |
//! | restored | `reversed`, negated | restorations |
//! | expired | `expired` | all but an operator's: breakage, less what of it was reversed later |
//! | adjusted | `available`, `held`, less `debt` | an operator's: adjustments, write-offs, moves (out of one account, into another) |
//!
//! Holds and releases stay within the sum.
//!
//! **Money.** What is bridged is deferred revenue: the value of what is available and held, by each lot's price. The price
//! is what its payment paid for each credit that it granted, the bonus included; credits that nobody paid for have none,
//! and debt has no value, since nothing was deferred for it. The columns are the same entries at their lots' prices, so
//! *consumed* is revenue earned: usage that a reversal moves from one lot to another is taken back at the one price and
//! earned at the other, and usage in debt is earned when a lot covers it.
//!
//! Prices are what is known today: a correction of what a payment grants or paid restates the months before.
//! Everything is computed exactly; each amount that is shown is rounded once, half to even. So a line of money may seem
//! to miss by a unit of its last place, and the closing of a month is the opening of the next.

use super::snapshot;
use db::{Doing, Error, PgConnection, Pool};
use domain::AccountId;
use domain::money::{currency, exponent};
use futures_util::TryStreamExt;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use time::{Date, OffsetDateTime};

/// A month of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month {
    first: Date,
    next: Date,
}

impl Month {
    pub fn since(&self) -> OffsetDateTime {
        self.first.midnight().assume_utc()
    }

    /// The first moment after it.
    pub fn until(&self) -> OffsetDateTime {
        self.next.midnight().assume_utc()
    }
}

impl FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (year, month) =
                text.split_once('-').filter(|(year, month)| year.len() == 4 && month.len() == 2)?;
            let month = time::Month::try_from(month.parse::<u8>().ok()?).ok()?;
            let first = Date::from_calendar_date(year.parse().ok()?, month, 1).ok()?;
            let next =
                first.replace_day(28).ok()?.checked_add(time::Duration::days(4))?.replace_day(1).ok()?;
            Some(Self { first, next })
        };
        read().ok_or_else(|| format!("expected a month such as 2026-11, got {text:?}"))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.first.year(), u8::from(self.first.month()))
    }
}

/// A bridge from opening to closing in one unit; amounts are decimals in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RollForwardLine {
    /// Nothing: all accounts together.
    pub account: Option<String>,
    /// `credits`, or a currency.
    pub unit: String,
    pub opening: String,
    pub granted: String,
    pub consumed: String,
    pub reversed: String,
    pub restored: String,
    pub expired: String,
    pub adjusted: String,
    pub closing: String,
    /// Whether the columns come to the closing exactly, and in credits the journal to the account's balances.
    pub adds_up: bool,
}

/// The unit of lines that are not money.
pub const CREDITS: &str = "credits";

impl RollForwardLine {
    pub fn amounts(&self) -> [&str; 8] {
        [
            &self.opening,
            &self.granted,
            &self.consumed,
            &self.reversed,
            &self.restored,
            &self.expired,
            &self.adjusted,
            &self.closing,
        ]
    }

    fn is_empty(&self) -> bool {
        self.amounts().iter().all(|amount| amount.chars().all(|c| matches!(c, '0' | '.')))
    }
}

/// A line as Postgres computes it: amounts are exact to their thirtieth place.
struct RollForwardRow {
    account: Option<String>,
    currency: Option<String>,
    opening: String,
    granted: String,
    consumed: String,
    reversed: String,
    restored: String,
    expired: String,
    adjusted: String,
    closing: String,
    adds_up: bool,
}

impl RollForwardRow {
    fn line(self) -> Result<RollForwardLine, Error> {
        let places = match self.currency.as_deref() {
            Some(code) => {
                Some(exponent(currency(code).map_err(|error| Error::stored("a currency", error))?) as usize)
            }
            None => None,
        };
        let shown = |exact: String| match places {
            Some(places) => half_even(&exact, places).ok_or_else(|| Error::stored("an amount", &exact)),
            None => Ok(exact),
        };
        Ok(RollForwardLine {
            account: self.account,
            unit: self.currency.unwrap_or_else(|| CREDITS.to_owned()),
            opening: shown(self.opening)?,
            granted: shown(self.granted)?,
            consumed: shown(self.consumed)?,
            reversed: shown(self.reversed)?,
            restored: shown(self.restored)?,
            expired: shown(self.expired)?,
            adjusted: shown(self.adjusted)?,
            closing: shown(self.closing)?,
            adds_up: self.adds_up,
        })
    }
}

/// Passes the lines to `show` one after the other, each account's credits before its money, those of all accounts together at the
/// end. Lines of zeros are left out.
///
/// # Errors
/// Those of the database, and where a stored currency or amount is none.
pub async fn roll_forward(
    pool: &Pool,
    month: Month,
    account: Option<&AccountId>,
    show: &mut dyn FnMut(RollForwardLine),
) -> Result<(), Error> {
    let connection = &mut *snapshot(pool).await?;
    take_time(connection).await?;
    let account = account.map(AccountId::as_str);
    let mut rows = sqlx::query_file_as!(
        RollForwardRow,
        "src/read/roll_forward.sql",
        month.since(),
        month.until(),
        account
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await.doing("rolling a month forward")? {
        let line = row.line()?;
        if !line.is_empty() || !line.adds_up {
            show(line);
        }
    }
    Ok(())
}

/// A long journal takes longer than a worker's statement may.
async fn take_time(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("select set_config('statement_timeout', '0', true) as timeout")
        .fetch_one(connection)
        .await
        .doing("setting the limits of a roll-forward")?;
    Ok(())
}

/// A decimal of any length, rounded half to even at `places`.
fn half_even(exact: &str, places: usize) -> Option<String> {
    let (negative, digits) = exact.strip_prefix('-').map_or((false, exact), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (kept, rest) = fraction.split_at(places.min(fraction.len()));
    let units: i128 = format!("{whole}{kept:0<places$}").parse().ok()?;
    let is_up = match rest.split_at_checked(1) {
        Some(("5", behind)) if behind.chars().all(|digit| digit == '0') => units % 2 == 1,
        Some((first, _)) => first >= "5",
        None => false,
    };
    let units = if is_up { units + 1 } else { units };
    let sign = if negative && units != 0 { "-" } else { "" };
    let digits = format!("{units:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let point = if places == 0 { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_month_begins_and_ends_in_utc() {
        let check = |text: &str, since, until| {
            let month: Month = text.parse().unwrap();
            assert_eq!((month.since(), month.until(), month.to_string()), (since, until, text.to_owned()));
        };
        check("2026-11", datetime!(2026-11-01 0:00 UTC), datetime!(2026-12-01 0:00 UTC));
        check("2026-12", datetime!(2026-12-01 0:00 UTC), datetime!(2027-01-01 0:00 UTC));
        check("2028-02", datetime!(2028-02-01 0:00 UTC), datetime!(2028-03-01 0:00 UTC));
        for wrong in ["2026", "2026-13", "2026-1", "26-11", "2026-11-01", "2026-", ""] {
            assert!(wrong.parse::<Month>().unwrap_err().contains("2026-11"), "{wrong:?}");
        }
    }

    #[test]
    fn money_is_rounded_once_half_to_even() {
        let check = |exact: &str, places, expect: &str| {
            assert_eq!(half_even(exact, places).as_deref(), Some(expect), "{exact} at {places}");
        };
        check("10", 2, "10.00");
        check("3.333333333333333333333333333333", 2, "3.33");
        check("0.005", 2, "0.00");
        check("0.015", 2, "0.02");
        check("0.0050000000000000000001", 2, "0.01");
        check("-0.015", 2, "-0.02");
        check("-0.004", 2, "0.00");
        check("9.995", 2, "10.00");
        check("1.5", 0, "2");
        check("2.5", 0, "2");
        check("0.0015", 3, "0.002");
        check("12345678901234567890.129", 2, "12345678901234567890.13");
    }
}
