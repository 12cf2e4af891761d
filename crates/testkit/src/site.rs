//! A site: everything one test has to itself.

use crate::wait::{DEADLINE, eventually};
use bus::{Broker, Context, Health, Ladder, Namespace, Publisher, Topology, Worker};
use db::{Hosts, PgConnection, ServerUrl};
use facts::Readers;
use futures_util::FutureExt;
use lapin::options::QueueDeleteOptions;
use secrecy::{ExposeSecret, SecretString};
use sqlx::AssertSqlSafe;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

const DATABASE_URL: &str = "postgres://postgres@127.0.0.1/postgres";
const AMQP_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";

/// How long messages rest that a worker in a test failed on.
const LADDER: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(150)];

/// A test that takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A broker that does not confirm within this is away; longer than the fleet's own, since tests share a small machine.
pub(crate) const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// A test's database and broker namespace, and what it needs to use them. Clones are the same site.
#[derive(Clone)]
pub struct Site {
    pub namespace: Namespace,
    pub topology: Topology,
    /// Where its database is made and dropped.
    server: SecretString,
    /// Of the role that runs: it owns nothing.
    pub database_url: SecretString,
    /// Of the role that owns the database and its tables.
    pub owner_url: SecretString,
    pub amqp_url: SecretString,
    /// As the role that runs, which is that of the fleet: what it may not do is refused.
    pub pool: db::Pool,
    /// As the owner of the tables: for tests that make tables, or change what nobody may.
    pub owner: db::Pool,
    pub broker: Broker,
    pub publisher: Publisher,
    /// Cancelled when the test is over: whatever runs in the background of the site ends with it.
    pub over: CancellationToken,
}

/// Runs a test on a site of its own, and removes the site whether the test passes or not.
pub fn run<F, Fut>(test: F)
where
    F: FnOnce(Site) -> Fut,
    Fut: Future<Output = ()>,
{
    run_within(TIME_LIMIT, test);
}

/// As [`run`], for a test that may take longer.
pub fn run_within<F, Fut>(limit: Duration, test: F)
where
    F: FnOnce(Site) -> Fut,
    Fut: Future<Output = ()>,
{
    run_without_site(async || {
        let site = Site::open().await;
        let limited = tokio::time::timeout(limit, test(site.clone()));
        let outcome = AssertUnwindSafe(limited).catch_unwind().await;
        site.remove().await;
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(_)) => panic!("the test took longer than {} s", limit.as_secs()),
            Err(panic) => resume_unwind(panic),
        }
    });
}

