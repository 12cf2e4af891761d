//! Disputes through the whole fleet: signed webhooks of both processors in, and after each of them how the case stands, what
//! restricts the account, what it can spend, and what was told of it.

mod deadlines;
mod histories;
mod letters;
mod model;
mod overlap;
mod payloads;
mod proof;
mod rebuild;
mod stories;

use crate::binary::{Configuration, deliver, settings};
use crate::payloads::translated;
use bus::exchange;
use domain::fact::{RestrictionAct, RestrictionKind};
use domain::{Cause, Envelope};
use ledger::verify::Report;
use reqwest::StatusCode;
use serde_json::Value;
use std::collections::BTreeMap;
use testkit::facts::{envelope, restriction};
use testkit::{Bursar, Settings, Site, eventually};
use time::OffsetDateTime;

/// A whole fleet in a process of its own.
struct Fleet {
    site: Site,
    bursar: Bursar,
    settings: Settings,
    client: reqwest::Client,
    /// Which of each account's events of this worker were looked at.
    seen: BTreeMap<String, usize>,
    acts: usize,
    _configuration: Configuration,
}

impl Fleet {
    async fn open(site: &Site) -> Self {
        Self::configured(site, "").await
    }

    async fn configured(site: &Site, text: &str) -> Self {
        let configuration = Configuration::new("live").with(text);
        let settings = settings(&configuration);
        let bursar = Bursar::start(site, &settings, &["up"]).await;
        let (site, client) = (site.clone(), reqwest::Client::new());
        Self { site, bursar, settings, client, seen: BTreeMap::new(), acts: 0, _configuration: configuration }
    }

    /// Delivers a webhook, and waits until every reader has settled each of its facts.
    async fn tell(&self, processor: &str, payload: &Value) {
        self.deliver(processor, payload).await;
        self.settled(&facts_of(processor, payload)).await;
    }

    async fn deliver(&self, processor: &str, payload: &Value) {
        let url = self.bursar.addresses.http(&format!("/webhooks/{processor}"));
        let body = serde_json::to_vec(payload).unwrap();
        let answer = deliver(&self.client, url, processor, body).await.unwrap();
        assert_eq!(answer, StatusCode::OK, "{payload}");
    }

    async fn settled(&self, causes: &[Cause]) {
        settled(&self.site, causes).await;
    }

    /// An operator's word on an account.
    async fn operator(&mut self, act: RestrictionAct, account: &str, kind: RestrictionKind) {
        self.acts += 1;
        let said = envelope(&format!("operator/ada/act_{}", self.acts), restriction(account, kind, act));
        let cause = said.cause.clone();
        self.site.state(exchange::VERIFIED, vec![said]).await;
        self.settled(&[cause]).await;
    }

    /// How an account stands, and what this worker told of it since the last look: events without an account among them.
    #[track_caller]
    fn check<'a>(
        &'a mut self,
        account: &'a str,
        expect: &'a str,
        told: &'a [&'a str],
    ) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let stands = stands(&self.site, account).await;
            assert_eq!(stands, expect, "at {place}");
            let all = events_of(&self.site, account).await;
            let seen = self.seen.insert(account.to_owned(), all.len()).unwrap_or(0);
            assert_eq!(all[seen..], *told, "at {place}");
        }
    }

    async fn until(&self, account: &str, expect: &str) {
        eventually(&format!("{account}: {expect}"), async || {
            (stands(&self.site, account).await == expect).then_some(())
        })
        .await;
    }

    /// Nothing is wrong, and the fleet ends.
    async fn end(self) {
        assert_proved(&self.site).await;
        self.site.until("select count(*) from outbox", 0).await;
        assert!(self.bursar.terminate().await.success());
        assert_eq!(self.site.number("select count(*) from dead_letters").await, 0);
    }
}

fn facts_of(processor: &str, payload: &Value) -> Vec<Cause> {
    let causes = |envelope: Envelope| envelope.cause;
    translated(processor, payload).into_iter().map(causes).collect()
}

/// As when a fleet starts: what is admitted from now on is expected of every reader.
async fn readers_are_known(site: &Site) {
    let mut connection = site.pool.acquire().await.unwrap();
    facts::readers_known(&mut connection, &site.readers(), OffsetDateTime::now_utc()).await.unwrap();
}

