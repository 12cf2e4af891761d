//! How wide what people read may be.

use std::io::IsTerminal;

/// What a line of text is folded at where the terminal is wider, or is none.
const LINE_MAX: usize = 110;

/// The terminal's width; nothing where stdout is none. `COLUMNS` is believed first.
pub fn terminal() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let measured = || rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
    said.or_else(measured).filter(|columns| *columns > 0)
}

/// How wide running text is.
pub fn of_text() -> usize {
    terminal().unwrap_or(LINE_MAX).min(LINE_MAX)
}

/// Folds a text between words, so that no line is longer than `width` as far as its words allow; lines after the first are
/// indented by `indent`, which counts.
pub fn folded(text: &str, width: usize, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let room = width.saturating_sub(indent);
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_folded_between_words() {
        let check = |text: &str, width, indent, expect: &str| assert_eq!(folded(text, width, indent), expect);
        check("one two three", 20, 2, "one two three");
        check("one two three", 11, 2, "one two\n  three");
        check("one two three", 3, 0, "one\ntwo\nthree");
        check("unbreakable", 4, 2, "unbreakable");
        check("a unbreakable b", 6, 2, "a\n  unbreakable\n  b");
        check("", 4, 2, "");
    }
}
