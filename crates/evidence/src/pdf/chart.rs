//! The account's balance over time, drawn with lines that are told apart without colour.

use super::fonts::Weight;
use super::page::{Flow, Pattern, WIDTH, leading};
use super::text::SIZE;
use crate::pack::{BalancePoint, Pack};
use crate::words;
use domain::Credits;
use time::OffsetDateTime;

const HEIGHT: i32 = 170_000;
/// Left of the plot, for the numbers.
const LABELS: i32 = 78_000;

/// What is drawn of each point.
type Value = fn(&BalancePoint) -> Credits;

const CURVES: [(&str, Pattern, i32, Value); 3] = [
    ("available", Pattern::Solid, 1_400, |point| point.available),
    ("held", Pattern::Dotted, 1_400, |point| point.held),
    ("debt (used without cover)", Pattern::Dashed, 1_400, |point| point.debt),
];

/// More points than this would be closer than a line is thick.
const COLUMNS: i128 = 500;

/// The plot's scales and its place on the page.
struct Plot {
    from: OffsetDateTime,
    to: OffsetDateTime,
    top: i32,
    greatest: Credits,
}

/// Draws the chart, or says that there is nothing to draw.
pub fn draw(flow: &mut Flow, pack: &Pack) {
    let points = &pack.balance;
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        flow.paragraph("No balance was recorded.", 1);
        return;
    };
    flow.need(HEIGHT + 5 * leading(SIZE));
    // The legend, and a line for the name of each mark.
    let top = flow.y + 3 * leading(SIZE) + 6_000;
    let marks = [("bought", pack.purchase.at), ("disputed", pack.dispute.opened_at)];
    let to = marks.iter().map(|(_, at)| *at).chain([last.at, pack.as_of]).max().unwrap_or(last.at);
    let plot = Plot { from: first.at, to, top, greatest: greatest(points) };
    legend(flow);
    axes(flow, &plot);
    for (index, (name, at)) in marks.into_iter().enumerate() {
        mark(flow, &plot, name, at, index);
    }
    for (_, pattern, thickness, value) in CURVES {
        if points.iter().any(|point| value(point).is_positive()) {
            flow.path_at(&plot.curve(points, value), thickness, pattern);
        }
    }
    flow.y = top + HEIGHT + leading(SIZE) + 8_000;
}

impl Plot {
    fn bottom(&self) -> i32 {
        self.top + HEIGHT
    }

    fn x(&self, at: OffsetDateTime) -> i32 {
        let span = (self.to - self.from).whole_seconds().max(1);
        let since = (at - self.from).whole_seconds().clamp(0, span);
        LABELS + (i128::from(WIDTH - LABELS) * i128::from(since) / i128::from(span)) as i32
    }

    fn y(&self, value: Credits) -> i32 {
        let height = Credits::whole(i64::from(HEIGHT)).share(value.decimal(), self.greatest.decimal(), 0);
        self.bottom() - height.to_string().parse::<i32>().unwrap_or(0)
    }

    /// Steps: a balance stays until it changes. Where changes are closer than can be drawn, each column keeps its lowest and
    /// its highest.
    fn curve(&self, points: &[BalancePoint], value: Value) -> Vec<(i32, i32)> {
        let mut steps: Vec<(i32, i32)> = Vec::new();
        let width = i128::from(WIDTH) / COLUMNS;
        let column = |x: i32| i128::from(x) / width;
        let mut points = points.iter().map(|point| (self.x(point.at), self.y(value(point)))).peekable();
        let mut before = None;
        while let Some((x, mut last)) = points.next() {
            let (mut lowest, mut highest) = (last, last);
            while let Some((_, y)) = points.next_if(|(next, _)| column(*next) == column(x)) {
                (lowest, highest, last) = (lowest.max(y), highest.min(y), y);
            }
            steps.extend(before.map(|y| (x, y)));
            steps.extend([(x, lowest), (x, highest), (x, last)]);
            before = Some(last);
        }
        steps.extend(before.map(|y| (WIDTH, y)));
        steps.dedup();
        steps
    }
}

fn legend(flow: &mut Flow) {
    let (mut x, y) = (LABELS, flow.y);
    for (name, pattern, thickness, _) in CURVES {
        let middle = y + leading(SIZE) / 2;
        flow.path_at(&[(x, middle), (x + 30_000, middle)], thickness, pattern);
        let line = flow.typesetter.line(name, Weight::Regular);
        let width = line.width(SIZE);
        flow.text_at(x + 36_000, y, SIZE, line);
        x += 36_000 + width + 18_000;
    }
}

