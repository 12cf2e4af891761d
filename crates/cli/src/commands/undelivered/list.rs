//! `payment undelivered list`.

use super::which::{WhichUndelivered, look_through};
use crate::output::listing::{self, more_groups};
use crate::output::table::{Column, Style, Table, moment, or_none};
use crate::session::Session;
use anyhow::Result;
use domain::Money;
use ledger::read::{UndeliveredPayment, WhyUndelivered};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::ExitCode;
use time::OffsetDateTime;

/// Payments that wait for the same.
#[derive(Serialize)]
struct UndeliveredGroup {
    why: &'static str,
    prices: String,
    count: u64,
    #[serde(with = "time::serde::rfc3339")]
    first: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last: OffsetDateTime,
    /// What was paid, by currency.
    money: BTreeMap<&'static str, Money>,
    /// How many of them today's configuration would deliver.
    deliverable: u64,
}

impl UndeliveredGroup {
    fn of(payment: &UndeliveredPayment) -> Self {
        Self {
            why: word(payment.why),
            prices: payment.prices.join(", "),
            count: 0,
            first: payment.since,
            last: payment.since,
            money: BTreeMap::new(),
            deliverable: 0,
        }
    }

    /// Takes in one that came after those before.
    fn note(&mut self, payment: &UndeliveredPayment) {
        self.count += 1;
        self.last = payment.since;
        self.deliverable += u64::from(payment.grants_today.is_some());
        let Some(money) = payment.money else { return };
        let sum = self.money.entry(money.currency().code()).or_insert_with(|| Money::zero(money.currency()));
        if let Ok(more) = Money::new(sum.amount() + money.amount(), money.currency()) {
            *sum = more;
        }
    }
}

fn word(why: WhyUndelivered) -> &'static str {
    match why {
        WhyUndelivered::AccountUnknown => "account_unknown",
        WhyUndelivered::AccountContradicted => "account_contradicted",
        WhyUndelivered::PriceUnknown => "price_unknown",
        WhyUndelivered::NotAPurchaseOfCredits => "not_a_purchase_of_credits",
        WhyUndelivered::AmountNoMultiple => "amount_no_multiple",
    }
}

/// What is said where there is none.
const NONE: &str = "No undelivered payments here.";

pub async fn list(session: &Session, which: &WhichUndelivered, each: bool, limit: usize) -> Result<ExitCode> {
    let mut payments = Vec::new();
    let mut groups: BTreeMap<(&'static str, Vec<String>), UndeliveredGroup> = BTreeMap::new();
    look_through(session, which, |payment| {
        if each {
            payments.push(payment);
        } else {
            let key = (word(payment.why), payment.prices.clone());
            groups.entry(key).or_insert_with(|| UndeliveredGroup::of(&payment)).note(&payment);
        }
        if payments.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .await?;
    if each {
        let document = json!({ "payments": payments });
        return listing::print(session.json, &document, &payments_table(&payments), NONE, None);
    }
    let deliverable: u64 = groups.values().map(|group| group.deliverable).sum();
    let more = groups.len().saturating_sub(limit);
    let groups: Vec<UndeliveredGroup> = groups.into_values().take(limit).collect();
    let next = match deliverable {
        0 => "Today's configuration would deliver none of them: see `bursar payment show`, `payment deliver --account --credits`.".to_owned(),
        count => format!("Today's configuration would deliver {count} of them: bursar payment undelivered plan"),
    };
    let next = match more_groups(groups.len(), more) {
        None => next,
        Some(more) => format!("{more}. {next}"),
    };
    listing::print(session.json, &json!({ "groups": groups }), &groups_table(&groups), NONE, Some(next))
}

fn groups_table(groups: &[UndeliveredGroup]) -> Table {
    let mut table = Table::new(&[
        Column::Text("why"),
        Column::Text("prices"),
        Column::Number("count"),
        Column::Text("paid"),
        Column::Number("deliverable now"),
        Column::Text("first"),
        Column::Text("last"),
    ]);
    for group in groups {
        let money: Vec<String> = group.money.values().map(Money::to_string).collect();
        table.styled_row(
            if group.deliverable > 0 { Style::Bold } else { Style::Plain },
            vec![
                group.why.to_owned(),
                or_none(Some(group.prices.as_str()).filter(|prices| !prices.is_empty())),
                group.count.to_string(),
                or_none(Some(money.join(", ")).filter(|money| !money.is_empty()).as_deref()),
                group.deliverable.to_string(),
                moment(group.first),
                moment(group.last),
            ],
        );
    }
    table
}

fn payments_table(payments: &[UndeliveredPayment]) -> Table {
    let mut table = Table::new(&[
        Column::Text("payment"),
        Column::Text("why"),
        Column::Text("prices"),
        Column::Text("paid"),
        Column::Text("grants today"),
        Column::Text("first heard of"),
    ]);
    for payment in payments {
        table.row(vec![
            payment.payment.to_string(),
            word(payment.why).to_owned(),
            payment.prices.join(", "),
            or_none(payment.money.map(|money| money.to_string()).as_deref()),
            or_none(payment.grants_today.map(|credits| credits.to_string()).as_deref()),
            moment(payment.since),
        ]);
    }
    table
}
