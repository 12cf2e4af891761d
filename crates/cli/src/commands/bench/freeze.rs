//! From dispute to freeze: the time from a webhook's arrival until a subscriber holds the event that the account is restricted;
//! on an idle fleet and at half its load, with many open cases. Chargebacks of Paddle's, over HTTP, signed, each of a purchase
//! of the load.

use super::figures::round;
use super::fleet::FleetProcess;
use super::latency;
use super::load::Load;
use crate::session::{CONFIRM_TIMEOUT, Session};
use crate::subscriber::Subscriber;
use anyhow::{Context, Result, bail};
use bus::Publisher;
use hdrhistogram::Histogram;
use reqwest::Client;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// Cases that are open before anything is measured.
const OPEN_CASES: usize = 1_000;

/// Chargebacks measured on an idle fleet, and at half its load.
const MEASURED: usize = 200;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(40);

/// No event for so long: there are no more.
const SILENCE: Duration = Duration::from_secs(3);

const SECRET: &str = "bench";

#[derive(Serialize)]
pub struct Freeze {
    open_cases: usize,
    idle: Frozen,
    half_load: Frozen,
}

/// Milliseconds from the request to the event.
#[derive(Serialize)]
struct Frozen {
    disputes: u64,
    p50: f64,
    p99: f64,
    at_events_per_second: f64,
}

/// Measures on a fleet that runs the worker of disputes. `rate`: half of what it settles in a second.
pub async fn measure(
    session: &Session,
    fleet: &mut FleetProcess,
    load: &mut Load,
    rate: f64,
) -> Result<Freeze> {
    let door = fleet.open_webhooks(session, "paddle", SECRET).await?;
    let url = format!("http://{door}/webhooks/paddle");
    let mut bought = load.bought().to_vec();
    let open = OPEN_CASES.min(bought.len() / 2);
    let measured = MEASURED.min(bought.len() / 4);
    if measured == 0 {
        bail!("expected a load with purchases, which can be disputed: more events, or a mix with purchases");
    }
    let mut take = |count: usize| bought.split_off(bought.len() - count);
    let (for_open, for_idle, for_half) = (take(open), take(measured), take(measured));
    let client = Client::builder().no_proxy().build()?;
    charge_back(&client, &url, &for_open, Duration::ZERO, None).await?;
    until_open(session, open).await?;
    let idle = frozen(session, &client, &url, &for_idle, None).await?;
    let length = PAUSE.mul_f64(measured as f64) + Duration::from_secs(2);
    let batches = latency::batches(session, load, rate, length)?;
    let half_load = frozen(session, &client, &url, &for_half, Some((batches, rate))).await?;
    Ok(Freeze { open_cases: open, idle, half_load })
}

/// Waits until so many cases are open.
async fn until_open(session: &Session, count: usize) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let open: i64 = sqlx::query_scalar("select count(*) from disputes where account is not null")
            .fetch_one(&session.pool)
            .await
            .context("counting disputes")?;
        if open >= count as i64 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the fleet did not open {count} cases within 120 s");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Messages for each tick, and how many facts a second they are.
type Beside = (Vec<Vec<bus::Message>>, f64);

