//! Text to lines: cleaned of what would not be seen, measured, and wrapped to a width.

use super::fonts::{Drawn, Face, Fonts, Weight};
use crate::words::{REPLACEMENT, is_unseen};

/// The smallest size that there is in the document, in points.
pub const SIZE: i32 = 12;

/// One line of text, measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    pub glyphs: Vec<Drawn>,
}

impl Line {
    /// In thousandths of a point.
    pub fn width(&self, size: i32) -> i32 {
        self.glyphs.iter().map(|glyph| glyph.advance * size).sum()
    }

    #[cfg(test)]
    pub fn text(&self) -> String {
        self.glyphs.iter().map(|glyph| glyph.character).collect()
    }
}

/// Measures and wraps, and counts what could not be shown.
pub struct Typesetter {
    fonts: Fonts,
    /// Characters that stand as the replacement.
    pub replaced: u64,
}

/// How a text is set.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub size: i32,
    pub weight: Weight,
    /// In thousandths of a point.
    pub width: i32,
    /// What is longer is cut, and says so.
    pub lines_max: usize,
}

const CUT: &str = "… (cut; whole in the JSON)";

impl Typesetter {
    pub fn new() -> Self {
        Self { fonts: Fonts::new(), replaced: 0 }
    }

    /// The text in lines that fit the width; at least one. A line end in it ends a line.
    pub fn wrap(&mut self, text: &str, style: Style) -> Vec<Line> {
        let mut lines = Vec::new();
        let text = text.replace("\r\n", "\n");
        for paragraph in text.split(['\n', '\r']) {
            let room = style.lines_max.saturating_sub(lines.len()).saturating_add(1);
            if room <= 1 && !lines.is_empty() {
                lines.push(Line::default());
                break;
            }
            let glyphs = self.glyphs(paragraph, style, room);
            fill(&glyphs, style.width / style.size, room, &mut lines);
        }
        if lines.len() > style.lines_max {
            lines.truncate(style.lines_max);
            self.mark_cut(&mut lines, style);
        }
        lines
    }

    /// One line, whatever its width.
    pub fn line(&mut self, text: &str, weight: Weight) -> Line {
        Line { glyphs: text.chars().map(|character| self.glyph(character, weight)).collect() }
    }

    /// The paragraph's glyphs, up to the first that certainly comes after so many lines: whatever the breaks, a line holds no
    /// more than its width, spaces aside.
    fn glyphs(&mut self, paragraph: &str, style: Style, lines: usize) -> Vec<Drawn> {
        let lines = i64::try_from(lines).unwrap_or(i64::MAX);
        let room = lines.saturating_mul(i64::from(style.width / style.size));
        let (mut glyphs, mut used) = (Vec::new(), 0i64);
        for character in paragraph.chars() {
            let glyph = self.glyph(character, style.weight);
            used += if glyph.character == ' ' { 0 } else { i64::from(glyph.advance) };
            glyphs.push(glyph);
            if used > room {
                break;
            }
        }
        glyphs
    }

    fn glyph(&mut self, character: char, weight: Weight) -> Drawn {
        let shown = match character {
            '\t' => ' ',
            hidden if is_unseen(hidden) => REPLACEMENT,
            other => other,
        };
        let drawn = self.fonts.drawn(shown, weight);
        self.replaced += u64::from(drawn.character == REPLACEMENT);
        drawn
    }

    fn mark_cut(&mut self, lines: &mut [Line], style: Style) {
        let Some(last) = lines.last_mut() else { return };
        let mark = self.line(CUT, style.weight);
        let room = style.width - mark.width(style.size);
        // A column too narrow for the words has the sign alone.
        let mark = if room < 0 { self.line("…", style.weight) } else { mark };
        let room = style.width - mark.width(style.size);
        while !last.glyphs.is_empty() && last.width(style.size) > room {
            last.glyphs.pop();
        }
        last.glyphs.extend(mark.glyphs);
    }
}

