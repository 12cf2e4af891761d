//! `demo`: the story of the README on real payloads, told against a fleet of its own, each step with its result.

mod disputes;
mod purchases;
mod retold;
mod story;

use crate::config::{Config, Masked};
use crate::fleet::Fleet;
use crate::observe;
use crate::output::say;
use crate::scratch::Scratch;
use crate::session::Session;
use crate::subscriber::Subscriber;
use crate::workers;
use anyhow::{Context, Result, bail};
use domain::money::Credits;
use ingester::TokenEntry;
use ledger::CatalogEntry;
use secrecy::SecretString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use story::Story;
use tokio::time::Instant;

/// A step that has not come true by now will not.
const PATIENCE: Duration = Duration::from_secs(20);

/// The account in the payloads; other steps put another in its place.
const ACCOUNT: &str = "acct_42";

pub async fn run(session: Session, keep: bool) -> Result<ExitCode> {
    let secrets = [("paddle", random("pdl_ntfset")), ("stripe", random("whsec"))];
    let token = random("bsr");
    let scratch = Scratch::make("demo", config(&session.config, &secrets, &token)).await?;
    let scratch = scratch.with_two_roles().await?;
    let session = Arc::new(Session::new(scratch.config.clone(), session.json)?);
    let metrics = observe::start_metrics()?;
    let fleet = Fleet::start(session.clone(), &workers::ALL, true, metrics).await?;
    let stop = fleet.stopper();
    let told = tell(&session, &fleet, &secrets, &token).await;
    if keep && told.is_ok() {
        keep_running(&scratch, &fleet).await?;
    }
    stop.cancel();
    let ended = fleet.join().await;
    scratch.remove(&session).await?;
    ended?;
    let all_well = told?;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn random(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

fn config(like: &Config, secrets: &[(&str, String)], token: &str) -> Config {
    let entry = |processor: &str, price: &str, bonus| CatalogEntry {
        amount: Default::default(),
        processor: processor.to_owned(),
        price: price.to_owned(),
        credits: Credits::whole(1000),
        bonus: Credits::whole(bonus),
        expires_after: None,
    };
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        database_url: like.database_url.clone(),
        amqp_url: like.amqp_url.clone(),
        http_addr: local,
        admin_addr: local,
        webhook_secrets: secrets
            .iter()
            .map(|(name, secret)| ((*name).to_owned(), vec![Masked::new(secret)]))
            .collect(),
        catalog: vec![entry("paddle", "pri_01h1vjes1y163xfj1rh1tkfb65", 50), entry("stripe", "pack-1000", 0)],
        tokens: vec![TokenEntry {
            name: "gateway".to_owned(),
            sha256: ingester::hash(token),
            scopes: vec!["facts".to_owned()],
            facts: None,
            sources: None,
        }],
        ..Config::default()
    }
}

async fn keep_running(scratch: &Scratch, fleet: &Fleet) -> Result<()> {
    let addr = |addr: Option<SocketAddr>| addr.map(|addr| addr.to_string()).unwrap_or_default();
    say(&format!(
        "\nThe fleet keeps running until Ctrl-C: webhooks at http://{}, metrics at http://{}/metrics.\nTo look around:\n  \
         export BURSAR_DATABASE_URL=<the server>/{} BURSAR_NAMESPACE={}\n  bursar account show {ACCOUNT}",
        addr(fleet.http_addr),
        addr(fleet.admin_addr),
        scratch.database,
        scratch.config.namespace
    ));
    tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")
}

async fn tell(
    session: &Session,
    fleet: &Fleet,
    secrets: &[(&'static str, String)],
    token: &str,
) -> Result<bool> {
    let http = fleet.http_addr.context("the front door is not open")?;
    let admin = fleet.admin_addr.context("the admin address is not open")?;
    wait_until_ready(admin).await?;
    let broker = session.broker("demo subscriber");
    let mut subscriber = Subscriber::to_exchange(&broker, &session.namespace()?).await?;
    let secrets = secrets.iter().map(|(name, secret)| (*name, SecretString::from(secret.clone()))).collect();
    let mut story = Story::new(session, secrets, token, format!("http://{http}"));
    if !session.json {
        say(
            "Bursar, from webhook to credits. Payloads are signed and posted over HTTP; balances are read from the ledger.\n",
        );
    }
    story.paddle().await?;
    story.refund_first().await?;
    story.stripe().await?;
    story.won().await?;
    story.lost().await?;
    story.paddles_round().await?;
    story.forged().await?;
    story.subscriber(&mut subscriber).await?;
    story.verified().await?;
    broker.close().await;
    story.end()
}

async fn wait_until_ready(admin: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ready = reqwest::get(format!("http://{admin}/readyz")).await;
        if ready.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "the fleet did not become ready: are Postgres and RabbitMQ running? deploy/demo.sh starts them"
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