/// Runs a test that makes its sites itself, such as one on [`crate::Servers`] of its own.
pub fn run_without_site<F, Fut>(test: F)
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = ()>,
{
    log_if_asked();
    // As the binary does at its start: HTTP clients ask for it. Another test of this process may have done so already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a test may start threads");
    let outcome = runtime.block_on(AssertUnwindSafe(async { test().await }).catch_unwind());
    runtime.shutdown_background();
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// `BURSAR_LOG=info cargo test ...` shows what the workers say.
fn log_if_asked() {
    if let Ok(filter) = std::env::var("BURSAR_LOG") {
        // Another test of this process may have done so already.
        drop(tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init());
    }
}

/// That of workers in a test.
pub(crate) fn ladder() -> Ladder {
    Ladder::new(&LADDER).expect("delays that grow")
}

fn from_environment(name: &str, default: &str) -> SecretString {
    std::env::var(name).unwrap_or_else(|_| default.to_owned()).into()
}

impl Site {
    /// Which workers read which facts.
    pub fn readers(&self) -> Readers {
        Readers::of(&self.topology, &self.namespace)
    }

    /// A site on the servers that are there for all tests. The test that opens one removes it.
    pub async fn open() -> Self {
        let server = from_environment("BURSAR_TEST_DATABASE_URL", DATABASE_URL);
        let amqp_url = from_environment("BURSAR_TEST_AMQP_URL", AMQP_URL);
        Self::open_at(server, amqp_url).await
    }

    /// A site on the servers of these URLs.
    pub async fn open_at(server: SecretString, amqp_url: SecretString) -> Self {
        // Both servers answer before anything is made that would have to be removed.
        let mut connection = connect(&server).await;
        let namespace = Namespace::new(&format!("t-{}", Uuid::now_v7())).expect("it is short and plain");
        // The binary has the default ladder, workers in the test one that does not take long.
        let delays: Vec<Duration> = LADDER.into_iter().chain([1, 10, 60].map(Duration::from_secs)).collect();
        let ladder = Ladder::new(&delays).expect("delays that grow");
        let topology = Topology::new(&namespace, &ladder, &fleet::workers::queues());
        let broker = Broker::new(amqp_url.clone(), namespace.as_str());
        if let Err(error) = topology.declare(&broker).await {
            panic!(
                "expected a RabbitMQ at BURSAR_TEST_AMQP_URL or on the standard port: {error}. Run the tests by deploy/test.sh, which makes sure of one"
            );
        }
        let Database { database_url, owner_url } = create_database(&mut connection, &server).await;
        let owner = db::pool(&owner_url, 4, "owner").expect("the URL was just made");
        migrate(&owner, &database_url).await;
        let pool = db::pool(&database_url, 8, namespace.as_str()).expect("the URL was just made");
        let publisher = Publisher::spawn(broker.clone(), CONFIRM_TIMEOUT);
        eventually("the publisher's channel", async || publisher.is_connected().then_some(())).await;
        Self {
            namespace,
            topology,
            server,
            database_url,
            owner_url,
            amqp_url,
            pool,
            owner,
            broker,
            publisher,
            over: CancellationToken::new(),
        }
    }

    pub async fn remove(&self) {
        self.over.cancel();
        // A test may have left the topology half deleted: what is missing is gone already.
        for _ in 0..2 {
            if self.topology.delete(&self.broker).await.is_ok() {
                break;
            }
        }
        self.broker.close().await;
        // With its connections, which a worker that did not stop in time may still have.
        let closed = async { tokio::join!(self.pool.close(), self.owner.close()) };
        drop(tokio::time::timeout(Duration::from_secs(2), closed).await);
        drop_database(&self.server, &self.database_url).await;
    }

    /// A context of the site's servers, for a worker.
    pub fn context(&self) -> Context {
        Context {
            namespace: self.namespace.clone(),
            consume: Broker::new(self.amqp_url.clone(), &format!("{} consume", self.namespace.as_str())),
            publisher: self.publisher.clone(),
            pool: self.pool.clone(),
            health: Health::default(),
            ladder: ladder(),
            time_limit: bus::TIME_LIMIT,
            stop: self.over.child_token(),
        }
    }

    /// The user whom the broker knows the site by.
    pub fn amqp_user(&self) -> String {
        let url =
            ServerUrl::all(self.amqp_url.expose_secret()).expect("RabbitMQ answered at this URL").remove(0);
        let url: Url = url.text().parse().expect("it is one of a URL's hosts");
        url.username().to_owned()
    }

    /// Runs a worker in the background.
    pub fn start<W: Worker>(&self, worker: W, lanes: usize) -> Running {
        self.start_with(Arc::new(worker), lanes, self.context())
    }

    pub fn start_with<W: Worker>(&self, worker: Arc<W>, lanes: usize, context: Context) -> Running {
        let (stop, health, consume) = (context.stop.clone(), context.health.clone(), context.consume.clone());
        let task = tokio::spawn(bus::run(worker, lanes, context));
        Running { stop, health, consume, task }
    }

    /// Carries out a statement in the site's database as the login that made it, which is a superuser where tests need one.
    pub async fn by_server_login(&self, statement: &str) {
        let mut url: Url = self.server.expose_secret().parse().expect("Postgres answered at this URL");
        let own: Url = self.database_url.expose_secret().parse().expect("it was made from a URL");
        url.set_path(own.path());
        execute(&mut connect(&String::from(url).into()).await, statement.to_owned()).await;
    }

    /// The single value of a query such as `select count(*) from inbox`.
    pub async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// Waits until a query that counts gives `expect`.
    pub async fn until(&self, query: &'static str, expect: i64) {
        eventually(&format!("{expect} from {query}"), async || {
            (self.number(query).await == expect).then_some(())
        })
        .await;
    }

    /// A query's rows, each as one text.
    pub async fn texts(&self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query)
            .fetch_all(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// Deletes a queue, by its name without the namespace, with what is in it.
    pub async fn delete_queue(&self, queue: &str) {
        let channel = self.broker.channel().await.expect("a channel");
        let queue = self.namespace.name(queue);
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.expect("deleted");
        drop(channel.close(200, "done".into()).await);
    }

    /// Messages that wait in a queue, by its name without the namespace.
    pub async fn depth(&self, queue: &str) -> u32 {
        let queue = self.namespace.name(queue);
        self.broker.depth(&queue).await.unwrap_or_else(|error| panic!("{queue}: {error}")).ready
    }

    pub async fn until_depth(&self, queue: &str, expect: u32) {
        eventually(&format!("{expect} messages in {queue}"), async || {
            (self.depth(queue).await == expect).then_some(())
        })
        .await;
    }
}

/// A database of a site, as seen by its two roles.
struct Database {
    database_url: SecretString,
    owner_url: SecretString,
}

/// Roles belong to the server, so each site has two of its own, named after its database, and takes them with it.
async fn create_database(connection: &mut PgConnection, server: &SecretString) -> Database {
    let (name, password) = (format!("bursar_test_{}", Uuid::now_v7().simple()), Uuid::now_v7().simple());
    for role in [owner_of(&name), name.clone()] {
        execute(connection, format!("create role {role} login password '{password}'")).await;
    }
    let owner = owner_of(&name);
    // Who is no superuser makes a database for a role that he is a member of.
    execute(connection, format!("grant {owner} to current_user")).await;
    execute(connection, format!("create database {name} owner {owner}")).await;
    let hosts = ServerUrl::all(server.expose_secret()).expect("Postgres answered at this URL");
    let url = |role: &str| {
        let host = |host: &ServerUrl| host.with_path(&name).with_login(role, &password.to_string());
        ServerUrl::joined(&hosts.iter().map(host).collect::<Vec<_>>()).into()
    };
    Database { database_url: url(&name), owner_url: url(&owner) }
}

fn owner_of(database: &str) -> String {
    format!("{database}_owner")
}

/// The fleet's tables, granted to the role that runs as `bursar migrate` does it; and what tests make besides.
async fn migrate(owner: &db::Pool, runtime: &SecretString) {
    db::migrate(owner).await.expect("an empty database can be migrated");
    // The role is named after its database.
    let runtime = ServerUrl::all(runtime.expose_secret()).expect("it was made from a URL").remove(0);
    let role = runtime.path();
    db::roles::grant(owner, role).await.expect("the owner grants its tables");
    let more = format!(
        "alter default privileges grant select, insert, update, delete on tables to {role};
         alter default privileges grant usage, select on sequences to {role}"
    );
    sqlx::raw_sql(AssertSqlSafe(more)).execute(owner).await.expect("the owner grants what it will make");
}

async fn drop_database(server: &SecretString, url: &SecretString) {
    let url = ServerUrl::all(url.expose_secret()).expect("it was made from a URL").remove(0);
    let mut connection = connect(server).await;
    let name = url.path();
    execute(&mut connection, format!("drop database {name} with (force)")).await;
    execute(&mut connection, format!("drop role {name}, {}", owner_of(name))).await;
}

async fn connect(server: &SecretString) -> PgConnection {
    let hosts = Hosts::read(server, "bursar tests").expect("a URL of Postgres");
    match hosts.connect().await {
        Ok(connection) => connection,
        Err(error) => panic!(
            "expected a Postgres at BURSAR_TEST_DATABASE_URL or on the standard port: {error}. Run the tests by deploy/test.sh, which makes sure of one"
        ),
    }
}

async fn execute(connection: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// A worker at work.
pub struct Running {
    stop: CancellationToken,
    health: Health,
    consume: Broker,
    task: JoinHandle<()>,
}

impl Running {
    /// Asks it to stop and waits until the batches in hand are settled.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let stopped = tokio::time::timeout(DEADLINE, &mut self.task).await;
        assert!(stopped.is_ok(), "a worker settles what it has in hand and stops");
        self.consume.close().await;
    }

    /// The lanes that have lost their consumer, or had none yet that is known.
    pub fn idle(&self) -> Vec<String> {
        self.health.idle()
    }

    /// The lanes that lose one consumer after the other.
    pub fn losing(&self) -> Vec<String> {
        self.health.losing()
    }

    /// The lanes that have met something that no limit ends.
    pub fn stuck(&self) -> Vec<String> {
        self.health.stuck()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
