//! The ledger's SQL: lock and read what a batch touches, write what it changed. See the crate's page for the order.

use db::{Doing, Error, Work};
use domain::catalog::{Catalog, CatalogVersion};
use domain::event::Balances;
use domain::journal::{Hash, Transaction};
use domain::ledger::{Account, Books, Lots, Payment, PaymentState, RecordedRules, Refusal, Rules};
use domain::lot::{Lot, LotKind};
use domain::record::{Reading, Record as PaymentRecord};
use domain::{AccountId, Cause, Credits, CustomerId, Envelope, Fact, Outcome, PaymentId};
use rust_decimal::Decimal;
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// Everything a batch touches, locked and read; then what it changed, to be written.
pub(crate) struct Shelf {
    pub books: Books,
    /// Facts that were settled before, and those settled in this batch.
    pub seen: BTreeSet<Cause>,
    pub journal: Vec<Transaction>,
    pub facts: Vec<SettledFact>,
    /// Facts of this batch that were refused before and are told again.
    refused: Vec<Cause>,
    ids: PaymentIds,
    /// The accounts whose rows this transaction holds: no other may be written.
    locked: BTreeSet<AccountId>,
}

/// Which payment each id of a purchase leads to.
#[derive(Default)]
struct PaymentIds {
    leads_to: BTreeMap<PaymentId, PaymentId>,
    stored: BTreeMap<PaymentId, PaymentId>,
}

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

impl Shelf {
    /// The payment that a fact is about: every id it names leads there from now on.
    pub fn address(&mut self, fact: &Fact) -> Result<Option<PaymentId>, Refusal> {
        let named: Vec<PaymentId> = fact.payment_ids().into_iter().cloned().collect();
        let Some(own) = named.first() else { return Ok(None) };
        let known: BTreeSet<PaymentId> = named.iter().map(|id| self.resolve(id)).collect();
        // A fact that names a single id speaks of whatever payment that id leads to.
        let leading = if named.len() == 1 { self.resolve(own) } else { own.clone() };
        let payment = self.books.unite(&leading, &known)?;
        for id in named.into_iter().chain(known) {
            self.ids.leads_to.insert(id, payment.clone());
        }
        Ok(Some(payment))
    }

    /// Follows an id to the payment that now stands for it.
    fn resolve(&self, id: &PaymentId) -> PaymentId {
        let payment = self.ids.leads_to.get(id).unwrap_or(id);
        self.books.standing_for(payment).clone()
    }
}

fn parse_id<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| Error::stored(what, error))
}

/// A reading of a later version is not guessed at.
pub(crate) fn reading(number: i16) -> Result<Reading, Error> {
    number.try_into().map_err(|error| Error::stored("a payment's reading", error))
}

/// Locks and reads everything that the facts touch.
pub(crate) async fn lock(work: &mut Work, envelopes: &[Envelope], rules: &Rules) -> Result<Shelf, Error> {
    let mut books = Books::default();
    let ids = lock_payment_ids(work, envelopes).await?;
    let mut customers = customers_named(envelopes);
    customers.extend(customers_foreseen(work, envelopes).await?);
    let mut locked = BTreeSet::new();
    lock_customers(work, &mut books, &mut locked, customers).await?;
    let linked = customers_linked(work, &mut books, &mut locked, envelopes).await?;
    let mut wanted: BTreeSet<PaymentId> = ids.leads_to.values().cloned().collect();
    wanted.extend(waiting_for(work, &linked).await?);
    lock_payments(work, &mut books, wanted).await?;
    let recorded = customers_recorded(&books);
    lock_customers(work, &mut books, &mut locked, recorded).await?;
    lock_accounts(work, &mut books, envelopes).await?;
    read_lots(work, &mut books, rules).await?;
    let (refused, seen) = settled_before(work, envelopes).await?;
    let seen = seen.into_iter().collect();
    let locked = books.accounts.keys().cloned().collect();
    Ok(Shelf { books, seen, journal: Vec::new(), facts: Vec::new(), refused, ids, locked })
}

