//! The load: purchases, usage and refunds over many accounts, as the ingester and gateways would publish them.

use crate::config::Config;
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::{Result, anyhow};
use bus::{Broker, Message, Publisher, exchange};
use domain::fact::{
    AccountLink, Fact, LineItem, LinkProof, Movement, MovementKind, MovementStatus, Payment, PaymentStatus,
    Usage,
};
use domain::money::{Credits, Money, currency};
use domain::{AccountId, Cause, Envelope, PaymentId};
use ledger::CatalogEntry;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::str::FromStr;
use time::OffsetDateTime;

const PRICE: &str = "pri_bench";

/// What one purchase brings, its bonus apart.
const CREDITS: i64 = 1000;

/// Shares in percent.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    purchases: u32,
    refunds: u32,
}

impl Mix {
    /// Usage that nothing was bought for: debt.
    pub fn usage_alone() -> Self {
        Self { purchases: 0, refunds: 0 }
    }

    /// Drawn evenly up to this, usage spends what purchases bring: accounts do not pile up lots that nobody uses.
    fn usage_max(self) -> i64 {
        let usage = 100 - self.purchases - self.refunds;
        (2 * CREDITS * i64::from(self.purchases) / i64::from(usage.max(1))).max(2)
    }
}

impl FromStr for Mix {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shares: Vec<u32> = text.split(',').filter_map(|share| share.trim().parse().ok()).collect();
        match shares[..] {
            [purchases, usage, refunds] if purchases + usage + refunds == 100 && purchases > 0 => {
                Ok(Self { purchases, refunds })
            }
            _ => Err(format!(
                "expected three shares that add up to 100, the first above 0, for example 20,70,10; got {text:?}"
            )),
        }
    }
}

/// How the facts fall on the accounts.
#[derive(Debug, Clone, Copy)]
pub enum AccountSpread {
    Even,
    /// The k-th account has a share proportional to 1/k.
    Zipf,
    /// All on one.
    One,
}

/// The configuration of the fleet under measurement.
pub fn config(like: &Config) -> Config {
    Config {
        database_url: like.database_url.clone(),
        amqp_url: like.amqp_url.clone(),
        limits: like.limits.clone(),
        catalog: vec![CatalogEntry {
            amount: Default::default(),
            processor: "paddle".to_owned(),
            price: PRICE.to_owned(),
            credits: Credits::whole(CREDITS),
            bonus: Credits::whole(50),
            expires_after: None,
        }],
        publishers: Vec::new(),
        ..Config::default()
    }
}

pub struct Load {
    accounts: usize,
    /// Where the shares are uneven: the sum of those up to each account.
    shares: Vec<f64>,
    mix: Mix,
    usage_batch: usize,
    random: SmallRng,
    drawn: u64,
    /// Purchases so far, for refunds to be about.
    bought: Vec<u64>,
}

impl Load {
    pub fn new(accounts: usize, mix: Mix, usage_batch: u16) -> Self {
        let random = SmallRng::seed_from_u64(7);
        let (shares, bought) = (Vec::new(), Vec::new());
        Self { accounts, shares, mix, usage_batch: usage_batch.into(), random, drawn: 0, bought }
    }

    pub fn spread(accounts: usize, mix: Mix, spread: AccountSpread) -> Self {
        let mut load = Self::new(accounts, mix, 1);
        match spread {
            AccountSpread::Even => {}
            AccountSpread::One => load.accounts = 1,
            AccountSpread::Zipf => {
                let mut sum = 0.0;
                load.shares.extend((1..=accounts).map(|account| {
                    sum += 1.0 / account as f64;
                    sum
                }));
            }
        }
        load
    }

    /// The numbers of purchases so far.
    pub fn bought(&self) -> &[u64] {
        &self.bought
    }

    pub fn envelopes(&mut self, facts: usize) -> Result<Vec<Envelope>> {
        (0..facts).map(|_| self.envelope()).collect()
    }

