//! Cases that wait for their payment are taken up once the ledger knows it, and follow it where it moves to another account.

use crate::desk::Desk;
use crate::store;
use db::{Doing, Error, Pool, Work};
use domain::dispute::Policy;
use domain::{CaseId, PaymentId};
use facts::emit::Emitted;
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Cases taken up in one transaction.
const AT_ONCE: i64 = 200;

/// Takes up some of them; whether there may be more. Any number of processes may do it at once: each locks a case before it
/// looks at it again. Its events are left to whoever publishes the outbox.
///
/// # Errors
/// Those of the database: nothing was changed.
pub async fn step(pool: &Pool, policy: &Policy) -> Result<bool, Error> {
    let behind = {
        let mut connection = pool.acquire().await.doing("taking a connection")?;
        store::behind(&mut connection, AT_ONCE).await?
    };
    if behind.is_empty() {
        return Ok(false);
    }
    let mut work = Work::new(pool.clone(), OffsetDateTime::now_utc());
    let (desk, changed) = take_up(&mut work, policy, &behind).await?;
    let events = desk.close(&mut work).await?;
    Emitted::store(&mut work, events).await?;
    work.commit().await?;
    Ok(changed > 0 && behind.len() as i64 >= AT_ONCE)
}

/// Takes up all of them within a transaction, and tells nobody.
pub(crate) async fn all_in_silence(work: &mut Work, policy: &Policy) -> Result<(), Error> {
    loop {
        let behind = store::behind(work.connection().await?, AT_ONCE).await?;
        if behind.is_empty() {
            return Ok(());
        }
        let (desk, changed) = take_up(work, policy, &behind).await?;
        desk.close_in_silence(work).await?;
        if changed == 0 {
            return Ok(());
        }
    }
}

async fn take_up<'a>(
    work: &mut Work,
    policy: &'a Policy,
    behind: &[(CaseId, Vec<PaymentId>)],
) -> Result<(Desk<'a>, usize), Error> {
    let cases: BTreeSet<_> = behind.iter().map(|(case, _)| case.clone()).collect();
    let ids = behind.iter().flat_map(|(_, ids)| ids.iter().cloned()).collect();
    let mut desk = Desk::of(work, policy, &cases, ids, BTreeSet::new()).await?;
    let mut changed = 0;
    for case in &cases {
        changed += usize::from(desk.take_up(case)?);
    }
    Ok((desk, changed))
}
