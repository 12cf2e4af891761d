//! What must hold of disputes, written from the words of the design and not from the code: a case as a walk through everything that
//! was said of it, what its account may not do, and what the rule of risk asks for. It knows no database and is slow.

use std::collections::{BTreeMap, BTreeSet};

/// How a case's object looks, in the order in which of two things said at one moment the later one holds.
pub const SAYS: [&str; 7] = ["warning", "open", "under_review", "prevented", "withdrawn", "lost", "won"];

/// One thing that was said of a case. Times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    pub case: String,
    pub payment: String,
    pub at: i64,
    /// A place in [`SAYS`].
    pub says: usize,
    /// The object that says it, and when it began, where several make one case.
    pub round: Option<(String, i64)>,
    pub by_operator: bool,
    /// Since when there was silence, where that is what decides.
    pub silent_since: Option<i64>,
    pub is_early_warning: bool,
    /// Who says it.
    pub cause: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bought<'a> {
    pub account: &'a str,
    pub is_claimed: bool,
}

/// How a case stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    pub state: String,
    pub rounds: u32,
    /// The part of its life that stands: the object that speaks now, and how often it opened the case anew after it had begun.
    pub part: (Option<String>, u32),
    pub illegal: i32,
    pub payment: String,
    pub is_early_warning: bool,
    pub opened_at: i64,
    /// The early warning's: the dispute that took it over.
    pub joined: Option<String>,
}

/// Days within which three disputes fulfil the rule of risk.
const RISK_WINDOW: i64 = 90 * 86_400;

fn has_ended(state: &str) -> bool {
    ["won", "lost", "prevented", "withdrawn"].contains(&state)
}

/// Every case, by everything that was said of each.
pub fn cases(said: &BTreeSet<Said>) -> BTreeMap<String, Stands> {
    let names: BTreeSet<&str> = said.iter().map(|one| one.case.as_str()).collect();
    let mut cases: BTreeMap<String, Stands> = names
        .into_iter()
        .map(|name| {
            let of_case: Vec<&Said> = said.iter().filter(|one| one.case == name).collect();
            (name.to_owned(), walk(&of_case))
        })
        .collect();
    // Of several disputes of its payment the one that was opened first takes an early warning over.
    let disputes: Vec<(i64, String, String)> = cases
        .iter()
        .filter(|(_, case)| !case.is_early_warning)
        .map(|(name, case)| (case.opened_at, name.clone(), case.payment.clone()))
        .collect();
    for warning in cases.values_mut().filter(|case| case.is_early_warning) {
        let first = disputes.iter().filter(|(.., payment)| *payment == warning.payment).min();
        warning.joined = first.map(|(_, name, _)| name.clone());
    }
    cases
}

fn walk(said: &[&Said]) -> Stands {
    let object = |one: &Said| one.round.as_ref().map(|(name, _)| name.clone());
    let began = |one: &Said| {
        let begins = |one: &Said| {
            let stated = one.round.as_ref().map(|(_, began)| *began);
            one.silent_since.or(stated).unwrap_or(one.at)
        };
        said.iter().filter(|other| object(other) == object(one)).map(|other| begins(other)).min().unwrap()
    };
    let mut in_order = said.to_vec();
    in_order.sort_by_key(|one| (began(one), object(one), one.at, one.says, one.cause.clone()));
    let mut stands = Stands {
        state: String::new(),
        rounds: 0,
        part: (None, 0),
        illegal: 0,
        payment: said[0].payment.clone(),
        is_early_warning: said.iter().any(|one| one.is_early_warning),
        opened_at: i64::MAX,
        joined: None,
    };
    let mut last_object = None;
    // What the processor's object said last, and whether an operator has spoken since.
    let (mut processor_said, mut is_overruled) = (None, false);
    for one in in_order {
        let begins = one.silent_since.or(one.round.as_ref().map(|(_, began)| *began)).unwrap_or(one.at);
        stands.opened_at = stands.opened_at.min(begins).min(one.at);
        let is_other_object = last_object.as_ref() != Some(&object(one));
        let is_anew = is_other_object || one.by_operator;
        last_object = Some(object(one));
        if is_other_object {
            (processor_said, is_overruled, stands.part) = (None, false, (object(one), 0));
        }
        let spoke = |other: &&&Said| {
            other.silent_since.is_none() && one.silent_since.unwrap() < other.at && other.at <= one.at
        };
        let decides_nothing = one.silent_since.is_some()
            && !stands.state.is_empty()
            && (has_ended(&stands.state) || said.iter().any(|other| spoke(&other)));
        let is_processor = !one.by_operator && one.silent_since.is_none();
        let repeats_itself = is_processor && is_overruled && processor_said == Some(one.says);
        let rounds = stands.rounds;
        if !decides_nothing && !repeats_itself {
            step(&mut stands, SAYS[one.says], is_anew);
        }
        if !is_other_object {
            stands.part.1 += stands.rounds - rounds;
        }
        if is_processor {
            (is_overruled, processor_said) = (repeats_itself, Some(one.says));
        }
        is_overruled |= one.by_operator;
    }
    stands
}

