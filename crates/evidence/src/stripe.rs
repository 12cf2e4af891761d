//! The pack as the fields of Stripe's evidence API, each within Stripe's limits.
//!
//! Stripe fills the customer's name, e-mail address and the product's description by itself, soon after a dispute is made. A
//! field that is sent replaces what stands there, so that a field of which nothing is known is left out. Source of fields and
//! limits: docs.stripe.com/api/disputes/update, docs.stripe.com/disputes/best-practices.

use crate::pack::{EarlierPayment, Pack};
use crate::pdf::{self, PdfError};
use crate::words::{self, REPLACEMENT, is_unseen};
use serde::Serialize;

/// Characters of one text.
pub const TEXT_CHARACTERS_MAX: usize = 20_000;

/// Characters of all texts together.
pub const TEXTS_CHARACTERS_MAX: usize = 150_000;

/// Bytes of all files together.
pub const FILES_BYTES_MAX: usize = 4_500_000;

/// What of a pack goes into which field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StripeEvidence {
    /// In the order of their names, each field once.
    pub texts: Vec<StripeText>,
    /// One file a field; each is uploaded with the purpose `dispute_evidence`, and its id goes into the field.
    pub files: Vec<StripeFile>,
    /// What was cut or left out and why, a sentence each: for the operator, not for Stripe.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StripeText {
    /// As Stripe names it: sent as `evidence[<field>]`.
    pub field: &'static str,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StripeFile {
    pub field: &'static str,
    pub name: String,
    pub mime: &'static str,
    pub pages: usize,
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// Why there is nothing that Stripe could be sent.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    #[error(
        "expected a dispute at stripe, got one at {0}, which takes no evidence this way; the pack can be kept for own records"
    )]
    OtherProcessor(String),
    #[error(transparent)]
    Pdf(#[from] PdfError),
    #[error("expected {what} of at most {max}, got {got}: a defect, send nothing and report it")]
    Limit { what: String, max: usize, got: usize },
}

impl Pack {
    /// The fields of Stripe's evidence API with what the pack knows, within Stripe's limits. What is too long is cut at the end
    /// of a line or sentence, and both the text and the notes say so. The same pack gives the same fields.
    ///
    /// # Errors
    /// The dispute is at another processor. A PDF that cannot be made, or a limit that is passed, is a defect.
    pub fn stripe_evidence(&self) -> Result<StripeEvidence, StripeError> {
        if self.dispute.processor.as_str() != "stripe" {
            return Err(StripeError::OtherProcessor(self.dispute.processor.to_string()));
        }
        let mut notes = notes(self);
        let mut room = TEXTS_CHARACTERS_MAX;
        let mut texts = Vec::new();
        for (field, text) in fields(self) {
            let max = room.min(TEXT_CHARACTERS_MAX);
            let (text, cut) = cut(&clean(&text), max);
            if cut > 0 {
                notes.push(format!("{field}: {} were cut; the file holds more.", characters(cut)));
            }
            room -= text.chars().count();
            if !text.is_empty() {
                texts.push(StripeText { field, text });
            }
        }
        texts.sort_by_key(|text| text.field);
        let pdf = self.to_pdf()?;
        // The same file in two fields would count twice.
        let file = StripeFile {
            field: "service_documentation",
            name: file_name(&self.dispute.id),
            mime: "application/pdf",
            pages: pdf.pages,
            bytes: pdf.bytes,
        };
        let evidence = StripeEvidence { texts, files: vec![file], notes };
        evidence.check()?;
        Ok(evidence)
    }
}

impl StripeEvidence {
    /// Holds every limit, whoever made or changed this.
    ///
    /// # Errors
    /// The first limit that is passed.
    pub fn check(&self) -> Result<(), StripeError> {
        let within = |what: String, got: usize, max: usize| {
            if got > max { Err(StripeError::Limit { what, max, got }) } else { Ok(()) }
        };
        let lengths = self.texts.iter().map(|text| text.text.chars().count());
        for (text, length) in self.texts.iter().zip(lengths.clone()) {
            within(format!("characters in {}", text.field), length, TEXT_CHARACTERS_MAX)?;
            let twice = self.texts.iter().filter(|other| other.field == text.field).count();
            within(format!("texts in {}", text.field), twice, 1)?;
        }
        within("characters in all texts".to_owned(), lengths.sum(), TEXTS_CHARACTERS_MAX)?;
        for file in &self.files {
            let twice = self.files.iter().filter(|other| other.field == file.field).count();
            within(format!("files in {}", file.field), twice, 1)?;
        }
        within("pages".to_owned(), self.files.iter().map(|file| file.pages).sum(), pdf::PAGES_MAX)?;
        let bytes = self.files.iter().map(|file| file.bytes.len()).sum();
        within("bytes in all files".to_owned(), bytes, FILES_BYTES_MAX)
    }
}

