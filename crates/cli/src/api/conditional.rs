//! Answers that whoever asked may hold already: entity tags and `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1.2).

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// It may be kept by whoever asked, nobody between, and each use of it asks whether it is still so.
const CACHED: &str = "private, no-cache";

/// Of a tag's hash: 144 bits, so that no two answers ever have one tag.
const TAG_BYTES: usize = 18;

/// The JSON document with its strong tag, or 304 and no body where the request says that it is held already.
pub fn answer(headers: &HeaderMap, body: String) -> Response {
    let tag = URL_SAFE_NO_PAD.encode(&Sha256::digest(body.as_bytes())[..TAG_BYTES]);
    let told = [(ETAG, format!("\"{tag}\"")), (CACHE_CONTROL, CACHED.to_owned())];
    match is_held(headers, tag.as_bytes()) {
        true => (StatusCode::NOT_MODIFIED, told).into_response(),
        false => (told, [(CONTENT_TYPE, "application/json")], body).into_response(),
    }
}

/// By weak comparison, as that header asks for. A header that is malformed counts as none: the answer is then whole, which is
/// never wrong.
fn is_held(headers: &HeaderMap, tag: &[u8]) -> bool {
    // Several lines are one list.
    let lines: Vec<&[u8]> = headers.get_all(IF_NONE_MATCH).iter().map(|line| line.as_bytes()).collect();
    let list = lines.join(&b',');
    // There is always something to tell of an account.
    list.trim_ascii() == b"*" || tags(&list).is_some_and(|tags| tags.contains(&tag))
}

/// The opaque parts of a list of entity tags; nothing where it is none.
fn tags(list: &[u8]) -> Option<Vec<&[u8]>> {
    let mut tags = Vec::new();
    let mut rest = list.trim_ascii_start();
    while !rest.is_empty() {
        // An element may be empty (RFC 9110, section 5.6.1.2).
        if let Some(next) = rest.strip_prefix(b",") {
            rest = next.trim_ascii_start();
            continue;
        }
        let quoted = rest.strip_prefix(b"W/").unwrap_or(rest).strip_prefix(b"\"")?;
        let end = quoted.iter().position(|byte| *byte == b'"')?;
        let (tag, after) = (&quoted[..end], quoted[end + 1..].trim_ascii_start());
        let is_element =
            tag.iter().all(|byte| is_of_tag(*byte)) && matches!(after.first(), None | Some(b','));
        if !is_element {
            return None;
        }
        tags.push(tag);
        rest = after;
    }
    Some(tags)
}

/// `etagc` of RFC 9110, section 8.8.3; the quotation mark ends the tag before.
fn is_of_tag(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0x80..=0xff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_tag_is_found_in_every_list_that_names_it() {
        let check = |lines: &[&[u8]], expect: bool| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(IF_NONE_MATCH, HeaderValue::from_bytes(line).unwrap());
            }
            let text: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
            assert_eq!(is_held(&headers, b"xyzzy"), expect, "{text:?}");
        };
        check(&[], false);
        for held in [
            "*",
            " * ",
            "\"xyzzy\"",
            "W/\"xyzzy\"",
            "\"a\", \"xyzzy\"",
            "\"a\",W/\"b\",\"xyzzy\",\"c\"",
            ", ,\"xyzzy\" ,",
            "\"a,b\", \"xyzzy\"",
            "\"\", \"xyzzy\"",
        ] {
            check(&[held.as_bytes()], true);
        }
        check(&[b"\"a\"", b"\"xyzzy\""], true);
        check(&[b"\"\xe4\", \"xyzzy\""], true);
        for other in
            ["", ",", "\"\"", "\"a\"", "\"XYZZY\"", "\"xyzz\"", "\"xyzzyy\"", "W/\"a\"", "\"a, xyzzy\""]
        {
            check(&[other.as_bytes()], false);
        }
        for malformed in [
            "xyzzy",
            "\"xyzzy",
            "xyzzy\"",
            "'xyzzy'",
            "w/\"xyzzy\"",
            "W/ \"xyzzy\"",
            "*, \"xyzzy\"",
            "\"xyzzy\" \"a\"",
            "\"xyzzy\";",
            "\"xyzzy\", a",
            "\"xyzzy\", *",
            "\"a b\", \"xyzzy\"",
        ] {
            check(&[malformed.as_bytes()], false);
        }
        check(&[b"*", b"*"], false);
    }

    #[test]
    fn what_is_held_comes_without_a_body_and_with_the_same_tag() {
        let body = || r#"{"available":"7"}"#.to_owned();
        let first = answer(&HeaderMap::new(), body());
        let tag = first.headers()[ETAG].clone();
        assert_eq!(tag.len(), 26);
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, tag.clone())]);
        let again = answer(&headers, body());
        assert_eq!((first.status(), again.status()), (StatusCode::OK, StatusCode::NOT_MODIFIED));
        for told in [&first, &again] {
            assert_eq!(
                (&told.headers()[ETAG], &told.headers()[CACHE_CONTROL]),
                (&tag, &HeaderValue::from_static(CACHED))
            );
        }
        assert!(first.headers().contains_key(CONTENT_TYPE) && !again.headers().contains_key(CONTENT_TYPE));
        let other = answer(&headers, body().replace('7', "6"));
        assert_ne!((other.status(), &other.headers()[ETAG]), (StatusCode::NOT_MODIFIED, &tag));
    }
}
