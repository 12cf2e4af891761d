//! Delivered payments: what each granted, reversed and holds, against what its record says should be so.

use super::{Audit, CULPRITS_MAX, Culprit};
use crate::store::reading;
use db::{Doing, Error, PgConnection};
use domain::catalog::{Catalog, Worth};
use domain::record::{PaymentRecord, Reading};
use domain::{Credits, PaymentId};
use rust_decimal::Decimal;
use sqlx::types::Json;
use std::collections::HashMap;
use std::fmt;

/// Payments in memory at a time.
const CHUNK: i64 = 1000;

/// What a payment's lots and row show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PaymentAmounts {
    pub purchase: Credits,
    pub bonus: Credits,
    pub reversed: Credits,
    pub held: Credits,
    pub reversed_amount: Decimal,
    pub held_amount: Decimal,
}

impl fmt::Display for PaymentAmounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { purchase, bonus, reversed, held, .. } = self;
        write!(f, "granted {purchase} and bonus {bonus}, reversed {reversed}, held {held}")?;
        let (reversed, held) = (self.reversed_amount.normalize(), self.held_amount.normalize());
        write!(f, "; of the money {reversed} reversed, {held} held")
    }
}

/// A delivered payment.
pub(crate) struct DeliveredPayment {
    pub payment: String,
    pub catalog: Option<String>,
    /// How its record was understood when it was last settled: what was decided then is proved as it was.
    pub reading: Reading,
    pub record: PaymentRecord,
    pub remaining: Credits,
    pub state: PaymentAmounts,
}

pub(super) async fn check(audit: &mut Audit<'_>, scale: u32) -> Result<Vec<Culprit>, Error> {
    let catalogs = catalogs(audit.connection).await?;
    let mut found = Vec::new();
    let mut after = String::new();
    let mut checked = 0;
    loop {
        let rows = delivered(audit.connection, audit.scope, &after).await?;
        let Some(last) = rows.last() else { return Ok(found) };
        after = last.payment.clone();
        checked += rows.len() as i64;
        let room = (CULPRITS_MAX + 1).saturating_sub(found.len());
        found.extend(rows.into_iter().filter_map(|row| culprit(row, &catalogs, scale)).take(room));
        audit.progress(checked);
    }
}

fn culprit(row: DeliveredPayment, catalogs: &HashMap<String, Catalog>, scale: u32) -> Option<Culprit> {
    let catalog = row.catalog.as_ref().and_then(|version| catalogs.get(version));
    let expected = match target(&row, row.reading, catalog, scale) {
        Ok(target) if target == row.state => return None,
        Ok(target) => target.to_string(),
        Err(missing) => missing.to_owned(),
    };
    Some(Culprit { subject: row.payment, expected, got: row.state.to_string() })
}

/// What should hold of a payment, from its record and the catalog of its first grant alone. Credits are held as far
/// as the payment's own lots reach. A description that came later may be of unknown worth: what was granted before stays.
///
/// # Errors
/// What is missing to say it.
pub(crate) fn target(
    row: &DeliveredPayment,
    reading: Reading,
    catalog: Option<&Catalog>,
    scale: u32,
) -> Result<PaymentAmounts, &'static str> {
    let id: PaymentId = row.payment.parse().map_err(|_| "a payment's id")?;
    let terms = row.record.terms(reading).ok_or("a record that says what was paid")?;
    let catalog = catalog.ok_or("the catalog of its first grant")?;
    let granted = Worth { purchase: row.state.purchase, bonus: row.state.bonus, expires_after: None };
    let known = terms.worth_delivered(id.processor(), catalog, scale).ok();
    let by_line = known.and_then(|_| terms.credits_by_line(id.processor(), catalog, scale));
    let worth = known.unwrap_or(granted);
    let gone = row.record.gone(&terms, reading);
    let (reversed, held) = gone.credits(worth.total(), by_line.as_ref(), terms.total, scale);
    Ok(PaymentAmounts {
        purchase: worth.purchase,
        bonus: worth.bonus,
        reversed,
        held: held.min(row.state.held + row.remaining),
        reversed_amount: gone.reversed,
        held_amount: gone.held,
    })
}