/// Fields and their texts, the most important first: where all together are too long, the last are cut.
fn fields(pack: &Pack) -> Vec<(&'static str, String)> {
    let (customer, policy) = (&pack.customer, pack.policy.as_ref());
    let disclosure = policy.map(|policy| {
        let shown = policy.disclosure.as_ref().map(|shown| format!("{shown}\n\n")).unwrap_or_default();
        format!("{shown}{}", policy.text)
    });
    let duplicate = duplicate(pack);
    let all = [
        ("customer_name", customer.name.clone()),
        ("customer_email_address", customer.email.clone()),
        ("service_date", service_date(pack)),
        ("duplicate_charge_id", duplicate.and_then(crate::compelling::charge).map(str::to_owned)),
        ("uncategorized_text", Some(words::summary(pack).join("\n") + "\n" + PROOF)),
        ("product_description", product(pack)),
        ("duplicate_charge_explanation", duplicate.map(|other| twice(pack, other))),
        ("cancellation_rebuttal", cancellation(pack)),
        ("refund_refusal_explanation", refusal(pack)),
        ("access_activity_log", activity(pack)),
        ("refund_policy_disclosure", disclosure),
    ];
    all.into_iter().filter_map(|(field, text)| text.map(|text| (field, text))).collect()
}

const PROOF: &str = "The delivery is booked in a double-entry journal that can only be added to, each entry chained to the one before \
                     it by a hash. The file in service_documentation holds the entries, the hashes and how to check them.";

fn notes(pack: &Pack) -> Vec<String> {
    let mut notes = Vec::new();
    if pack.purchase.references.ip.is_some() {
        notes.push(
            "customer_purchase_ip: left out, because only a digest of the address is kept. Whoever knows the address may add it."
                .to_owned(),
        );
    }
    if crate::compelling::CompellingEvidence::of(pack).qualifies {
        notes.push(
            "enhanced_evidence: the payment qualifies for Compelling Evidence 3.0 by what is recorded. It is left out, because Stripe asks \
             for the values of which only digests are kept; submit it in Stripe's dashboard."
                .to_owned(),
        );
    }
    if pack.dispute.due_by.is_none() {
        notes.push("No date until which evidence is taken is known: Stripe may take none.".to_owned());
    }
    notes
}

/// When the service began: the first use, else the delivery.
fn service_date(pack: &Pack) -> Option<String> {
    let at = pack.usage.first_at.or(pack.grant.at)?;
    Some(words::day(words::day_of(at)))
}

/// Only where somebody described what was sold: else Stripe knows more than we.
fn product(pack: &Pack) -> Option<String> {
    let purchase = &pack.purchase;
    let named = purchase.items.iter().filter_map(|item| {
        let name = item.name.as_ref()?;
        Some(format!("{} x {name}", words::count(item.quantity)))
    });
    let mut lines: Vec<String> = purchase.description.iter().cloned().chain(named).collect();
    if lines.is_empty() {
        return None;
    }
    if pack.grant.credits.is_positive() {
        let credits = words::credits(pack.grant.credits);
        lines.push(format!("{credits} prepaid credits, delivered digitally to the buyer's account."));
    }
    Some(lines.join("\n"))
}

fn activity(pack: &Pack) -> Option<String> {
    let usage = &pack.usage;
    if usage.days.is_empty() {
        return None;
    }
    let mut lines = vec![format!(
        "Use of account {} since the purchase, by day (UTC): uses, credits, references.",
        pack.customer.account
    )];
    for day in &usage.days {
        const SHOWN: usize = 5;
        let more = day.references.len().saturating_sub(SHOWN) as u64;
        let more = match more.saturating_add(day.references_left_out) {
            0 => String::new(),
            more => format!(" (+ {})", words::count(more)),
        };
        let references = day.references.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let uses = words::counted(day.count, "use", "uses");
        let credits = words::credits(day.credits);
        lines.push(format!("{}: {uses}, {credits} credits. {references}{more}", words::iso_day(day.day)));
    }
    if usage.days_left_out > 0 {
        lines.push(format!("{} more are not listed.", words::counted(usage.days_left_out, "day", "days")));
    }
    Some(lines.join("\n"))
}

