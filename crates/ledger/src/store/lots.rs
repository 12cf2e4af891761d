//! Lots. They belong to an account or a payment that is locked.

use super::{BatchState, parse_id};
use db::{Doing, Error, Work};
use domain::ledger::{Books, Lots, PaymentState, Rules};
use domain::lot::{Lot, LotKind};
use domain::{AccountId, Credits, PaymentId};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Reads the lots that can change: those that can be burned, and those of the payments in hand.
pub(super) async fn read(work: &mut Work, books: &mut Books, rules: &Rules) -> Result<(), Error> {
    let mut by_account: BTreeMap<AccountId, Vec<Lot>> = BTreeMap::new();
    for row in changeable(work, books).await? {
        let lot = row.lot()?;
        by_account.entry(lot.account.clone()).or_default().push(lot);
    }
    for (account, lots) in by_account {
        if let Some(account) = books.accounts.get_mut(&account) {
            account.lots = Lots::new(lots, &rules.burn_order);
        }
    }
    Ok(())
}

async fn changeable(work: &mut Work, books: &Books) -> Result<Vec<StoredLot>, Error> {
    let accounts: Vec<&str> = books.accounts.keys().map(AccountId::as_str).collect();
    let delivered = books.payments.values().filter(|payment| payment.state == PaymentState::Delivered);
    let own: Vec<String> = delivered
        .flat_map(|payment| {
            [LotKind::Purchase, LotKind::Bonus].map(|kind| domain::ledger::payment_lot(&payment.id, kind))
        })
        .collect();
    sqlx::query_as!(
        StoredLot,
        r#"select lot as "lot!", account as "account!", payment, kind as "kind!", granted as "granted!",
                  remaining as "remaining!", held as "held!", consumed as "consumed!", reversed as "reversed!",
                  expired as "expired!", since as "since!", expires_at, grace_until
           from lots where account = any($1::text[]) and burnable
           union all
           select lot, account, payment, kind, granted, remaining, held, consumed, reversed, expired, since, expires_at,
                  grace_until
           from lots where lot = any($2::text[]) and not burnable"#,
        &accounts as _,
        &own as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("reading lots")
}

struct StoredLot {
    lot: String,
    account: String,
    payment: Option<String>,
    kind: String,
    granted: Decimal,
    remaining: Decimal,
    held: Decimal,
    consumed: Decimal,
    reversed: Decimal,
    expired: Decimal,
    since: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    grace_until: Option<OffsetDateTime>,
}

impl StoredLot {
    fn lot(self) -> Result<Lot, Error> {
        Ok(Lot {
            account: parse_id("an account id", &self.account)?,
            payment: self.payment.map(|payment| parse_id("a payment id", &payment)).transpose()?,
            kind: LotKind::parse(&self.kind).ok_or_else(|| Error::stored("a lot's kind", &self.kind))?,
            lot: self.lot,
            granted: Credits::new(self.granted),
            remaining: Credits::new(self.remaining),
            held: Credits::new(self.held),
            consumed: Credits::new(self.consumed),
            reversed: Credits::new(self.reversed),
            expired: Credits::new(self.expired),
            since: self.since,
            expires_at: self.expires_at,
            grace_until: self.grace_until,
        })
    }
}

/// Writes the lots that the batch changed.
pub(super) async fn save(work: &mut Work, batch: &BatchState) -> Result<(), Error> {
    let changed: Vec<&Lot> =
        batch.books.accounts.values().flat_map(|account| account.lots.changed()).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let amounts =
        |of: fn(&Lot) -> Credits| -> Vec<Decimal> { changed.iter().map(|lot| of(lot).decimal()).collect() };
    let lots = LotColumns::of(&changed);
    sqlx::query!(
        "insert into lots (lot, account, payment, kind, granted, remaining, held, consumed, reversed, expired, since,
                           expires_at, grace_until, burnable)
         select lot, account, payment, kind, granted, remaining, held, consumed, reversed, expired, since, expires_at,
                grace_until, remaining > 0
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::numeric[], $6::numeric[], $7::numeric[],
                     $8::numeric[], $9::numeric[], $10::numeric[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[])
           as l (lot, account, payment, kind, granted, remaining, held, consumed, reversed, expired, since, expires_at,
                 grace_until)
         on conflict (lot) do update set
           granted = excluded.granted, remaining = excluded.remaining, held = excluded.held,
           consumed = excluded.consumed, reversed = excluded.reversed, expired = excluded.expired,
           burnable = excluded.burnable, account = excluded.account, since = excluded.since,
           expires_at = excluded.expires_at, grace_until = excluded.grace_until",
        &lots.ids as _,
        &lots.accounts as _,
        &lots.payments as _,
        &lots.kinds as _,
        &amounts(|lot| lot.granted),
        &amounts(|lot| lot.remaining),
        &amounts(|lot| lot.held),
        &amounts(|lot| lot.consumed),
        &amounts(|lot| lot.reversed),
        &amounts(|lot| lot.expired),
        &lots.since,
        &lots.expires as _,
        &lots.graces as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing lots")?;
    Ok(())
}

/// Lots as columns, as the statement takes them, but for their amounts.
struct LotColumns<'a> {
    ids: Vec<&'a str>,
    accounts: Vec<&'a str>,
    payments: Vec<Option<&'a str>>,
    kinds: Vec<&'static str>,
    since: Vec<OffsetDateTime>,
    expires: Vec<Option<OffsetDateTime>>,
    graces: Vec<Option<OffsetDateTime>>,
}

impl<'a> LotColumns<'a> {
    fn of(lots: &[&'a Lot]) -> Self {
        let all = || lots.iter().copied();
        Self {
            ids: all().map(|lot| lot.lot.as_str()).collect(),
            accounts: all().map(|lot| lot.account.as_str()).collect(),
            payments: all().map(|lot| lot.payment.as_ref().map(PaymentId::as_str)).collect(),
            kinds: all().map(|lot| lot.kind.as_str()).collect(),
            since: all().map(|lot| lot.since).collect(),
            expires: all().map(|lot| lot.expires_at).collect(),
            graces: all().map(|lot| lot.grace_until).collect(),
        }
    }
}
