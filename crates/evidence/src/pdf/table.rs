//! Tables: cells wrapped in their columns, the header again on each page, a row on one page.

use super::fonts::Weight;
use super::page::{Flow, Pattern, WIDTH, leading};
use super::text::{Line, SIZE, Style};

const GAP: i32 = 12_000;
const PADDING: i32 = 3_000;

/// A column: what stands above it, and its share of the width.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub title: &'static str,
    pub share: i32,
    pub align: Align,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    /// Numbers.
    Right,
}

pub const fn left(title: &'static str, share: i32) -> Column {
    Column { title, share, align: Align::Left }
}

pub const fn right(title: &'static str, share: i32) -> Column {
    Column { title, share, align: Align::Right }
}

/// How much of a list is shown.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub rows: usize,
    /// Lines of a cell.
    pub lines: usize,
}

/// Rows in order, made only where they are shown.
pub struct Table<'a> {
    pub columns: &'a [Column],
    pub rows: usize,
    /// Rows that whoever filled the pack had left out already.
    pub left_out: u64,
    /// Where the rest stands in the JSON document.
    pub path: &'a str,
}

impl Table<'_> {
    /// Draws the rows; of many the first and the last, and between them a sentence says how many are not shown and where they are.
    pub fn draw(&self, flow: &mut Flow, limits: Limits, row: impl Fn(usize) -> Vec<String>) {
        let widths = self.widths();
        let titles: Vec<String> = self.columns.iter().map(|column| column.title.to_owned()).collect();
        let header = cells(flow, &titles, &widths, Weight::Bold, 2);
        let (first, last) = shown(self.rows, limits.rows);
        flow.need(height(&header) + 3 * leading(SIZE));
        self.header(flow, &header, &widths);
        for index in 0..self.rows {
            if index == first && first + last < self.rows {
                self.gap(flow, &header, &widths, self.rows - first - last);
            }
            if index < first || index >= self.rows - last {
                let cells = cells(flow, &row(index), &widths, Weight::Regular, limits.lines);
                self.row(flow, &header, &widths, cells);
            }
        }
        if self.left_out > 0 {
            let more = crate::words::counted(self.left_out, "more is", "more are");
            flow.space(4_000);
            flow.paragraph(&format!("{more} in the operator's records and in neither document."), 2);
        }
        flow.space(6_000);
    }

    fn widths(&self) -> Vec<i32> {
        let shares: i32 = self.columns.iter().map(|column| column.share).sum();
        let width = WIDTH - GAP * (self.columns.len() as i32 - 1);
        self.columns.iter().map(|column| width * column.share / shares).collect()
    }

    fn header(&self, flow: &mut Flow, header: &[Vec<Line>], widths: &[i32]) {
        self.draw_cells(flow, header, widths);
        flow.rule(1_000);
    }

    fn row(&self, flow: &mut Flow, header: &[Vec<Line>], widths: &[i32], cells: Vec<Vec<Line>>) {
        self.next_page(flow, header, widths, height(&cells));
        self.draw_cells(flow, &cells, widths);
        flow.rule(300);
    }

    /// The header again where the row does not fit any more.
    fn next_page(&self, flow: &mut Flow, header: &[Vec<Line>], widths: &[i32], needed: i32) {
        if needed > flow.room() {
            flow.need(needed);
            self.header(flow, header, widths);
        }
    }

    fn gap(&self, flow: &mut Flow, header: &[Vec<Line>], widths: &[i32], missing: usize) {
        let rows = crate::words::counted(missing as u64, "row is", "rows are");
        let text = format!("{rows} left out here; the JSON document holds all, under {}.", self.path);
        let style = Style { size: SIZE, weight: Weight::Bold, width: WIDTH, lines_max: 3 };
        let lines = flow.typesetter.wrap(&text, style);
        let cell = vec![lines];
        self.next_page(flow, header, widths, height(&cell));
        self.draw_cells(flow, &cell, &[WIDTH]);
        flow.rule(300);
    }

    fn draw_cells(&self, flow: &mut Flow, cells: &[Vec<Line>], widths: &[i32]) {
        let (mut x, top) = (0, flow.y + PADDING);
        for (index, lines) in cells.iter().enumerate() {
            for (number, line) in lines.iter().enumerate() {
                let is_right = cells.len() > 1 && self.columns[index].align == Align::Right;
                let indent = if is_right { widths[index] - line.width(SIZE) } else { 0 };
                flow.text_at(x + indent, top + leading(SIZE) * number as i32, SIZE, line.clone());
            }
            x += widths[index] + GAP;
        }
        flow.y += height(cells);
    }
}

/// Facts with their names: the name bold in a narrow column.
pub fn facts(flow: &mut Flow, facts: &[(&str, String)], lines_max: usize) {
    let widths = [130_000, WIDTH - 130_000 - GAP];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        let style = |weight, width| Style { size: SIZE, weight, width, lines_max };
        let name = flow.typesetter.wrap(name, style(Weight::Bold, widths[0]));
        let value = flow.typesetter.wrap(value, style(Weight::Regular, widths[1]));
        let height = leading(SIZE) * name.len().max(value.len()) as i32;
        flow.need(height);
        let top = flow.y;
        for (x, lines) in [(0, name), (widths[0] + GAP, value)] {
            for (number, line) in lines.into_iter().enumerate() {
                flow.text_at(x, top + leading(SIZE) * number as i32, SIZE, line);
            }
        }
        flow.y += height;
    }
    flow.space(5_000);
}

/// A box around what was drawn since `top` on this page.
pub fn frame(flow: &mut Flow, top: i32) {
    let bottom = flow.y;
    let (left, right) = (-8_000, WIDTH + 8_000);
    let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
    flow.path_at(&corners, 800, Pattern::Solid);
}

fn cells(
    flow: &mut Flow,
    texts: &[String],
    widths: &[i32],
    weight: Weight,
    lines_max: usize,
) -> Vec<Vec<Line>> {
    let styles = widths.iter().map(|width| Style { size: SIZE, weight, width: *width, lines_max });
    texts.iter().zip(styles).map(|(text, style)| flow.typesetter.wrap(text, style)).collect()
}

fn height(cells: &[Vec<Line>]) -> i32 {
    let lines = cells.iter().map(Vec::len).max().unwrap_or(0);
    leading(SIZE) * lines as i32 + 2 * PADDING
}

/// How many of the first and of the last rows are shown: all, or as many as there may be.
fn shown(rows: usize, rows_max: usize) -> (usize, usize) {
    if rows <= rows_max { (rows, 0) } else { (rows_max.div_ceil(2), rows_max / 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_rows_the_first_and_the_last_are_shown() {
        for (rows, rows_max, expected) in
            [(0, 3, (0, 0)), (3, 3, (3, 0)), (4, 3, (2, 1)), (10_000, 40, (20, 20))]
        {
            assert_eq!(shown(rows, rows_max), expected);
        }
    }
}
