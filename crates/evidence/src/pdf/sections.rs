//! The document's parts, in order: what a bank clerk reads first stands first.

use super::PAGES_MAX;
use super::chart;
use super::page::{Flow, leading};
use super::table::{Limits, Table, facts, frame, left, right};
use super::text::SIZE;
use crate::compelling::CompellingEvidence;
use crate::document::HOW_TO_CHECK;
use crate::pack::{Pack, Proof, References, Step, UsageDay};
use crate::words;
use domain::{Money, PaymentId};

/// Paddle is the merchant of record: it contests by itself and takes nothing from the seller.
pub fn is_for_own_records(pack: &Pack) -> bool {
    pack.dispute.processor.as_str() == "paddle"
}

/// What is computed over all of the pack, once.
pub struct Checked {
    content_sha256: [u8; 32],
    /// How many transactions balance and have the hash that follows from their content.
    hold: usize,
}

impl Checked {
    pub fn of(pack: &Pack) -> Self {
        let transactions = pack.grant.transactions.iter();
        let hold = transactions.filter(|it| it.holds(&pack.customer.account)).count();
        Self { content_sha256: pack.content_sha256(), hold }
    }
}

/// A part of the document.
type Section = fn(&mut Flow, &Pack, &Checked, Limits);

const SECTIONS: [Section; 16] = [
    first_page,
    purchase,
    grant,
    usage,
    balance,
    earlier,
    compelling,
    refunds,
    overlap,
    restrictions,
    notifications,
    timeline,
    policy,
    economics,
    proof,
    about,
];

/// Draws all of it, or gives up once there are more pages than there may be.
pub fn draw(flow: &mut Flow, pack: &Pack, checked: &Checked, limits: Limits) {
    for section in SECTIONS {
        if flow.pages.len() <= PAGES_MAX {
            section(flow, pack, checked, limits);
        }
    }
}

fn first_page(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    let dispute = &pack.dispute;
    let processor = words::capital(dispute.processor.as_str());
    if is_for_own_records(pack) {
        flow.title("Record of a disputed payment");
        flow.strong(&format!("For own records. {processor} contests by itself and takes no evidence."));
    } else {
        flow.title("Evidence against a payment dispute");
    }
    let lines = limits.lines.min(4);
    facts(flow, &parties(pack, &processor), lines);
    flow.heading("Summary");
    flow.space(3_000);
    let (top, page) = (flow.y, flow.pages.len());
    flow.y += 6_000;
    for sentence in words::summary(pack) {
        flow.paragraph(&sentence, lines);
    }
    // Only what stands on one page can be framed on it.
    if flow.pages.len() == page {
        frame(flow, top);
    }
    flow.space(6_000);
}

fn parties<'a>(pack: &Pack, processor: &str) -> Vec<(&'a str, String)> {
    let (dispute, purchase, customer) = (&pack.dispute, &pack.purchase, &pack.customer);
    let status = match &dispute.processor_status {
        Some(status) => format!("{} ({processor}: {status})", words::spaced(&dispute.state)),
        None => words::spaced(&dispute.state),
    };
    let due = if is_for_own_records(pack) {
        String::new()
    } else {
        dispute.due_by.map_or_else(|| "no answer is asked for".to_owned(), words::moment)
    };
    let name = customer.name.clone().unwrap_or_default();
    let reference = customer.customer.as_ref().map(ToString::to_string).unwrap_or_default();
    let known = [name, format!("account {}", customer.account), reference];
    let known: Vec<String> = known.into_iter().filter(|text| !text.is_empty()).collect();
    vec![
        ("Dispute", format!("{} at {processor}", dispute.id)),
        ("State", status),
        ("Opened", words::moment(dispute.opened_at)),
        ("Answer due by", due),
        ("Reason", words::reason(dispute)),
        ("Disputed", dispute.amount.map_or_else(|| "amount not stated".to_owned(), words::money)),
        ("Paid", format!("{}, {}", words::money(purchase.amount), words::moment(purchase.at))),
        ("Seller", pack.seller.clone().unwrap_or_default()),
        ("Customer", known.join("; ")),
    ]
}