/// Fills lines of `width` thousandths of an em, at most `lines_max` of them.
fn fill(glyphs: &[Drawn], width: i32, lines_max: usize, lines: &mut Vec<Line>) {
    let mut rest = glyphs;
    for _ in 0..lines_max {
        let end = line_end(rest, width);
        let (line, after) = rest.split_at(end);
        let shown = line.iter().rposition(|glyph| glyph.character != ' ').map_or(0, |last| last + 1);
        lines.push(Line { glyphs: line[..shown].to_vec() });
        rest = after;
        if rest.is_empty() {
            return;
        }
    }
}

/// Where the line that begins here ends: at the last place where it may break, else wherever the width ends.
fn line_end(glyphs: &[Drawn], width: i32) -> usize {
    let (mut used, mut may_break) = (0, 0);
    for (index, glyph) in glyphs.iter().enumerate() {
        if index > 0 && breaks_between(&glyphs[index - 1], glyph) {
            may_break = index;
        }
        used += glyph.advance;
        // A space at the end needs no room; nor is a line empty, however narrow it is.
        if used > width && glyph.character != ' ' && index > 0 {
            return if may_break > 0 { may_break } else { index };
        }
    }
    glyphs.len()
}

/// Closing marks do not begin a line, opening ones do not end it.
const CLOSING: &str =
    "、。，．：；！？）」』】〉》〕］｝,.:;!?)]}»”’…ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ";
const OPENING: &str = "（「『【〈《〔［｛([{«“‘";

fn breaks_between(before: &Drawn, after: &Drawn) -> bool {
    if after.character == ' ' || after.advance == 0 {
        return false;
    }
    if before.character == ' ' {
        return true;
    }
    if CLOSING.contains(after.character) || OPENING.contains(before.character) {
        return false;
    }
    matches!(before.character, '-' | '/') || before.face == Face::Cjk || after.face == Face::Cjk
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(width: i32, lines_max: usize) -> Style {
        Style { size: SIZE, weight: Weight::Regular, width, lines_max }
    }

    /// The text wrapped to so many points, line by line.
    #[track_caller]
    fn check(text: &str, points: i32, expected: &[&str]) {
        let mut typesetter = Typesetter::new();
        let lines = typesetter.wrap(text, style(points * 1000, usize::MAX));
        assert!(lines.iter().all(|line| line.glyphs.len() < 2 || line.width(SIZE) <= points * 1000));
        assert_eq!(lines.iter().map(Line::text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lines_break_at_spaces_and_long_words_anywhere() {
        check("", 100, &[""]);
        check("one two", 500, &["one two"]);
        check("one two three", 60, &["one two", "three"]);
        check("mmmmmmmmmmmm", 60, &["mmmmm", "mmmmm", "mm"]);
        check("a  \n\nb\r\nc", 500, &["a", "", "b", "c"]);
        check("W", 1, &["W"]);
        check("山田太郎様、", 50, &["山田太郎", "様、"]);
        check("山田太郎、様", 50, &["山田太", "郎、様"]);
    }

    #[test]
    fn nothing_vanishes_and_nothing_turns_the_text_around() {
        let mut typesetter = Typesetter::new();
        let line = typesetter.line("a\u{0}b\u{202E}c\u{200D}d\tשe", Weight::Regular);
        assert_eq!(line.text(), "a\u{FFFD}b\u{FFFD}c\u{FFFD}d \u{FFFD}e");
        assert_eq!(typesetter.replaced, 4);
    }

    #[test]
    fn what_is_cut_says_so() {
        let mut typesetter = Typesetter::new();
        let lines = typesetter.wrap(&"word ".repeat(100_000), style(300_000, 2));
        assert_eq!(lines.len(), 2);
        assert!(lines[1].text().ends_with(CUT) && lines[1].width(SIZE) <= 300_000);
        let lines = typesetter.wrap("one\ntwo\nthree", style(300_000, 2));
        assert!(lines[1].text().ends_with(CUT));
        assert!(typesetter.wrap("one\ntwo", style(300_000, 2))[1].text() == "two");
        // Narrow: the sign alone.
        assert!(typesetter.wrap(&"x".repeat(1000), style(40_000, 2))[1].text().ends_with('…'));
    }
}
