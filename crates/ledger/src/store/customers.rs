//! Customers and their addresses: who decides to which account a payment is delivered.

use super::{BatchState, parse_id};
use db::{Doing, Error, Work};
use domain::ledger::{Books, PaymentState};
use domain::{AccountId, CustomerId, Envelope, Fact, PaymentId};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Customers whose account decides about a payment: those of payments without an account of their own, and those that facts
/// are about, whose lock also keeps two transactions from settling the same fact.
pub(super) fn named(envelopes: &[Envelope]) -> BTreeSet<CustomerId> {
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
pub(super) async fn foreseen(work: &mut Work, envelopes: &[Envelope]) -> Result<Vec<CustomerId>, Error> {
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
pub(super) fn recorded(books: &Books) -> BTreeSet<CustomerId> {
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
pub(super) async fn lock(
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
pub(super) async fn linked(
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
    lock(work, books, locked, having.clone()).await?;
    linked.extend(having);
    Ok(linked)
}

/// Writes the links of the customers that the batch locked, where they changed.
pub(super) async fn save(work: &mut Work, batch: &BatchState) -> Result<(), Error> {
    let books = &batch.books;
    let known: BTreeSet<&CustomerId> = books.customers.keys().chain(books.emails.keys()).collect();
    if known.is_empty() {
        return Ok(());
    }
    let customers: Vec<&str> = known.iter().map(|customer| customer.as_str()).collect();
    let accounts: Vec<Option<&str>> =
        known.iter().map(|customer| books.customers.get(*customer).map(AccountId::as_str)).collect();
    let emails: Vec<Option<&str>> =
        known.iter().map(|customer| books.emails.get(*customer).map(|(_, email)| email.as_str())).collect();
    let times: Vec<Option<OffsetDateTime>> =
        known.iter().map(|customer| books.emails.get(*customer).map(|(at, _)| *at)).collect();
    sqlx::query!(
        "update customers c set account = n.account, email = n.email, email_at = n.email_at
         from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as n (customer, account, email, email_at)
         where c.customer = n.customer
           and (c.account, c.email, c.email_at) is distinct from (n.account, n.email, n.email_at)",
        &customers as _,
        &accounts as _,
        &emails as _,
        &times as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("linking customers")?;
    Ok(())
}
