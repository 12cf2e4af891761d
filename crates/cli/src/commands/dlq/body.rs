//! A message's body as people read it: laid out where it is JSON, and in any case what came.

use serde::de::IgnoredAny;

/// Of a body this much is shown.
const SHOWN: usize = 16 * 1024;

/// `whole`: the command that says all of it.
pub fn text(body: &[u8], whole: &str) -> String {
    let said = String::from_utf8_lossy(body);
    let laid_out = laid_out(&said);
    let is_json = laid_out.is_some();
    let mut text = laid_out.unwrap_or_else(|| said.to_string());
    let mut notes = Vec::new();
    if text.len() > SHOWN {
        text.truncate(text.floor_char_boundary(SHOWN));
        notes.push(format!("Cut here, of {} bytes: {whole}", body.len()));
    }
    if std::str::from_utf8(body).is_err() {
        notes.push(format!("It is no UTF-8: \u{fffd} stands for what can be no text. As it came: {whole}"));
    }
    if body.is_empty() {
        notes.push("Nothing: the body is empty.".to_owned());
    }
    if !is_json {
        text = set_off(&text);
    }
    let text = Some(text).filter(|text| !text.is_empty());
    text.into_iter().chain(notes).collect::<Vec<_>>().join("\n")
}

/// Each line behind a sign, so that none can be taken for one of ours. A line of JSON begins with no word of its own.
fn set_off(text: &str) -> String {
    text.lines().map(|line| format!("| {line}")).collect::<Vec<_>>().join("\n")
}

/// JSON with every key, number and text as it was written, in its order: only the space between them is another. Whoever
/// reads it as values would show one of two keys of a name, and other digits than those that came.
fn laid_out(json: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(json).ok()?;
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut is_fresh) = (0_usize, false);
    let mut rest = json;
    while let Some(c) = rest.chars().next() {
        let token = match c {
            '"' => &rest[..text_length(rest)],
            _ => &rest[..c.len_utf8()],
        };
        rest = &rest[token.len()..];
        if c.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        depth -= usize::from(closes);
        // An empty container stays on its line.
        if is_fresh != closes {
            line(&mut out, depth);
        }
        is_fresh = matches!(c, '{' | '[');
        depth += usize::from(is_fresh);
        out += token;
        match c {
            ',' => line(&mut out, depth),
            ':' => out.push(' '),
            _ => {}
        }
    }
    Some(out)
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// How long the text is that begins here, with its quotes. That it ends is known.
fn text_length(json: &str) -> usize {
    let mut is_escaped = false;
    let end = json.bytes().enumerate().skip(1).find(|(_, byte)| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(json.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_came() {
        let check = |body: &str, expect: &str| assert_eq!(text(body.as_bytes(), "all"), expect, "{body}");
        check(
            r#"{"b": 1.50, "a":1e2,"a":12345678901234567890.10, "c":[{},[ ],"x\"]: \\",-1]}"#,
            "{\n  \"b\": 1.50,\n  \"a\": 1e2,\n  \"a\": 12345678901234567890.10,\n  \"c\": [\n    {},\n    [],\n    \"x\\\"]: \\\\\",\n    -1\n  ]\n}",
        );
        check(" \"text\\u00e9\" ", "\"text\\u00e9\"");
        check("null", "null");
        check("{\"a\":1", "| {\"a\":1");
        check("{\"a\":1} {}", "| {\"a\":1} {}");
        check("no  JSON\n", "| no  JSON");
        check(
            "  worker    gate\n\nNothing: the body is empty.",
            "|   worker    gate\n| \n| Nothing: the body is empty.",
        );
        check("", "Nothing: the body is empty.");
    }

    #[test]
    fn laid_out_it_is_as_values_would_be() {
        for body in [r#"{"a":{"b":[1,2,{"c":null}],"d":{}},"e":[[[]]]}"#, "[true,false]", "[]", "{}", "3"] {
            let value: serde_json::Value = serde_json::from_str(body).expect("it is JSON");
            let pretty = serde_json::to_string_pretty(&value).expect("it is JSON");
            assert_eq!(text(body.as_bytes(), "all"), pretty);
        }
    }

    #[test]
    fn a_large_body_and_one_that_is_no_text_say_how_to_see_them_whole() {
        let large = text("ü".repeat(SHOWN).as_bytes(), "ask");
        assert!(
            large.len() < SHOWN + 100 && large.ends_with("Cut here, of 32768 bytes: ask"),
            "{}",
            large.len()
        );
        let odd = text(b"a\xff", "ask");
        assert_eq!(
            odd,
            "| a\u{fffd}\nIt is no UTF-8: \u{fffd} stands for what can be no text. As it came: ask"
        );
    }
}
