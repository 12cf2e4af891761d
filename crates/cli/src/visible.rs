//! What is printed for people: text from outside cannot steer the terminal it is shown on, or look like what it is not.
//!
//! Reasons, routing keys, event types and notes are whatever somebody sent. Characters that move the cursor, turn the
//! direction of writing or cannot be seen are shown by their names, `\u{1b}`; line breaks and our own styles stay.

use std::sync::LazyLock;

/// Our own styles are told from an escape sequence that was sent to us by this, which nobody outside knows.
static KEY: LazyLock<String> = LazyLock::new(|| format!("{:016x}", rand::random::<u64>()));

/// Text in a style (the number of an SGR sequence), as [`printed`] understands it.
pub fn styled(style: u8, text: &str) -> String {
    format!("\x1b{0}{style}m{text}\x1b{0}0m", *KEY)
}

/// Text as it is printed: what cannot be seen is shown by its name, our own styles are what a terminal expects.
pub fn printed(text: &str) -> String {
    shown(text, |c| c == '\n' || c == '\t').replace(&format!("\x1b{}", *KEY), "\x1b[")
}

/// A text that is to stay on its line.
pub fn on_a_line(text: &str) -> String {
    shown(text, |_| false)
}

fn shown(text: &str, is_allowed: fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c == '\x1b' && after.starts_with(KEY.as_str()) {
            false if is_hidden(c) && !is_allowed(c) => shown.extend(c.escape_default()),
            _ => shown.push(c),
        }
        rest = after;
    }
    shown
}

/// Lines of a log as they are written: a text within one begins no line of its own. `allows_styles`: a terminal reads it, and
/// the sequences that colour it are our own (those of a text were escaped before).
pub fn logged(line: &str, allows_styles: bool) -> String {
    let text = line.strip_suffix('\n').unwrap_or(line);
    let mut shown = String::with_capacity(line.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if allows_styles { style_length(rest) } else { 0 };
        let taken = length.max(c.len_utf8());
        match length == 0 && is_hidden(c) && c != '\t' {
            true => shown.extend(c.escape_default()),
            false => shown.push_str(&rest[..taken]),
        }
        rest = &rest[taken..];
    }
    shown.push_str(&line[text.len()..]);
    shown
}

/// How long the sequence is that sets a style (SGR), where one begins here.
fn style_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else { return 0 };
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';');
    end.filter(|end| parameters[*end..].starts_with('m')).map_or(0, |end| end + "\x1b[m".len())
}

/// A JSON document that says the same with every such character escaped: they can only stand in its texts.
pub fn json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for c in document.chars() {
        match is_hidden(c) && c != '\n' {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| shown += &format!("\\u{unit:04x}")),
            false => shown.push(c),
        }
    }
    shown
}

/// Controls (C0, DEL, C1), and of Unicode's format characters those that turn the direction of writing, break lines or
/// have no width.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                     | '\u{2060}'..='\u{206f}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_by_its_name() {
        let check = |text: &str, expect: &str| assert_eq!(printed(text), expect, "{text:?}");
        check("two\nlines\tand ünïcödé 漢字", "two\nlines\tand ünïcödé 漢字");
        check("\x1b[31mred\x1b[2J\x07\0\r", "\\u{1b}[31mred\\u{1b}[2J\\u{7}\\u{0}\\r");
        check("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}");
        check("\u{202e}gnp.\u{200b}\u{feff}\u{2028}", "\\u{202e}gnp.\\u{200b}\\u{feff}\\u{2028}");
        assert_eq!(on_a_line("a\nb"), "a\\nb");
    }

    #[test]
    fn our_own_styles_stay() {
        let text = format!("{} \x1b[1m", styled(31, "bad\x1b[0m"));
        assert_eq!(printed(&text), "\x1b[31mbad\\u{1b}[0m\x1b[0m \\u{1b}[1m");
    }

    #[test]
    fn a_text_begins_no_line_of_a_log() {
        let check = |line: &str, styles, expect: &str| assert_eq!(logged(line, styles), expect, "{line:?}");
        check("INFO a=1\n", false, "INFO a=1\n");
        check("INFO a=b\nERROR forged\n", false, "INFO a=b\\nERROR forged\n");
        check("a\u{2028}b\u{85}c\u{202e}\r\n", false, "a\\u{2028}b\\u{85}c\\u{202e}\\r\n");
        check("\x1b[31mred\x1b[0m\n", false, "\\u{1b}[31mred\\u{1b}[0m\n");
        check("\x1b[31mred\x1b[2J\x1b[\n", true, "\x1b[31mred\\u{1b}[2J\\u{1b}[\n");
    }

    #[test]
    fn json_says_the_same() {
        let said = serde_json::json!({ "a": "\u{9b}\u{202e}\u{e0001}\x1b\n\u{7f}ü" });
        let shown = json(&serde_json::to_string_pretty(&said).expect("it is JSON"));
        assert!(!shown.chars().any(|c| c != '\n' && is_hidden(c)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("still JSON"), said);
    }
}
