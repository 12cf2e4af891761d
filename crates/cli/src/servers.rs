//! Why a server cannot be reached, said so that somebody can act on it: where it was looked for, what came, what to do.
//!
//! A pool only tells that no connection came in time. So one attempt is made aside from it, and that one says why. Nothing
//! here ever says a password.

use bus::Broker;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::time::Duration;

/// A server that does not answer within this is away.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two attempts: a server that is just being started again is no error.
const PAUSE: Duration = Duration::from_secs(1);

/// The servers' addresses, with what is needed to try them.
#[derive(Clone)]
pub struct Servers {
    pub database_url: SecretString,
    /// Where it was configured.
    pub database_variable: &'static str,
    pub amqp_url: SecretString,
}

/// What is wrong with one of them.
#[derive(Debug)]
pub struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

impl Servers {
    /// Before a command's work: two attempts, so that who restarts Postgres is waited for.
    pub async fn expect_postgres(&self) -> Result<(), Unreachable> {
        if self.postgres().await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
        self.postgres().await
    }

    /// Connections to Postgres as the fleet makes them, made and closed: of several hosts one takes changes, and nothing in
    /// between mixes up sessions.
    pub async fn postgres(&self) -> Result<(), Unreachable> {
        let hosts = db::Hosts::read(&self.database_url, "bursar").map_err(|error| unreadable(&error))?;
        let patience = PATIENCE * hosts.all().len() as u32;
        let (cause, advice) = match tokio::time::timeout(patience, db::expect_sessions(&hosts)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => postgres_says(&error),
            Err(_) => (format!("no answer within {} s", patience.as_secs()), IS_IT_THERE),
        };
        let places: Vec<String> = hosts.all().iter().map(db::place).collect();
        let first = &hosts.all()[0];
        let user = first.get_username();
        let database = first.get_database().unwrap_or(user);
        let places = places.join(", ");
        Err(Unreachable(format!(
            "Postgres at {places} (database {database}, user {user}): {cause}. {advice} ({})",
            self.database_variable,
        )))
    }

    /// One connection to RabbitMQ, made and closed.
    pub async fn rabbitmq(&self) -> Result<(), Unreachable> {
        let broker = Broker::new(self.amqp_url.clone(), "bursar probe");
        match broker.channel().await {
            Ok(_) => {
                broker.close().await;
                Ok(())
            }
            Err(error) => Err(self.rabbitmq_says(&error)),
        }
    }

    /// An error of RabbitMQ's, with where it is.
    pub fn rabbitmq_says(&self, error: &bus::BrokerError) -> Unreachable {
        let place = bus::BrokerHosts::parse(self.amqp_url.expose_secret());
        let place = place.map(|hosts| format!(" at {}", hosts.places())).unwrap_or_default();
        let cause = error.to_string();
        let cause = cause.trim_start_matches("RabbitMQ: ").trim_end_matches('.');
        let advice = match cause.contains("ACCESS_REFUSED") || cause.contains("NOT_ALLOWED") {
            true => "Are the user, the password and the vhost right, and may that user use it?",
            false => IS_IT_THERE,
        };
        Unreachable(format!("RabbitMQ{place}: {cause}. {advice} (BURSAR_AMQP_URL)"))
    }

    /// An error with what is wrong with the server that it came of instead of what came of that.
    pub async fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        let Some(why) = self.why(&error).await else { return error };
        let source = error.root_cause().to_string();
        let doing: Vec<String> =
            error.chain().map(ToString::to_string).take_while(|text| !text.contains(&source)).collect();
        match doing.is_empty() {
            true => why.into(),
            false => anyhow::Error::from(why).context(doing.join(": ")),
        }
    }

    /// What is wrong with the servers that an error came of, where it is still so.
    async fn why(&self, error: &anyhow::Error) -> Option<Unreachable> {
        let of_postgres = error.chain().any(|cause| cause.is::<sqlx::Error>() || cause.is::<db::Error>());
        let of_rabbitmq =
            error.chain().any(|cause| cause.is::<bus::BrokerError>() || cause.is::<bus::PublishError>());
        if of_postgres && let Err(why) = self.postgres().await {
            return Some(why);
        }
        if of_rabbitmq && let Err(why) = self.rabbitmq().await {
            return Some(why);
        }
        None
    }
}

const IS_IT_THERE: &str = "Is it running, and are host and port right?";

fn unreadable(error: &db::Error) -> Unreachable {
    Unreachable(format!("{error} (BURSAR_DATABASE_URL)"))
}

/// What came, without the driver's words around it, and what to do.
fn postgres_says(error: &db::Error) -> (String, &'static str) {
    let source = match error {
        db::Error::Away(source) | db::Error::Sql { source, .. } => source,
        db::Error::Nowhere(_) => return (error.to_string(), "Is none of them the primary?"),
        error => return (error.to_string(), "Nothing was done."),
    };
    let cause = match source {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        error => error.to_string(),
    };
    (cause, postgres_advice(source))
}

/// By SQLSTATE: Appendix A of the Postgres manual.
fn postgres_advice(error: &sqlx::Error) -> &'static str {
    let sqlx::Error::Database(error) = error else { return IS_IT_THERE };
    match error.code().as_deref() {
        Some("28000" | "28P01") => {
            "Are the user and the password right, and does pg_hba.conf let that user in?"
        }
        Some("3D000") => "Create the database, then run `bursar migrate`.",
        Some("53300") => "Too many connections are open: end some, or raise max_connections.",
        Some("57P03") => "It is starting or stopping: try again in a moment.",
        _ => "Its own log says more.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_why_and_without_its_password() {
        // A port that nobody listens on: it was bound and is closed.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr());
        let port = port.expect("a free port").port();
        let servers = Servers {
            database_url: SecretString::from(format!("postgres://ada:hush@127.0.0.1:{port}/credits")),
            database_variable: "BURSAR_DATABASE_URL",
            amqp_url: SecretString::from(format!("amqp://ada:hush@127.0.0.1:{port}/shop")),
        };
        let check = |said: Result<(), Unreachable>, server: &str, variable: &str| {
            let said = said.expect_err("nobody listens").to_string();
            assert!(said.starts_with(&format!("{server} at 127.0.0.1:{port} (")), "{said}");
            for part in ["ada", "refused", "Is it running", variable] {
                assert!(said.contains(part), "{part}: {said}");
            }
            assert!(!said.contains("hush"), "{said}");
        };
        check(servers.postgres().await, "Postgres", "BURSAR_DATABASE_URL");
        check(servers.rabbitmq().await, "RabbitMQ", "BURSAR_AMQP_URL");
    }
}