    /// So many facts as messages, in the order they are to be published.
    pub fn draw(&mut self, session: &Session, facts: usize) -> Result<Vec<Message>> {
        let namespace = session.namespace()?;
        let mut messages = Vec::new();
        let mut usage = Vec::new();
        for _ in 0..facts {
            let envelope = self.envelope()?;
            match envelope.fact {
                Fact::Usage(_) => usage.push(envelope),
                _ => messages.extend(facts::pack(&namespace, exchange::VERIFIED, vec![envelope])),
            }
            if usage.len() >= self.usage_batch {
                messages.extend(facts::pack(&namespace, exchange::INBOUND, std::mem::take(&mut usage)));
            }
        }
        messages.extend(facts::pack(&namespace, exchange::INBOUND, usage));
        Ok(messages)
    }

    fn envelope(&mut self) -> Result<Envelope> {
        self.drawn += 1;
        let number = self.drawn;
        let choice = self.random.random_range(0..100);
        let now = OffsetDateTime::now_utc();
        let (source, fact) =
            if choice < self.mix.purchases || (self.bought.is_empty() && self.mix.refunds > 0) {
                self.bought.push(number);
                ("paddle", self.purchase(number, now)?)
            } else if choice < self.mix.purchases + self.mix.refunds {
                ("paddle", self.refund(number, now)?)
            } else {
                ("gateway/bench", self.usage(number)?)
            };
        let cause = Cause { source: source.to_owned(), id: format!("evt_{number}") };
        Ok(Envelope { cause, time: now, received_at: Some(now), traceparent: None, raw: None, fact })
    }

    fn account(&mut self) -> Result<AccountId> {
        let account = match self.shares.last() {
            None => self.random.random_range(0..self.accounts),
            Some(all) => {
                let share = self.random.random_range(0.0..*all);
                self.shares.partition_point(|sum| *sum < share)
            }
        };
        Ok(AccountId::new(format!("acct_{account}"))?)
    }

    fn purchase(&mut self, number: u64, now: OffsetDateTime) -> Result<Fact> {
        let account = self.account()?;
        Ok(Fact::Payment(Payment {
            before_discounts: None,
            purpose: domain::fact::Purpose::default(),
            payment: PaymentId::new("paddle", &format!("txn_{number}"))?,
            aliases: Vec::new(),
            object: format!("txn_{number}"),
            precedence: 0,
            status: PaymentStatus::Paid,
            amount: usd(1000)?,
            before_tax: None,
            items: vec![LineItem::new(PRICE.to_owned(), 1)],
            account: Some(AccountLink { by_reference: false, account, proof: LinkProof::Stated }),
            customer: None,
            ip: None,
            device: None,
            occurred_at: now,
        }))
    }

    fn refund(&mut self, number: u64, now: OffsetDateTime) -> Result<Fact> {
        let bought = self.bought[self.random.random_range(0..self.bought.len())];
        Ok(Fact::Movement(Movement {
            lines: Vec::new(),
            movement: format!("adj_{number}"),
            payment: PaymentId::new("paddle", &format!("txn_{bought}"))?,
            aliases: Vec::new(),
            kind: MovementKind::Refund,
            status: MovementStatus::Final,
            amount: usd(self.random.random_range(1..300))?,
            full: false,
            hold: None,
            occurred_at: now,
        }))
    }

    fn usage(&mut self, number: u64) -> Result<Fact> {
        Ok(Fact::Usage(Usage {
            account: self.account()?,
            credits: Credits::whole(self.random.random_range(1..self.mix.usage_max())),
            reference: Some(format!("req_{number}")),
            description: None,
            ip: None,
            device: None,
        }))
    }
}

fn usd(cents: i128) -> Result<Money> {
    Ok(Money::from_minor(cents, 2, currency("USD")?)?)
}

/// Publishes on two channels, each with its window of confirms.
pub async fn publish(broker: &Broker, messages: Vec<Message>) -> Result<()> {
    let mut halves: [Vec<Message>; 2] = Default::default();
    for (position, message) in messages.into_iter().enumerate() {
        halves[position % 2].push(message);
    }
    let [first, second] = halves.map(|half| {
        let publisher = Publisher::spawn(broker.clone(), CONFIRM_TIMEOUT);
        async move {
            for _ in 0..500 {
                if publisher.is_connected() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            publisher.publish_all(half).await
        }
    });
    let (first, second) = tokio::join!(first, second);
    first.and(second).map_err(|error| anyhow!("publishing the load: {error}"))
}
