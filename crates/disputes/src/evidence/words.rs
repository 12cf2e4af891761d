//! The case in words: what happened step by step, and what contesting it is worth.

use super::Subject;
use db::{Doing, Error, PgConnection};
use domain::Credits;
use domain::dispute::{Case, StepKind};
use domain::economics::{BreakEven, CASES_TO_TELL, Economics, ExpectedAmount, OwnCases, Stake, economics};
use evidence::Step;
use rust_decimal::Decimal;
use time::OffsetDateTime;

/// What the processor said, what Bursar did about the account, and what both did to credits; the oldest first.
pub async fn timeline(connection: &mut PgConnection, of: &Subject, case: &Case) -> Result<Vec<Step>, Error> {
    let mut steps: Vec<Step> = case.steps.iter().map(|step| said(of, step)).collect();
    steps.extend(restricted(connection, of).await?);
    steps.extend(posted(connection, of).await?);
    // Of one moment first what was said, then what followed.
    steps.sort_by_key(|step| (step.at, step.who == "bursar"));
    Ok(steps)
}

fn said(of: &Subject, step: &domain::dispute::CaseStep) -> Step {
    let seen = of.record.observations.get(&step.cause);
    let who = match seen.and_then(|seen| seen.by.as_deref()) {
        Some(by) => format!("operator/{by}"),
        None if seen.is_some_and(|seen| seen.by_silence) => "bursar".to_owned(),
        None => of.case.processor().to_owned(),
    };
    let what = match step.step {
        StepKind::Opens => format!("The case is known: {}.", words(step.says.as_str())),
        StepKind::Repeats => format!("Still {}.", words(step.says.as_str())),
        StepKind::Moves | StepKind::Overturns => format!("Now {}.", words(step.state.as_str())),
        StepKind::Reopens => format!("Opened again: {}.", words(step.says.as_str())),
        StepKind::Illegal => format!(
            "Said to be {}, which no case becomes that is {}; it stays so.",
            words(step.says.as_str()),
            words(step.state.as_str())
        ),
    };
    Step { at: step.at, who, what, credits: None, standing: None }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

async fn restricted(connection: &mut PgConnection, of: &Subject) -> Result<Vec<Step>, Error> {
    let rows = sqlx::query!(
        "select kind, since, ended_at, lifted_by from restrictions
         where account = $1 and cause_kind = 'case' and cause = $2 order by since, kind",
        of.account.as_str(),
        of.case.as_str(),
    )
    .fetch_all(connection)
    .await
    .doing("reading what a dispute restricted")?;
    let step = |at: OffsetDateTime, who: &str, standing: String| Step {
        at,
        who: who.to_owned(),
        what: "The account's standing changes.".to_owned(),
        credits: None,
        standing: Some(standing),
    };
    let steps = rows.iter().flat_map(|row| {
        let began = step(row.since, "bursar", format!("{} restricted", row.kind));
        let ended = row.ended_at.map(|at| match &row.lifted_by {
            Some(by) => step(at, &format!("operator/{by}"), format!("{} restored", row.kind)),
            None => step(at, "bursar", format!("{} restored", row.kind)),
        });
        std::iter::once(began).chain(ended)
    });
    Ok(steps.collect())
}

/// What was posted for the payment since it was bought.
async fn posted(connection: &mut PgConnection, of: &Subject) -> Result<Vec<Step>, Error> {
    let rows = sqlx::query!(
        r#"select t.number, t.kind, t.at,
                  coalesce(sum((e.entry ->> 2)::numeric) filter (where e.entry ->> 0 = 'available'), 0) as "available!",
                  coalesce(sum((e.entry ->> 2)::numeric) filter (where e.entry ->> 0 = 'held'), 0) as "held!",
                  coalesce(sum((e.entry ->> 2)::numeric) filter (where e.entry ->> 0 = 'debt'), 0) as "debt!"
           from transactions t cross join lateral json_array_elements(t.entries) e (entry)
           where t.account = $1 and t.payment = $2 group by t.number, t.kind, t.at order by t.number limit 500"#,
        of.account.as_str(),
        of.payment.as_str(),
    )
    .fetch_all(connection)
    .await
    .doing("reading what was posted for a payment")?;
    let steps = rows.into_iter().map(|row| {
        let changes = [("available", row.available), ("held", row.held), ("debt", row.debt)];
        let changes = changes.into_iter().filter(|(_, change)| !change.is_zero());
        let changes: Vec<String> =
            changes.map(|(book, change)| format!("{book} {}", signed(change))).collect();
        Step {
            at: row.at,
            who: "bursar".to_owned(),
            what: format!("Journal #{}: {}.", row.number, words(&row.kind)),
            credits: (!changes.is_empty()).then(|| changes.join(", ")),
            standing: None,
        }
    });
    Ok(steps.collect())
}

fn signed(change: Decimal) -> String {
    let credits = Credits::new(change);
    if credits.is_positive() { format!("+{credits}") } else { credits.to_string() }
}

/// What contesting, and refunding early, are worth; a sentence each.
pub fn economics_in_words(stake: &Stake, own: OwnCases) -> Vec<String> {
    let Economics { win_rate, contesting, refunding } = economics(stake, own);
    let mut told = Vec::new();
    told.push(match (win_rate.chance, win_rate.is_too_few) {
        (None, _) => "No case of our own is decided yet: the chance to win is not known.".to_owned(),
        (Some(chance), is_too_few) => {
            let few = match is_too_few {
                true => format!(" (under {CASES_TO_TELL} cases: too few to tell)"),
                false => String::new(),
            };
            format!(
                "Won {} of {} decided cases: {} by these, {} to {} with 95 % confidence{few}.",
                win_rate.won, win_rate.decided, chance.middle, chance.low, chance.high
            )
        }
    });
    if let Some(sunk) = contesting.sunk {
        told.push(format!("The processor's fee of {sunk} is gone, win or lose."));
    }
    if let Some(expected) = contesting.expected {
        let sum = |amounts: &[ExpectedAmount]| {
            let parts = amounts.iter().map(|one| format!("{} {}", one.amount, one.currency.code()));
            parts.collect::<Vec<_>>().join(" and ")
        };
        told.push(format!(
            "Contesting is worth {} on average; {} at the low end, {} at the high end.",
            sum(&expected.middle),
            sum(&expected.low),
            sum(&expected.high)
        ));
    }
    told.push(match contesting.break_even {
        BreakEven::Always => "Contesting risks nothing but the work.".to_owned(),
        BreakEven::From(chance) => format!("Contesting pays from a chance of {chance} on."),
        BreakEven::CounterFeeUnknown => {
            "What the processor takes for evidence is not known (disputes.counter_fee): it is what contesting risks.".to_owned()
        }
        BreakEven::OtherCurrency => {
            "What contesting risks is in another currency than what is disputed: they cannot be compared.".to_owned()
        }
    });
    if let Some(refunding) = refunding {
        let saves = refunding
            .saves
            .map_or("the fee of a dispute, which is not known".to_owned(), |fee| fee.to_string());
        let when = match refunding.pays_above {
            Some(chance) => format!("; it pays where a lost dispute is likelier than {chance}"),
            None => String::new(),
        };
        told.push(format!("Refunding now costs {} and saves {saves}{when}.", refunding.costs));
    }
    told
}
