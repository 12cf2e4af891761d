//! How amounts, moments and codes are told to people, in the PDF and in the processor's text fields alike.

use crate::pack::{Dispute, Pack, References};
use domain::fact::DIGEST_PREFIX;
use domain::{Credits, Money};
use time::{Date, OffsetDateTime};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `3 March 2026`.
pub fn day(day: Date) -> String {
    let month = MONTHS[usize::from(u8::from(day.month())) - 1];
    format!("{} {month} {}", day.day(), day.year())
}

/// `3 March 2026, 10:02 UTC`. A moment outside the calendar is told with its own offset's digits.
pub fn moment(at: OffsetDateTime) -> String {
    match domain::calendar::in_utc(at) {
        Ok(at) => format!("{}, {:02}:{:02} UTC", day(at.date()), at.hour(), at.minute()),
        Err(_) => at.to_string(),
    }
}

/// The day of a moment, in UTC.
pub fn day_of(at: OffsetDateTime) -> Date {
    domain::calendar::in_utc(at).unwrap_or(at).date()
}

/// `2026-03-03 10:02:07`: for tables and logs, in UTC.
pub fn stamp(at: OffsetDateTime) -> String {
    let at = domain::calendar::in_utc(at).unwrap_or(at);
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    format!("{} {hour:02}:{minute:02}:{second:02}", iso_day(at.date()))
}

/// `2026-03-03`.
pub fn iso_day(day: Date) -> String {
    format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())
}

/// `1,234.5`.
pub fn credits(credits: Credits) -> String {
    grouped(&credits.to_string())
}

/// `1,234.50 USD`.
pub fn money(money: Money) -> String {
    format!("{} {}", grouped(&money.display_amount()), money.currency().code())
}

/// `1,234`.
pub fn count(count: u64) -> String {
    grouped(&count.to_string())
}

/// `1 day`, `2 days`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Commas between groups of three digits before the point.
fn grouped(number: &str) -> String {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |number| ("-", number));
    let (whole, fraction) = number.find('.').map_or((number, ""), |point| number.split_at(point));
    let mut told = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told + fraction
}

/// The beginning of a digest, enough to see that two are equal. How it was made stands before each of a kind, and tells none apart.
pub fn short(digest: &str) -> String {
    const SHOWN: usize = 12;
    let digest = digest.strip_prefix(DIGEST_PREFIX).unwrap_or(digest);
    if digest.chars().count() <= SHOWN {
        return digest.to_owned();
    }
    digest.chars().take(SHOWN).chain(['…']).collect()
}

/// The first letter large: the beginning of a sentence or of a name (`stripe`).
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A code's words apart: `product_not_received` becomes `product not received`.
pub fn spaced(code: &str) -> String {
    code.replace('_', " ")
}

/// What stands for a character that cannot be shown.
pub const REPLACEMENT: char = '\u{FFFD}';

/// The text on one line, with nothing in it that is not seen.
pub fn visible(text: &str) -> String {
    text.chars().map(|it| if is_unseen(it) { REPLACEMENT } else { it }).collect()
}

/// Whether nobody would see it, or it would change how others are seen: control characters, directions of writing, joiners, fillers,
/// variation selectors, tags.
pub fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// What the reason says, in a sentence. Codes as Stripe names them; others are told as they are.
pub fn reason(dispute: &Dispute) -> String {
    let said = match dispute.reason.as_deref() {
        Some("fraudulent") => "The cardholder says that the payment was not authorised".to_owned(),
        Some("unrecognized") => "The cardholder says that the payment is not recognised".to_owned(),
        Some("product_not_received") => "The customer says that nothing was delivered".to_owned(),
        Some("product_unacceptable") => {
            "The customer says that what was delivered was not as described".to_owned()
        }
        Some("duplicate") => "The customer says that one purchase was paid twice".to_owned(),
        Some("credit_not_processed") => "The customer says that a refund is due and did not come".to_owned(),
        Some("subscription_canceled") => "The customer says that a subscription was cancelled".to_owned(),
        Some(other) => capital(&spaced(other)),
        None => "No reason was stated".to_owned(),
    };
    let codes = [dispute.reason.as_deref().map(str::to_owned), network(dispute)];
    let codes: Vec<String> = codes.into_iter().flatten().collect();
    if codes.is_empty() { format!("{said}.") } else { format!("{said} ({}).", codes.join(", ")) }
}

/// `Visa, code 10.4`.
pub fn network(dispute: &Dispute) -> Option<String> {
    match (&dispute.network, &dispute.network_reason_code) {
        (Some(network), Some(code)) => Some(format!("{}, code {code}", capital(network))),
        (Some(network), None) => Some(capital(network)),
        (None, Some(code)) => Some(format!("network code {code}")),
        (None, None) => None,
    }
}

