//! Ids that a purchase is known by, and the payment that each leads to.

use super::{BatchState, parse_id};
use db::{Doing, Error, Work};
use domain::{Envelope, PaymentId};
use std::collections::{BTreeMap, BTreeSet};

/// Which payment each id of a purchase leads to.
#[derive(Default)]
pub(super) struct PaymentIds {
    pub leads_to: BTreeMap<PaymentId, PaymentId>,
    stored: BTreeMap<PaymentId, PaymentId>,
}

/// Claims every id that a fact names: an id seen for the first time leads to a payment of its own name.
pub(super) async fn lock(work: &mut Work, envelopes: &[Envelope]) -> Result<PaymentIds, Error> {
    let named: BTreeSet<&PaymentId> =
        envelopes.iter().flat_map(|envelope| envelope.fact.payment_ids()).collect();
    if named.is_empty() {
        return Ok(PaymentIds::default());
    }
    let named: Vec<&str> = named.into_iter().map(PaymentId::as_str).collect();
    sqlx::query!(
        "insert into payment_ids (id, payment) select id, id from unnest($1::text[]) as n (id) on conflict do nothing",
        &named as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("claiming payment ids")?;
    let rows = sqlx::query!(
        "select id, payment from payment_ids where id = any($1::text[]) order by id for update",
        &named as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("locking payment ids")?;
    let mut leads_to = BTreeMap::new();
    for row in rows {
        leads_to.insert(parse_id("a payment id", &row.id)?, parse_id("a payment id", &row.payment)?);
    }
    Ok(PaymentIds { stored: leads_to.clone(), leads_to })
}

/// Writes where ids lead that now lead elsewhere.
pub(super) async fn save(work: &mut Work, batch: &BatchState) -> Result<(), Error> {
    let changed = || {
        let new = |(id, payment): &(&PaymentId, &PaymentId)| {
            batch.ids.stored.get(*id).is_some_and(|p| p != *payment)
        };
        batch.ids.leads_to.iter().filter(new)
    };
    if changed().next().is_none() {
        return Ok(());
    }
    let ids: Vec<&str> = changed().map(|(id, _)| id.as_str()).collect();
    let payments: Vec<&str> = changed().map(|(_, payment)| payment.as_str()).collect();
    sqlx::query!(
        "update payment_ids set payment = n.payment from unnest($1::text[], $2::text[]) as n (id, payment)
         where payment_ids.id = n.id",
        &ids as _,
        &payments as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing payment ids")?;
    Ok(())
}