pub(crate) async fn catalogs(connection: &mut PgConnection) -> Result<HashMap<String, Catalog>, Error> {
    let rows = sqlx::query!(r#"select version, content as "content: Json<Catalog>" from catalog_versions"#)
        .fetch_all(connection)
        .await
        .doing("reading catalogs")?;
    Ok(rows.into_iter().map(|row| (row.version, row.content.0)).collect())
}

/// Up to a chunk of them, those after the given one.
pub(crate) async fn delivered(
    connection: &mut PgConnection,
    scope: Option<&str>,
    after: &str,
) -> Result<Vec<DeliveredPayment>, Error> {
    let rows = sqlx::query_as!(
        StoredPayment,
        r#"select payment, catalog, reading, record as "record: Json<PaymentRecord>", reversed_amount, held_amount,
                  l.purchase as "purchase!", l.bonus as "bonus!", l.remaining as "remaining!", l.held as "held!",
                  l.reversed as "reversed!"
           from payments p cross join lateral (
               select coalesce(sum(granted) filter (where kind = 'purchase'), 0) as purchase,
                      coalesce(sum(granted) filter (where kind = 'bonus'), 0) as bonus,
                      coalesce(sum(remaining), 0) as remaining,
                      coalesce(sum(held), 0) as held,
                      coalesce(sum(reversed), 0) as reversed
               from lots where lot = any(array[p.payment || '#purchase', p.payment || '#bonus'])) l
           where state = 'delivered' and payment > $1 and ($2::text is null or account = $2)
           order by payment limit $3"#,
        after,
        scope,
        CHUNK,
    )
    .fetch_all(connection)
    .await
    .doing("reading delivered payments")?;
    rows.into_iter().map(StoredPayment::row).collect()
}

/// A payment's row, with the sums of its lots.
struct StoredPayment {
    payment: String,
    catalog: Option<String>,
    reading: i16,
    record: Json<PaymentRecord>,
    reversed_amount: Decimal,
    held_amount: Decimal,
    purchase: Decimal,
    bonus: Decimal,
    remaining: Decimal,
    held: Decimal,
    reversed: Decimal,
}

impl StoredPayment {
    fn row(self) -> Result<DeliveredPayment, Error> {
        Ok(DeliveredPayment {
            payment: self.payment,
            catalog: self.catalog,
            reading: reading(self.reading)?,
            record: self.record.0,
            remaining: Credits::new(self.remaining),
            state: PaymentAmounts {
                purchase: Credits::new(self.purchase),
                bonus: Credits::new(self.bonus),
                reversed: Credits::new(self.reversed),
                held: Credits::new(self.held),
                reversed_amount: self.reversed_amount,
                held_amount: self.held_amount,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::fact::{self, MovementKind, MovementStatus, PaymentStatus};
    use domain::money::{Money, currency};
    use time::macros::datetime;

    const AT: time::OffsetDateTime = datetime!(2026-11-20 10:00:00 UTC);

    fn dollars(cents: i128) -> Money {
        Money::from_minor(cents, 2, currency("USD").unwrap()).unwrap()
    }

    fn paid_ten_dollars() -> PaymentRecord {
        let mut record = PaymentRecord::default();
        record.describe(
            "evt_1",
            &fact::Payment {
                before_discounts: None,
                purpose: fact::Purpose::default(),
                payment: "paddle:txn_1".parse().unwrap(),
                aliases: Vec::new(),
                object: "txn_1".to_owned(),
                precedence: 0,
                status: PaymentStatus::Paid,
                amount: dollars(1000),
                before_tax: None,
                items: Vec::new(),
                account: None,
                customer: None,
                ip: None,
                device: None,
                occurred_at: AT,
            },
        );
        record
    }

    fn moved(record: &mut PaymentRecord, movement: &str, cents: i128, status: MovementStatus) {
        record.note_movement(
            movement,
            &fact::Movement {
                lines: Vec::new(),
                movement: movement.to_owned(),
                payment: "paddle:txn_1".parse().unwrap(),
                aliases: Vec::new(),
                kind: MovementKind::Refund,
                status,
                amount: dollars(cents),
                full: false,
                hold: None,
                occurred_at: AT,
            },
        );
    }

    /// A payment of ten dollars at a hundred credits for each, of which some are refunded and some in question.
    fn check(refunded: i128, pending: i128, shown: (i64, i64, i64), expect_ok: bool) {
        let mut record = paid_ten_dollars();
        moved(&mut record, "adj_1", refunded, MovementStatus::Final);
        moved(&mut record, "adj_2", pending, MovementStatus::Pending);
        let (remaining, reversed, held) = shown;
        let state = PaymentAmounts {
            purchase: Credits::whole(1000),
            bonus: Credits::ZERO,
            reversed: Credits::whole(reversed),
            held: Credits::whole(held),
            reversed_amount: dollars(refunded).amount(),
            held_amount: dollars(pending).amount(),
        };
        let remaining = Credits::whole(remaining);
        let (payment, catalog, reading) = ("paddle:txn_1".into(), Some("v".into()), Reading::TODAY);
        let row = DeliveredPayment { payment, catalog, reading, record, remaining, state };
        let catalog =
            Catalog { rates: [("USD".to_owned(), Decimal::from(100))].into(), ..Catalog::default() };
        let found = culprit(row, &[("v".to_owned(), catalog)].into(), 6);
        assert_eq!(found.is_none(), expect_ok, "{refunded} {pending} {shown:?}: {found:?}");
    }

    #[test]
    fn a_payment_has_reversed_and_held_exactly_its_target() {
        check(0, 0, (1000, 0, 0), true);
        check(400, 0, (600, 400, 0), true);
        check(400, 0, (600, 399, 0), false);
        check(400, 100, (500, 400, 100), true);
        check(400, 100, (600, 400, 0), false);
    }

    #[test]
    fn credits_are_held_as_far_as_the_lots_reach() {
        check(0, 500, (0, 0, 200), true);
        check(0, 500, (100, 0, 200), false);
    }

    #[test]
    fn without_its_catalog_a_payment_cannot_be_proved() {
        let (purchase, zero) = (Credits::whole(1000), Credits::ZERO);
        let amount = Decimal::ZERO;
        let state = PaymentAmounts {
            purchase,
            bonus: zero,
            reversed: zero,
            held: zero,
            reversed_amount: amount,
            held_amount: amount,
        };
        let record = paid_ten_dollars();
        let (payment, reading) = ("paddle:txn_1".into(), Reading::TODAY);
        let row = DeliveredPayment { payment, catalog: None, reading, record, remaining: purchase, state };
        assert_eq!(culprit(row, &HashMap::new(), 6).unwrap().expected, "the catalog of its first grant");
    }
}