fn purchase(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    let purchase = &pack.purchase;
    flow.heading("The purchase");
    let references = &purchase.references;
    let digest = |digest: &Option<String>| digest.as_deref().map(words::short).unwrap_or_default();
    facts(
        flow,
        &[
            ("Payment", purchase.payment.to_string()),
            ("Also known as", ids(&purchase.aliases)),
            ("Paid", format!("{} on {}", words::money(purchase.amount), words::moment(purchase.at))),
            ("What it was", purchase.description.clone().unwrap_or_default()),
            ("Account", pack.customer.account.to_string()),
            ("Tied by", pack.customer.link.clone().unwrap_or_default()),
            ("E-mail", pack.customer.email.clone().unwrap_or_default()),
            ("IP (digest)", digest(&references.ip)),
            ("Device (digest)", digest(&references.device)),
            ("Account since", pack.customer.since.map(words::moment).unwrap_or_default()),
        ],
        limits.lines,
    );
    let columns = [left("Item", 5), right("Quantity", 2), right("Amount", 3), right("Credits", 2)];
    let table =
        Table { columns: &columns, rows: purchase.items.len(), left_out: 0, path: "content.purchase.items" };
    if purchase.items.is_empty() {
        flow.paragraph("The processor named no items.", 1);
        return;
    }
    table.draw(flow, limits, |index| {
        let item = &purchase.items[index];
        let name = match &item.name {
            Some(name) => format!("{name} ({})", item.price),
            None => item.price.clone(),
        };
        let amount = item.amount.map(words::money).unwrap_or_default();
        let credits = item.credits.map(words::credits).unwrap_or_default();
        vec![name, words::count(item.quantity), amount, credits]
    });
}

/// At most so many: a payment has few ids, but nothing promises it.
fn ids(ids: &[PaymentId]) -> String {
    ids.iter().take(8).map(PaymentId::as_str).collect::<Vec<_>>().join(", ")
}

fn grant(flow: &mut Flow, pack: &Pack, _checked: &Checked, _limits: Limits) {
    let grant = &pack.grant;
    flow.heading("Delivery of the credits");
    flow.paragraph(
        "Credits are the goods: they were booked to the account and could be spent from then on. The booking is in the journal, \
         whose proof stands at the end of this document.",
        4,
    );
    let rest = [
        ("Delivered", format!("{} credits", words::credits(grant.credits))),
        ("On", grant.at.map(words::moment).unwrap_or_default()),
        ("Used", words::credits(grant.consumed)),
        ("Taken back since", words::credits(grant.reversed)),
        ("Held", words::credits(grant.held)),
        ("Expired", words::credits(grant.expired)),
        ("Left", words::credits(grant.remaining)),
    ];
    facts(flow, &rest, 3);
}

fn usage(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    let usage = &pack.usage;
    flow.heading("Use after the purchase, day by day");
    if usage.days.is_empty() {
        flow.paragraph("Nothing was used.", 1);
        return;
    }
    flow.paragraph(
        "Each line is a day in UTC on which the account spent credits, with the platform's own ids of single uses. IP addresses and \
         devices are kept as digests: two that are equal stand for the same address or device.",
        4,
    );
    let columns = [left("Day", 5), right("Uses", 3), right("Credits", 4), left("References and origin", 18)];
    let (rows, left_out) = (usage.days.len(), usage.days_left_out);
    let table = Table { columns: &columns, rows, left_out, path: "content.usage.days" };
    let bought = &pack.purchase.references;
    table.draw(flow, limits, |index| {
        let day = &usage.days[index];
        vec![
            words::iso_day(day.day),
            words::count(day.count),
            words::credits(day.credits),
            origin(day, bought),
        ]
    });
}

/// Some references, and where the uses came from: as the purchase did, or another digest.
fn origin(day: &UsageDay, bought: &References) -> String {
    const SHOWN: usize = 3;
    let more = day.references.len().saturating_sub(SHOWN) as u64;
    let more = match more.saturating_add(day.references_left_out) {
        0 => String::new(),
        more => format!(" (+ {})", words::count(more)),
    };
    let references = day.references.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let from = |name: &str, seen: &[String], bought: &Option<String>| {
        let told = |digest: &String| {
            if bought.as_ref() == Some(digest) { "as the purchase".to_owned() } else { words::short(digest) }
        };
        let more = seen.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" (+ {more})") } else { String::new() };
        let seen: Vec<String> = seen.iter().take(SHOWN).map(told).collect();
        (!seen.is_empty()).then(|| format!("{name} {}{more}", seen.join(", ")))
    };
    let origin = [from("IP", &day.ips, &bought.ip), from("device", &day.devices, &bought.device)];
    let origin = origin.into_iter().flatten().collect::<Vec<_>>().join("; ");
    [references + &more, origin].into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn balance(flow: &mut Flow, pack: &Pack, _checked: &Checked, _limits: Limits) {
    flow.heading("Balance of the account");
    chart::draw(flow, pack);
}

