//! `unrecognised list`.

use super::which::{WhichUnrecognised, look_through};
use crate::output::listing::{self, may_go_on, more_groups};
use crate::output::table::{Column, Style, Table, moment, or_none};
use crate::output::{say, say_json};
use crate::session::Session;
use anyhow::Result;
use gate::{Today, UnrecognisedDelivery};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::ExitCode;
use time::OffsetDateTime;

/// What one processor said under one name, and why it was not understood.
#[derive(Serialize)]
struct UnrecognisedGroup {
    processor: String,
    event_type: String,
    why: &'static str,
    count: u64,
    #[serde(with = "time::serde::rfc3339")]
    first: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last: OffsetDateTime,
    /// How many of them today's code understands.
    understood: u64,
    /// As facts of which kinds, and how many of each.
    kinds: BTreeMap<&'static str, u64>,
    /// How many have no body left: only the processor can tell them again.
    body_gone: u64,
}

impl UnrecognisedGroup {
    fn new(delivery: &UnrecognisedDelivery) -> Self {
        Self {
            processor: delivery.said.processor.clone(),
            event_type: delivery.said.event_type.clone(),
            why: delivery.said.why.as_str(),
            count: 0,
            first: delivery.admitted_at,
            last: delivery.admitted_at,
            understood: 0,
            kinds: BTreeMap::new(),
            body_gone: 0,
        }
    }

    /// Takes in a delivery that came after those before.
    fn note(&mut self, delivery: &UnrecognisedDelivery, today: &Today) {
        self.count += 1;
        self.last = delivery.admitted_at;
        match today {
            Today::BodyGone => self.body_gone += 1,
            Today::NotUnderstood => {}
            Today::Understood(envelopes) => {
                self.understood += 1;
                for envelope in envelopes {
                    *self.kinds.entry(envelope.fact.kind().as_str()).or_default() += 1;
                }
            }
        }
    }

    fn cells(&self) -> Vec<String> {
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        vec![
            self.processor.clone(),
            self.event_type.clone(),
            self.why.to_owned(),
            self.count.to_string(),
            self.understood.to_string(),
            or_none(Some(kinds.join(", ")).filter(|kinds| !kinds.is_empty()).as_deref()),
            self.body_gone.to_string(),
            moment(self.first),
            moment(self.last),
        ]
    }
}

/// What is said where there is none.
const NONE: &str = "Nothing here that was not understood.";

pub async fn groups(session: &Session, which: &WhichUnrecognised, limit: usize) -> Result<ExitCode> {
    let mut groups: BTreeMap<(String, String, &'static str), UnrecognisedGroup> = BTreeMap::new();
    look_through(session, which, |delivery, today| {
        let said = &delivery.said;
        let key = (said.processor.clone(), said.event_type.clone(), said.why.as_str());
        groups.entry(key).or_insert_with(|| UnrecognisedGroup::new(&delivery)).note(&delivery, &today);
        ControlFlow::Continue(())
    })
    .await?;
    let found: u64 = groups.values().map(|group| group.count).sum();
    let understood: u64 = groups.values().map(|group| group.understood).sum();
    let more = groups.len().saturating_sub(limit);
    let shown: Vec<UnrecognisedGroup> = groups.into_values().take(limit).collect();
    match session.json {
        true => say_json(
            &json!({ "found": found, "understood": understood, "groups": shown, "more_groups": more }),
        )?,
        false => say(&groups_text(&shown, more, understood)),
    }
    Ok(ExitCode::SUCCESS)
}

fn groups_text(groups: &[UnrecognisedGroup], more: usize, understood: u64) -> String {
    if groups.is_empty() {
        return NONE.to_owned();
    }
    let mut table = Table::new(&[
        Column::Text("processor"),
        Column::Text("event type"),
        Column::Text("why"),
        Column::Number("count"),
        Column::Number("understood now"),
        Column::Text("as"),
        Column::Number("body gone"),
        Column::Text("first"),
        Column::Text("last"),
    ]);
    for group in groups {
        table.styled_row(if group.understood > 0 { Style::Bold } else { Style::Plain }, group.cells());
    }
    let mut parts = vec![table.to_string()];
    parts.extend(more_groups(groups.len(), more).map(|more| Style::Dim.paint(&more)));
    parts.push(match understood {
        0 => "Today's code understands none of them.".to_owned(),
        count => {
            format!("Today's code understands {count} of them: bursar unrecognised replay --expect {count}")
        }
    });
    parts.join("\n\n")
}

/// One delivery.
#[derive(Serialize)]
struct DeliveryLine {
    delivery: String,
    #[serde(with = "time::serde::rfc3339")]
    admitted_at: OffsetDateTime,
    processor: String,
    event_type: String,
    why: &'static str,
    detail: Option<String>,
    /// Whether its body is still there.
    body: bool,
    /// What today's code makes of it; empty where it understands it no better.
    facts: Vec<&'static str>,
}

impl DeliveryLine {
    fn new(delivery: UnrecognisedDelivery, today: &Today) -> Self {
        let facts = match today {
            Today::Understood(envelopes) => envelopes.iter().map(|e| e.fact.kind().as_str()).collect(),
            Today::NotUnderstood | Today::BodyGone => Vec::new(),
        };
        Self {
            delivery: delivery.cause.to_string(),
            admitted_at: delivery.admitted_at,
            processor: delivery.said.processor,
            event_type: delivery.said.event_type,
            why: delivery.said.why.as_str(),
            detail: delivery.said.detail,
            body: delivery.raw.is_some(),
            facts,
        }
    }

    fn today(&self) -> String {
        match (self.body, self.facts.is_empty()) {
            (false, _) => "body gone".to_owned(),
            (true, true) => "not understood".to_owned(),
            (true, false) => self.facts.join(", "),
        }
    }
}

pub async fn each(session: &Session, which: &WhichUnrecognised, limit: usize) -> Result<ExitCode> {
    let mut lines = Vec::new();
    look_through(session, which, |delivery, today| {
        lines.push(DeliveryLine::new(delivery, &today));
        if lines.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .await?;
    let below = may_go_on(lines.len(), limit as i64);
    listing::print(session.json, &json!({ "deliveries": lines }), &lines_table(&lines), NONE, below)
}

fn lines_table(lines: &[DeliveryLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("admitted"),
        Column::Text("delivery"),
        Column::Text("event type"),
        Column::Text("why"),
        Column::Text("understood now as"),
        Column::Text("what was not understood"),
    ]);
    for line in lines {
        table.row(vec![
            moment(line.admitted_at),
            line.delivery.clone(),
            line.event_type.clone(),
            line.why.to_owned(),
            line.today(),
            or_none(line.detail.as_deref()),
        ]);
    }
    table
}
