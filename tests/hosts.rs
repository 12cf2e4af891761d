//! Servers that are several, and servers that change under us: where a connection goes, what is refused, what passes.

mod pooler;

use bus::{Broker, Message, PublishError, Publisher};
use db::{Doing, Error};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use testkit::{Bursar, Relay, Settings, Site, eventually, run};
use tokio::time::Instant;

/// A port that nobody listens on.
const NOBODY: &str = "127.0.0.1:1";

/// Above what each host has, far below what a hanging one would take.
const SOON: Duration = Duration::from_secs(15);

/// The same URL with other hosts.
fn with_hosts(url: &SecretString, hosts: &[String]) -> SecretString {
    let parsed: url::Url = url.expose_secret().parse().unwrap();
    let (host, port) = (parsed.host_str().unwrap(), parsed.port().map(|port| format!(":{port}")));
    let own = format!("@{host}{}", port.unwrap_or_default());
    let changed = url.expose_secret().replacen(&own, &format!("@{}", hosts.join(",")), 1);
    assert_ne!(&changed, url.expose_secret());
    changed.into()
}

fn address(url: &SecretString, port: u16) -> String {
    let parsed: url::Url = url.expose_secret().parse().unwrap();
    format!("{}:{}", parsed.host_str().unwrap(), parsed.port().unwrap_or(port))
}

fn relayed(relay: &Relay, url: &SecretString) -> String {
    address(&relay.url(url.expose_secret()).into(), 0)
}

async fn one(pool: &db::Pool) -> Result<i32, Error> {
    sqlx::query_scalar("select 1").fetch_one(pool).await.doing("asking")
}

#[test]
fn a_host_that_is_away_or_hangs_is_passed_over_in_bounded_time() {
    run(async |site: Site| {
        let (postgres, rabbitmq) = (&site.database_url, &site.amqp_url);
        let hanging = [Relay::to(postgres.expose_secret(), 5432), Relay::to(rabbitmq.expose_secret(), 5672)];
        hanging.iter().for_each(Relay::hold);
        let started = Instant::now();
        let hosts = [NOBODY.to_owned(), relayed(&hanging[0], postgres), address(postgres, 5432)];
        let pool = db::pool(&with_hosts(postgres, &hosts), 2, "several").unwrap();
        eventually("a connection to the third host", async || one(&pool).await.ok()).await;
        let hosts = [NOBODY.to_owned(), relayed(&hanging[1], rabbitmq), address(rabbitmq, 5672)];
        let broker = Broker::new(with_hosts(rabbitmq, &hosts), "several");
        broker.channel().await.unwrap();
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        broker.close().await;
        pool.close().await;
    });
}

#[test]
fn hosts_that_are_all_away_are_each_named_with_why_and_without_a_password() {
    run(async |_: Site| {
        let broker = Broker::new("amqp://ada:hush@127.0.0.1:1,127.0.0.1:2/%2f".to_owned().into(), "nowhere");
        let why = broker.channel().await.unwrap_err();
        assert!(why.is_transient(), "{why}");
        let url = SecretString::from("postgres://ada:hush@127.0.0.1:1,127.0.0.1:2/shop");
        let hosts = db::Hosts::read(&url, "nowhere").unwrap();
        let error = hosts.connect().await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        for said in [why.to_string(), error.to_string()] {
            let named = said.contains("127.0.0.1:1: ") && said.contains("127.0.0.1:2: ");
            assert!(named && !said.contains("hush"), "{said}");
        }
    });
}

#[test]
fn of_several_hosts_the_one_that_takes_changes_is_taken() {
    run(async |site: Site| {
        let url = site.owner_url.expose_secret();
        let standby = format!("{url}?options=-c%20default_transaction_read_only%3Don");
        let pool = db::pool(&format!("{standby},{url}").into(), 2, "several").unwrap();
        eventually("a change to be taken", async || {
            sqlx::query("create table changed (it int)").execute(&pool).await.ok()
        })
        .await;
        assert!(db::is_ready(&pool).await.unwrap());
        let alone = db::pool(&standby.into(), 2, "a standby").unwrap();
        assert_eq!(one(&alone).await.unwrap(), 1, "one that is named alone may be read from");
        assert!(matches!(db::is_ready(&alone).await, Err(Error::ReadOnly)));
        pool.close().await;
    });
}

#[test]
fn a_pool_follows_the_database_to_another_host_and_leaves_answers_that_never_come() {
    run(async |site: Site| {
        let url = &site.database_url;
        let lines = [Relay::to(url.expose_secret(), 5432), Relay::to(url.expose_secret(), 5432)];
        let hosts = [relayed(&lines[0], url), relayed(&lines[1], url)];
        let pool = db::pool(&with_hosts(url, &hosts), 2, "several").unwrap();
        eventually("a connection", async || one(&pool).await.ok()).await;
        let left = tokio::spawn({
            let pool = pool.clone();
            async move { db::unless_moved(&pool, sqlx::query("select pg_sleep(600)").execute(&pool)).await }
        });
        let slow = "select count(*) from pg_stat_activity
                    where datname = current_database() and state = 'active' and query = 'select pg_sleep(600)'";
        site.until(slow, 1).await;
        // As a machine does that lost its power: nothing ends, nothing comes any more.
        lines[0].hold();
        let started = Instant::now();
        eventually("an answer by the other host", async || one(&pool).await.ok()).await;
        let left = left.await.unwrap();
        assert!(matches!(&left, Err(error) if error.is_transient()), "{left:?}");
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        pool.close().await;
    });
}

