//! The drawings as PDF. The one place with floats: lengths become points here, and nothing is decided by them.
#![expect(clippy::float_arithmetic, reason = "a PDF measures in fractions of a point")]

use super::PdfError;
use super::fonts::{Drawn, Embedded, Face};
use super::page::{Drawing, PAGE_HEIGHT, PAGE_WIDTH, Page, Pattern};
use super::text::Line;
use crate::pack::Pack;
use crate::words;
use krilla::color::luma;
use krilla::geom::{PathBuilder, Point};
use krilla::metadata::{DateTime, Metadata};
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, Stroke, StrokeDash};
use krilla::surface::{Location, Surface};
use krilla::text::{Glyph, GlyphId};
use std::ops::Range;

/// Writes the pages. No links, no colours, no scripts; of the fonts only what is used.
pub fn write(pack: &Pack, pages: &[Page]) -> Result<Vec<u8>, PdfError> {
    let fonts = Embedded::new();
    let mut document = krilla::Document::new();
    document.set_metadata(metadata(pack));
    for page in pages {
        let size = PageSettings::from_wh(points(PAGE_WIDTH), points(PAGE_HEIGHT));
        let mut sheet = document.start_page_with(size.expect("A4 is a size"));
        let mut surface = sheet.surface();
        for drawing in &page.drawings {
            draw(&mut surface, &fonts, drawing);
        }
        surface.finish();
        sheet.finish();
    }
    document.finish().map_err(|error| PdfError::Written(format!("{error:?}")))
}

/// Thousandths of a point as points.
fn points(thousandths: i32) -> f32 {
    thousandths as f32 / 1000.0
}

fn draw(surface: &mut Surface<'_>, fonts: &Embedded, drawing: &Drawing) {
    match drawing {
        Drawing::Text { x, y, size, line } => text(surface, fonts, (*x, *y), *size, line),
        Drawing::Path { points, thickness, pattern } => path(surface, points, *thickness, *pattern),
    }
}

/// Runs of one font, one after the other.
fn text(surface: &mut Surface<'_>, fonts: &Embedded, (x, y): (i32, i32), size: i32, line: &Line) {
    surface.set_stroke(None);
    surface.set_fill(Some(Fill {
        paint: black(),
        opacity: NormalizedF32::ONE,
        rule: krilla::paint::FillRule::NonZero,
    }));
    let mut x = x;
    for run in line.glyphs.chunk_by(|a, b| a.face == b.face) {
        let face: Face = run[0].face;
        let (text, placed) = placed(run);
        let start = Point::from_xy(points(x), points(y));
        surface.draw_glyphs(start, &placed, fonts.face(face), &text, size as f32, false);
        x += run.iter().map(|glyph| glyph.advance * size).sum::<i32>();
    }
}

/// The run's text and its glyphs, each with its place in the text.
fn placed(run: &[Drawn]) -> (String, Vec<Placed>) {
    let mut text = String::new();
    let placed = run.iter().map(|drawn| {
        let start = text.len();
        text.push(drawn.character);
        Placed { drawn: *drawn, text: start..text.len() }
    });
    let placed = placed.collect();
    (text, placed)
}

#[derive(Clone)]
struct Placed {
    drawn: Drawn,
    text: Range<usize>,
}

impl Glyph for Placed {
    fn glyph_id(&self) -> GlyphId {
        GlyphId::new(self.drawn.glyph)
    }

    fn text_range(&self) -> Range<usize> {
        self.text.clone()
    }

    fn x_advance(&self, size: f32) -> f32 {
        points(self.drawn.advance) * size
    }

    fn x_offset(&self, _size: f32) -> f32 {
        0.0
    }

    fn y_offset(&self, _size: f32) -> f32 {
        0.0
    }

    fn y_advance(&self, _size: f32) -> f32 {
        0.0
    }

    fn location(&self) -> Option<Location> {
        None
    }
}

fn path(surface: &mut Surface<'_>, corners: &[(i32, i32)], thickness: i32, pattern: Pattern) {
    let mut builder = PathBuilder::new();
    for (index, (x, y)) in corners.iter().enumerate() {
        let (x, y) = (points(*x), points(*y));
        if index == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
    }
    // A single point is no line.
    let Some(path) = builder.finish() else { return };
    let dashes = match pattern {
        Pattern::Solid => None,
        Pattern::Dashed => Some(vec![6.0, 4.0]),
        Pattern::Dotted => Some(vec![1.5, 2.5]),
    };
    surface.set_fill(None);
    surface.set_stroke(Some(Stroke {
        paint: black(),
        width: points(thickness),
        dash: dashes.map(|array| StrokeDash { array, offset: 0.0 }),
        ..Stroke::default()
    }));
    surface.draw_path(&path);
}

fn black() -> krilla::paint::Paint {
    luma::Color::black().into()
}

/// The times of the PDF are those of the data: no clock.
fn metadata(pack: &Pack) -> Metadata {
    let at = domain::calendar::in_utc(pack.as_of).unwrap_or(pack.as_of);
    let made = DateTime::new(at.year().unsigned_abs() as u16)
        .month(at.month().into())
        .day(at.day())
        .hour(at.hour())
        .minute(at.minute())
        .second(at.second())
        .utc_offset_hour(0)
        .utc_offset_minute(0);
    Metadata::new()
        .title(words::visible(&pack.title()))
        .creator(format!("Bursar {}", words::visible(&pack.product_version)))
        .language("en".to_owned())
        .creation_date(made)
}