/// The case in a few sentences that a stranger understands: bought, delivered, used, and what else speaks.
pub fn summary(pack: &Pack) -> Vec<String> {
    let mut told = vec![bought(pack), delivered(pack), used(pack)];
    told.push(match pack.earlier.payments.len() as u64 + pack.earlier.left_out {
        0 => "There are no earlier payments of this account that went undisputed.".to_owned(),
        count => {
            let earlier = counted(count, "earlier payment", "earlier payments");
            format!("The same account made {earlier} that nobody disputed.")
        }
    });
    told.extend(shared(pack));
    told.push(refunds(pack));
    if pack.overlap.is_some() {
        told.push("Money of this payment went back both by refund and by dispute.".to_owned());
    }
    told
}

fn bought(pack: &Pack) -> String {
    let (purchase, account) = (&pack.purchase, &pack.customer.account);
    let what = match &purchase.description {
        Some(description) => format!(" ({description})"),
        None => String::new(),
    };
    format!(
        "On {} the holder of account {account} paid {}{what}.",
        moment(purchase.at),
        money(purchase.amount)
    )
}

fn delivered(pack: &Pack) -> String {
    let grant = &pack.grant;
    if !grant.credits.is_positive() {
        return "No credits were delivered for this payment.".to_owned();
    }
    let when = grant.at.map_or_else(String::new, |at| format!(" on {}", moment(at)));
    format!("{} prepaid credits were delivered to the account{when}.", credits(grant.credits))
}

fn used(pack: &Pack) -> String {
    let (usage, consumed) = (&pack.usage, pack.grant.consumed);
    if usage.count == 0 {
        return "The account has used nothing since the purchase.".to_owned();
    }
    let days = counted(usage.days.len() as u64 + usage.days_left_out, "day", "days");
    let times = counted(usage.count, "time", "times");
    let between = match (usage.first_at, usage.last_at) {
        (Some(first), Some(last)) => {
            format!(" between {} and {}", day(day_of(first)), day(day_of(last)))
        }
        _ => String::new(),
    };
    let all = credits(usage.credits);
    let of_this = if consumed == usage.credits {
        "all of them credits of this payment".to_owned()
    } else {
        format!("{} of them credits of this payment", credits(consumed))
    };
    format!("The account then used {all} credits, {of_this}: {times} on {days}{between}.")
}

/// What the disputed payment has in common with those before it.
fn shared(pack: &Pack) -> Option<String> {
    let of_this = &pack.purchase.references;
    let same = |this: &Option<String>, other: &Option<String>| this.is_some() && this == other;
    let sharing = |is: &dyn Fn(&References) -> bool| {
        pack.earlier.payments.iter().filter(|payment| is(&payment.references)).count() as u64
    };
    let told = [
        (sharing(&|it| same(&of_this.ip, &it.ip)), "came from the same IP address"),
        (sharing(&|it| same(&of_this.device, &it.device)), "from the same device"),
        (sharing(&|it| same(&of_this.payment_method, &it.payment_method)), "by the same means of payment"),
    ];
    let told = told.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told.map(|(count, how)| format!("{} {how}", self::count(*count))).collect();
    (!told.is_empty()).then(|| format!("Compared with the disputed payment: {}.", told.join(", ")))
}

fn refunds(pack: &Pack) -> String {
    match pack.refunds.last() {
        None => "No refund was made.".to_owned(),
        Some(last) => {
            let amount = last.amount.map_or_else(String::new, |amount| format!(", {}", money(amount)));
            format!("Refund: {}{amount}, on {}.", spaced(&last.state), moment(last.at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{date, datetime};

    #[test]
    fn numbers_are_grouped() {
        for (plain, told) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("-1234567.8900", "-1,234,567.8900"),
            ("-123", "-123"),
            ("0.00001", "0.00001"),
        ] {
            assert_eq!(grouped(plain), told);
        }
    }

    #[test]
    fn moments_are_told_in_utc() {
        assert_eq!(moment(datetime!(2026-03-03 23:30:00 -1)), "4 March 2026, 00:30 UTC");
        assert_eq!(stamp(datetime!(2026-03-03 23:30:00 -1)), "2026-03-04 00:30:00");
        assert_eq!(iso_day(date!(2026 - 03 - 03)), "2026-03-03");
    }

    #[test]
    fn digests_are_shortened_and_short_texts_are_not() {
        assert_eq!(short("0123456789abcdef"), "0123456789ab…");
        assert_eq!(short("0123456789ab"), "0123456789ab");
        assert_eq!(short(&format!("hmac-sha256:{}", "0123456789abcdef".repeat(4))), "0123456789ab…");
        assert_eq!(short("éééééééééééééé"), "éééééééééééé…");
    }
}
