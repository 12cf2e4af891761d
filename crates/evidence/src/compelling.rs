//! Visa's Compelling Evidence 3.0: which of its requirements the pack meets, and which it does not.
//!
//! A dispute with Visa's code 10.4 (fraud, card not present) is turned back to the issuer where two earlier payments by the same means,
//! 120 to 364 days before the disputed one and never disputed, share with it two main elements (IP address; device), or one of
//! them and one of e-mail address, account or shipping address. Stripe's pages say 364 days in one place and 365 in another:
//! what both allow is taken. Source: docs.stripe.com/disputes/api/visa-ce3, support.stripe.com.
//!
//! Nothing is submitted by this: Bursar keeps digests, Stripe asks for the values themselves, and one block that does not
//! qualify makes Stripe refuse the whole answer.

use crate::pack::{EarlierPayment, Pack, References};
use crate::words::day_of;
use domain::PaymentId;
use serde::Serialize;

/// Days between an earlier payment and the disputed one, both included.
pub const DAYS_MIN: i64 = 120;
pub const DAYS_MAX: i64 = 364;

/// So many earlier payments are asked for, no more and no fewer.
const EARLIER_NEEDED: usize = 2;

/// What the pack has of Compelling Evidence 3.0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompellingEvidence {
    /// Every requirement is met.
    pub qualifies: bool,
    /// The two earlier payments that fit best; fewer where there are fewer. The older first.
    pub earlier: Vec<PaymentId>,
    pub requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Requirement {
    /// The requirement in a word or two.
    pub field: &'static str,
    pub state: State,
    /// It must be met. The others are elements of which some suffice.
    pub required: bool,
    /// What is known, in a sentence.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Met,
    Missing,
    /// Nothing that was recorded tells.
    Unknown,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Met => "met",
            State::Missing => "missing",
            State::Unknown => "not known",
        }
    }
}

/// Something that payments may share.
struct Element {
    name: &'static str,
    of: fn(&References) -> Option<&str>,
}

const IP: Element = Element { name: "purchase IP", of: |references| references.ip.as_deref() };
const DEVICE: Element = Element { name: "device", of: |references| references.device.as_deref() };
const EMAIL: Element = Element { name: "e-mail address", of: |references| references.email.as_deref() };
const SHIPPING: Element =
    Element { name: "shipping address", of: |references| references.shipping_address.as_deref() };
const METHOD: Element =
    Element { name: "same means of payment", of: |references| references.payment_method.as_deref() };

impl CompellingEvidence {
    /// What this pack has of it.
    pub fn of(pack: &Pack) -> Self {
        let chosen = choose(pack);
        let shared = [&IP, &DEVICE, &EMAIL, &SHIPPING].map(|element| sharing(pack, &chosen, element));
        let requirements: Vec<Requirement> = [code(pack), earlier(&chosen), required(pack, &chosen, &METHOD)]
            .into_iter()
            .chain(shared.into_iter().map(|(element, state)| told(element, state)))
            .chain([account(&chosen), elements(pack, &chosen), described(pack, &chosen), charges(&chosen)])
            .collect();
        Self {
            qualifies: requirements.iter().all(|it| !it.required || it.state == State::Met),
            earlier: chosen.iter().map(|payment| payment.payment.clone()).collect(),
            requirements,
        }
    }
}

/// The pair that fits best: sharing a main element first, then whatever else is asked for, then the newest.
fn choose(pack: &Pack) -> Vec<&EarlierPayment> {
    let bought = day_of(pack.purchase.at);
    let candidates: Vec<&EarlierPayment> = pack
        .earlier
        .payments
        .iter()
        .filter(|payment| (DAYS_MIN..=DAYS_MAX).contains(&(bought - day_of(payment.at)).whole_days()))
        .collect();
    let of_the_disputed = &pack.purchase.references;
    let pairs = [Some(&IP), Some(&DEVICE), None].into_iter().map(|element| {
        let mut fitting: Vec<&EarlierPayment> = candidates
            .iter()
            .copied()
            .filter(|payment| element.is_none_or(|it| is_shared(of_the_disputed, &payment.references, it)))
            .collect();
        fitting.sort_by_key(|payment| std::cmp::Reverse((fit(of_the_disputed, payment), payment.at)));
        fitting.truncate(EARLIER_NEEDED);
        fitting
    });
    let worth = |pair: &Vec<&EarlierPayment>| {
        let fits: usize = pair.iter().map(|payment| fit(of_the_disputed, payment)).sum();
        let main = [&IP, &DEVICE].iter().any(|it| sharing(pack, pair, it).1 == State::Met);
        (pair.len(), main, fits)
    };
    // Of equals the first: `max_by_key` would take the last.
    let mut best = Vec::new();
    for pair in pairs {
        if worth(&pair) > worth(&best) {
            best = pair;
        }
    }
    best.sort_by_key(|payment| payment.at);
    best
}

/// How much of what is asked for one earlier payment has.
fn fit(of_the_disputed: &References, payment: &EarlierPayment) -> usize {
    let shared = [&METHOD, &IP, &DEVICE, &EMAIL, &SHIPPING];
    let shared = shared.iter().filter(|it| is_shared(of_the_disputed, &payment.references, it)).count();
    shared + usize::from(payment.description.is_some()) + usize::from(charge(payment).is_some())
}

