//! The configuration as a whole. What one section says is tested in the section's own crate, too.

use super::{Config, Masked};
use anyhow::Result;
use domain::money::Credits;
use processors::Speaker;
use secrecy::ExposeSecret;
use std::time::Duration;

const CONTRACT: &str = r#"
    mode = "live"
    [credits]
    scale = 6
    burn_order = ["expiry", "promotional", "oldest"]
    [[catalog]]
    processor = "paddle"
    price = "pri_01h1vjes1y163xfj1rh1tkfb65"
    credits = "1000"
    bonus = "50"
    expires_after = "365d"
    [rate.USD]
    credits_per_unit = "100"
    [accounts]
    custom_data_key = "account_id"
    metadata_price_key = "price"
    [[publishers]]
    user = "guest"
    facts = ["fact.usage", "fact.grant", "fact.customer", "fact.refund_request"]
"#;

#[test]
fn what_the_readme_shows_can_be_read() {
    let readme = include_str!("../../../../README.md");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let read: Result<Config, _> = toml::from_str(block.expect("an example"));
    let shown = read.expect("every key once, and known");
    shown.limits.check().expect("as many connections as today's workers need");
}

#[test]
fn the_documented_configuration_is_read() {
    let config = Config::parse(CONTRACT).unwrap();
    let catalog = config.catalog().unwrap();
    let price = &catalog.prices["paddle"]["pri_01h1vjes1y163xfj1rh1tkfb65"];
    assert_eq!((price.bonus, price.expires_after_seconds), (Credits::whole(50), Some(365 * 86_400)));
    assert_eq!(config.publishers().unwrap().rights["guest"].len(), 4);
}

#[test]
fn alerts_have_thresholds_of_their_own() {
    let text =
        "[alerts]\ndead_letters_inflow = 3\ndead_letters_at_stake = { USD = \"1000\", credits = \"0.5\" }";
    let thresholds = Config::parse(text).unwrap().alerts.thresholds().unwrap();
    assert_eq!((thresholds.inflow, thresholds.oldest), (3, Duration::from_secs(3600)));
    let at_stake: Vec<String> =
        thresholds.at_stake.iter().map(|(unit, above)| format!("{unit} {above}")).collect();
    assert_eq!(at_stake, ["USD 1000", "credits 0.5"]);
}

#[test]
fn what_is_wrong_is_named() {
    let check = |text: &str, expect: &str| {
        let error = format!("{:#}", Config::parse(text).unwrap_err());
        assert!(error.contains(expect), "{error}");
    };
    check("colour = 1", "unknown field `colour`");
    check("[credits]\nscale = 13", "credits.scale");
    check("[credits]\nburn_order = [\"newest\"]", "expected one of `expiry`");
    check("[rate.XYZQ]\ncredits_per_unit = \"1\"", "ISO 4217");
    let priced = |amount: &str| {
        format!(
            "[[catalog]]\nprocessor = \"stripe\"\nprice = \"p\"\ncredits = \"1\"\namount = {{ {amount} }}"
        )
    };
    check(&priced("XYZQ = \"10.00\""), "ISO 4217");
    check(&priced("USD = \"0\""), "more than zero");
    check(&priced("USD = \"-10\""), "more than zero");
    check(&priced("JPY = \"10.50\""), "at most 0 decimal places");
    check(&priced("USD = \"10.001\""), "at most 2 decimal places");
    check(&priced("USD = \"10\", usd = \"20\""), "stands twice");
    check("[accounts]\nrate_applies_to = \"some\"", "expected `any` or `purchases`");
    check("[rate.USD]\ncredits_per_unit = \"-1\"", "more than zero");
    check("[[publishers]]\nuser = \"a\"\nfacts = [\"fact.payment\"]", "verified webhook alone");
    check("[[publishers]]\nuser = \"a\"\nfacts = [\"usage\"]", "fact.usage");
    let publisher = "[[publishers]]\nuser = \"a\"\nfacts = [\"fact.usage\"]\n";
    check(&format!("{publisher}sources = [\"gate*\"]"), "publishers a: sources: expected a source such as");
    check(&format!("{publisher}sources = [\"paddle/*\"]"), "one of the fleet's own");
    check(&format!("{publisher}sources = []"), "one source or more, got none");
    let token = "[[tokens]]\nname = \"t\"\nscopes = [\"facts\"]\nsha256 = \"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\"\n";
    check(&format!("{token}sources = [\"a*b\"]"), "tokens t: sources: expected a source such as");
    check(
        &format!("{publisher}sources = [\"gateway/*\"]\n{token}sources = [\"gateway/eu/*\"]"),
        "different publishers and tokens",
    );
    check("[webhook_secrets]\npayball = [\"x\"]", "paddle, stripe, generic");
    check("[stripe]\napi_url = \"api.stripe.com\"", "stripe.api_url: expected scheme, host and port");
    check("[stripe]\napi_key = \"\"", "stripe.api_key: expected a key");
    check("[retention]\nraw_deliveries = \"long\"", "a duration such as");
    for text in [
        "[retention]\nraw_deliveries = \"300000years\"",
        "[retention]\nresolved_dead_letters = \"300000years\"",
        "[alerts]\ndead_letters_oldest = \"300000years\"",
        "[credits]\nrestore_grace = \"300000years\"",
    ] {
        check(text, "at most 100 years");
    }
    check("namespace = \"a b\"", "namespace");
    check("[http]\nhead_timeout = \"soon\"", "http.head_timeout");
    check("[http]\nbody_rate = 0", "http.body_rate");
    check("[http]\nwork_mib = 0", "http.work_mib");
    check("[http]\nproxies = [\"proxy\"]", "http.proxies");
    check("[http]\nproxy_header = \"via\"", "x-forwarded-for");
    check(
        "[privacy]\ndigest_key = \"short\"",
        "privacy.digest_key: expected at least 32 bytes, got 5: `openssl rand",
    );
    check("[alerts]\ndead_letters_oldest = \"soon\"", "alerts.dead_letters_oldest");
    check("[alerts]\nreplay_failing = 0", "alerts.replay_failing");
    check("[alerts.dead_letters_at_stake]\nEUR = \"-1\"", "EUR: expected a decimal");
    check("[alerts.dead_letters_at_stake]\nshells = \"1\"", "a currency or credits");
    check("[[catalog]]\nprocessor = \"paddle\"\nprice = \"p\"\ncredits = \"0.0000001\"", "6 decimal places");
}

