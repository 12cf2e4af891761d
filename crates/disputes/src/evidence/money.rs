//! Other payments of the account, and money of this one that went back.

use super::Subject;
use crate::evidence::aliases;
use db::{Doing, Error, PgConnection};
use domain::PaymentId;
use domain::dispute::{Case, overlap as domain_overlap};
use domain::fact::{MovementKind, MovementStatus};
use domain::record::{PaymentRecord, Reading, Terms};
use evidence::{EarlierPayment, EarlierPayments, Movement, Overlap, References, Refund};
use sqlx::types::Json;
use std::collections::BTreeMap;

/// Earlier payments that a pack holds: the newest before this one, and as many of those that card networks ask for.
const EARLIER_MAX: usize = 25;

/// Earlier payments that are looked at.
const LOOKED_AT_MAX: i64 = 2_000;

/// How long before this one card networks ask for an earlier payment: see [`evidence::CompellingEvidence`].
const ASKED_FOR: std::ops::RangeInclusive<i64> = 120..=365;

/// Payments of the account before this one that nobody disputed and that were not given back.
pub async fn earlier(connection: &mut PgConnection, of: &Subject) -> Result<EarlierPayments, Error> {
    let rows = sqlx::query!(
        r#"select p.payment, p.record as "record: Json<PaymentRecord>"
           from payments p
           where p.account = $1 and p.payment <> $2 and p.state = 'delivered' and p.reversed_amount = 0
             and p.created_at <= (select created_at from payments where payment = $2)
             and not exists (select from disputes d where d.payment = p.payment)
           order by p.created_at desc, p.payment limit $3"#,
        of.account.as_str(),
        of.payment.as_str(),
        LOOKED_AT_MAX,
    )
    .fetch_all(&mut *connection)
    .await
    .doing("reading earlier payments")?;
    let known = rows.into_iter().filter_map(|row| Some((row.payment, row.record.0.terms(Reading::TODAY)?)));
    let mut before: Vec<(String, Terms)> = known.filter(|(_, terms)| terms.at < of.terms.at).collect();
    before.sort_by(|a, b| (b.1.at, &b.0).cmp(&(a.1.at, &a.0)));
    let is_asked_for = |terms: &Terms| ASKED_FOR.contains(&(of.terms.at - terms.at).whole_days());
    let mut asked_for = 0;
    let mut payments = Vec::new();
    let mut left_out = 0;
    for (place, (payment, terms)) in before.into_iter().enumerate() {
        let counts = is_asked_for(&terms) && asked_for < EARLIER_MAX;
        asked_for += usize::from(counts);
        if place >= EARLIER_MAX && !counts {
            left_out += 1;
            continue;
        }
        let payment: PaymentId = payment.parse().map_err(|error| Error::stored("a payment id", error))?;
        payments.push(EarlierPayment {
            aliases: aliases(connection, &payment).await?,
            payment,
            at: terms.at,
            amount: terms.total,
            description: None,
            references: References::default(),
        });
    }
    let ids: Vec<PaymentId> = payments.iter().map(|earlier| earlier.payment.clone()).collect();
    let mut known = references(connection, &ids).await?;
    for earlier in &mut payments {
        earlier.references = known.remove(&earlier.payment).unwrap_or_default();
    }
    payments.sort_by(|a, b| (a.at, &a.payment).cmp(&(b.at, &b.payment)));
    Ok(EarlierPayments { payments, left_out })
}

/// What the facts of payments say of where they were bought from, as far as that is not erased: of several facts the latest.
/// It stands in the facts alone.
pub async fn references(
    connection: &mut PgConnection,
    payments: &[PaymentId],
) -> Result<BTreeMap<PaymentId, References>, Error> {
    let names: Vec<&str> = payments.iter().map(PaymentId::as_str).collect();
    let rows = sqlx::query_file!("src/evidence/references.sql", &names as _)
        .fetch_all(connection)
        .await
        .doing("reading where payments were made from")?;
    let mut known: BTreeMap<PaymentId, References> = BTreeMap::new();
    for row in rows {
        let payment = row.payment.parse().map_err(|error| Error::stored("a payment id", error))?;
        let references = known.entry(payment).or_default();
        references.ip = references.ip.take().or(row.ip);
        references.device = references.device.take().or(row.device);
    }
    Ok(known)
}

/// Refunds of this payment, by the processor's word.
pub fn refunds(of: &Subject) -> Vec<Refund> {
    let made = of.paid.movements.iter().filter(|(_, stated)| stated.what.kind == MovementKind::Refund);
    let mut refunds: Vec<Refund> = made
        .map(|(id, stated)| Refund {
            at: stated.at,
            state: match stated.what.status {
                MovementStatus::Pending => "pending",
                MovementStatus::Final => "completed",
                MovementStatus::Void => "failed",
            }
            .to_owned(),
            amount: Some(stated.what.amount),
            reference: Some(id.clone()),
            note: None,
        })
        .collect();
    refunds.sort_by(|a, b| (a.at, &a.reference).cmp(&(b.at, &b.reference)));
    refunds
}

/// Where refunds and the dispute meet on the payment.
pub fn overlap(of: &Subject, case: &Case) -> Option<Overlap> {
    let found = domain_overlap(&of.paid, !case.state.has_ended())?;
    let mut movements: Vec<Movement> = of
        .paid
        .movements
        .iter()
        .map(|(id, stated)| Movement {
            at: stated.at,
            id: id.clone(),
            kind: word(&stated.what.kind),
            amount: stated.what.amount,
            status: word(&stated.what.status),
        })
        .collect();
    movements.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    let note = match found.cost.is_zero() {
        true => {
            format!("{} was refunded; with what is disputed that is not more than was paid.", found.refunded)
        }
        false => format!(
            "{} was refunded and {} charged back of {} paid: {} went back twice.",
            found.refunded, found.disputed, found.paid, found.cost
        ),
    };
    Some(Overlap {
        movements,
        paid_twice: (!found.cost.is_zero()).then_some(found.cost),
        fees: case.fee,
        note,
    })
}

/// A word of the domain as facts spell it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