fn axes(flow: &mut Flow, plot: &Plot) {
    let half = plot.greatest.share(Credits::whole(1).decimal(), Credits::whole(2).decimal(), 6);
    for value in [Credits::ZERO, half, plot.greatest] {
        let y = plot.y(value);
        let thickness = if value.is_zero() { 900 } else { 200 };
        flow.path_at(&[(LABELS, y), (WIDTH, y)], thickness, Pattern::Solid);
        let label = flow.typesetter.line(&words::credits(value), Weight::Regular);
        let x = LABELS - 6_000 - label.width(SIZE);
        flow.text_at(x.max(0), y - leading(SIZE) / 2, SIZE, label);
    }
    flow.path_at(&[(LABELS, plot.top), (LABELS, plot.bottom())], 900, Pattern::Solid);
    let from = flow.typesetter.line(&words::day(words::day_of(plot.from)), Weight::Regular);
    flow.text_at(LABELS, plot.bottom() + 4_000, SIZE, from);
    let to = flow.typesetter.line(&words::day(words::day_of(plot.to)), Weight::Regular);
    flow.text_at(WIDTH - to.width(SIZE), plot.bottom() + 4_000, SIZE, to);
}

/// A moment that matters, as a line from its name down to the axis. Each name has a row of its own above the plot.
fn mark(flow: &mut Flow, plot: &Plot, name: &str, at: OffsetDateTime, index: usize) {
    let x = plot.x(at);
    let row = plot.top - leading(SIZE) * (2 - index as i32) - 2_000;
    flow.path_at(&[(x, row + 3_000), (x, plot.bottom())], 500, Pattern::Solid);
    let label = flow.typesetter.line(name, Weight::Bold);
    let width = label.width(SIZE);
    let x = if x + 4_000 + width > WIDTH { x - 4_000 - width } else { x + 4_000 };
    flow.text_at(x, row, SIZE, label);
}

/// The greatest amount that is drawn, rounded up to a number that halves well.
fn greatest(points: &[BalancePoint]) -> Credits {
    let values = points.iter().flat_map(|point| CURVES.map(|(_, _, _, value)| value(point)));
    let greatest = values.max().unwrap_or(Credits::ZERO);
    let mut step = 1i64;
    while let Some(next) = step.checked_mul(10) {
        // Below ten there are no halves of whole numbers.
        let tenths = [10, 12, 14, 16, 20, 24, 30, 40, 50, 60, 80];
        let rounds =
            if step == 1 { vec![1, 2, 4, 6, 8] } else { tenths.map(|tenth| step / 10 * tenth).to_vec() };
        if let Some(round) = rounds.into_iter().map(Credits::whole).find(|round| *round >= greatest) {
            return round;
        }
        step = next;
    }
    greatest
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    fn point(minutes: i64, available: i64) -> BalancePoint {
        let at = datetime!(2026-03-03 10:00 UTC) + Duration::minutes(minutes);
        BalancePoint { at, available: Credits::whole(available), held: Credits::ZERO, debt: Credits::ZERO }
    }

    #[test]
    fn the_scale_ends_at_a_round_number() {
        for (greatest_value, round) in [
            (0, 1),
            (1, 1),
            (3, 4),
            (9, 10),
            (1000, 1000),
            (1001, 1200),
            (999_999_999_999_999, 1_000_000_000_000_000),
        ] {
            assert_eq!(greatest(&[point(0, greatest_value)]), Credits::whole(round));
        }
    }

    #[test]
    fn a_balance_stays_until_it_changes() {
        let points = [point(0, 100), point(30, 50)];
        let plot = Plot { from: points[0].at, to: point(60, 0).at, top: 0, greatest: Credits::whole(100) };
        let middle = LABELS + (WIDTH - LABELS) / 2;
        let (full, half) = (0, HEIGHT / 2);
        assert_eq!(
            plot.curve(&points, |point| point.available),
            [(LABELS, full), (middle, full), (middle, half), (WIDTH, half)]
        );
    }

    #[test]
    fn many_changes_are_drawn_as_few_and_no_extreme_is_lost() {
        let points: Vec<BalancePoint> = (0..100_000)
            .map(|minute| point(minute, if minute == 50_000 { 1000 } else { minute % 7 }))
            .collect();
        let to = points[points.len() - 1].at;
        let plot = Plot { from: points[0].at, to, top: 0, greatest: Credits::whole(1000) };
        let curve = plot.curve(&points, |point| point.available);
        assert!(curve.len() < 2_500, "{}", curve.len());
        assert!(curve.iter().any(|(_, y)| *y == 0));
    }
}
