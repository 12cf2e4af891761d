//! A plan as people read it: a line for each message, then each in detail where that is asked for, then what it comes to.

use super::{Event, Failure, Part, Pending, Plan, PlannedMessage, Publication, Step, Sums, Verdict};
use crate::output::journal::{journal, moved};
use crate::output::listing::section;
use crate::output::table::{Column, Style, Table, or_none};
use crate::visible::on_a_line;
use domain::event::Balances;
use domain::{Credits, Outcome};
use ledger::read::BalanceChange;
use std::collections::BTreeMap;

const FLEET_DIFFERS: &str = "\nWorkers are running with another configuration or version than this command's: they may do otherwise than planned \
                             here. Restart them with this one first.";

/// Accounts that the sums name: those with the greatest change.
const ACCOUNTS_SHOWN: usize = 20;

/// A reason may quote two whole facts; a line of a table shows its beginning.
const REASON_SHOWN: usize = 80;

/// Outcomes that are no failure and that somebody should look at.
const TO_BE_SEEN: [Outcome; 2] = [Outcome::Contradicts, Outcome::Waiting];

impl Plan {
    pub fn text(&self, details: bool) -> String {
        if self.messages.is_empty() {
            return "No messages to plan.".to_owned();
        }
        let mut parts = vec![messages(&self.messages).to_string()];
        if details {
            parts.extend(self.messages.iter().map(message_text));
        }
        parts.push(self.sums.text());
        if self.fleet_differs {
            parts.push(Style::Bad.paint(FLEET_DIFFERS));
        }
        parts.push(Style::Dim.paint("\nThis is a plan: nothing was changed and nothing was published."));
        parts.join("\n")
    }
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Verdict::AlreadyApplied => "already applied",
            Verdict::WouldApply => "would apply",
            Verdict::KnownNotApplied => "known, not applied",
            Verdict::WouldFail => "would fail",
        }
    }

    fn style(self) -> Style {
        match self {
            Verdict::AlreadyApplied => Style::Dim,
            Verdict::WouldApply => Style::Plain,
            Verdict::KnownNotApplied | Verdict::WouldFail => Style::Bad,
        }
    }
}

/// A line for each fact of each message.
fn messages(messages: &[PlannedMessage]) -> Table {
    let mut table = Table::new(&[
        Column::Text("message"),
        Column::Text("verdict"),
        Column::Text("fact"),
        Column::Text("outcome"),
        Column::Text("account"),
        Column::Text("moved"),
        Column::Text("why"),
    ]);
    for message in messages {
        for part in &message.parts {
            table.styled_row(style(part), line(message, part));
        }
    }
    table
}

fn style(part: &Part) -> Style {
    match part.verdict {
        Verdict::WouldApply if part.outcomes.iter().any(Step::is_to_be_seen) => Style::Bold,
        verdict => verdict.style(),
    }
}

impl Step {
    fn is_to_be_seen(&self) -> bool {
        TO_BE_SEEN.contains(&self.outcome)
    }

    fn text(&self) -> String {
        format!("{} {}", self.worker, self.outcome)
    }
}

fn line(message: &PlannedMessage, part: &Part) -> Vec<String> {
    let accounts: Vec<&str> = part.balances.iter().map(|change| change.account.as_str()).collect();
    let change = |book: &str| -> Credits {
        part.transactions.iter().map(|transaction| transaction.change(book)).sum()
    };
    let moved = (!part.transactions.is_empty()).then(|| moved(change));
    let why =
        part.failure.as_ref().map(|failure| format!("{}: {}", failure.code, beginning(&failure.reason)));
    let why = why.or_else(|| part.pending.as_ref().map(Pending::text));
    vec![
        message.label.clone(),
        part.verdict.words().to_owned(),
        part.name().to_owned(),
        or_none(part.outcomes.last().map(Step::text).as_deref()),
        or_none((!accounts.is_empty()).then(|| accounts.join(", ")).as_deref()),
        or_none(moved.as_deref()),
        or_none(why.as_deref()),
    ]
}