fn earlier(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    let earlier = &pack.earlier;
    flow.heading("Earlier payments of this account that nobody disputed");
    if earlier.payments.is_empty() {
        flow.paragraph("There are none.", 1);
        return;
    }
    let columns = [left("Day", 4), left("Payment", 6), right("Amount", 4), left("IP", 5), left("Device", 5)];
    let (rows, left_out) = (earlier.payments.len(), earlier.left_out);
    let table = Table { columns: &columns, rows, left_out, path: "content.earlier.payments" };
    let of_this = &pack.purchase.references;
    table.draw(flow, limits, |index| {
        let payment = &earlier.payments[index];
        let compared = |this: &Option<String>, other: &Option<String>| match other {
            None => "not recorded".to_owned(),
            Some(digest) if this.as_ref() == Some(digest) => "as disputed".to_owned(),
            Some(digest) => words::short(digest),
        };
        vec![
            words::iso_day(words::day_of(payment.at)),
            payment.payment.to_string(),
            words::money(payment.amount),
            compared(&of_this.ip, &payment.references.ip),
            compared(&of_this.device, &payment.references.device),
        ]
    });
}

fn compelling(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    // Of no use to anybody where it cannot apply: another network, or a case that takes no evidence.
    let is_visa = pack.dispute.network.as_deref().is_some_and(|network| network.eq_ignore_ascii_case("visa"));
    if is_for_own_records(pack) || !is_visa {
        return;
    }
    let evidence = CompellingEvidence::of(pack);
    flow.heading("Visa Compelling Evidence 3.0");
    flow.paragraph(
        if evidence.qualifies {
            "All requirements are met by what is recorded."
        } else {
            "Not all requirements are met by what is recorded."
        },
        2,
    );
    let columns = [left("Requirement", 4), left("State", 2), left("What is known", 9)];
    let rows = evidence.requirements.len();
    let table =
        Table { columns: &columns, rows, left_out: 0, path: "content.compelling_evidence_3.requirements" };
    // The list is short, and half of it would mislead.
    table.draw(flow, Limits { rows, lines: limits.lines.min(4) }, |index| {
        let requirement = &evidence.requirements[index];
        let kind = if requirement.required { "" } else { " (element)" };
        vec![
            format!("{}{kind}", words::capital(requirement.field)),
            requirement.state.as_str().to_owned(),
            requirement.detail.clone(),
        ]
    });
}

fn refunds(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    flow.heading("Refunds");
    if pack.refunds.is_empty() {
        flow.paragraph("No refund was made.", 1);
        return;
    }
    let columns = [left("When (UTC)", 4), left("Step", 3), right("Amount", 3), left("Reference, reason", 6)];
    let table = Table { columns: &columns, rows: pack.refunds.len(), left_out: 0, path: "content.refunds" };
    table.draw(flow, limits, |index| {
        let refund = &pack.refunds[index];
        let why = [refund.reference.as_deref(), refund.note.as_deref()];
        vec![
            words::stamp(refund.at),
            words::spaced(&refund.state),
            refund.amount.map(words::money).unwrap_or_default(),
            why.into_iter().flatten().collect::<Vec<_>>().join(": "),
        ]
    });
}

