//! Delivered payments whose credits would be others if they were read as they are read today, and why. Nothing changes them
//! but a fact of their own or an operator who has them restated.

use crate::verify::payments::{self, DeliveredPayment, PaymentAmounts};
use db::{Error, PgConnection};
use domain::catalog::{Catalog, Unknown};
use domain::fact::Purpose;
use domain::ledger::Rules;
use domain::record::Terms;
use domain::{Credits, PaymentId};
use serde::Serialize;
use std::collections::HashMap;

/// A payment that was settled by what was understood, or configured, before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Restatable {
    pub payment: PaymentId,
    /// In words.
    pub why: String,
    /// As the ledger has it.
    pub stored: Restated,
    /// As it would be.
    pub today: Restated,
    /// It was granted by a rate that would not apply today: only the catalog of the day reads it so.
    pub by_todays_catalog: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Restated {
    pub granted: Credits,
    pub reversed: Credits,
    pub held: Credits,
}

impl From<&PaymentAmounts> for Restated {
    fn from(state: &PaymentAmounts) -> Self {
        Self { granted: state.purchase + state.bonus, reversed: state.reversed, held: state.held }
    }
}

/// Which of them to look at next.
#[derive(Debug, Default)]
pub struct RestatableCursor {
    after: String,
    catalogs: Option<HashMap<String, Catalog>>,
    /// Delivered payments looked at so far.
    pub checked: i64,
}

/// Those among the next payments; nothing once there is none left. Prices stay those of each payment's first grant: a later
/// change of prices does not reach back.
///
/// # Errors
/// Those of the database.
pub async fn restatable(
    connection: &mut PgConnection,
    place: &mut RestatableCursor,
    today: &Rules,
) -> Result<Option<Vec<Restatable>>, Error> {
    if place.catalogs.is_none() {
        let mut catalogs = payments::catalogs(connection).await?;
        for catalog in catalogs.values_mut() {
            catalog.rate_applies_to = today.catalogs[&today.current].rate_applies_to;
        }
        place.catalogs = Some(catalogs);
    }
    let rows = payments::delivered(connection, None, &place.after).await?;
    let Some(last) = rows.last() else { return Ok(None) };
    place.after.clone_from(&last.payment);
    place.checked += rows.len() as i64;
    let catalogs = place.catalogs.iter().flatten().collect();
    Ok(Some(rows.iter().filter_map(|row| of_row(row, &catalogs, today)).collect()))
}

fn of_row(
    row: &DeliveredPayment,
    catalogs: &HashMap<&String, &Catalog>,
    today: &Rules,
) -> Option<Restatable> {
    let payment: PaymentId = row.payment.parse().ok()?;
    let catalog = *catalogs.get(row.catalog.as_ref()?)?;
    let terms = row.record.terms(today.reading)?;
    // Known to be no purchase of credits. A payment that was described before its purpose was read keeps what it was granted.
    let by_todays_catalog = terms.purpose == Purpose::Other
        && terms.worth(payment.processor(), catalog, today.scale) == Err(Unknown::NotAPurchaseOfCredits)
        && !(row.state.purchase + row.state.bonus).is_zero();
    // What is no purchase of credits today grants none.
    let state = match by_todays_catalog {
        true => nothing_granted(row, &terms, today),
        false => payments::target(row, today.reading, Some(catalog), today.scale).ok()?,
    };
    if state == row.state {
        return None;
    }
    let why = why(row, &state, &terms, by_todays_catalog);
    let (stored, today) = (Restated::from(&row.state), Restated::from(&state));
    Some(Restatable { payment, why, stored, today, by_todays_catalog })
}

fn nothing_granted(row: &DeliveredPayment, terms: &Terms, today: &Rules) -> PaymentAmounts {
    let gone = row.record.gone(terms, today.reading);
    let none = Credits::ZERO;
    PaymentAmounts {
        purchase: none,
        bonus: none,
        reversed: none,
        held: none,
        reversed_amount: gone.reversed,
        held_amount: gone.held,
    }
}

fn why(row: &DeliveredPayment, today: &PaymentAmounts, terms: &Terms, by_todays_catalog: bool) -> String {
    let (stored, mut whys) = (&row.state, Vec::new());
    let named = row.record.movements.values().any(|stated| !stated.what.lines.is_empty());
    if stored.reversed_amount != today.reversed_amount || stored.held_amount != today.held_amount {
        let (gone, before) = (today.reversed_amount.normalize(), stored.reversed_amount.normalize());
        let because = if named { "movements name lines" } else { "several chargebacks" };
        whys.push(match gone == before {
            false => format!("gone {gone} {}, stored {before}: {because}", terms.total.currency().code()),
            true => format!(
                "held {}, stored {}: {because}",
                today.held_amount.normalize(),
                stored.held_amount.normalize()
            ),
        });
    } else if stored.reversed != today.reversed && named {
        whys.push(format!("reversed {}, stored {}: movements name lines", today.reversed, stored.reversed));
    }
    let (granted, before) = (today.purchase + today.bonus, stored.purchase + stored.bonus);
    if by_todays_catalog {
        whys.push("rate no longer applies: not a purchase of credits".to_owned());
    } else if granted != before {
        whys.push(format!("worth {granted}, stored {before}: what was said before it was paid"));
    }
    if whys.is_empty() { "its credits follow otherwise".to_owned() } else { whys.join("; ") }
}
