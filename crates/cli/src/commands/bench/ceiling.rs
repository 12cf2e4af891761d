//! What the machine can do at most, measured beside the fleet: the same bytes through three confirmed hops, and the
//! same rows in batched transactions, each with nothing else around it.

use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::{Context, Result, anyhow};
use bus::{Broker, Message, Publisher};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, Executor, PgPool};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// About the size of a fact or an event on the wire.
const BODY: usize = 600;

/// As the fleet's batches.
const BATCH: usize = 500;

const TRANSACTIONS: usize = 60;

/// Messages per second through queue, queue and queue, each hop published with confirms and consumed with one
/// acknowledgement per batch.
pub async fn broker(session: &Session, messages: usize) -> Result<f64> {
    let names: Vec<String> = (0..3).map(|hop| format!("{}.probe.{hop}", session.config.namespace)).collect();
    let broker = session.broker("bench probe");
    let channel = broker.channel().await?;
    declare(&channel, &names).await?;
    let first = connected(session.broker("bench probe 0")).await?;
    let hops = [
        tokio::spawn(forward(
            session.broker("bench probe 1"),
            names[0].clone(),
            Some(names[1].clone()),
            messages,
        )),
        tokio::spawn(forward(
            session.broker("bench probe 2"),
            names[1].clone(),
            Some(names[2].clone()),
            messages,
        )),
        tokio::spawn(forward(session.broker("bench probe 3"), names[2].clone(), None, messages)),
    ];
    let started = Instant::now();
    let body = vec![b'x'; BODY];
    first.publish_all((0..messages).map(|_| message(&names[0], body.clone())).collect()).await?;
    for hop in hops {
        hop.await??;
    }
    let seconds = started.elapsed().as_secs_f64();
    for name in &names {
        channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await?;
    }
    broker.close().await;
    Ok(super::figures::round(messages as f64 / seconds))
}

async fn declare(channel: &Channel, names: &[String]) -> Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for name in names {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.as_str().into(), options, arguments.clone()).await?;
    }
    Ok(())
}

