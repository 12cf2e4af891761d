//! What is asked of Stripe, to the byte, and what each documented form of an answer says.

use super::*;
use crate::api::{ApiAnswer, RawAnswer};
use time::macros::datetime;

/// A request as it goes out, with what cannot be seen escaped.
fn told(request: &Request) -> String {
    let headers = request.headers.iter().chain(&request.idempotency_key);
    let headers: String = headers.map(|(name, value)| format!("{name}: {value}\n")).collect();
    let body = request.body.escape_ascii().to_string().replace("\\r\\n", "\\r\\n\n");
    let told = format!("{} {}\n{headers}\n{body}", request.method.as_str(), request.path);
    told.trim_end().to_owned()
}

fn key() -> IdempotencyKey {
    IdempotencyKey::of("dispute_submission/0199a7/1")
}

fn evidence(fields: &[(EvidenceField, &str)]) -> Evidence {
    let mut evidence = Evidence::default();
    for (field, value) in fields {
        evidence.set(*field, *value).unwrap();
    }
    evidence
}

#[test]
fn objects_are_asked_for_by_their_ids_and_nothing_else() {
    insta::assert_snapshot!(told(&retrieve_refund("re_1NiR")), @r"
    GET /v1/refunds/re_1NiR
    stripe-version: 2026-08-26.dahlia
    ");
    insta::assert_snapshot!(told(&retrieve_dispute("dp_1")), @r"
    GET /v1/disputes/dp_1
    stripe-version: 2026-08-26.dahlia
    ");
    assert_eq!(retrieve_refund("../charges?x=").path, "/v1/refunds/___charges_x_");
    assert_eq!(retrieve_dispute("dp_1/close").path, "/v1/disputes/dp_1_close");
}

#[test]
fn disputes_are_listed_by_what_they_are_about() {
    insta::assert_snapshot!(told(&list_disputes(DisputesOf::Charge("ch_1"), None)), @r"
    GET /v1/disputes?charge=ch_1&limit=100
    stripe-version: 2026-08-26.dahlia
    ");
    insta::assert_snapshot!(told(&list_disputes(DisputesOf::PaymentIntent("pi_1&limit=1"), Some("dp_9"))), @r"
    GET /v1/disputes?payment_intent=pi_1%26limit%3D1&limit=100&starting_after=dp_9
    stripe-version: 2026-08-26.dahlia
    ");
}

#[test]
fn evidence_is_staged_or_submitted_and_which_is_always_said() {
    let evidence = evidence(&[
        (EvidenceField::UncategorizedText, "50 % & more = 1\n\"é\""),
        (EvidenceField::ServiceDocumentation, "file_1Abc"),
        (EvidenceField::CustomerPurchaseIp, "2001:db8::1"),
    ]);
    insta::assert_snapshot!(told(&update_dispute("dp_1", &evidence, false, &key())), @r"
    POST /v1/disputes/dp_1
    stripe-version: 2026-08-26.dahlia
    content-type: application/x-www-form-urlencoded
    idempotency-key: dispute_submission/0199a7/1

    evidence[uncategorized_text]=50+%25+%26+more+%3D+1%0A%22%C3%A9%22&evidence[customer_purchase_ip]=2001%3Adb8%3A%3A1&evidence[service_documentation]=file_1Abc&submit=false
    ");
    insta::assert_snapshot!(told(&update_dispute("dp_1", &Evidence::default(), true, &key())), @r"
    POST /v1/disputes/dp_1
    stripe-version: 2026-08-26.dahlia
    content-type: application/x-www-form-urlencoded
    idempotency-key: dispute_submission/0199a7/1

    submit=true
    ");
}

#[test]
fn a_dispute_is_accepted_by_closing_it() {
    insta::assert_snapshot!(told(&close_dispute("dp_1", &key())), @r"
    POST /v1/disputes/dp_1/close
    stripe-version: 2026-08-26.dahlia
    content-type: application/x-www-form-urlencoded
    idempotency-key: dispute_submission/0199a7/1
    ");
}

#[test]
fn a_file_goes_up_as_it_is() {
    insta::assert_snapshot!(told(&upload_evidence(b"%PDF-1.7\n\xff\0\n", "Fall \"7\"\r\n.pdf", &key())), @r#"
    POST /v1/files
    stripe-version: 2026-08-26.dahlia
    content-type: multipart/form-data; boundary=bursar-34916ff7744907e8e216b22bafc3f1ce
    idempotency-key: dispute_submission/0199a7/1

    --bursar-34916ff7744907e8e216b22bafc3f1ce\r\n
    content-disposition: form-data; name=\"purpose\"\r\n
    \r\n
    dispute_evidence\r\n
    --bursar-34916ff7744907e8e216b22bafc3f1ce\r\n
    content-disposition: form-data; name=\"file\"; filename=\"Fall__7___.pdf\"\r\n
    content-type: application/pdf\r\n
    \r\n
    %PDF-1.7\n\xff\x00\n\r\n
    --bursar-34916ff7744907e8e216b22bafc3f1ce--\r\n
    "#);
}

#[test]
fn what_parts_a_file_from_the_rest_stands_nowhere_in_it() {
    let boundary_of = |pdf: &[u8]| {
        let request = upload_evidence(pdf, "", &key());
        let (_, boundary) = request.headers[1].1.split_once("boundary=").unwrap();
        (boundary.to_owned(), request.body)
    };
    let (plain, _) = boundary_of(b"%PDF");
    assert_eq!(boundary_of(b"%PDF").0, plain, "what is sent again is the same");
    let nasty = format!("%PDF\r\n--{plain}--\r\n");
    let (boundary, body) = boundary_of(nasty.as_bytes());
    let body = String::from_utf8(body).unwrap();
    assert_eq!(body.matches(&boundary).count(), 3);
    assert!(body.contains(&nasty) && body.contains("filename=\"evidence.pdf\""));
}

#[test]
fn nothing_shows_what_people_wrote() {
    let evidence = evidence(&[(EvidenceField::CustomerName, "Jane Doe")]);
    let request = update_dispute("dp_1", &evidence, false, &key());
    let shown =
        format!("{evidence:?} {request:?} {:?}", RawAnswer { status: 200, headers: &[], body: b"Jane Doe" });
    assert!(!shown.contains("Doe"), "{shown}");
}

#[test]
fn evidence_that_stripe_would_not_take_is_refused_here() {
    let mut evidence = Evidence::default();
    let mut check = |field: EvidenceField, value: String, expect: Result<(), &str>| {
        let got = evidence.set(field, value).map_err(|why| why.to_string());
        assert_eq!(got, expect.map_err(str::to_owned));
    };
    let long = |characters: usize| "é".repeat(characters);
    check(EvidenceField::UncategorizedText, long(20_000), Ok(()));
    check(
        EvidenceField::UncategorizedText,
        long(20_001),
        Err("uncategorized_text: expected at most 20000 characters, got 20001"),
    );
    check(
        EvidenceField::CustomerName,
        " \n".to_owned(),
        Err("customer_name: expected something to say, got nothing"),
    );
    check(EvidenceField::Receipt, "file_1NiR".to_owned(), Ok(()));
    for wrong in ["receipt.pdf", "file_", "file_1/../x", "re_1"] {
        let why = "receipt: expected the id of an uploaded file, as file_1Abc, got something else";
        check(EvidenceField::Receipt, wrong.to_owned(), Err(why));
    }
    check(EvidenceField::BillingAddress, long(120_000), Ok(()));
    check(EvidenceField::ProductDescription, long(10_000), Ok(()));
    check(
        EvidenceField::ServiceDate,
        long(1),
        Err("expected texts of at most 150000 characters together, got 150001"),
    );
    // In place of what stood there.
    check(EvidenceField::ProductDescription, long(9_999), Ok(()));
    check(EvidenceField::ServiceDate, long(1), Ok(()));
    let fields: Vec<_> = evidence.fields().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        fields,
        ["product_description", "uncategorized_text", "billing_address", "service_date", "receipt"]
    );
}

#[test]
fn every_field_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> =
        EvidenceField::ALL.iter().map(|field| field.as_str()).collect();
    assert_eq!((names.len(), EvidenceField::ALL.len()), (27, 27));
    let of = |kind| EvidenceField::ALL.iter().filter(|field| field.kind() == kind).count();
    assert_eq!([EvidenceKind::LongText, EvidenceKind::ShortText, EvidenceKind::File].map(of), [8, 10, 9]);
}

fn raw(status: u16, body: &str) -> RawAnswer<'_> {
    RawAnswer { status, headers: &[], body: body.as_bytes() }
}

/// What an answer says, without the object.
fn said<T>(answer: ApiAnswer<T>) -> String {
    let why = |what: &str, refusal: crate::api::ApiRefusal| {
        let parts = [what, &refusal.kind, &refusal.code, refusal.field.as_deref().unwrap_or_default()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    };
    match answer {
        ApiAnswer::Is(_) => "is".to_owned(),
        ApiAnswer::Absent(refusal) => why("absent", refusal),
        ApiAnswer::Refused(refusal) => why("refused", refusal),
        ApiAnswer::NotPermitted(refusal) => why("not permitted", refusal),
        ApiAnswer::NotNow(refusal) => why("not now", refusal),
        ApiAnswer::Unclear(refusal) => why("unclear", refusal),
    }
}

/// What a question and a change are told by the same answer; `again` is the change's where it was sent before.
fn check(status: u16, body: &str, question: &str, change: &str, again: &str) {
    assert_eq!(said(read_dispute(raw(status, body))), question, "asked: {status} {body}");
    assert_eq!(said(read_dispute_change(raw(status, body))), change, "changed: {status} {body}");
    assert_eq!(said(read_dispute_change(raw(status, body)).of_a_repeat()), again, "again: {status} {body}");
}

fn error(kind: &str, code: &str, param: &str) -> String {
    let named = |name: &str, value: &str| match value {
        "" => String::new(),
        value => format!(r#","{name}":"{value}""#),
    };
    let (code, param) = (named("code", code), named("param", param));
    format!(
        r#"{{"error":{{"type":"{kind}"{code}{param},"message":"Words.","doc_url":"https://x","new":[1]}}}}"#
    )
}

#[test]
fn an_answer_says_no_more_than_is_known() {
    let invalid = |code: &str, param: &str| error("invalid_request_error", code, param);
    let same = |status: u16, body: &str, expect: &str| check(status, body, expect, expect, expect);
    same(200, DISPUTE, "is");
    same(200, "{", "unclear unreadable_answer");
    same(200, r#"{"id":"dp_1"}"#, "unclear unreadable_answer");
    same(
        404,
        &invalid("resource_missing", "dispute"),
        "absent invalid_request_error resource_missing dispute",
    );
    same(404, "<html>", "unclear");
    same(400, &invalid("", ""), "refused invalid_request_error");
    same(
        400,
        &invalid("parameter_unknown", "evidence[x]"),
        "refused invalid_request_error parameter_unknown evidence[x]",
    );
    same(402, &error("card_error", "card_declined", ""), "refused card_error card_declined");
    same(424, &error("api_error", "", ""), "unclear api_error");
    same(500, &error("api_error", "", ""), "unclear api_error");
    for status in [302, 408, 502, 503, 504] {
        same(status, "", "unclear");
    }
    // Nothing was done by this one.
    let (denied, unclear) = ("not permitted invalid_request_error", "unclear invalid_request_error");
    check(401, &invalid("", ""), denied, denied, unclear);
    check(403, &invalid("", ""), denied, denied, unclear);
    let (limited, unclear) =
        ("not now invalid_request_error rate_limit", "unclear invalid_request_error rate_limit");
    check(429, &invalid("rate_limit", ""), limited, limited, unclear);
    let (locked, unclear) =
        ("not now invalid_request_error lock_timeout", "unclear invalid_request_error lock_timeout");
    check(429, &invalid("lock_timeout", ""), locked, locked, unclear);
    // The key is in work, or was used for something else.
    let in_work = error("idempotency_error", "idempotency_key_in_use", "");
    let unclear = "unclear idempotency_error idempotency_key_in_use";
    check(409, &in_work, "not now idempotency_error idempotency_key_in_use", unclear, unclear);
    let other = error("idempotency_error", "", "");
    check(400, &other, "refused idempotency_error", "unclear idempotency_error", "unclear idempotency_error");
}

#[test]
fn a_refusal_carries_what_people_and_the_next_call_need() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = [
        header("request-id", "req_1"),
        header("stripe-should-retry", "false"),
        header("idempotent-replayed", "true"),
    ];
    let body = error("api_error", "", "");
    let answer = read_dispute_change(RawAnswer { status: 500, headers: &headers, body: body.as_bytes() });
    let ApiAnswer::Unclear(refusal) = answer else { panic!("{answer:?}") };
    assert_eq!(
        (refusal.request_id.as_deref(), refusal.may_repeat, refusal.is_replayed),
        (Some("req_1"), Some(false), true)
    );
    assert_eq!(refusal.to_string(), "status 500: api_error, Words.");
}

#[test]
fn a_refund_is_read_whatever_its_status() {
    let refund = r#"{"id":"re_1","object":"refund","amount":500,"currency":"usd","status":"of_next_year","failure_reason":null,"metadata":{}}"#;
    let ApiAnswer::Is(refund) = read_refund(raw(200, refund)) else { panic!("expected a refund") };
    assert_eq!(
        (refund.id.as_str(), refund.amount, refund.status.as_deref()),
        ("re_1", 500, Some("of_next_year"))
    );
}

#[test]
fn a_file_is_known_by_its_id() {
    let file = r#"{"id":"file_1Abc","object":"file","purpose":"dispute_evidence","size":9863,"type":"pdf","url":null}"#;
    let ApiAnswer::Is(file) = read_upload(raw(200, file)) else { panic!("expected a file") };
    assert_eq!((file.id.as_str(), file.size), ("file_1Abc", Some(9863)));
    let refused = error("invalid_request_error", "", "file");
    assert_eq!(said(read_upload(raw(400, &refused))), "refused invalid_request_error file");
}

const DISPUTE: &str = r#"{
    "id": "du_1", "object": "dispute", "status": "needs_response", "amount": 6000, "currency": "usd", "reason": "fraudulent",
    "charge": "ch_1", "payment_intent": { "id": "pi_1", "object": "payment_intent" }, "is_charge_refundable": false,
    "balance_transactions": [
        { "id": "txn_1", "amount": -8391, "currency": "cad", "fee": 1500, "net": -9891, "type": "adjustment",
          "reporting_category": "dispute" }
    ],
    "evidence": { "customer_name": "Jane Doe" },
    "evidence_details": { "due_by": 1796083199, "has_evidence": true, "past_due": false, "submission_count": 1,
                          "enhanced_eligibility": {} },
    "livemode": false, "metadata": {}
}"#;

#[test]
fn a_dispute_says_what_is_at_stake_and_until_when() {
    let ApiAnswer::Is(dispute) = read_dispute(raw(200, DISPUTE)) else { panic!("expected a dispute") };
    assert_eq!((dispute.id.as_str(), dispute.status.as_str()), ("du_1", "needs_response"));
    assert_eq!((dispute.charge.as_deref(), dispute.payment_intent.as_deref()), (Some("ch_1"), Some("pi_1")));
    assert_eq!(dispute.amount.to_string(), "60.00 USD");
    // In the currency of the settlement.
    assert_eq!(dispute.received_fee().unwrap().to_string(), "15.00 CAD");
    assert_eq!(dispute.evidence.due_by, Some(datetime!(2026-11-30 23:59:59 UTC)));
    assert_eq!((dispute.evidence.has_evidence, dispute.evidence.submission_count), (true, 1));
    assert!(!dispute.is_charge_refundable && !format!("{dispute:?}").contains("Doe"));
}

#[test]
fn a_dispute_is_read_whatever_else_it_says_or_leaves_out() {
    let read = |body: &str| match read_dispute(raw(200, body)) {
        ApiAnswer::Is(dispute) => dispute,
        other => panic!("{body}: {other:?}"),
    };
    let bare = read(r#"{"id":"dp_1","status":"lost","amount":500,"currency":"jpy","charge":"ch_1"}"#);
    assert_eq!((bare.amount.to_string().as_str(), bare.received_fee()), ("500 JPY", None));
    assert_eq!(bare.evidence, EvidenceDetails::default());
    let nulls = DISPUTE
        .replace("1796083199", "null")
        .replace(r#""fraudulent""#, "null")
        .replace("needs_response", "of_next_year");
    let nulls = read(&nulls);
    assert_eq!((nulls.evidence.due_by, nulls.reason, nulls.status.as_str()), (None, None, "of_next_year"));
    assert_eq!(read(&DISPUTE.replace("1796083199", "0")).evidence.due_by, None);
    // Given back with a win.
    let won = DISPUTE.replace("-8391", "8391").replace("1500", "-1500");
    assert_eq!((read(&won).rows[0].fee, read(&won).received_fee()), (-1500, None));
}

#[test]
fn a_page_of_disputes_says_where_the_next_one_begins() {
    let page = |ids: &[&str], has_more: bool| {
        let disputes: Vec<_> = ids.iter().map(|id| DISPUTE.replace("du_1", id)).collect();
        let body = format!(
            r#"{{"object":"list","data":[{}],"has_more":{has_more},"count":7,"url":"/v1/disputes"}}"#,
            disputes.join(",")
        );
        match read_disputes(raw(200, &body)) {
            ApiAnswer::Is(page) => (page.disputes.len(), page.next),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(page(&[], false), (0, None));
    assert_eq!(page(&["dp_2", "dp_1"], false), (2, None));
    assert_eq!(page(&["dp_2", "dp_1"], true), (2, Some("dp_1".to_owned())));
    // Nothing to go on from.
    assert_eq!(page(&[], true), (0, None));
}