fn step(stands: &mut Stands, says: &str, is_anew: bool) {
    let ended = has_ended(&stands.state);
    if stands.state == says || stands.state == "reopened" && says == "open" {
        return;
    }
    if !is_anew && !stands.state.is_empty() {
        // What was filed is no warning again; what has ended is not kept from being filed, nor taken back.
        let is_late = match ended {
            true => ["warning", "prevented", "withdrawn"].contains(&says),
            false => stands.state != "warning" && says == "warning",
        };
        if is_late {
            stands.illegal += 1;
            return;
        }
    }
    if ended && !has_ended(says) {
        stands.rounds += 1;
        stands.state = if says == "open" { "reopened" } else { says }.to_owned();
        return;
    }
    stands.state = says.to_owned();
}

/// What stands against an account: a text for each kind of restriction and cause, with the stage that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Against {
    pub kind: &'static str,
    /// A case, `risk`, or the operator.
    pub cause: String,
    /// Within which what an operator has lifted stays lifted.
    pub stage: String,
}

/// What the cases of an account ask for, whatever operators say.
pub fn asked(
    cases: &BTreeMap<String, Stands>,
    bought: &BTreeMap<String, Bought<'_>>,
    account: &str,
) -> BTreeSet<Against> {
    let of_account = cases.iter().filter(|(_, case)| {
        bought.get(&case.payment).is_some_and(|bought| bought.account == account && !bought.is_claimed)
    });
    let standing: Vec<_> = of_account.filter(|(_, case)| case.joined.is_none()).collect();
    let mut asked = BTreeSet::new();
    for (name, case) in &standing {
        let (stage, kinds): (&str, &[&'static str]) = match case.state.as_str() {
            "warning" => ("warning", &["checkout"]),
            "open" | "reopened" | "under_review" => ("formal", &["access", "balance", "checkout"]),
            _ => continue,
        };
        let stage = format!("{stage} {:?}", case.part);
        asked.extend(kinds.iter().map(|kind| Against { kind, cause: (*name).clone(), stage: stage.clone() }));
    }
    // A dispute that took warnings over is the first of them, so that one suspicion is counted once.
    let ours = || {
        cases.iter().filter(|(_, case)| {
            bought.get(&case.payment).is_some_and(|bought| bought.account == account && !bought.is_claimed)
        })
    };
    let counts = |case: &Stands| !["prevented", "withdrawn"].contains(&case.state.as_str());
    let mut counted: Vec<(i64, &String)> = standing
        .iter()
        .filter(|(_, case)| counts(case))
        .map(|(name, case)| (case.opened_at, *name))
        .collect();
    counted.sort();
    let mut taken: BTreeSet<&String> = BTreeSet::new();
    for place in &mut counted {
        let payment = &cases[place.1].payment;
        let warnings = ours().filter(|(_, case)| case.joined.is_some() && case.payment == *payment);
        let first = warnings.map(|(name, case)| (case.opened_at, name)).min();
        if let Some((opened_at, name)) = first.filter(|_| taken.insert(payment)) {
            *place = (opened_at.min(place.0), name);
        }
    }
    counted.sort();
    for three in counted.windows(3) {
        if three[2].0 - three[0].0 <= RISK_WINDOW {
            let (cause, stage) = ("risk".to_owned(), three[2].1.clone());
            asked.insert(Against { kind: "checkout", cause, stage });
        }
    }
    asked
}
