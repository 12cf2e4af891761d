//! Cases in words.

use crate::output::table::{Style, moment};
use disputes::read::DisputeLine;
use domain::CaseId;
use domain::dispute::{CaseState, Overlap, StepKind};
use domain::fact::RestrictionKind;
use time::OffsetDateTime;

/// From so many hours on days are told, too.
const HOURS_AS_DAYS: i64 = 48;

pub fn state(state: CaseState) -> String {
    style(state).paint(words(state.as_str()).as_str())
}

/// An open case wants somebody.
pub fn style(state: CaseState) -> Style {
    match state {
        CaseState::Open | CaseState::Reopened | CaseState::Lost => Style::Bad,
        CaseState::Won => Style::Good,
        CaseState::Warning | CaseState::UnderReview => Style::Bold,
        CaseState::Prevented | CaseState::Withdrawn => Style::Plain,
    }
}

pub fn words(text: &str) -> String {
    text.replace('_', " ")
}

pub fn kinds(kinds: &[RestrictionKind]) -> String {
    kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

/// How long until a deadline, and when it is.
pub fn deadline(due: OffsetDateTime, hours_left: i64) -> String {
    let at = moment(due);
    let said = |hours: i64| match hours {
        1 => "1 hour".to_owned(),
        hours if hours < HOURS_AS_DAYS => format!("{hours} hours"),
        hours => format!("{hours} hours ({} days)", hours / 24),
    };
    match hours_left {
        0 => format!("less than an hour left: evidence is due by {at}"),
        hours if hours > 0 => format!("{} left: evidence is due by {at}", said(hours)),
        hours => format!("over for {}: evidence was due by {at}", said(-hours)),
    }
}

/// The same in a cell.
pub fn deadline_short(line: &DisputeLine) -> Option<String> {
    let (due, hours) = line.evidence_due_by.zip(line.hours_left)?;
    let left = if hours < 0 { format!("{} h over", -hours) } else { format!("{hours} h left") };
    Some(format!("{left}, {}", moment(due)))
}

/// What nobody should overlook in a list.
pub fn flags(line: &DisputeLine) -> Vec<String> {
    let mut flags = Vec::new();
    if let Some(overlap) = &line.overlap {
        flags.push(match overlap.cost.is_zero() {
            true => "refund and dispute".to_owned(),
            false => format!("refund and dispute: {} lost", overlap.cost),
        });
    }
    if line.is_early_warning {
        flags.push("early warning".to_owned());
    }
    flags.extend(line.joined.as_ref().map(|case| format!("taken over by {case}")));
    if line.is_claimed {
        flags.push("claimed link".to_owned());
    }
    if line.account.is_none() {
        flags.push("waits for its payment".to_owned());
    }
    if line.illegal_steps > 0 {
        flags.push(format!("illegal steps: {}", line.illegal_steps));
    }
    flags
}

/// Refunds and a dispute on one payment, with what they cost.
pub fn overlap(overlap: &Overlap) -> String {
    let pending = match overlap.refunds_pending.is_zero() {
        true => String::new(),
        false => format!(" and {} pending", overlap.refunds_pending),
    };
    let cost = match overlap.cost.is_zero() {
        true => "no more than was paid has gone back so far".to_owned(),
        false => {
            format!("{} went back beyond what was paid, and nobody gives that back by itself", overlap.cost)
        }
    };
    format!(
        "{} paid, {} refunded{pending}, {} charged back: {cost}",
        overlap.paid, overlap.refunded, overlap.disputed
    )
}

/// Who says something of a case.
pub fn speaker(case: &CaseId, by: Option<&str>, by_silence: bool) -> String {
    match (by, by_silence) {
        (Some(by), _) => format!("{by} (operator)"),
        (None, true) => "silence".to_owned(),
        (None, false) => case.processor().to_owned(),
    }
}

/// What a step is, said of what was said.
pub fn step(kind: StepKind, says: &str, state: CaseState) -> String {
    let (says, state) = (words(says), words(state.as_str()));
    match kind {
        StepKind::Opens => format!("{says}: the case opens"),
        StepKind::Repeats => format!("{says}, as it was"),
        StepKind::Moves => says,
        StepKind::Reopens => format!("{says}: the case is open once more"),
        StepKind::Overturns => format!("{says}: that overturns what was decided"),
        StepKind::Illegal => {
            format!("{says}: no case goes this way. It is kept, and the case stays {state}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_deadline_tells_the_hours_and_the_moment() {
        let check = |hours, expect: &str| {
            let said = deadline(datetime!(2026-12-04 07:20 UTC), hours);
            assert_eq!(said, format!("{expect} due by 2026-12-04 07:20:00Z"));
        };
        check(170, "170 hours (7 days) left: evidence is");
        check(47, "47 hours left: evidence is");
        check(1, "1 hour left: evidence is");
        check(0, "less than an hour left: evidence is");
        check(-1, "over for 1 hour: evidence was");
        check(-50, "over for 50 hours (2 days): evidence was");
    }

    #[test]
    fn an_illegal_step_says_that_the_state_stays() {
        let said = step(StepKind::Illegal, "warning", CaseState::UnderReview);
        assert!(said.starts_with("warning:") && said.ends_with("stays under review"), "{said}");
    }
}