#[test]
fn the_environment_comes_first_and_empty_counts_as_unset() {
    let mut config = Config::parse(CONTRACT).unwrap();
    let env = |name: &str| match name {
        "BURSAR_NAMESPACE" => Some("shop".to_owned()),
        "BURSAR_PADDLE_WEBHOOK_SECRETS" => Some("one, two,".to_owned()),
        "BURSAR_STRIPE_API_URL" => Some("http://127.0.0.1:8081".to_owned()),
        "BURSAR_API_TOKENS" => Some(format!("gw:facts:{}@gateway/*", ingester::hash("x"))),
        _ => None,
    };
    config.apply_environment(env).unwrap();
    let sources = config.sources().unwrap();
    assert!(sources.check(Some(&Speaker::Token("gw".to_owned())), "gateway/1").is_ok());
    assert!(sources.check(Some(&Speaker::Publisher("guest".to_owned())), "gateway/1").is_err());
    assert_eq!(config.namespace, "shop");
    assert_eq!(config.secrets().unwrap().0["paddle"].len(), 2);
    assert_eq!(config.stripe.files_url().unwrap().as_str(), "http://127.0.0.1:8081/");
}

#[test]
fn every_secret_may_come_from_a_file() {
    let file = std::env::temp_dir().join(format!("bursar-secrets-{}", std::process::id()));
    std::fs::write(&file, "postgres://a:hush@h/d\n").unwrap();
    let mut config = Config::default();
    let path = file.to_str().unwrap().to_owned();
    config.apply_environment(|name| name.ends_with("_FILE").then(|| path.clone())).unwrap();
    std::fs::remove_file(&file).unwrap();
    let shown = |secret: &Masked| secret.0.expose_secret().to_owned();
    let mut read = vec![shown(&config.database_url), shown(&config.amqp_url)];
    read.extend(
        [
            &config.migrate_url,
            &config.rabbitmq_management_url,
            &config.accounts.link_secret,
            &config.stripe.api_key,
            &config.privacy.digest_key,
        ]
        .map(|secret| shown(secret.as_ref().unwrap())),
    );
    read.extend(processors::ALL.map(|processor| shown(&config.webhook_secrets[processor.name][0])));
    read.extend(config.env_tokens.iter().map(shown));
    assert_eq!(read, vec!["postgres://a:hush@h/d"; 11]);
}

#[test]
fn the_role_that_runs_is_told_from_the_one_that_owns() {
    let check = |migrate_url: Option<&str>, expect: Option<&str>| {
        let database_url = Masked::new("postgres://runs:x@h/d");
        let migrate_url = migrate_url.map(Masked::new);
        let config = Config { database_url, migrate_url, ..Config::default() };
        assert_eq!(config.runtime_role().as_deref(), expect);
    };
    check(None, None);
    check(Some("postgres://runs:y@h/d"), None);
    check(Some("postgres://owns:y@h/d"), Some("runs"));
}

#[test]
fn secrets_are_never_shown() {
    let mut config = Config { database_url: Masked::new("postgres://a:hush@h/d"), ..Config::default() };
    config.webhook_secrets.insert("paddle".to_owned(), vec![Masked::new("hush")]);
    config.accounts.link_secret = Some(Masked::new("https://a:hush@h"));
    config.stripe.api_key = Some(Masked::new("rk_live_hush"));
    config.privacy.digest_key = Some(Masked::new("hush"));
    config.env_tokens = vec![Masked::new("shop:facts:hush")];
    let shown = toml::to_string(&config).unwrap();
    assert!(shown.contains("postgres://a:***@h/d") && !shown.contains("hush"), "{shown}");
    let told = format!("{config:?}");
    assert!(!told.contains("hush"), "{told}");
}