async fn settled(site: &Site, causes: &[Cause]) {
    let readers = site.readers();
    eventually(&format!("{causes:?} to be settled"), async || {
        let mut connection = site.pool.acquire().await.ok()?;
        let states = facts::outcomes::states(&mut connection, &readers, causes).await.unwrap();
        (states.len() == causes.len() && states.iter().all(|state| state.outcome().is_some())).then_some(())
    })
    .await;
}

/// What a query tells of an account, asked again where a busy machine keeps a connection waiting.
async fn told_of(site: &Site, query: &'static str, account: &str) -> Vec<String> {
    eventually(query, async || sqlx::query_scalar(query).bind(account).fetch_all(&site.pool).await.ok()).await
}

/// `<cases> | <restrictions> | <available / held / debt>` of an account.
async fn stands(site: &Site, account: &str) -> String {
    let or_none = |rows: Vec<String>, none: &str| match rows.is_empty() {
        true => none.to_owned(),
        false => rows.join(", "),
    };
    let cases = told_of(
        site,
        "select split_part(dispute, ':', 2) || ' ' || state from disputes where account = $1 order by dispute",
        account,
    );
    let restrictions = told_of(
        site,
        "select kind || ' by ' || case cause_kind when 'case' then split_part(cause, ':', 2) when 'operator' then cause
                                             else 'risk' end
         from restrictions where account = $1 and ended_at is null order by kind, cause_kind, cause, stage",
        account,
    );
    let balances = told_of(
        site,
        "select concat_ws(' / ', trim_scale(available), trim_scale(held), trim_scale(debt)) from accounts where account = $1",
        account,
    );
    let (cases, restrictions) = (or_none(cases.await, "-"), or_none(restrictions.await, "-"));
    format!("{cases} | {restrictions} | {}", or_none(balances.await, "none"))
}

/// The events that this worker told of an account, in their order.
async fn events_of(site: &Site, account: &str) -> Vec<String> {
    told_of(
        site,
        "select type || case when type like 'dispute.%' then ' ' || split_part(data ->> 'dispute', ':', 2) else '' end
         from events where account = $1 and source = 'bursar/disputes' order by sequence",
        account,
    )
    .await
}

/// What `bursar ledger verify` finds, with the checks of every worker.
async fn report(site: &Site) -> Report {
    let readers = site.readers();
    ledger::verify::verify_with(&site.pool, 6, None, &readers, &bursar::workers::checks(), &mut |_| {})
        .await
        .unwrap()
}

async fn assert_proved(site: &Site) {
    let report = report(site).await;
    let broken: Vec<_> = report.checks.iter().filter(|check| !check.ok).collect();
    assert!(report.ok && broken.is_empty(), "{broken:#?}");
    let gaps = "select count(*) from (select account, count(*) as count, min(sequence) as first, max(sequence) as last
                                      from events where account is not null group by account) e
                join accounts a using (account) where first <> 1 or last <> count or last <> a.sequence";
    assert_eq!(site.number(gaps).await, 0, "a gap in a sequence");
    standing_is_told(site).await;
}

/// The last event of each account's standing tells the whole of it.
async fn standing_is_told(site: &Site) {
    let told: Vec<(String, sqlx::types::Json<Value>)> = sqlx::query_as(
        "select distinct on (account) account, data -> 'standing' from events
         where type in ('account.restricted', 'account.restored') order by account, sequence desc",
    )
    .fetch_all(&site.pool)
    .await
    .unwrap();
    for (account, standing) in told {
        let kinds: Vec<String> = sqlx::query_scalar(
            "select distinct kind from restrictions where account = $1 and ended_at is null order by kind",
        )
        .bind(&account)
        .fetch_all(&site.pool)
        .await
        .unwrap();
        for kind in ["access", "checkout", "balance"] {
            let is_restricted = kinds.iter().any(|stands| stands == kind);
            let expect = if is_restricted { "restricted" } else { "allowed" };
            assert_eq!(standing.0[kind], expect, "{account}: {kind} of {}", standing.0);
        }
    }
}
