//! Progress for whoever looks on: one line on the terminal behind stderr, and nothing anywhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};

/// How often the line changes at most, within one step.
const TIMES_A_SECOND: u8 = 10;

/// One line that is written over again and again, and gone at the end.
pub struct ProgressLine {
    bar: ProgressBar,
}

impl ProgressLine {
    pub fn new() -> Self {
        Self::on(ProgressDrawTarget::stderr_with_hz(TIMES_A_SECOND))
    }

    /// Where the target is no terminal nothing is drawn.
    fn on(target: ProgressDrawTarget) -> Self {
        Self { bar: ProgressBar::with_draw_target(None, target) }
    }

    /// How many are done of those there are, of one step after the other.
    pub fn show(&self, step: &str, done: i64, of: i64) {
        let (done, of) = (count(done), count(of));
        if self.enters(step, Some(of)) {
            self.bar.set_style(style("{wide_msg} {pos} of {len} {bar:16} {eta:>4}"));
        }
        self.bar.set_length(of);
        self.bar.set_position(done);
    }

    /// How many there are so far, where nobody knows how many there will be.
    pub fn count(&self, step: &str, so_far: i64) {
        if self.enters(step, None) {
            self.bar.set_style(style("{wide_msg} {pos} {spinner}"));
        }
        self.bar.set_position(count(so_far));
    }

    /// Whether another step begins: it has a time of its own, and is shown at once.
    fn enters(&self, step: &str, of: Option<u64>) -> bool {
        if self.bar.message() == step && self.bar.length().is_some() == of.is_some() {
            return false;
        }
        match of {
            Some(of) => self.bar.set_length(of),
            None => self.bar.unset_length(),
        }
        self.bar.reset();
        self.bar.set_message(step.to_owned());
        true
    }

    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A command that ends by an error leaves no line behind either.
impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What is counted is never less than nothing.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are well-formed")
}

/// Says on the terminal behind stderr what has begun, on a line that stays.
pub fn say_step(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Progress is for whoever looks on; where nobody does, nothing is lost.
        drop(writeln!(stderr, "{text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_just_begun_is_not_shown_as_done() {
        let line = ProgressLine::on(ProgressDrawTarget::hidden());
        line.show("checked", 7, 7);
        line.show("replayed", 0, 2);
        assert_eq!((line.bar.position(), line.bar.length()), (0, Some(2)));
        line.count("read", 3);
        assert_eq!((line.bar.position(), line.bar.length()), (3, None));
    }
}