/// Claims every id that a fact names: an id seen for the first time leads to a payment of its own name.
async fn lock_payment_ids(work: &mut Work, envelopes: &[Envelope]) -> Result<PaymentIds, Error> {
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

/// Customers whose account decides about a payment: those of payments without an account of their own, and those that facts
/// are about, whose lock also keeps two transactions from settling the same fact.
fn customers_named(envelopes: &[Envelope]) -> BTreeSet<CustomerId> {
    envelopes
        .iter()
        .flat_map(|envelope| match &envelope.fact {
            Fact::Payment(payment) if payment.account.is_none() => vec![payment.customer.clone()],
            Fact::Customer(customer) => {
                vec![Some(customer.customer.clone()), customer.email.clone()]
            }
            _ => Vec::new(),
        })
        .flatten()
        .collect()
}

/// Customers that will be asked for once the payments are read, or once an address is locked: looked up beforehand, so
/// that all are locked in one order. What changes in between is locked when it shows, out of order: that is rare, and a
/// deadlock there is a retry.
async fn customers_foreseen(work: &mut Work, envelopes: &[Envelope]) -> Result<Vec<CustomerId>, Error> {
    let ids: Vec<&str> =
        envelopes.iter().flat_map(|envelope| envelope.fact.payment_ids()).map(PaymentId::as_str).collect();
    let addresses: Vec<&str> = addresses(envelopes).into_iter().map(CustomerId::as_str).collect();
    if ids.is_empty() && addresses.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_scalar!(
        r#"select unnest(p.customers) as "customer!" from payment_ids i join payments p using (payment)
           where i.id = any($1::text[]) and p.state = 'undelivered'
           union all
           select customer from customers where email = any($2::text[])"#,
        &ids as _,
        &addresses as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("foreseeing customers")?;
    rows.iter().map(|customer| parse_id("a customer id", customer)).collect()
}

/// E-mail addresses that facts speak of as customers.
fn addresses(envelopes: &[Envelope]) -> BTreeSet<&CustomerId> {
    let customers = envelopes.iter().filter_map(|envelope| match &envelope.fact {
        Fact::Customer(customer) => Some(&customer.customer),
        _ => None,
    });
    customers.filter(|customer| customer.is_email()).collect()
}

/// Customers in the records of payments that still wait for their account.
fn customers_recorded(books: &Books) -> BTreeSet<CustomerId> {
    books
        .payments
        .values()
        .filter(|payment| matches!(payment.state, PaymentState::Shell | PaymentState::Undelivered))
        .flat_map(|payment| payment.record.descriptions.values())
        .filter_map(|stated| stated.what.customer.clone())
        .filter(|customer| !books.customers.contains_key(customer))
        .collect()
}

/// Locks customers by a row each, which holds the place of a link that is not there yet: whoever delivers a payment
/// and whoever links its customer must not miss each other.
async fn lock_customers(
    work: &mut Work,
    books: &mut Books,
    locked: &mut BTreeSet<CustomerId>,
    mut customers: BTreeSet<CustomerId>,
) -> Result<(), Error> {
    customers.retain(|customer| !locked.contains(customer));
    if customers.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = customers.iter().map(CustomerId::as_str).collect();
    sqlx::query!(
        "insert into customers (customer) select customer from unnest($1::text[]) as n (customer) on conflict do nothing",
        &names as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("holding places for customers")?;
    let rows = sqlx::query!(
        "select customer, account, email, email_at from customers where customer = any($1::text[]) order by customer for update",
        &names as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("locking customers")?;
    for row in rows {
        let customer: CustomerId = parse_id("a customer id", &row.customer)?;
        if let Some((email, at)) = row.email.zip(row.email_at) {
            books.emails.insert(customer.clone(), (at, parse_id("a customer id", &email)?));
        }
        if let Some(account) = row.account {
            books.customers.insert(customer, parse_id("an account id", &account)?);
        }
    }
    locked.extend(customers);
    Ok(())
}

/// The customers that this batch may link: those of its customer facts, and whoever has an address that one of them
/// speaks of. The latter are asked for once the address is locked: nobody can take it on in between.
async fn customers_linked(
    work: &mut Work,
    books: &mut Books,
    locked: &mut BTreeSet<CustomerId>,
    envelopes: &[Envelope],
) -> Result<BTreeSet<CustomerId>, Error> {
    let mut linked: BTreeSet<CustomerId> = envelopes
        .iter()
        .filter_map(|envelope| match &envelope.fact {
            Fact::Customer(customer) => Some(customer.customer.clone()),
            _ => None,
        })
        .collect();
    let addresses: Vec<&str> = addresses(envelopes).into_iter().map(CustomerId::as_str).collect();
    if addresses.is_empty() {
        return Ok(linked);
    }
    let rows = sqlx::query_scalar!(
        "select customer from customers where email = any($1::text[]) order by customer",
        &addresses as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("finding customers by their address")?;
    let having: BTreeSet<CustomerId> =
        rows.iter().map(|customer| parse_id("a customer id", customer)).collect::<Result<_, _>>()?;
    lock_customers(work, books, locked, having.clone()).await?;
    linked.extend(having);
    Ok(linked)
}

/// Payments that a customer link of this batch may deliver.
async fn waiting_for(work: &mut Work, linked: &BTreeSet<CustomerId>) -> Result<Vec<PaymentId>, Error> {
    if linked.is_empty() {
        return Ok(Vec::new());
    }
    let linked: Vec<&str> = linked.iter().map(CustomerId::as_str).collect();
    let rows = sqlx::query_scalar!(
        "select payment from payments where state = 'undelivered' and customers && $1::text[] order by payment",
        &linked as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("finding payments that wait for a customer")?;
    rows.iter().map(|payment| parse_id("a payment id", payment)).collect()
}

/// Locks payments, and those that they turned out to be.
async fn lock_payments(
    work: &mut Work,
    books: &mut Books,
    mut wanted: BTreeSet<PaymentId>,
) -> Result<(), Error> {
    while !wanted.is_empty() {
        let names: Vec<&str> = wanted.iter().map(PaymentId::as_str).collect();
        let rows = sqlx::query!(
            r#"select payment, state, account, catalog, merged_into, reading, record as "record: Json<PaymentRecord>"
               from payments where payment = any($1::text[]) order by payment for update"#,
            &names as _,
        )
        .fetch_all(work.connection().await?)
        .await
        .doing("locking payments")?;
        let mut merged = BTreeSet::new();
        for row in rows {
            let id: PaymentId = parse_id("a payment id", &row.payment)?;
            let account = row.account.map(|account| parse_id("an account id", &account)).transpose()?;
            let merged_into: Option<PaymentId> =
                row.merged_into.map(|payment| parse_id("a payment id", &payment)).transpose()?;
            merged.extend(merged_into.clone());
            let payment = Payment {
                id: id.clone(),
                record: row.record.0,
                state: PaymentState::parse(&row.state)
                    .ok_or_else(|| Error::stored("a payment's state", &row.state))?,
                account,
                catalog: row.catalog.map(CatalogVersion),
                merged_into,
                reading: reading(row.reading)?,
                changed: false,
            };
            books.payments.insert(id, payment);
        }
        wanted = merged.into_iter().filter(|id| !books.payments.contains_key(id)).collect();
    }
    Ok(())
}

/// Makes the accounts that nobody has spoken of before, for a row that does not exist locks nothing; then locks every
/// account that may change. In this order: who makes a row while it holds others may wait for one who waits for those.
async fn lock_accounts(work: &mut Work, books: &mut Books, envelopes: &[Envelope]) -> Result<(), Error> {
    let mut wanted: BTreeSet<AccountId> =
        envelopes.iter().filter_map(|envelope| envelope.fact.account().cloned()).collect();
    wanted.extend(books.customers.values().cloned());
    for payment in books.payments.values() {
        wanted.extend(payment.account.clone());
        let said = payment.record.descriptions.values().filter_map(|stated| stated.what.account.as_ref());
        wanted.extend(said.map(|link| link.account.clone()));
        let words = payment.record.assignments.values();
        wanted.extend(words.filter_map(|stated| stated.what.account.clone()));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = wanted.iter().map(AccountId::as_str).collect();
    sqlx::query!(
        "insert into accounts (account)
         select account from unnest($1::text[]) as n (account)
         where not exists (select from accounts a where a.account = n.account) order by account
         on conflict do nothing",
        &names as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("opening accounts")?;
    let rows = sqlx::query!(
        "select account, available, held, debt, sequence, transactions, head, events_head
         from accounts where account = any($1::text[]) order by account for update",
        &names as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("locking accounts")?;
    for row in rows {
        let id: AccountId = parse_id("an account id", &row.account)?;
        let account = Account {
            id: id.clone(),
            balances: Balances {
                available: Credits::new(row.available),
                held: Credits::new(row.held),
                debt: Credits::new(row.debt),
            },
            sequence: row.sequence as u64,
            transactions: row.transactions as u64,
            head: hash(row.head)?,
            events_head: hash(row.events_head)?,
            lots: Lots::default(),
        };
        books.accounts.insert(id, account);
    }
    Ok(())
}

fn hash(stored: Vec<u8>) -> Result<Hash, Error> {
    stored.try_into().map_err(|_| Error::stored("a hash", "expected 32 bytes"))
}

/// Reads the lots that can change: those that can be burned, and those of the payments in hand.
async fn read_lots(work: &mut Work, books: &mut Books, rules: &Rules) -> Result<(), Error> {
    let accounts: Vec<&str> = books.accounts.keys().map(AccountId::as_str).collect();
    let delivered = books.payments.values().filter(|payment| payment.state == PaymentState::Delivered);
    let own: Vec<String> = delivered
        .flat_map(|payment| {
            [LotKind::Purchase, LotKind::Bonus].map(|kind| domain::ledger::payment_lot(&payment.id, kind))
        })
        .collect();
    let rows = sqlx::query!(
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
    .doing("reading lots")?;
    let mut by_account: BTreeMap<AccountId, Vec<Lot>> = BTreeMap::new();
    for row in rows {
        let account: AccountId = parse_id("an account id", &row.account)?;
        let lot = Lot {
            lot: row.lot,
            account: account.clone(),
            payment: row.payment.map(|payment| parse_id("a payment id", &payment)).transpose()?,
            kind: LotKind::parse(&row.kind).ok_or_else(|| Error::stored("a lot's kind", &row.kind))?,
            granted: Credits::new(row.granted),
            remaining: Credits::new(row.remaining),
            held: Credits::new(row.held),
            consumed: Credits::new(row.consumed),
            reversed: Credits::new(row.reversed),
            expired: Credits::new(row.expired),
            since: row.since,
            expires_at: row.expires_at,
            grace_until: row.grace_until,
        };
        by_account.entry(account).or_default().push(lot);
    }
    for (account, lots) in by_account {
        if let Some(account) = books.accounts.get_mut(&account) {
            account.lots = Lots::new(lots, &rules.burn_order);
        }
    }
    Ok(())
}

/// Facts that were refused, and those that were settled. A refused one is decided again: its dead letter may not have gone
/// out before a crash, and an operator who has mended what was wrong replays it.
async fn settled_before(work: &mut Work, envelopes: &[Envelope]) -> Result<(Vec<Cause>, Vec<Cause>), Error> {
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

pub(crate) async fn catalogs(
    work: &mut Work,
    versions: &[String],
) -> Result<Vec<(CatalogVersion, Catalog)>, Error> {
    let rows = sqlx::query!(
        r#"select version, content as "content: Json<Catalog>" from catalog_versions where version = any($1)"#,
        versions,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("reading catalogs")?;
    Ok(rows.into_iter().map(|row| (CatalogVersion(row.version), row.content.0)).collect())
}

/// Writes everything that the batch changed, in a constant number of statements.
/// `rules` is their recorded version.
pub(crate) async fn save(work: &mut Work, shelf: &Shelf, rules: i64) -> Result<(), Error> {
    if shelf.facts.is_empty() {
        return Ok(());
    }
    save_payments(work, shelf).await?;
    save_payment_ids(work, shelf).await?;
    save_customers(work, shelf).await?;
    save_accounts(work, shelf).await?;
    save_lots(work, shelf).await?;
    save_journal(work, shelf).await?;
    save_facts(work, shelf, rules).await
}

async fn save_payments(work: &mut Work, shelf: &Shelf) -> Result<(), Error> {
    let mut changed: Vec<&Payment> =
        shelf.books.payments.values().filter(|payment| payment.changed).collect();
    if changed.is_empty() {
        return Ok(());
    }
    changed.sort_by(|a, b| a.id.cmp(&b.id));
    let now = work.now;
    let ids: Vec<&str> = changed.iter().map(|p| p.id.as_str()).collect();
    let states: Vec<&str> = changed.iter().map(|p| p.state.as_str()).collect();
    let accounts: Vec<Option<&str>> =
        changed.iter().map(|p| p.account.as_ref().map(AccountId::as_str)).collect();
    let catalogs: Vec<Option<&str>> =
        changed.iter().map(|p| p.catalog.as_ref().map(|c| c.0.as_str())).collect();
    let merged: Vec<Option<&str>> =
        changed.iter().map(|p| p.merged_into.as_ref().map(PaymentId::as_str)).collect();
    let records: Vec<String> = changed.iter().map(|p| p.record.to_json()).collect();
    let summaries: Vec<Summary> = changed.iter().map(|p| Summary::of(p)).collect();
    let customers: Vec<String> = summaries.iter().map(|s| s.customers.join(" ")).collect();
    let amounts: Vec<Option<Decimal>> = summaries.iter().map(|s| s.amount).collect();
    let currencies: Vec<Option<&str>> = summaries.iter().map(|s| s.currency).collect();
    let reversed: Vec<Decimal> = summaries.iter().map(|s| s.reversed).collect();
    let held: Vec<Decimal> = summaries.iter().map(|s| s.held).collect();
    let readings: Vec<i16> = changed.iter().map(|p| i16::from(p.reading)).collect();
    sqlx::query!(
        "insert into payments (payment, state, account, catalog, merged_into, record, customers, amount, currency,
                               reversed_amount, held_amount, reading, created_at, updated_at)
         select payment, state, account, catalog, merged_into, record::json,
                string_to_array(customers, ' '), amount, currency, reversed, held, reading, $13, $13
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::numeric[],
                     $9::text[], $10::numeric[], $11::numeric[], $12::smallint[])
           as p (payment, state, account, catalog, merged_into, record, customers, amount, currency, reversed, held, reading)
         on conflict (payment) do update set
           state = excluded.state, account = excluded.account, catalog = excluded.catalog,
           merged_into = excluded.merged_into, record = excluded.record, customers = excluded.customers,
           amount = excluded.amount, currency = excluded.currency, reversed_amount = excluded.reversed_amount,
           held_amount = excluded.held_amount, reading = excluded.reading, updated_at = excluded.updated_at",
        &ids as _,
        &states as _,
        &accounts as _,
        &catalogs as _,
        &merged as _,
        &records,
        &customers,
        &amounts as _,
        &currencies as _,
        &reversed,
        &held,
        &readings,
        now,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing payments")?;
    Ok(())
}

/// What lists show of a payment, derived from its record.
struct Summary {
    customers: Vec<String>,
    amount: Option<Decimal>,
    currency: Option<&'static str>,
    reversed: Decimal,
    held: Decimal,
}

impl Summary {
    fn of(payment: &Payment) -> Self {
        let Some(terms) = payment.record.terms(payment.reading) else {
            return Self {
                customers: Vec::new(),
                amount: None,
                currency: None,
                reversed: Decimal::ZERO,
                held: Decimal::ZERO,
            };
        };
        let gone = payment.record.gone(&terms, payment.reading);
        Self {
            customers: terms.customers.into_iter().map(String::from).collect(),
            amount: Some(terms.total.amount()),
            currency: Some(terms.total.currency().code()),
            reversed: gone.reversed,
            held: gone.held,
        }
    }
}

/// Keeps the rules that decide, and their catalog, beside what they decide. Tells whether they were kept before.
pub(crate) async fn record_rules(work: &mut Work, rules: &Rules, version: i64) -> Result<bool, Error> {
    let recorded = RecordedRules::of(rules);
    let now = work.now;
    let known = sqlx::query_scalar!(
        r#"select exists (select from rules_versions where rules = $1) as "known!""#,
        version,
    )
    .fetch_one(work.connection().await?)
    .await
    .doing("looking for the rules")?;
    if known {
        return Ok(true);
    }
    sqlx::query!(
        "with catalog as (
             insert into catalog_versions (version, content, first_seen) values ($1, $2, $5) on conflict do nothing)
         insert into rules_versions (rules, content, catalog, first_seen) values ($3, $4, $1, $5) on conflict do nothing",
        recorded.catalog.0,
        Json(rules.catalogs.get(&rules.current)) as _,
        version,
        Json(&recorded) as _,
        now,
    )
    .execute(work.connection().await?)
    .await
    .doing("keeping the rules")?;
    Ok(false)
}

async fn save_payment_ids(work: &mut Work, shelf: &Shelf) -> Result<(), Error> {
    let changed = || {
        let new = |(id, payment): &(&PaymentId, &PaymentId)| {
            shelf.ids.stored.get(*id).is_some_and(|p| p != *payment)
        };
        shelf.ids.leads_to.iter().filter(new)
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

async fn save_customers(work: &mut Work, shelf: &Shelf) -> Result<(), Error> {
    let books = &shelf.books;
    let known: BTreeSet<&CustomerId> = books.customers.keys().chain(books.emails.keys()).collect();
    if known.is_empty() {
        return Ok(());
    }
    let customers: Vec<&str> = known.iter().map(|customer| customer.as_str()).collect();
    let accounts: Vec<Option<&str>> =
        known.iter().map(|customer| books.customers.get(*customer).map(AccountId::as_str)).collect();
    let emails: Vec<Option<&str>> =
        known.iter().map(|customer| books.emails.get(*customer).map(|(_, email)| email.as_str())).collect();
    let told: Vec<Option<OffsetDateTime>> =
        known.iter().map(|customer| books.emails.get(*customer).map(|(at, _)| *at)).collect();
    sqlx::query!(
        "update customers c set account = n.account, email = n.email, email_at = n.email_at
         from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as n (customer, account, email, email_at)
         where c.customer = n.customer
           and (c.account, c.email, c.email_at) is distinct from (n.account, n.email, n.email_at)",
        &customers as _,
        &accounts as _,
        &emails as _,
        &told as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("linking customers")?;
    Ok(())
}

async fn save_accounts(work: &mut Work, shelf: &Shelf) -> Result<(), Error> {
    let moved: BTreeSet<&AccountId> = shelf.journal.iter().map(|transaction| &transaction.account).collect();
    let told: BTreeSet<&AccountId> = shelf
        .books
        .payments
        .values()
        .filter(|payment| payment.changed)
        .filter_map(|payment| payment.account.as_ref())
        .collect();
    let changed: Vec<&Account> = moved.union(&told).filter_map(|id| shelf.books.accounts.get(*id)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    if let Some(account) = changed.iter().find(|account| !shelf.locked.contains(&account.id)) {
        return Err(Error::stored(
            "an account",
            format!("{} was to be written without its lock", account.id),
        ));
    }
    let ids: Vec<&str> = changed.iter().map(|a| a.id.as_str()).collect();
    let available: Vec<Decimal> = changed.iter().map(|a| a.balances.available.decimal()).collect();
    let held: Vec<Decimal> = changed.iter().map(|a| a.balances.held.decimal()).collect();
    let debt: Vec<Decimal> = changed.iter().map(|a| a.balances.debt.decimal()).collect();
    let sequences: Vec<i64> = changed.iter().map(|a| a.sequence as i64).collect();
    let transactions: Vec<i64> = changed.iter().map(|a| a.transactions as i64).collect();
    let heads: Vec<&[u8]> = changed.iter().map(|a| a.head.as_slice()).collect();
    let events_heads: Vec<&[u8]> = changed.iter().map(|a| a.events_head.as_slice()).collect();
    sqlx::query!(
        "update accounts a set available = n.available, held = n.held, debt = n.debt, sequence = n.sequence,
                transactions = n.transactions, head = n.head, events_head = n.events_head
         from unnest($1::text[], $2::numeric[], $3::numeric[], $4::numeric[], $5::bigint[], $6::bigint[], $7::bytea[],
                     $8::bytea[])
           as n (account, available, held, debt, sequence, transactions, head, events_head)
         where a.account = n.account",
        &ids as _,
        &available,
        &held,
        &debt,
        &sequences,
        &transactions,
        &heads as _,
        &events_heads as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing accounts")?;
    Ok(())
}

async fn save_lots(work: &mut Work, shelf: &Shelf) -> Result<(), Error> {
    let changed: Vec<&Lot> =
        shelf.books.accounts.values().flat_map(|account| account.lots.changed()).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let amounts =
        |of: fn(&Lot) -> Credits| -> Vec<Decimal> { changed.iter().map(|lot| of(lot).decimal()).collect() };
    let lots: Vec<&str> = changed.iter().map(|lot| lot.lot.as_str()).collect();
    let accounts: Vec<&str> = changed.iter().map(|lot| lot.account.as_str()).collect();
    let payments: Vec<Option<&str>> =
        changed.iter().map(|l| l.payment.as_ref().map(PaymentId::as_str)).collect();
    let kinds: Vec<&str> = changed.iter().map(|lot| lot.kind.as_str()).collect();
    let since: Vec<OffsetDateTime> = changed.iter().map(|lot| lot.since).collect();
    let expires: Vec<Option<OffsetDateTime>> = changed.iter().map(|lot| lot.expires_at).collect();
    let graces: Vec<Option<OffsetDateTime>> = changed.iter().map(|lot| lot.grace_until).collect();
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
        &lots as _,
        &accounts as _,
        &payments as _,
        &kinds as _,
        &amounts(|lot| lot.granted),
        &amounts(|lot| lot.remaining),
        &amounts(|lot| lot.held),
        &amounts(|lot| lot.consumed),
        &amounts(|lot| lot.reversed),
        &amounts(|lot| lot.expired),
        &since,
        &expires as _,
        &graces as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing lots")?;
    Ok(())
}

async fn save_journal(work: &mut Work, shelf: &Shelf) -> Result<(), Error> {
    if shelf.journal.is_empty() {
        return Ok(());
    }
    let journal = &shelf.journal;
    let accounts: Vec<&str> = journal.iter().map(|t| t.account.as_str()).collect();
    let numbers: Vec<i64> = journal.iter().map(|t| t.number as i64).collect();
    let kinds: Vec<&str> = journal.iter().map(|t| t.kind.as_str()).collect();
    let sources: Vec<&str> = journal.iter().map(|t| t.cause.source.as_str()).collect();
    let causes: Vec<&str> = journal.iter().map(|t| t.cause.id.as_str()).collect();
    let payments: Vec<Option<&str>> =
        journal.iter().map(|t| t.payment.as_ref().map(PaymentId::as_str)).collect();
    let times: Vec<OffsetDateTime> = journal.iter().map(|t| t.at).collect();
    let hashes: Vec<&[u8]> = journal.iter().map(|t| t.hash.as_slice()).collect();
    let entries: Vec<String> = journal.iter().map(Transaction::entries_to_json).collect();
    sqlx::query!(
        "insert into transactions (account, number, kind, cause_source, cause_id, payment, at, hash, entries)
         select account, number, kind, cause_source, cause_id, payment, at, hash, entries::json
         from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                     $8::bytea[], $9::text[])
           as t (account, number, kind, cause_source, cause_id, payment, at, hash, entries)",
        &accounts as _,
        &numbers,
        &kinds as _,
        &sources as _,
        &causes as _,
        &payments as _,
        &times,
        &hashes as _,
        &entries,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing transactions")?;
    Ok(())
}

/// In the order in which they were settled: their positions tell it to a rebuild.
async fn save_facts(work: &mut Work, shelf: &Shelf, rules: i64) -> Result<(), Error> {
    forget_refusals(work, &shelf.refused).await?;
    let now = work.now;
    let facts = &shelf.facts;
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
