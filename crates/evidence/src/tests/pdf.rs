use super::{hostile, worked};
use crate::pack::Pack;
use crate::{BYTES_MAX, PAGES_MAX, Pdf};

fn pdf(pack: &Pack) -> Pdf {
    let pdf = pack.to_pdf().unwrap();
    assert!(pdf.bytes.starts_with(b"%PDF-"));
    assert!((1..=PAGES_MAX).contains(&pdf.pages), "{} pages", pdf.pages);
    assert!(pdf.bytes.len() <= BYTES_MAX, "{} bytes", pdf.bytes.len());
    assert_eq!(count(&pdf, "/Type/Page/"), pdf.pages);
    for forbidden in ["/Annots", "/URI", "/JavaScript", "/Launch", "/EmbeddedFile"] {
        assert_eq!(count(&pdf, forbidden), 0, "{forbidden}");
    }
    pdf
}

/// How often this stands in the bytes; what is compressed are pages and fonts alone.
fn count(pdf: &Pdf, text: &str) -> usize {
    pdf.bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
}

/// Where `BURSAR_TEST_EVIDENCE` names a folder, what the tests make is written there to be looked at.
fn keep(name: &str, pack: &Pack, pdf: &Pdf) {
    let Ok(folder) = std::env::var("BURSAR_TEST_EVIDENCE") else { return };
    let folder = std::path::Path::new(&folder);
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(format!("{name}.pdf")), &pdf.bytes).unwrap();
    std::fs::write(folder.join(format!("{name}.json")), pack.to_json()).unwrap();
}

/// Makes it twice: within the limits, and the same bytes.
#[track_caller]
fn check(name: &str, pack: &Pack) -> Pdf {
    let made = pdf(pack);
    keep(name, pack, &made);
    assert!(made == pdf(&pack.clone()), "{name}: the same bytes twice");
    made
}

#[test]
fn the_worked_pack() {
    let made = check("worked", &worked::pack());
    assert!(
        made.pages <= 12 && made.bytes.len() < 300_000,
        "{} pages, {} bytes",
        made.pages,
        made.bytes.len()
    );
}

#[test]
fn the_worked_pack_at_paddle() {
    check("paddle", &paddle());
}

fn paddle() -> Pack {
    let mut pack = worked::pack();
    pack.dispute.processor = "paddle".parse().unwrap();
    (pack.dispute.due_by, pack.dispute.processor_status) = (None, None);
    (pack.dispute.network, pack.dispute.network_reason_code) = (None, None);
    pack
}

#[test]
fn a_pack_that_knows_next_to_nothing() {
    let mut pack = worked::pack();
    let nothing = crate::Usage::default();
    (pack.usage, pack.balance, pack.earlier) = (nothing, vec![], crate::EarlierPayments::default());
    (pack.timeline, pack.notifications, pack.restrictions) = (vec![], vec![], vec![]);
    (pack.policy, pack.seller, pack.grant.head) = (None, None, None);
    (pack.dispute.reason, pack.dispute.amount) = (None, None);
    pack.purchase.items = vec![];
    pack.grant.transactions = vec![];
    check("little", &pack);
}

#[test]
fn however_much_it_is_the_limits_hold() {
    check("huge", &hostile::huge());
}

#[test]
fn hostile_texts_break_nothing() {
    check("hostile", &hostile::texts());
    check("endless", &hostile::filled(&|_| hostile::endless(5_000), 20));
    check("empty", &hostile::filled(&|_| String::new(), 30));
}

#[test]
fn as_many_different_characters_as_there_are_fit() {
    let all: Vec<char> = hostile::all_ideographs().chars().collect();
    let cell = |index: usize| (0..97).map(|next| all[(index * 97 + next) % all.len()]).collect();
    check("ideographs", &hostile::filled(&cell, 150));
}