/// One line, and not too long a one.
fn beginning(text: &str) -> String {
    let line = text.replace(['\n', '\r'], " ");
    match line.char_indices().nth(REASON_SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

fn message_text(message: &PlannedMessage) -> String {
    let heading = format!(
        "\n{} in {}: {}",
        Style::Bold.paint(&on_a_line(&message.label)),
        on_a_line(&message.queue),
        message.verdict.style().paint(message.verdict.words())
    );
    let parts = message.parts.iter().map(part_text);
    [heading].into_iter().chain(parts).collect::<Vec<_>>().join("\n")
}

fn part_text(part: &Part) -> String {
    let kind = part.kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
    let path: Vec<String> = part.outcomes.iter().map(Step::text).collect();
    let path = if path.is_empty() { String::new() } else { format!(": {}", path.join(", ")) };
    let mut parts = vec![on_a_line(&format!("  {}{kind}{path}", part.name()))];
    parts.extend(part.failure.as_ref().map(failure_text));
    parts.extend(
        part.pending.as_ref().map(|pending| format!("  {}", Style::Bad.paint(&on_a_line(&pending.text())))),
    );
    parts.extend(part.foreseen.iter().map(|what| format!("  {}", on_a_line(what))));
    parts.extend(whole("Journal", journal(&part.transactions)));
    parts.extend(whole("Balances", balances(&part.balances)));
    parts.extend(whole("Events", events(&part.events)));
    parts.extend(whole("Published", publications(&part.publications)));
    parts.join("\n")
}

impl Pending {
    fn text(&self) -> String {
        match self {
            Pending::GivenUp { letter, worker, code, .. } => {
                format!("{worker} gave up on it ({code}): see letter {letter}")
            }
            Pending::WouldFail(failure) => {
                format!("{} would give up on it ({}), as above", failure.worker, failure.code)
            }
            Pending::InFlight => "on its way: nobody has settled it yet".to_owned(),
        }
    }
}

fn failure_text(failure: &Failure) -> String {
    let text = format!("{} would give up: {}: {}", failure.worker, failure.code, failure.reason);
    format!("  {}", Style::Bad.paint(&on_a_line(&text)))
}

fn whole(title: &str, table: Table) -> Option<String> {
    section(title, &table)
}

fn balances(changes: &[BalanceChange]) -> Table {
    let mut table = Table::new(&[
        Column::Text("account"),
        Column::Text(""),
        Column::Decimal("available"),
        Column::Decimal("held"),
        Column::Decimal("debt"),
    ]);
    for change in changes {
        for (when, balances) in [("before", change.before), ("after", change.after)] {
            let mut cells = vec![change.account.clone(), when.to_owned()];
            cells.extend(amounts(&balances).map(|credits| credits.to_string()));
            table.row(cells);
        }
    }
    table
}

fn amounts(balances: &Balances) -> [Credits; 3] {
    [balances.available, balances.held, balances.debt]
}

fn events(events: &[Event]) -> Table {
    let mut table = Table::new(&[Column::Text("event"), Column::Text("account"), Column::Text("data")]);
    for event in events {
        table.row(vec![event.kind.clone(), or_none(event.account.as_deref()), event.data.to_string()]);
    }
    table
}

fn publications(publications: &[Publication]) -> Table {
    let mut table = Table::new(&[Column::Text("exchange"), Column::Text("routing key")]);
    for publication in publications {
        table.row(vec![publication.exchange.clone(), publication.routing_key.clone()]);
    }
    table
}

impl Sums {
    fn text(&self) -> String {
        let mut lines = vec![format!("\n{}", Style::Bold.paint(&self.headline()))];
        let outcomes = self.outcomes.iter().map(|(worker, outcomes)| (*worker, counts(outcomes)));
        lines.extend(outcomes.map(|(worker, outcomes)| row(worker, &outcomes)));
        if !self.codes.is_empty() {
            lines.push(Style::Bad.paint(&row("would fail", &counts(&self.codes))));
        }
        let credits: Vec<String> = self
            .credits
            .named()
            .into_iter()
            .filter(|(_, credits)| !credits.is_zero())
            .map(|(name, credits)| format!("{name} {}", signed(credits)))
            .collect();
        if !credits.is_empty() {
            lines.push(row(
                "credits",
                &format!("{} in {} transactions", credits.join(", "), self.transactions),
            ));
        }
        if !self.events.is_empty() {
            lines.push(row("events", &counts(&self.events)));
        }
        lines.extend(section("Accounts", &self.accounts_table()));
        lines.join("\n")
    }

    fn headline(&self) -> String {
        let verdicts: Vec<String> = Verdict::ALL
            .into_iter()
            .rev()
            .filter_map(|verdict| Some((verdict, self.verdicts.get(verdict.as_str())?)))
            .map(|(verdict, count)| format!("{count} {}", verdict.words()))
            .collect();
        let messages = if self.messages == 1 { "message" } else { "messages" };
        format!("{} {messages}: {}", self.messages, verdicts.join(", "))
    }

    fn accounts_table(&self) -> Table {
        let mut table = Table::new(&[
            Column::Text("account"),
            Column::Decimal("available"),
            Column::Decimal("held"),
            Column::Decimal("debt"),
        ]);
        for account in self.accounts.iter().take(ACCOUNTS_SHOWN) {
            let mut cells = vec![account.account.clone()];
            cells.extend(amounts(&account.change).map(signed));
            table.row(cells);
        }
        table
    }
}

fn row(name: &str, value: &str) -> String {
    format!("  {name:<12}{}", on_a_line(value))
}

/// `3 admitted, 1 repeated`.
fn counts<K: std::fmt::Display>(counts: &BTreeMap<K, usize>) -> String {
    counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

fn signed(credits: Credits) -> String {
    if credits.is_positive() { format!("+{credits}") } else { credits.to_string() }
}
