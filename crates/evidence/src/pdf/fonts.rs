//! The embedded fonts: which characters they hold, and how wide each is.
//!
//! Lengths are whole thousandths of a point throughout the layout: no floats, the same on every machine. All three fonts
//! have 1,000 units to the em, so that units times the size in points are thousandths of a point.

use crate::words::REPLACEMENT;
use krilla::text::Font;
use skrifa::charmap::Charmap;
use skrifa::instance::{LocationRef, Size};
use skrifa::metrics::GlyphMetrics;
use skrifa::{FontRef, MetadataProvider};

const REGULAR: &[u8] = include_bytes!("../../fonts/regular.ttf");
const BOLD: &[u8] = include_bytes!("../../fonts/bold.ttf");
const CJK: &[u8] = include_bytes!("../../fonts/cjk.otf");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    Regular,
    Bold,
    Cjk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    Regular,
    Bold,
}

/// One character as it will be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    pub character: char,
    pub face: Face,
    pub glyph: u32,
    /// In thousandths of an em.
    pub advance: i32,
}

/// A font to measure with.
struct Measure {
    characters: Charmap<'static>,
    widths: GlyphMetrics<'static>,
}

impl Measure {
    fn new(bytes: &'static [u8]) -> Self {
        let font = FontRef::new(bytes).expect(SHIPPED);
        let widths = font.glyph_metrics(Size::unscaled(), LocationRef::default());
        Self { characters: font.charmap(), widths }
    }

    fn glyph(&self, character: char) -> Option<(u32, i32)> {
        let glyph = self.characters.map(character).filter(|glyph| glyph.to_u32() != 0)?;
        Some((glyph.to_u32(), self.widths.advance_width(glyph)? as i32))
    }
}

pub struct Fonts {
    regular: Measure,
    bold: Measure,
    cjk: Measure,
}

impl Fonts {
    pub fn new() -> Self {
        Self { regular: Measure::new(REGULAR), bold: Measure::new(BOLD), cjk: Measure::new(CJK) }
    }

    /// The character in the first font that holds it; nothing where none does. East Asian characters have one weight.
    pub fn find(&self, character: char, weight: Weight) -> Option<Drawn> {
        let western = match weight {
            Weight::Regular => (&self.regular, Face::Regular),
            Weight::Bold => (&self.bold, Face::Bold),
        };
        [western, (&self.cjk, Face::Cjk)].into_iter().find_map(|(measure, face)| {
            let (glyph, advance) = measure.glyph(character)?;
            Some(Drawn { character, face, glyph, advance })
        })
    }

    /// The same; where none holds it, the replacement.
    pub fn drawn(&self, character: char, weight: Weight) -> Drawn {
        let found = self.find(character, weight).or_else(|| self.find(REPLACEMENT, weight));
        found.expect("the western fonts hold the replacement")
    }
}

/// The fonts as they are put into a document, which keeps of them what is used.
pub struct Embedded {
    regular: Font,
    bold: Font,
    cjk: Font,
}

impl Embedded {
    pub fn new() -> Self {
        let font = |bytes: &'static [u8]| Font::new(bytes.into(), 0).expect(SHIPPED);
        Self { regular: font(REGULAR), bold: font(BOLD), cjk: font(CJK) }
    }

    pub fn face(&self, face: Face) -> Font {
        match face {
            Face::Regular => self.regular.clone(),
            Face::Bold => self.bold.clone(),
            Face::Cjk => self.cjk.clone(),
        }
    }
}

const SHIPPED: &str = "the fonts are part of the product, and tests read them";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fonts_have_a_thousand_units_to_the_em() {
        for bytes in [REGULAR, BOLD, CJK] {
            let font = FontRef::new(bytes).unwrap();
            let metrics = font.metrics(Size::unscaled(), LocationRef::default());
            assert_eq!(metrics.units_per_em, 1000);
        }
    }

    #[test]
    fn names_of_many_countries_are_held() {
        let fonts = Fonts::new();
        for (name, face) in [
            ("Zoë Müller-Łukasz Nguyễn Ğül", Face::Regular),
            ("Ελένη Дмитрий Їжак", Face::Regular),
            ("王小明張偉龍邨煊喆", Face::Cjk),
            ("山田太郎髙橋﨑々さくらサクラ", Face::Cjk),
            ("김철수홍길동뷁", Face::Cjk),
        ] {
            for character in name.chars() {
                let drawn = fonts.find(character, Weight::Bold);
                let got =
                    drawn.map(|drawn| if drawn.face == Face::Bold { Face::Regular } else { drawn.face });
                assert_eq!(got, Some(face), "{character}");
                assert!(drawn.is_some_and(|drawn| drawn.advance > 0), "{character}");
            }
        }
    }

    #[test]
    fn what_no_font_holds_is_replaced() {
        let fonts = Fonts::new();
        for character in ['م', 'ש', '😀', '\u{0}', '\u{10FFFF}', 'ก'] {
            assert_eq!(fonts.find(character, Weight::Regular), None, "{character:?}");
            assert_eq!(fonts.drawn(character, Weight::Regular).character, REPLACEMENT);
        }
    }
}
