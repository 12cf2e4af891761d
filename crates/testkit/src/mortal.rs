//! Workers that die: at a given step of a batch's way, or wherever they happen to be.

use crate::Site;
use crate::relay::Relay;
use crate::site::{CONFIRM_TIMEOUT, ladder};
use crate::wait::eventually;
use bus::{Broker, Context, Decoded, EmittedEvents, Health, Incoming, Message, Publisher, Settled, Worker};
use db::Work;
use lapin::options::BasicGetOptions;
use secrecy::{ExposeSecret, SecretString};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// The last thing that a worker does with a batch before it dies, in the order of the batch's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeathStep {
    /// Took it from the queue.
    Taken,
    /// Went some way through its decision: so many answers of the database came, and no more.
    Deciding(u32),
    /// Decided and wrote it, and did not commit.
    Decided,
    /// Published what must be out before the commit (a gate's facts), and did not commit.
    Forwarded,
    /// Sent its commit, and never learned whether it held.
    Committing,
    /// Committed, and published nothing.
    Committed,
    /// Published half of its events.
    Publishing,
    /// Published every event; the outbox row is still there.
    Published,
    /// Deleted the outbox row; only the acknowledgement is missing.
    Settled,
}

impl DeathStep {
    pub const ALL: [DeathStep; 11] = [
        DeathStep::Taken,
        DeathStep::Deciding(3),
        DeathStep::Deciding(12),
        DeathStep::Deciding(24),
        DeathStep::Decided,
        DeathStep::Forwarded,
        DeathStep::Committing,
        DeathStep::Committed,
        DeathStep::Publishing,
        DeathStep::Published,
        DeathStep::Settled,
    ];
}

impl Site {
    /// Takes up to `messages` as one batch, as a lane does, and dies at `step`: nothing is acknowledged, and whatever
    /// the database had not committed is gone. Tells whether it came so far; it does not where the queue was empty, or
    /// where the batch failed or had no events.
    pub async fn dies_at<W: Worker>(&self, step: DeathStep, worker: &W, messages: usize) -> bool {
        let channel = self.broker.channel().await.expect("a channel");
        let name = self.namespace.name(worker.queue());
        let mut items = Vec::new();
        for _ in 0..messages {
            let got = channel.basic_get(name.as_str().into(), BasicGetOptions::default()).await;
            let Some(got) = got.expect("an answer") else { break };
            let decoded = worker
                .decode(&Incoming::from(got.delivery).restored(&self.namespace), OffsetDateTime::now_utc());
            items.extend(decoded.into_iter().filter_map(|decoded| match decoded {
                Decoded::Item(item) => Some(item),
                Decoded::Bad { .. } => None,
            }));
        }
        let reached = !items.is_empty() && self.last_steps(step, worker, &items).await;
        // The broker takes back whatever was not acknowledged.
        drop(channel.close(200, "dead".into()).await);
        reached
    }

    async fn last_steps<W: Worker>(&self, last: DeathStep, worker: &W, items: &[W::Item]) -> bool {
        if last == DeathStep::Taken {
            return true;
        }
        // A connection of its own, which ends with it.
        let pool = db::pool(&self.database_url, 1, self.namespace.as_str()).expect("the site's own URL");
        let mut work = Work::new(pool.clone(), OffsetDateTime::now_utc());
        if let DeathStep::Deciding(answers) = last {
            return answered(worker.handle(&mut work, items), answers).await.is_none();
        }
        let Ok(Settled { emitted, forward, .. }) = worker.handle(&mut work, items).await else {
            return false;
        };
        if last == DeathStep::Decided {
            return true;
        }
        self.hand_over(forward).await;
        match last {
            DeathStep::Forwarded => return true,
            DeathStep::Committing => return answered(work.commit(), 0).await.is_none(),
            DeathStep::Taken
            | DeathStep::Deciding(_)
            | DeathStep::Decided
            | DeathStep::Committed
            | DeathStep::Publishing
            | DeathStep::Published
            | DeathStep::Settled => {
                if work.commit().await.is_err() {
                    return false;
                }
            }
        }
        let Some(EmittedEvents { row, mut messages }) = emitted else { return false };
        if last == DeathStep::Committed {
            return true;
        }
        if last == DeathStep::Publishing {
            messages.truncate(messages.len() / 2);
        }
        self.hand_over(messages).await;
        if last == DeathStep::Settled {
            let mut connection = pool.acquire().await.expect("the site's database answers");
            db::outbox::settled(&mut connection, row).await.expect("the site's database answers");
        }
        true
    }

    /// Publishes; again if the broker was away, which is safe to repeat.
    async fn hand_over(&self, messages: Vec<Message>) {
        eventually("the site's broker to take messages", async || {
            self.publisher.publish_all(messages.clone()).await.ok()
        })
        .await;
    }

    /// Runs a worker that [`Mortal::kill`] ends like SIGKILL, on connections of its own.
    pub fn start_mortal<W: Worker>(&self, worker: Arc<W>, lanes: usize) -> Mortal {
        self.start_mortal_with(worker, lanes, |context| context)
    }

    /// As [`Site::start_mortal`], in a context that the test has changed: on a line that it can cut.
    pub fn start_mortal_with<W: Worker>(
        &self,
        worker: Arc<W>,
        lanes: usize,
        change: impl FnOnce(Context) -> Context + Send + 'static,
    ) -> Mortal {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a test may start threads");
        let (amqp_url, database_url) = (self.amqp_url.expose_secret(), self.database_url.expose_secret());
        let lines = [Relay::to(amqp_url, 5672), Relay::to(database_url, 5432)];
        let [amqp_url, database_url] = [(&lines[0], amqp_url), (&lines[1], database_url)]
            .map(|(line, url)| SecretString::from(line.url(url)));
        let site = self.clone();
        runtime.spawn(async move {
            let broker =
                |what: &str| Broker::new(amqp_url.clone(), &format!("{} {what}", site.namespace.as_str()));
            let context = Context {
                namespace: site.namespace.clone(),
                consume: broker("mortal consume"),
                publisher: Publisher::spawn(broker("mortal publish"), CONFIRM_TIMEOUT),
                pool: db::pool(&database_url, lanes as u32 + 1, site.namespace.as_str())
                    .expect("the site's own URL"),
                health: Health::default(),
                ladder: ladder(),
                time_limit: bus::TIME_LIMIT,
                // It is never asked to stop.
                stop: CancellationToken::new(),
            };
            bus::run(worker, lanes, change(context)).await;
        });
        Mortal { runtime: Some(runtime), lines }
    }
}

/// Polls a future until so many of its waits were answered; what it waits for next never comes.
async fn answered<F: Future>(future: F, answers: u32) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = answers;
    std::future::poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A worker that can be killed.
pub struct Mortal {
    runtime: Option<Runtime>,
    /// To RabbitMQ and to Postgres.
    lines: [Relay; 2],
}

impl Mortal {
    /// Ends everything it does, between any two steps: tasks, connections, transactions. Its connections end first, as
    /// those of a process do: its threads may live a little longer, and nobody hears of what they do. The broker's client
    /// says of its own that they panicked, which is how they die.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.lines.iter().for_each(Relay::close);
        // A runtime may not be dropped where tasks run, it waits for its threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
