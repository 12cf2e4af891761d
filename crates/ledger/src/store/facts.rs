//! What became of the facts of a batch.

use super::BatchState;
use db::{Doing, Error, Work};
use domain::{Cause, Envelope, Outcome, PaymentId};

pub(crate) struct SettledFact {
    source: String,
    id: String,
    kind: &'static str,
    outcome: Outcome,
    payment: Option<String>,
}

impl SettledFact {
    pub fn new(envelope: &Envelope, outcome: Outcome, payment: Option<PaymentId>) -> Self {
        Self {
            source: envelope.cause.source.clone(),
            id: envelope.cause.id.clone(),
            kind: envelope.fact.kind().as_str(),
            outcome,
            payment: payment.map(String::from),
        }
    }
}

/// Facts that were refused, and those that were settled. A refused one is decided again: its dead letter may not have gone
/// out before a crash, and an operator who has mended what was wrong replays it.
pub(super) async fn settled_before(
    work: &mut Work,
    envelopes: &[Envelope],
) -> Result<(Vec<Cause>, Vec<Cause>), Error> {
    let sources: Vec<&str> = envelopes.iter().map(|envelope| envelope.cause.source.as_str()).collect();
    let ids: Vec<&str> = envelopes.iter().map(|envelope| envelope.cause.id.as_str()).collect();
    let rows = sqlx::query!(
        r#"select f.source, f.id, f.outcome = 'refused' as "refused!" from unnest($1::text[], $2::text[]) as n (source, id)
           cross join lateral (select source, id, outcome from ledger_facts
                               where source = n.source and id = n.id limit 1) f"#,
        &sources as _,
        &ids as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("looking for facts settled before")?;
    let (mut refused, mut settled) = (Vec::new(), Vec::new());
    for row in rows {
        let found = if row.refused { &mut refused } else { &mut settled };
        found.push(Cause { source: row.source, id: row.id });
    }
    Ok((refused, settled))
}

/// In the order in which they were settled: their positions tell it to a rebuild.
pub(super) async fn save(work: &mut Work, batch: &BatchState, rules: i64) -> Result<(), Error> {
    forget_refusals(work, &batch.refused).await?;
    let now = work.now;
    let facts = &batch.facts;
    let sources: Vec<&str> = facts.iter().map(|fact| fact.source.as_str()).collect();
    let ids: Vec<&str> = facts.iter().map(|fact| fact.id.as_str()).collect();
    let kinds: Vec<&str> = facts.iter().map(|fact| fact.kind).collect();
    let outcomes: Vec<&str> = facts.iter().map(|fact| fact.outcome.as_str()).collect();
    let payments: Vec<Option<&str>> = facts.iter().map(|fact| fact.payment.as_deref()).collect();
    sqlx::query!(
        "insert into ledger_facts (source, id, kind, outcome, payment, settled_at, rules)
         select source, id, kind, outcome, payment, $6, $7
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
           with ordinality as f (source, id, kind, outcome, payment, place)
         order by place",
        &sources as _,
        &ids as _,
        &kinds as _,
        &outcomes as _,
        &payments as _,
        now,
        rules,
    )
    .execute(work.connection().await?)
    .await
    .doing("noting settled facts")?;
    Ok(())
}

/// What was refused and is settled anew has its new outcome alone.
async fn forget_refusals(work: &mut Work, refused: &[Cause]) -> Result<(), Error> {
    if refused.is_empty() {
        return Ok(());
    }
    let sources: Vec<&str> = refused.iter().map(|cause| cause.source.as_str()).collect();
    let ids: Vec<&str> = refused.iter().map(|cause| cause.id.as_str()).collect();
    sqlx::query!(
        "delete from ledger_facts f using unnest($1::text[], $2::text[]) as n (source, id)
         where f.source = n.source and f.id = n.id and f.outcome = 'refused'",
        &sources as _,
        &ids as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("forgetting refusals")?;
    Ok(())
}
