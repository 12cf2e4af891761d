//! The name of a configuration: whether two processes decide alike is told by comparing it.

use super::Config;
use dead_letters::DeadLetterSettings;
use ingester::{Token, TokenEntry};
use processors::StripeSettings;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

impl Config {
    /// Names what decides about facts: the version and every setting, but those that may differ between an operator's shell
    /// and the fleet. Short, and no secret can be told from it.
    pub fn digest(&self) -> String {
        let bound = self.bound_by_environment();
        let text = serde_json::to_vec(&(env!("CARGO_PKG_VERSION"), self.deciding(), bound))
            .expect("settings are plain data");
        Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Which sources tokens of the environment bind, and to whom: by that the gate decides who may state what.
    fn bound_by_environment(&self) -> Vec<String> {
        let tokens = self.env_tokens.iter().filter_map(|text| Token::parse(text.0.expose_secret()).ok());
        tokens
            .filter(|token| !token.sources.is_empty())
            .map(|token| format!("{:?} {:?}", token.speaker(), token.sources))
            .collect()
    }

    /// Without what may differ. Whatever is not named here counts, and so does a section to come. Of a secret it counts
    /// that there is one, for that is how it is shown.
    fn deciding(&self) -> Self {
        let nowhere = Self::default();
        Self {
            // Where the servers are seen from here, and as whom.
            database_url: nowhere.database_url,
            migrate_url: nowhere.migrate_url,
            amqp_url: nowhere.amqp_url,
            rabbitmq_management_url: nowhere.rabbitmq_management_url,
            http_addr: nowhere.http_addr,
            admin_addr: nowhere.admin_addr,
            // What this process may take, and whom its door lets in.
            limits: nowhere.limits,
            http: nowhere.http,
            env_tokens: Vec::new(),
            // What this operator may do.
            dead_letters: DeadLetterSettings { edit: false },
            // Of a processor's API: who calls it, and where. What a message becomes does not hang on it.
            stripe: StripeSettings { accounts: self.stripe.accounts.clone(), ..nowhere.stripe },
            // The ingester alone has them.
            webhook_secrets: nowhere.webhook_secrets,
            tokens: self.tokens.iter().map(without_secret).collect(),
            ..self.clone()
        }
    }
}

fn without_secret(token: &TokenEntry) -> TokenEntry {
    TokenEntry { sha256: String::new(), ..token.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::{Table, Value};

    /// Every setting that there is, with a value.
    const FULL: &str = r#"
        mode = "live"
        migrate_url = "postgres://owner@h/d"
        rabbitmq_management_url = "http://guest:guest@h:15672"
        [credits]
        low = ["10"]
        [accounts]
        link_secret = "hush"
        [stripe]
        accounts = ["acct_1"]
        api_key = "hush"
        [webhook_secrets]
        paddle = ["hush"]
        [[catalog]]
        processor = "paddle"
        price = "pri_1"
        credits = "1000"
        bonus = "50"
        expires_after = "365d"
        amount = { USD = "10" }
        [rate.USD]
        credits_per_unit = "100"
        [[publishers]]
        user = "guest"
        facts = ["fact.usage"]
        sources = ["gateway/*"]
        [[tokens]]
        name = "shop"
        sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
        scopes = ["facts"]
        facts = ["fact.usage"]
        sources = ["shop/*"]
        [retention]
        fact_texts = "30d"
        [alerts]
        dead_letters_at_stake = { USD = "1000" }
        [http]
        proxies = ["10.0.0.0/8"]
    "#;

    /// Of a token.
    const HASH: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

    /// What an operator's shell may have otherwise than the fleet.
    const MAY_DIFFER: [&str; 13] = [
        "database_url",
        "migrate_url",
        "amqp_url",
        "rabbitmq_management_url",
        "http_addr",
        "admin_addr",
        "limits.",
        "http.",
        "dead_letters.edit",
        "stripe.api_key",
        "stripe.api_url",
        "webhook_secrets.",
        "tokens.0.sha256",
    ];

    /// A secret counts by being there: it is shown as a mask.
    const SHOWN_AS_A_MASK: &str = "accounts.link_secret";

    fn may_differ(path: &str) -> bool {
        path == SHOWN_AS_A_MASK
            || MAY_DIFFER
                .iter()
                .any(|named| path == *named || (named.ends_with('.') && path.starts_with(named)))
    }

    fn config(table: &Table) -> Option<Config> {
        toml::from_str(&toml::to_string(table).unwrap()).ok()
    }

    /// The paths of all settings in it.
    fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            Value::Table(table) => table.iter().for_each(|(key, value)| paths(value, &below(key), found)),
            Value::Array(values) => values
                .iter()
                .enumerate()
                .for_each(|(place, value)| paths(value, &below(&place.to_string()), found)),
            _ => found.push(path.to_owned()),
        }
    }

