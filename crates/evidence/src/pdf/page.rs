//! Pages as what is drawn on them, and the place where the next thing goes.

use super::fonts::Weight;
use super::text::{Line, SIZE, Style, Typesetter};

/// A4, in thousandths of a point.
pub const PAGE_WIDTH: i32 = 595_276;
pub const PAGE_HEIGHT: i32 = 841_890;

const MARGIN: i32 = 56_000;
/// Between the margins.
pub const WIDTH: i32 = PAGE_WIDTH - 2 * MARGIN;
const BOTTOM: i32 = PAGE_HEIGHT - MARGIN - 12_000;
const FOOTER: i32 = PAGE_HEIGHT - 36_000;

/// From one line to the next.
pub const fn leading(size: i32) -> i32 {
    size * 1300
}

/// From a line's top to its base.
pub const fn ascent(size: i32) -> i32 {
    size * 980
}

/// What is drawn. Lengths in thousandths of a point from the top left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drawing {
    Text {
        x: i32,
        /// Of the base line.
        y: i32,
        size: i32,
        line: Line,
    },
    Path {
        points: Vec<(i32, i32)>,
        thickness: i32,
        pattern: Pattern,
    },
}

/// Told apart without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    Solid,
    Dashed,
    Dotted,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    pub drawings: Vec<Drawing>,
}

/// Puts one thing below the other, page after page.
pub struct Flow {
    pub typesetter: Typesetter,
    pub pages: Vec<Page>,
    /// The top of the next thing.
    pub y: i32,
}

impl Flow {
    pub fn new() -> Self {
        Self { typesetter: Typesetter::new(), pages: vec![Page::default()], y: MARGIN }
    }

    /// From here to the bottom.
    pub fn room(&self) -> i32 {
        BOTTOM - self.y
    }

    /// Goes to a new page unless so much fits on this one.
    pub fn need(&mut self, height: i32) {
        if height > self.room() && self.y > MARGIN {
            self.pages.push(Page::default());
            self.y = MARGIN;
        }
    }

    pub fn space(&mut self, height: i32) {
        if self.y > MARGIN {
            self.y += height;
        }
    }

    /// Draws on this page.
    pub fn draw(&mut self, drawing: Drawing) {
        self.pages.last_mut().expect("there is always a page").drawings.push(drawing);
    }

    /// A line at a place of this page, `x` from the left margin, `y` its top.
    pub fn text_at(&mut self, x: i32, y: i32, size: i32, line: Line) {
        self.draw(Drawing::Text { x: MARGIN + x, y: y + ascent(size), size, line });
    }

    /// Lines between points of this page, `x` from the left margin.
    pub fn path_at(&mut self, points: &[(i32, i32)], thickness: i32, pattern: Pattern) {
        let points = points.iter().map(|(x, y)| (MARGIN + x, *y)).collect();
        self.draw(Drawing::Path { points, thickness, pattern });
    }

    pub fn rule(&mut self, thickness: i32) {
        let y = self.y;
        self.path_at(&[(0, y), (WIDTH, y)], thickness, Pattern::Solid);
    }

    pub fn title(&mut self, text: &str) {
        self.lines(text, Style { size: 20, weight: Weight::Bold, width: WIDTH, lines_max: 3 });
        self.space(4_000);
    }

    /// A heading, on one page with what follows it.
    pub fn heading(&mut self, text: &str) {
        self.space(14_000);
        self.need(leading(15) + 5 * leading(SIZE));
        self.lines(text, Style { size: 15, weight: Weight::Bold, width: WIDTH, lines_max: 2 });
        self.space(3_000);
    }

    /// Text over the whole width.
    pub fn paragraph(&mut self, text: &str, lines_max: usize) {
        self.lines(text, Style { size: SIZE, weight: Weight::Regular, width: WIDTH, lines_max });
        self.space(5_000);
    }

    pub fn strong(&mut self, text: &str) {
        self.lines(text, Style { size: SIZE, weight: Weight::Bold, width: WIDTH, lines_max: 3 });
        self.space(5_000);
    }

    fn lines(&mut self, text: &str, style: Style) {
        for line in self.typesetter.wrap(text, style) {
            self.need(leading(style.size));
            let y = self.y;
            self.text_at(0, y, style.size, line);
            self.y += leading(style.size);
        }
    }

    /// At the foot of every page: what it is, and which page of how many.
    pub fn number(&mut self, title: &str) {
        let of = self.pages.len();
        for index in 0..of {
            let number = self.typesetter.line(&format!("Page {} of {of}", index + 1), Weight::Regular);
            let width = WIDTH - number.width(SIZE);
            let style = Style { size: SIZE, weight: Weight::Regular, width: width - 12_000, lines_max: 1 };
            let title = self.typesetter.wrap(title, style).into_iter().next().unwrap_or_default();
            let y = FOOTER;
            let rule = vec![(MARGIN, y - 16_000), (PAGE_WIDTH - MARGIN, y - 16_000)];
            self.pages[index].drawings.extend([
                Drawing::Path { points: rule, thickness: 500, pattern: Pattern::Solid },
                Drawing::Text { x: MARGIN, y, size: SIZE, line: title },
                Drawing::Text { x: MARGIN + width, y, size: SIZE, line: number },
            ]);
        }
    }
}