/// To a bank only what moved is told; what it cost the seller is for own records.
fn overlap(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    let Some(overlap) = &pack.overlap else { return };
    flow.heading("Refund and dispute of the same payment");
    let told = |amount: Option<Money>| amount.map(words::money).unwrap_or_default();
    if is_for_own_records(pack) {
        flow.paragraph(&overlap.note, limits.lines);
        facts(flow, &[("Fees", told(overlap.fees))], limits.lines);
    }
    facts(flow, &[("Went back twice", told(overlap.paid_twice))], limits.lines);
    let columns = [left("When (UTC)", 4), left("Movement", 6), left("State", 2), right("Amount", 3)];
    let rows = overlap.movements.len();
    let table = Table { columns: &columns, rows, left_out: 0, path: "content.overlap.movements" };
    table.draw(flow, limits, |index| {
        let movement = &overlap.movements[index];
        let what = format!("{} {}", words::spaced(&movement.kind), movement.id);
        vec![words::stamp(movement.at), what, movement.status.clone(), words::money(movement.amount)]
    });
}

fn restrictions(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    if pack.restrictions.is_empty() {
        return;
    }
    flow.heading("Restrictions of the account");
    let columns = [left("Kind", 4), left("Cause", 8), left("Since (UTC)", 7), left("Until (UTC)", 7)];
    let rows = pack.restrictions.len();
    let table = Table { columns: &columns, rows, left_out: 0, path: "content.restrictions" };
    table.draw(flow, limits, |index| {
        let restriction = &pack.restrictions[index];
        vec![
            restriction.kind.clone(),
            restriction.cause.clone(),
            words::stamp(restriction.since),
            restriction.until.map_or_else(|| "stands".to_owned(), words::stamp),
        ]
    });
}

fn notifications(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    flow.heading("Messages sent to the customer");
    if pack.notifications.is_empty() {
        flow.paragraph("None is recorded.", 1);
        return;
    }
    let columns = [left("When (UTC)", 4), left("By", 2), left("What", 7), left("Outcome", 3)];
    let rows = pack.notifications.len();
    let table = Table { columns: &columns, rows, left_out: 0, path: "content.notifications" };
    table.draw(flow, limits, |index| {
        let sent = &pack.notifications[index];
        let reference = sent.reference.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
        vec![
            words::stamp(sent.at),
            sent.channel.clone(),
            format!("{}{reference}", sent.what),
            sent.outcome.clone().unwrap_or_default(),
        ]
    });
}

fn timeline(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    flow.heading("What happened");
    if pack.timeline.is_empty() {
        flow.paragraph("Nothing is recorded.", 1);
        return;
    }
    let is_own = is_for_own_records(pack);
    // What the seller's staff noted is nobody's business outside.
    let steps: Vec<&Step> =
        pack.timeline.iter().filter(|step| is_own || !step.who.starts_with("operator/")).collect();
    let columns = [left("When (UTC)", 9), left("Who", 4), left("What", 20)];
    let rows = steps.len();
    let table = Table { columns: &columns, rows, left_out: 0, path: "content.timeline" };
    table.draw(flow, limits, |index| {
        let step = steps[index];
        let effects = [("Credits", &step.credits), ("Standing", &step.standing)];
        let effects = effects
            .into_iter()
            .filter_map(|(name, effect)| effect.as_ref().map(|effect| format!("{name}: {effect}")));
        let what = std::iter::once(step.what.clone()).chain(effects).collect::<Vec<_>>().join("\n");
        vec![words::stamp(step.at), step.who.clone(), what]
    });
    if steps.len() < pack.timeline.len() {
        flow.paragraph("Steps of the seller's staff are in the JSON document alone.", 2);
    }
}

fn policy(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    let Some(policy) = &pack.policy else { return };
    flow.heading("Refund policy at the time of the purchase");
    let version = policy.version.clone().unwrap_or_default();
    facts(
        flow,
        &[("Version", version), ("How it was shown", policy.disclosure.clone().unwrap_or_default())],
        limits.lines,
    );
    flow.paragraph(&policy.text, limits.rows.max(5));
}

/// What contesting is worth is told to the seller, never to a bank.
fn economics(flow: &mut Flow, pack: &Pack, _checked: &Checked, limits: Limits) {
    if !is_for_own_records(pack) || pack.economics.is_empty() {
        return;
    }
    flow.heading("What it is worth");
    for sentence in pack.economics.iter().take(limits.rows) {
        flow.paragraph(sentence, limits.lines);
    }
    if let more @ 1.. = pack.economics.len().saturating_sub(limits.rows) {
        flow.paragraph(&format!("{more} more: the JSON document holds them, under content.economics."), 2);
    }
}

