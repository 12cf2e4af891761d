//! `bursar doctor` on what is dangerous: one role for all, servers over the network that prove nothing, a broker where others
//! may write what only the fleet may.

use axum::{Json, Router, extract::Path, routing::get};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use testkit::{Bursar, Settings, Site, run};

/// What it says of `what`, with how it is marked.
async fn told(site: &Site, settings: Settings, what: &str) -> Vec<(String, String)> {
    let output = Bursar::run(site, &settings, &["doctor", "--json"]).await;
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = |finding: &Value, part: &str| finding[part].as_str().unwrap().to_owned();
    let findings = document["findings"].as_array().unwrap().iter();
    let of = findings.filter(|finding| finding["what"] == what);
    of.map(|finding| (text(finding, "state"), text(finding, "says"))).collect()
}

#[track_caller]
fn check(told: &[(String, String)], state: &str, parts: &[&str]) {
    let found = told.iter().any(|(is, says)| is == state && parts.iter().all(|part| says.contains(part)));
    assert!(found, "{state} {parts:?}: {told:#?}");
    assert!(told.iter().all(|(_, says)| !says.contains("hush")), "{told:#?}");
}

#[test]
fn doctor_tells_one_role_for_all_from_two() {
    run(async |site| {
        let role = async |url: &str| {
            let settings =
                Settings::default().with("BURSAR_DATABASE_URL", url).with("BURSAR_MIGRATE_URL", "");
            told(&site, settings, "roles").await
        };
        check(&role(site.database_url.expose_secret()).await, "ok", &["owns nothing"]);
        let owner = role(site.owner_url.expose_secret()).await;
        check(&owner, "warning", &["owns the tables", "bursar migrate --grant-to"]);
        sqlx::query("revoke insert on events from public").execute(&site.owner).await.unwrap();
        let runs =
            site.database_url.expose_secret().split(['/', ':']).find(|part| part.starts_with("bursar_test_"));
        let taken =
            format!("revoke insert on events from {0}; grant truncate on transactions to {0}", runs.unwrap());
        sqlx::raw_sql(sqlx::AssertSqlSafe(taken)).execute(&site.owner).await.unwrap();
        let now = role(site.database_url.expose_secret()).await;
        check(&now, "failed", &["lacks INSERT on events", "as the owner mends it"]);
        check(&now, "warning", &["may more than it needs, TRUNCATE on transactions"]);
    });
}

#[test]
fn doctor_warns_of_servers_over_the_network_that_prove_nothing() {
    run(async |site| {
        // A name that nobody answers to is as far away as any.
        let settings = Settings::default()
            .with("BURSAR_DATABASE_URL", "postgres://a:hush@db.invalid/bursar")
            .with("BURSAR_MIGRATE_URL", "postgres://o:hush@db.invalid/bursar?sslmode=verify-full");
        let found = told(&site, settings, "Postgres TLS").await;
        check(&found, "warning", &["db.invalid", "sslmode=verify-full", "BURSAR_DATABASE_URL"]);
        check(&found, "ok", &["db.invalid"]);
        let settings = Settings::default().with("BURSAR_AMQP_URL", "amqp://a:hush@mq.invalid");
        check(&told(&site, settings, "RabbitMQ TLS").await, "warning", &["mq.invalid", "amqps://"]);
        assert_eq!(told(&site, Settings::default(), "Postgres TLS").await, []);
    });
}

/// A management interface that tells of one more user than the fleet's.
async fn management(write: &'static str) -> String {
    let permissions = move |Path(_): Path<String>| async move {
        Json(json!([{ "user": "gateway", "vhost": "/", "configure": "^$", "write": write, "read": "^$" }]))
    };
    let users = async || Json(json!([{ "name": "gateway", "tags": [] }]));
    let routes = Router::new()
        .route("/api/vhosts/{vhost}/permissions", get(permissions))
        .route("/api/users", get(users));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://ada:hush@{address}")
}

#[test]
fn doctor_tells_who_may_write_where_only_the_fleet_may() {
    run(async |site| {
        let with = |url: String| Settings::default().with("BURSAR_RABBITMQ_MANAGEMENT_URL", url);
        let narrow =
            told(&site, with(management("^t-[0-9a-f-]*\\.(inbound|raw)$").await), "permissions").await;
        assert!(!narrow.iter().any(|(_, says)| says.contains("gateway")), "{narrow:?}");
        let wide = told(&site, with(management(".*").await), "permissions").await;
        check(&wide, "warning", &["gateway may write to", ".verified", "rabbitmqctl set_permissions"]);
        let unseen = told(&site, Settings::default(), "permissions").await;
        check(&unseen, "warning", &["cannot be seen over AMQP", "rabbitmqctl list_permissions"]);
        let away = told(&site, with("http://ada:hush@127.0.0.1:1".to_owned()), "permissions").await;
        check(&away, "warning", &["RabbitMQ's management interface"]);
    });
}
