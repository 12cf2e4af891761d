//! The case in words: what happened step by step, and what contesting it is worth.

use crate::read::{CaseView, Happening, Moment, Posted, Said};
use domain::Credits;
use domain::dispute::StepKind;
use domain::economics::{BreakEven, CASES_TO_TELL, Economics, ExpectedAmount, OwnCases, Stake, economics};
use domain::fact::RestrictionKind;
use evidence::Step;

/// What the processor said, what Bursar did about the account, and what both did to credits; the oldest first.
pub fn timeline(view: &CaseView) -> Vec<Step> {
    let mut steps: Vec<Step> = view.history.iter().map(|moment| step(view, moment)).collect();
    // By the clocks of whoever spoke; of one moment in the order in which it was heard.
    steps.sort_by_key(|step| step.at);
    steps
}

fn step(view: &CaseView, moment: &Moment) -> Step {
    let step = |who: &str, what: String| Step {
        at: moment.at,
        who: who.to_owned(),
        what,
        credits: None,
        standing: None,
    };
    match &moment.what {
        Happening::Said(said) => {
            let who = match (&said.by, said.by_silence) {
                (Some(by), _) => format!("operator/{by}"),
                (None, true) => "bursar".to_owned(),
                (None, false) => view.line.dispute.processor().to_owned(),
            };
            let credits = said.posted.iter().map(posted).collect::<Vec<_>>().join("; ");
            Step {
                // The clock of whoever said it.
                at: said.said_at,
                credits: (!credits.is_empty()).then_some(credits),
                standing: standing(&said.restricted, &said.lifted),
                ..step(&who, what_was_said(said))
            }
        }
        Happening::Restrictions(changed) => {
            let who = changed.by.as_ref().map_or("bursar".to_owned(), |by| format!("operator/{by}"));
            let standing = standing(&changed.restricted, &changed.lifted);
            Step { standing, ..step(&who, "The account's standing changes.".to_owned()) }
        }
        Happening::Posted(transaction) => {
            let what = format!("Journal #{}: {}.", transaction.number, words(&transaction.kind));
            Step { credits: Some(posted(transaction)), ..step("bursar", what) }
        }
        Happening::Note(note) => step(&format!("operator/{}", note.by), note.text.clone()),
    }
}

fn what_was_said(said: &Said) -> String {
    let says = words(said.says.as_str());
    match said.step {
        StepKind::Opens => format!("The case is known: {says}."),
        StepKind::Repeats => format!("Still {says}."),
        StepKind::Moves | StepKind::Overturns => format!("Now {}.", words(said.state.as_str())),
        StepKind::Reopens => format!("Opened again: {says}."),
        StepKind::Illegal => {
            let state = words(said.state.as_str());
            format!("Said to be {says}, which no case becomes that is {state}; it stays so.")
        }
    }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn standing(restricted: &[RestrictionKind], lifted: &[RestrictionKind]) -> Option<String> {
    let named = |kinds: &[RestrictionKind], what: &str| {
        let kinds = kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        (!kinds.is_empty()).then(|| format!("{kinds} {what}"))
    };
    let parts: Vec<String> =
        [named(restricted, "restricted"), named(lifted, "restored")].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn posted(transaction: &Posted) -> String {
    let changes = transaction.changed.iter();
    let changes = changes.map(|(book, credits)| format!("{book} {}", signed(*credits)));
    changes.collect::<Vec<_>>().join(", ")
}

fn signed(change: Credits) -> String {
    if change.is_positive() { format!("+{change}") } else { change.to_string() }
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