/// What became of refunds, where there were any; of what was only asked for nothing is known here.
fn refusal(pack: &Pack) -> Option<String> {
    if pack.refunds.is_empty() {
        return None;
    }
    let steps = pack.refunds.iter().map(|refund| {
        let amount = refund.amount.map(|amount| format!(", {}", words::money(amount))).unwrap_or_default();
        let why = refund.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        format!("{}: {}{amount}{why}", words::moment(refund.at), words::spaced(&refund.state))
    });
    Some(steps.collect::<Vec<_>>().join("\n"))
}

fn cancellation(pack: &Pack) -> Option<String> {
    let concerns = pack.dispute.reason.as_deref() == Some("subscription_canceled");
    (concerns && pack.purchase.is_one_off)
        .then(|| "This was a one-off purchase of prepaid credits. There is no subscription.".to_owned())
}

/// Of a dispute over a duplicate: the earlier payment of the same amount that is nearest in time.
fn duplicate(pack: &Pack) -> Option<&EarlierPayment> {
    let concerns = pack.dispute.reason.as_deref() == Some("duplicate");
    let same = pack.earlier.payments.iter().filter(|payment| payment.amount == pack.purchase.amount);
    concerns.then(|| same.max_by_key(|payment| payment.at)).flatten()
}

fn twice(pack: &Pack, other: &EarlierPayment) -> String {
    let purchase = &pack.purchase;
    let mut told = format!(
        "These are two purchases: {} on {}, and {} on {}.",
        other.payment.id(),
        words::moment(other.at),
        purchase.payment.id(),
        words::moment(purchase.at)
    );
    if pack.grant.credits.is_positive() {
        let credits = words::credits(pack.grant.credits);
        told += &format!(" The disputed one delivered {credits} credits of its own.");
    }
    told
}

/// Nothing that is not seen, but for line ends.
fn clean(text: &str) -> String {
    let shown = text.replace("\r\n", "\n");
    let shown = shown.chars().map(|character| match character {
        '\n' => '\n',
        '\r' => '\n',
        '\t' => ' ',
        hidden if is_unseen(hidden) => REPLACEMENT,
        other => other,
    });
    shown.collect::<String>().trim().to_owned()
}

/// At most `max` characters, cut at the end of a line, else of a sentence, else of a word, with a note at its end; and how many
/// characters are gone. Where not even the note fits, nothing is left.
fn cut(text: &str, max: usize) -> (String, usize) {
    let length = text.chars().count();
    if length <= max {
        return (text.to_owned(), 0);
    }
    let Some(room) = max.checked_sub(note(length).chars().count()) else { return (String::new(), length) };
    let end = text.char_indices().nth(room).map_or(text.len(), |(end, _)| end);
    let fits = &text[..end];
    // Not far back: half of what fits is kept at least.
    let half = fits.len() / 2;
    let ends = [fits.rfind('\n'), fits.rfind(". ").map(|at| at + 1), fits.rfind(' ')];
    let end = ends.into_iter().flatten().find(|at| *at >= half).unwrap_or(fits.len());
    let kept = fits[..end].trim_end();
    let gone = length - kept.chars().count();
    (format!("{kept}{}", note(gone)), gone)
}

fn note(gone: usize) -> String {
    format!("\n[Cut here: {} more.]", characters(gone))
}

fn characters(count: usize) -> String {
    words::counted(count as u64, "character", "characters")
}

/// The dispute's id where it can be part of a name, whatever it holds.
fn file_name(dispute: &str) -> String {
    let safe = |it: char| if it.is_ascii_alphanumeric() || it == '_' { it } else { '-' };
    format!("evidence-{}.pdf", dispute.chars().take(100).map(safe).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_where_something_ends_and_says_so() {
        let (line, sentence, word) =
            ("a line\n".repeat(100), "A sentence. ".repeat(100), "word ".repeat(100));
        for (text, last) in
            [(&line, "a line"), (&sentence, "A sentence."), (&word, "word"), (&"x".repeat(500), "x")]
        {
            let (cut_text, gone) = cut(text, 200);
            assert!(cut_text.chars().count() <= 200, "{cut_text}");
            let (kept, note) = cut_text.split_once("\n[Cut here: ").unwrap();
            assert!(kept.ends_with(last) && kept.chars().count() > 100, "{cut_text}");
            assert_eq!(note, format!("{} more.]", characters(gone)));
            assert_eq!(gone, text.chars().count() - kept.chars().count());
        }
        assert_eq!(cut("short", 5), ("short".to_owned(), 0));
        assert_eq!(cut("longer", 5), (String::new(), 6));
        let (cut_text, _) = cut(&"漢".repeat(500), 100);
        assert!(cut_text.starts_with("漢漢") && cut_text.chars().count() <= 100);
    }
}