fn is_shared(of_the_disputed: &References, earlier: &References, element: &Element) -> bool {
    let disputed = (element.of)(of_the_disputed);
    disputed.is_some() && disputed == (element.of)(earlier)
}

/// Whether the disputed payment and both earlier ones share an element.
fn sharing<'a>(pack: &Pack, chosen: &[&EarlierPayment], element: &'a Element) -> (&'a Element, State) {
    let values: Vec<Option<&str>> = std::iter::once(&pack.purchase.references)
        .chain(chosen.iter().map(|payment| &payment.references))
        .map(element.of)
        .collect();
    let state = match values[0] {
        None => State::Unknown,
        Some(_) if chosen.len() < EARLIER_NEEDED => State::Missing,
        Some(value) if values.iter().all(|it| *it == Some(value)) => State::Met,
        // One that differs is enough to know.
        Some(value) if values.iter().any(|it| it.is_some_and(|it| it != value)) => State::Missing,
        Some(_) => State::Unknown,
    };
    (element, state)
}

fn told(element: &Element, state: State) -> Requirement {
    let detail = match state {
        State::Met => "All three payments share it (compared by digest).",
        State::Missing => "The three payments do not share it.",
        State::Unknown => "It was not recorded for all three payments.",
    };
    Requirement { field: element.name, state, required: false, detail: detail.to_owned() }
}

fn required(pack: &Pack, chosen: &[&EarlierPayment], element: &Element) -> Requirement {
    let (element, state) = sharing(pack, chosen, element);
    Requirement { required: true, ..told(element, state) }
}

fn requirement(field: &'static str, is_met: bool, detail: String) -> Requirement {
    let state = if is_met { State::Met } else { State::Missing };
    Requirement { field, state, required: true, detail }
}

fn code(pack: &Pack) -> Requirement {
    let (network, code) = (pack.dispute.network.as_deref(), pack.dispute.network_reason_code.as_deref());
    let is_visa = network.map(|network| network.eq_ignore_ascii_case("visa"));
    let state = match (is_visa, code) {
        (Some(false), _) => State::Missing,
        (_, Some(code)) if code != "10.4" => State::Missing,
        (Some(true), Some(_)) => State::Met,
        _ => State::Unknown,
    };
    let got = crate::words::network(&pack.dispute).unwrap_or_else(|| "neither network nor code".to_owned());
    let detail = format!("Asked for: Visa, code 10.4. The processor told: {got}.");
    Requirement { field: "dispute", state, required: true, detail }
}

fn earlier(chosen: &[&EarlierPayment]) -> Requirement {
    let ids: Vec<&str> = chosen.iter().map(|payment| payment.payment.as_str()).collect();
    let detail = match ids.as_slice() {
        [] => format!("None was made {DAYS_MIN} to {DAYS_MAX} days before this one."),
        [one] => format!("Only {one} was made {DAYS_MIN} to {DAYS_MAX} days before this one."),
        ids => format!("{}, made {DAYS_MIN} to {DAYS_MAX} days before this one.", ids.join(" and ")),
    };
    requirement("two earlier payments", chosen.len() == EARLIER_NEEDED, detail)
}

fn account(chosen: &[&EarlierPayment]) -> Requirement {
    let is_met = chosen.len() == EARLIER_NEEDED;
    let detail =
        if is_met { "All three payments are of one account." } else { "There is no pair of payments." };
    Requirement { required: false, ..requirement("account id", is_met, detail.to_owned()) }
}

fn elements(pack: &Pack, chosen: &[&EarlierPayment]) -> Requirement {
    // The account is shared by all payments of a pack: one main element suffices.
    let main = [&IP, &DEVICE].map(|it| sharing(pack, chosen, it).1);
    let state = match main {
        [State::Met, _] | [_, State::Met] => State::Met,
        [State::Unknown, _] | [_, State::Unknown] => State::Unknown,
        [State::Missing, State::Missing] => State::Missing,
    };
    let detail =
        "Asked for: IP and device; or one of them and the account, e-mail or shipping address.".to_owned();
    Requirement { field: "shared elements", state, required: true, detail }
}

fn described(pack: &Pack, chosen: &[&EarlierPayment]) -> Requirement {
    let described = std::iter::once(&pack.purchase.description)
        .chain(chosen.iter().map(|payment| &payment.description))
        .filter(|description| description.is_some())
        .count();
    let detail = format!("{described} of three payments have a description of what was sold.");
    requirement("product descriptions", described == EARLIER_NEEDED + 1, detail)
}

fn charges(chosen: &[&EarlierPayment]) -> Requirement {
    let charges: Vec<&str> = chosen.iter().filter_map(|payment| charge(payment)).collect();
    let detail = match charges.as_slice() {
        [] => "No charge id (ch_...) of an earlier payment is known.".to_owned(),
        some => format!("Known: {}.", some.join(", ")),
    };
    requirement("charge ids", charges.len() == EARLIER_NEEDED, detail)
}

/// Stripe's charge of a payment, which is what it asks for.
pub(crate) fn charge(payment: &EarlierPayment) -> Option<&str> {
    let ids = std::iter::once(&payment.payment).chain(&payment.aliases);
    ids.filter(|id| id.processor() == "stripe").map(PaymentId::id).find(|id| id.starts_with("ch_"))
}
