//! Cases that wait for their payment are taken up once the ledger knows it, and follow it where it moves to another account.

use crate::desk::Desk;
use crate::store;
use db::{Doing, Error, PgConnection, Pool, Work};
use domain::dispute::Policy;
use domain::{CaseId, PaymentId};
use facts::emit::Emitted;
use std::collections::BTreeSet;
use std::time::Duration;
use time::OffsetDateTime;

/// Cases taken up in one transaction.
const AT_ONCE: i64 = 200;

/// For so long a new case is looked at often: its payment is usually on its way.
const IS_NEW_FOR: Duration = Duration::from_secs(86_400);

/// Takes up some of those that came of late and whose payment is known by now; whether there may be more. Any number of processes
/// may do it at once: each locks a case before it looks at it again. Its events are left to whoever publishes the outbox.
///
/// # Errors
/// Those of the database: nothing was changed.
pub async fn new_ones(pool: &Pool, policy: &Policy) -> Result<bool, Error> {
    let now = OffsetDateTime::now_utc();
    let found = {
        let mut connection = pool.acquire().await.doing("taking a connection")?;
        store::behind(&mut connection, now - IS_NEW_FOR, AT_ONCE).await?
    };
    carry_out(pool, policy, &found, now).await
}

/// As [`new_ones`], of all cases, however old: also those whose payment went to another account.
///
/// # Errors
/// Those of the database: nothing was changed.
pub async fn step(pool: &Pool, policy: &Policy) -> Result<bool, Error> {
    let now = OffsetDateTime::now_utc();
    let found = {
        let mut connection = pool.acquire().await.doing("taking a connection")?;
        all_behind(&mut connection).await?
    };
    carry_out(pool, policy, &found, now).await
}

async fn all_behind(connection: &mut PgConnection) -> Result<Vec<(CaseId, Vec<PaymentId>)>, Error> {
    let mut found = store::behind(connection, OffsetDateTime::UNIX_EPOCH, AT_ONCE).await?;
    found.extend(store::astray(connection, AT_ONCE).await?);
    Ok(found)
}

async fn carry_out(
    pool: &Pool,
    policy: &Policy,
    found: &[(CaseId, Vec<PaymentId>)],
    now: OffsetDateTime,
) -> Result<bool, Error> {
    if found.is_empty() {
        return Ok(false);
    }
    let mut work = Work::new(pool.clone(), now);
    let (desk, changed) = take_up(&mut work, policy, found).await?;
    let events = desk.close(&mut work).await?;
    Emitted::store(&mut work, events).await?;
    work.commit().await?;
    Ok(changed > 0 && found.len() as i64 >= AT_ONCE)
}

/// Takes up all of them within a transaction, and tells nobody.
pub(crate) async fn all_in_silence(work: &mut Work, policy: &Policy) -> Result<(), Error> {
    loop {
        let found = all_behind(work.connection().await?).await?;
        if found.is_empty() {
            return Ok(());
        }
        let (desk, changed) = take_up(work, policy, &found).await?;
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