#[test]
fn a_broker_that_lost_its_host_goes_on_at_the_next() {
    run(async |site: Site| {
        let url = &site.amqp_url;
        let lines = [Relay::to(url.expose_secret(), 5672), Relay::to(url.expose_secret(), 5672)];
        let hosts = [relayed(&lines[0], url), relayed(&lines[1], url)];
        let broker = Broker::new(with_hosts(url, &hosts), "several");
        for _ in 0..3 {
            for line in &lines {
                broker.channel().await.unwrap();
                line.close();
                eventually("the loss to be known", async || (!broker.is_connected().await).then_some(()))
                    .await;
                broker.channel().await.unwrap();
                line.open();
            }
        }
        broker.close().await;
    });
}

#[test]
fn a_statement_that_the_server_forgot_or_planned_for_other_columns_passes_with_a_new_connection() {
    run(async |site: Site| {
        let pool = db::pool(&site.owner_url, 1, "one connection").unwrap();
        let execute = async |statement: &'static str| {
            sqlx::raw_sql(statement).execute(&pool).await.unwrap();
        };
        execute("create table shape (it int); insert into shape values (1)").await;
        let read = async || {
            let rows = sqlx::query("select * from shape").fetch_all(&pool).await;
            rows.doing("reading").map(|rows| rows.len())
        };
        for (change, code) in [("deallocate all", "26000"), ("alter table shape alter it type text", "0A000")]
        {
            assert_eq!(read().await.unwrap(), 1);
            execute(change).await;
            let error = read().await.unwrap_err();
            let Error::Sql { source: sqlx::Error::Database(source), .. } = &error else { panic!("{error}") };
            assert_eq!(source.code().as_deref(), Some(code));
            assert!(error.is_transient() && !error.is_hung(), "{error}");
            assert_eq!(read().await.unwrap(), 1, "after {code} a connection that knows of nothing");
        }
    });
}

#[test]
fn a_pooler_that_mixes_up_sessions_is_refused_with_what_to_do() {
    run(async |site: Site| {
        let plain = db::Hosts::read(&site.database_url, "sessions").unwrap();
        db::expect_sessions(&plain).await.unwrap();
        let pooled = pooler::start(&site.database_url).await;
        let hosts = db::Hosts::read(&pooled, "sessions").unwrap();
        let error = db::expect_sessions(&hosts).await.unwrap_err();
        assert!(matches!(error, Error::Pooled) && !error.is_transient(), "{error}");
        for arguments in [&["account", "show", "acct_1"][..], &["doctor"], &["migrate"], &["run", "gate"]] {
            let settings = Settings::default()
                .with("BURSAR_DATABASE_URL", pooled.expose_secret())
                .with("BURSAR_MIGRATE_URL", pooled.expose_secret())
                .with("BURSAR_LOG", "error");
            let settings = settings.with("BURSAR_ADMIN_ADDR", "127.0.0.1:0");
            let said = Bursar::run(&site, &settings, arguments).await;
            let text = [said.stdout, said.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains("pool_mode = session"), "{arguments:?}: {text}");
            assert_eq!(said.status.code(), Some(1), "{arguments:?}: {text}");
        }
    });
}

#[test]
fn a_database_that_takes_no_changes_is_not_ready_and_doctor_says_so() {
    run(async |site: Site| {
        let configuration = crate::binary::Configuration::new("live");
        let settings = crate::binary::settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let name = site.namespace.as_str();
        let database: String =
            sqlx::query_scalar("select current_database()").fetch_one(&site.pool).await.unwrap();
        let set = |value: &str| {
            format!(
                "begin read write; alter database {database} set default_transaction_read_only = {value}; commit;
                 select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()"
            )
        };
        site.by_server_login(&set("on")).await;
        let client = reqwest::Client::new();
        let ready = async || {
            let answer = client.get(fleet.addresses.admin("/readyz")).send().await.ok()?;
            Some((answer.status().as_u16(), answer.text().await.ok()?))
        };
        let said =
            eventually("readyz to fail", async || ready().await.filter(|(status, _)| *status == 503)).await;
        assert!(said.1.contains("takes no changes"), "{said:?}");
        let doctor = Bursar::run(&site, &settings, &["doctor"]).await;
        let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(doctor.status.code() == Some(1) && text.contains("takes no changes"), "{name}: {text}");
        site.by_server_login(&set("off")).await;
        eventually("readyz to hold again", async || ready().await.filter(|(status, _)| *status == 200)).await;
        fleet.kill().await;
    });
}

#[test]
fn a_channel_whose_publish_was_refused_is_left_for_a_new_one() {
    run(async |site: Site| {
        let full = site.namespace.name("full");
        let channel = site.broker.channel().await.unwrap();
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(1));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(full.as_str().into(), options, arguments).await.unwrap();
        let publisher = Publisher::spawn(site.broker.clone(), Duration::from_secs(10));
        let publish = async |id: &str| {
            let message =
                Message::new(String::new(), &full, id.to_owned(), "text/plain", None, "x".to_owned());
            publisher.publish(vec![message]).await.remove(0)
        };
        eventually("a channel", async || publisher.is_connected().then_some(())).await;
        let refused = eventually("the queue to be full", async || publish("a").await.err()).await;
        assert_eq!(refused, PublishError::Refused);
        assert_eq!(publisher.channels(), 1);
        eventually("a new channel", async || (publisher.channels() == 2).then_some(())).await;
    });
}