async fn frozen(
    session: &Session,
    client: &Client,
    url: &str,
    purchases: &[u64],
    beside: Option<Beside>,
) -> Result<Frozen> {
    let broker = session.broker("bench freeze");
    let mut subscriber = Subscriber::to_exchange(&broker, &session.namespace()?).await?;
    let (sent, times) = unbounded_channel();
    let at = beside.as_ref().map_or(0.0, |(_, rate)| *rate);
    let loading = beside.map(|(batches, _)| {
        let publisher = Publisher::spawn(session.broker("bench load"), CONFIRM_TIMEOUT);
        let (sent, _) = unbounded_channel();
        tokio::spawn(latency::publish(publisher, batches, sent))
    });
    if loading.is_some() {
        // The load is under way before anything is measured.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let listening = listen(&mut subscriber, times);
    let charging = charge_back(client, url, purchases, PAUSE, Some(sent));
    let (histogram, charged) = tokio::join!(listening, charging);
    charged?;
    let histogram = histogram?;
    if let Some(loading) = loading {
        loading.await?;
    }
    broker.close().await;
    let ms = |quantile| round(histogram.value_at_quantile(quantile) as f64 / 1000.0);
    if histogram.len() < purchases.len() as u64 {
        bail!("expected {} accounts to be restricted, heard of {}", purchases.len(), histogram.len());
    }
    Ok(Frozen { disputes: histogram.len(), p50: ms(0.5), p99: ms(0.99), at_events_per_second: round(at) })
}

/// When a chargeback was sent, and its event's id.
type Sent = (Instant, String);

async fn charge_back(
    client: &Client,
    url: &str,
    purchases: &[u64],
    pause: Duration,
    sent: Option<UnboundedSender<Sent>>,
) -> Result<()> {
    let secret = SecretString::from(SECRET);
    let sign = processors::find("paddle").context("Paddle is in the list of processors")?.sign;
    for purchase in purchases {
        let id = format!("evt_chargeback_{purchase}");
        let now = OffsetDateTime::now_utc();
        let body = chargeback(&id, *purchase, now)?;
        let mut request = client.post(url);
        for (name, value) in sign(&secret, &body, now).context("signing a webhook")? {
            request = request.header(name, value);
        }
        if let Some(sent) = &sent {
            drop(sent.send((Instant::now(), id)));
        }
        let status = request.body(body).send().await.context("sending a webhook")?.status();
        if !status.is_success() {
            bail!("expected the door to take a chargeback, got {status}");
        }
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

fn chargeback(id: &str, purchase: u64, now: OffsetDateTime) -> Result<Vec<u8>> {
    let at = now.format(&Rfc3339)?;
    let totals = json!({ "subtotal": "1000", "tax": "0", "total": "1000", "currency_code": "USD" });
    let body = json!({
        "event_id": id, "event_type": "adjustment.created", "occurred_at": at, "notification_id": format!("ntf_{id}"),
        "data": { "id": format!("adj_chargeback_{purchase}"), "action": "chargeback", "type": "full", "status": "approved",
            "transaction_id": format!("txn_{purchase}"), "currency_code": "USD", "reason": "fraud", "items": [],
            "totals": totals, "payout_totals": null, "created_at": at, "updated_at": at },
    });
    Ok(serde_json::to_vec(&body)?)
}

/// Takes events until none of ours comes any more; tells in microseconds how long after its request each account was restricted.
async fn listen(subscriber: &mut Subscriber, mut times: UnboundedReceiver<Sent>) -> Result<Histogram<u64>> {
    let mut under_way: HashMap<String, Instant> = HashMap::new();
    let mut histogram: Histogram<u64> = Histogram::new(3)?;
    let mut heard = Instant::now();
    loop {
        let event = tokio::time::timeout(SILENCE, subscriber.next()).await;
        let now = Instant::now();
        while let Ok((at, id)) = times.try_recv() {
            under_way.insert(id, at);
        }
        let Ok(event) = event else { break };
        let event = event?;
        if event["type"] == "account.restricted" {
            // Of a webhook's further facts the id says which, behind the event's own.
            let cause =
                event["cause"].as_str().and_then(|cause| cause.rsplit('/').next()).unwrap_or_default();
            let id = cause.split(':').next().unwrap_or_default();
            if let Some(at) = under_way.remove(id) {
                histogram.record((now - at).as_micros() as u64)?;
                heard = now;
            }
        }
        // The load beside it goes on, and has events of its own.
        if now - heard > SILENCE && under_way.is_empty() && !histogram.is_empty() {
            break;
        }
    }
    Ok(histogram)
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { open_cases, idle, half_load } = self;
        write!(
            f,
            "from a chargeback's webhook to the account's restriction, {open_cases} open cases:\n  idle p50 {:.1} ms, p99 {:.1} ms; \
             at {:.0} events/s p50 {:.1} ms, p99 {:.1} ms ({} and {} chargebacks)",
            idle.p50,
            idle.p99,
            half_load.at_events_per_second,
            half_load.p50,
            half_load.p99,
            idle.disputes,
            half_load.disputes
        )
    }
}