async fn connected(broker: Broker) -> Result<Publisher> {
    let publisher = Publisher::spawn(broker, CONFIRM_TIMEOUT);
    for _ in 0..500 {
        if publisher.is_connected() {
            return Ok(publisher);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(anyhow!("RabbitMQ did not answer within 5 s"))
}

fn message(queue: &str, body: Vec<u8>) -> Message {
    Message {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        message_id: Uuid::now_v7().to_string(),
        content_type: "application/json".to_owned(),
        headers: BTreeMap::new(),
        body,
    }
}

/// One hop: consume in batches, publish on with confirms, acknowledge.
async fn forward(broker: Broker, from: String, to: Option<String>, messages: usize) -> Result<()> {
    let publisher = connected(broker.clone()).await?;
    let channel = broker.channel().await?;
    channel.basic_qos(2 * BATCH as u16, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(from.as_str().into(), "probe".into(), options, FieldTable::default()).await?;
    let mut done = 0;
    while done < messages {
        let (batch, tag) = take(&mut consumer, BATCH.min(messages - done)).await?;
        done += batch.len();
        if let Some(to) = &to {
            publisher.publish_all(batch.into_iter().map(|body| message(to, body)).collect()).await?;
        }
        channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
    }
    broker.close().await;
    Ok(())
}

/// Waits for a first message, then takes what is there.
async fn take(consumer: &mut Consumer, most: usize) -> Result<(Vec<Vec<u8>>, u64)> {
    let mut batch = Vec::new();
    let mut tag = 0;
    while batch.len() < most {
        let wait = if batch.is_empty() { Duration::from_secs(60) } else { Duration::from_millis(2) };
        match tokio::time::timeout(wait, consumer.next()).await {
            Ok(Some(Ok(delivery))) => {
                tag = delivery.delivery_tag;
                batch.push(delivery.data);
            }
            Ok(_) => return Err(anyhow!("the probe's consumer ended")),
            Err(_) if batch.is_empty() => return Err(anyhow!("the probe got no message within 60 s")),
            Err(_) => break,
        }
    }
    Ok((batch, tag))
}

const TABLES: &str = "
    create table probe_inbox (id uuid primary key, hash bytea, fact text, at timestamptz);
    create table probe_transactions (account text, number bigint, cause text, hash bytea, primary key (account, number));
    create table probe_entries (account text, number bigint, line smallint, amount numeric, primary key (account, number, line));
    create table probe_events (id uuid primary key, account text, number bigint, body text, unique (account, number));
    create table probe_accounts (account text primary key, balance numeric not null) with (fillfactor = 70);";

/// Events per second of a bare loop on a backlog: single messages taken in batches of 500 by two consumers, the rows of
/// [`database`] in one transaction, one confirmed event each, one acknowledgement for all.
pub async fn drained(session: &Session, accounts: usize, events: usize) -> Result<f64> {
    let names = account_names(&session.pool, accounts).await?;
    let namespace = &session.config.namespace;
    let [from, to] = ["backlog", "events"].map(|queue| format!("{namespace}.probe.{queue}"));
    let broker = session.broker("bench probe");
    let channel = broker.channel().await?;
    declare(&channel, std::slice::from_ref(&from)).await?;
    let mut stream = FieldTable::default();
    stream.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(to.as_str().into(), durable, stream).await?;
    let body = vec![b'x'; BODY];
    let backlog = (0..events).map(|_| message(&from, body.clone())).collect();
    connected(session.broker("bench probe load")).await?.publish_all(backlog).await?;
    let started = Instant::now();
    let [first, second] = [0, 1].map(|half| drain(session, &names, half, (&from, &to), events / 2));
    let (first, second) = tokio::join!(first, second);
    first.and(second)?;
    let seconds = started.elapsed().as_secs_f64();
    for name in [&from, &to] {
        channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await?;
    }
    broker.close().await;
    Ok(super::figures::round((events / 2 * 2) as f64 / seconds))
}

async fn drain(
    session: &Session,
    names: &[String],
    half: usize,
    (from, to): (&str, &str),
    messages: usize,
) -> Result<()> {
    let broker = session.broker(&format!("bench probe {half}"));
    let publisher = connected(session.broker(&format!("bench probe out {half}"))).await?;
    let channel = broker.channel().await?;
    channel.basic_qos(BATCH as u16, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let tag = format!("probe {half}");
    let mut consumer =
        channel.basic_consume(from.into(), tag.as_str().into(), options, FieldTable::default()).await?;
    let mut done = 0;
    while done < messages {
        let (batch, tag) = take(&mut consumer, BATCH.min(messages - done)).await?;
        let accounts: Vec<&str> =
            (0..batch.len()).map(|event| names[((done + event) * 2 + half) % names.len()].as_str()).collect();
        write(&session.pool, &accounts, (done * 2 + half) as i64).await?;
        done += batch.len();
        publisher.publish_all(batch.into_iter().map(|body| message(to, body)).collect()).await?;
        channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
    }
    broker.close().await;
    Ok(())
}

/// Makes the probe's tables and as many accounts.
async fn account_names(pool: &PgPool, accounts: usize) -> Result<Vec<String>> {
    pool.execute(TABLES).await.context("making the probe's tables")?;
    let names: Vec<String> = (0..accounts).map(|number| format!("acct_{number}")).collect();
    let fill = "insert into probe_accounts select name, 0 from unnest($1::text[]) as n (name)";
    sqlx::query(AssertSqlSafe(fill)).bind(&names).execute(pool).await?;
    Ok(names)
}

/// Events per second as rows alone: an inbox row, a transaction with two entries, an event and a balance each.
pub async fn database(session: &Session, accounts: usize) -> Result<f64> {
    let pool = &session.pool;
    let names = account_names(pool, accounts).await?;
    let started = Instant::now();
    let (first, second) = tokio::join!(connection(pool, &names, 0), connection(pool, &names, 1));
    first.and(second)?;
    Ok(super::figures::round((2 * TRANSACTIONS * BATCH) as f64 / started.elapsed().as_secs_f64()))
}

async fn connection(pool: &PgPool, names: &[String], half: usize) -> Result<()> {
    for transaction in 0..TRANSACTIONS {
        // The halves share no account: what is measured are the rows, not the locks.
        let accounts: Vec<&str> = (0..BATCH)
            .map(|event| names[((transaction * BATCH + event) * 2 + half) % names.len()].as_str())
            .collect();
        write(pool, &accounts, (transaction * 2 + half) as i64).await?;
    }
    Ok(())
}

async fn write(pool: &PgPool, accounts: &[&str], number: i64) -> Result<()> {
    let ids: Vec<Uuid> = accounts.iter().map(|_| Uuid::now_v7()).collect();
    let body = "x".repeat(BODY);
    let numbers: Vec<i64> = (0..accounts.len() as i64).map(|event| number * BATCH as i64 + event).collect();
    let amounts: Vec<Decimal> = numbers.iter().map(|number| Decimal::from(*number)).collect();
    let mut transaction = pool.begin().await?;
    let lock = "select account from probe_accounts where account = any($1) order by account for update";
    sqlx::query(AssertSqlSafe(lock)).bind(accounts).execute(&mut *transaction).await?;
    let inbox = "insert into probe_inbox select id, sha256(id::text::bytea), $2, now() from unnest($1::uuid[]) as n (id)";
    sqlx::query(AssertSqlSafe(inbox)).bind(&ids).bind(&body[..BODY / 2]).execute(&mut *transaction).await?;
    let journal = "insert into probe_transactions select account, number, 'cause', sha256(account::bytea)
                   from unnest($1::text[], $2::bigint[]) as n (account, number)";
    sqlx::query(AssertSqlSafe(journal)).bind(accounts).bind(&numbers).execute(&mut *transaction).await?;
    let entries = "insert into probe_entries select account, number, line, amount
                   from unnest($1::text[], $2::bigint[], $3::numeric[]) as n (account, number, amount), (values (0), (1)) as l (line)";
    sqlx::query(AssertSqlSafe(entries))
        .bind(accounts)
        .bind(&numbers)
        .bind(&amounts)
        .execute(&mut *transaction)
        .await?;
    let events = "insert into probe_events select id, account, number, $4
                  from unnest($1::uuid[], $2::text[], $3::bigint[]) as n (id, account, number)";
    sqlx::query(AssertSqlSafe(events))
        .bind(&ids)
        .bind(accounts)
        .bind(&numbers)
        .bind(&body)
        .execute(&mut *transaction)
        .await?;
    let balances = "update probe_accounts a set balance = n.amount
                    from unnest($1::text[], $2::numeric[]) as n (account, amount) where a.account = n.account";
    sqlx::query(AssertSqlSafe(balances)).bind(accounts).bind(&amounts).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}