fn proof(flow: &mut Flow, pack: &Pack, checked: &Checked, limits: Limits) {
    let (grant, account) = (&pack.grant, &pack.customer.account);
    flow.heading("Proof: the journal of this payment");
    flow.paragraph(
        "The journal is double-entry: each transaction sums to zero. It can only be added to, and each transaction carries a hash \
         (SHA-256) over its content and the hash before it. Whoever changes, removes or adds one breaks every hash after it.",
        6,
    );
    flow.strong("How to check");
    for sentence in HOW_TO_CHECK {
        flow.paragraph(sentence, 8);
    }
    let (hold, all) = (checked.hold, grant.transactions.len());
    flow.paragraph(
        &if hold == all {
            format!("Checked when this document was made: all {all} hold.")
        } else {
            format!("CHECKED WHEN THIS DOCUMENT WAS MADE: ONLY {hold} OF {all} HOLD.")
        },
        2,
    );
    // Each takes about seven lines, so that fewer are shown than rows of a table.
    let shown = limits.rows.div_ceil(3);
    for transaction in grant.transactions.iter().take(shown) {
        one_transaction(flow, transaction, transaction.holds(account), limits);
    }
    if let more @ 1.. = all.saturating_sub(shown) {
        flow.paragraph(
            &format!("{more} more: the JSON document holds them, under content.grant.transactions."),
            2,
        );
    }
    if grant.transactions_left_out > 0 {
        let more =
            words::counted(grant.transactions_left_out, "more transaction is", "more transactions are");
        flow.paragraph(&format!("{more} in the operator's journal and in neither document."), 2);
    }
    if let Some(head) = &grant.head {
        let number = words::count(head.number);
        flow.paragraph(&format!("The account's journal ended at transaction {number} with the hash"), 1);
        flow.paragraph(&hex::encode(head.hash), 1);
    }
}

fn one_transaction(flow: &mut Flow, transaction: &Proof, holds: bool, limits: Limits) {
    const ENTRIES_SHOWN: usize = 12;
    let checked = if holds { "follows from the content and the hash before it" } else { "DOES NOT FOLLOW" };
    let mut entries: Vec<String> = transaction
        .entries
        .iter()
        .take(ENTRIES_SHOWN.min(limits.rows))
        .map(|entry| {
            let lot = entry.lot.as_ref().map(|lot| format!(" ({lot})")).unwrap_or_default();
            format!("{} {}{lot}", words::credits(entry.amount), entry.book.as_str())
        })
        .collect();
    if let more @ 1.. = transaction.entries.len().saturating_sub(entries.len()) {
        entries.push(format!("{more} more entries in the JSON document"));
    }
    flow.need(leading(SIZE) * 11);
    flow.strong(&format!(
        "Transaction {}: {}, {}",
        words::count(transaction.number),
        words::spaced(transaction.kind.as_str()),
        words::stamp(transaction.at)
    ));
    let value = [
        ("Cause", transaction.cause.to_string()),
        ("Entries", entries.join("\n")),
        ("Hash", checked.to_owned()),
    ];
    facts(flow, &value, limits.lines.max(2));
    for (name, hash) in [("Hash before it:", &transaction.previous_hash), ("Its hash:", &transaction.hash)] {
        flow.paragraph(&format!("{name}\n{}", hex::encode(hash)), 2);
    }
    flow.space(6_000);
}

fn about(flow: &mut Flow, pack: &Pack, checked: &Checked, _limits: Limits) {
    flow.heading("About this document");
    flow.paragraph(
        &format!(
            "Made by Bursar {} from its records as they stood at {}. A JSON document for machines belongs to it and holds all that \
             is left out here. The hash (SHA-256) of its content is",
            pack.product_version,
            words::moment(pack.as_of)
        ),
        5,
    );
    flow.paragraph(&hex::encode(checked.content_sha256), 1);
    let replaced = flow.typesetter.replaced;
    if replaced > 0 {
        let characters = words::counted(replaced, "character", "characters");
        flow.paragraph(
            &format!(
                "{characters} of this document cannot be shown by its fonts, or would not be seen, and stand as \u{FFFD}. The JSON \
                 document holds them as they are."
            ),
            3,
        );
    }
}
