//! How fast gateways learn whether an account may be served: `GET /v1/accounts/{id}?view=standing` over HTTP, anew and with
//! the tag of the answer before. Every connection asks as soon as it is answered, so that latency is that of a door at its
//! limit; what the askers need of the same machine counts in.

use super::fleet::FleetProcess;
use crate::session::Session;
use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{Client, Request, StatusCode};
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// Kept alive, as a gateway's are.
const CONNECTIONS: usize = 8;

/// Each connection asks so often at most,
const REQUESTS_MAX: usize = 3_000;

/// and no longer than this.
const TIME_MAX: Duration = Duration::from_secs(5);

#[derive(Serialize)]
pub struct AccountReads {
    connections: usize,
    /// Answered with balances and standing.
    whole: Asked,
    /// Asked with `If-None-Match`, and answered that nothing has changed.
    not_modified: Asked,
}

#[derive(Serialize)]
struct Asked {
    requests: u64,
    requests_per_second: f64,
    latency_ms: Quantiles,
}

#[derive(Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
}

/// Reads accounts of the load at a door that is opened for it.
pub async fn measure(session: &Session, fleet: &mut FleetProcess, accounts: usize) -> Result<AccountReads> {
    let token = uuid::Uuid::now_v7().to_string();
    let door = Door { address: fleet.open_door(session, &token).await?, token };
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        let client = Client::builder().no_proxy().pool_max_idle_per_host(1).build()?;
        let mut random = SmallRng::seed_from_u64(number as u64);
        let requests = (0..REQUESTS_MAX).map(|_| door.request(&client, random.random_range(0..accounts)));
        let requests = requests.collect::<Result<Vec<_>>>()?;
        connections.push((client, requests));
    }
    let (whole, connections) = ask(connections, StatusCode::OK).await?;
    let (not_modified, _) = ask(connections, StatusCode::NOT_MODIFIED).await?;
    Ok(AccountReads { connections: CONNECTIONS, whole, not_modified })
}

struct Door {
    address: String,
    token: String,
}

impl Door {
    fn request(&self, client: &Client, account: usize) -> Result<Request> {
        let url = format!("http://{}/v1/accounts/acct_{account}?view=standing", self.address);
        Ok(client.get(url).bearer_auth(&self.token).build()?)
    }
}

/// A client with one connection, and what it asks.
type Asking = (Client, Vec<Request>);

/// Asks on all connections at once; with the figures the same requests, each with the tag of its answer.
async fn ask(connections: Vec<Asking>, expected: StatusCode) -> Result<(Asked, Vec<Asking>)> {
    let started = Instant::now();
    let tasks = connections
        .into_iter()
        .map(|(client, requests)| tokio::spawn(ask_in_turn(client, requests, expected, started + TIME_MAX)));
    let answered = try_join_all(tasks).await?.into_iter().collect::<Result<Vec<_>>>()?;
    let seconds = started.elapsed().as_secs_f64();
    let mut all: Histogram<u64> = Histogram::new(3)?;
    let mut again = Vec::new();
    for (client, requests, took) in answered {
        all.add(&took)?;
        again.push((client, requests));
    }
    let ms = |quantile| thousandths(all.value_at_quantile(quantile) as f64 / 1000.0);
    let requests_per_second = (all.len() as f64 / seconds).round();
    let latency_ms = Quantiles { p50: ms(0.5), p99: ms(0.99) };
    Ok((Asked { requests: all.len(), requests_per_second, latency_ms }, again))
}

/// Microseconds from each request to the last byte of its answer.
async fn ask_in_turn(
    client: Client,
    requests: Vec<Request>,
    expected: StatusCode,
    deadline: Instant,
) -> Result<(Client, Vec<Request>, Histogram<u64>)> {
    let mut took: Histogram<u64> = Histogram::new(3)?;
    let mut again = Vec::new();
    for request in requests {
        let started = Instant::now();
        if started > deadline {
            break;
        }
        let mut next = request.try_clone().context("a request without a body can be sent twice")?;
        let answer = client.execute(request).await.context("reading an account")?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        answer.bytes().await.context("reading an account")?;
        took.record(started.elapsed().as_micros() as u64)?;
        if status != expected {
            bail!("expected {expected} for an account, got {status}");
        }
        let tag = headers.get(ETAG).context("expected an entity tag with an account, got none")?;
        next.headers_mut().insert(IF_NONE_MATCH, tag.clone());
        again.push(next);
    }
    Ok((client, again, took))
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl fmt::Display for AccountReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a gateway that reads accounts (view=standing), {} connections:", self.connections)?;
        for (what, asked) in [("balances and standing", &self.whole), ("not modified", &self.not_modified)] {
            let Quantiles { p50, p99 } = asked.latency_ms;
            write!(
                f,
                "\n  {what:<21} {:>9.0} requests/s, p50 {p50:.2} ms, p99 {p99:.2} ms",
                asked.requests_per_second
            )?;
        }
        Ok(())
    }
}