    fn setting<'a>(table: &'a mut Table, path: &str) -> &'a mut Value {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let value = table.get_mut(first).unwrap();
        rest.split('.').filter(|part| !part.is_empty()).fold(value, |value, part| match value {
            Value::Table(table) => table.get_mut(part).unwrap(),
            Value::Array(values) => &mut values[part.parse::<usize>().unwrap()],
            _ => panic!("{path}"),
        })
    }

    /// The configuration with another value at this path: the first that can be read.
    fn changed(full: &Table, path: &str) -> Config {
        let mut table = full.clone();
        let others = match setting(&mut table, path).clone() {
            Value::Integer(number) => vec![Value::Integer(number + 1)],
            Value::Boolean(is) => vec![Value::Boolean(!is)],
            Value::String(text) => {
                let words = [
                    "7",
                    "127.0.0.1:7",
                    "test",
                    "any",
                    "oldest",
                    "expiry",
                    "forwarded",
                    "access",
                    "checkout",
                ];
                let longer = Value::String(format!("{text}x"));
                let words = words.into_iter().filter(|word| *word != text);
                std::iter::once(longer).chain(words.map(|word| Value::String(word.to_owned()))).collect()
            }
            other => panic!("{path}: {other:?}"),
        };
        let read = others.into_iter().find_map(|other| {
            *setting(&mut table, path) = other;
            config(&table)
        });
        read.unwrap_or_else(|| panic!("{path}: no other value can be read"))
    }

    #[test]
    fn every_setting_counts_but_those_that_may_differ() {
        let stated: Config = toml::from_str(FULL).unwrap();
        stated.check().unwrap();
        let digest = stated.digest();
        let full: Table = toml::to_string(&stated).unwrap().parse().unwrap();
        let mut all = Vec::new();
        paths(&Value::Table(full.clone()), "", &mut all);
        let again = config(&full).unwrap();
        assert_eq!(again.digest(), digest, "secrets' values count for nothing");
        for path in &all {
            let other = changed(&full, path).digest();
            assert_eq!(other == digest, may_differ(path), "{path}");
        }
        for named in MAY_DIFFER {
            assert!(all.iter().any(|path| may_differ(path) && path.starts_with(named)), "{named}");
        }
    }

    #[test]
    fn what_is_left_out_or_there_counts() {
        let stated: Config = toml::from_str(FULL).unwrap();
        let digest = stated.digest();
        let check = |change: fn(&mut Config)| {
            let mut other = stated.clone();
            change(&mut other);
            assert_ne!(other.digest(), digest);
        };
        check(|config| config.accounts.link_secret = None);
        check(|config| config.catalog.clear());
        check(|config| config.publishers[0].sources = None);
        check(|config| config.credits.low.clear());
    }

    #[test]
    fn a_digest_is_short_and_the_same_each_time() {
        let digest = Config::default().digest();
        assert_eq!((digest.len(), &digest), (8, &Config::default().digest()));
        let with_token = |text: String| {
            let env_tokens = vec![crate::config::Masked::new(text)];
            Config { env_tokens, ..Config::default() }.digest()
        };
        assert_eq!(with_token(format!("shop:facts:{HASH}")), digest, "whom a door lets in may differ");
        assert_ne!(
            with_token(format!("shop:facts:{HASH}@shop/*")),
            digest,
            "who may use which sources may not"
        );
    }
}
