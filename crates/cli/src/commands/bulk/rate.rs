//! How fast many things are done: so many in so much time.

use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// So many in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a rate such as 50/s, 100/m or 1000/h, got {text:?}");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?;
        Ok(Self { count, per: Duration::from_secs(seconds) })
    }
}

impl Rate {
    #[expect(clippy::float_arithmetic, reason = "a rate is no amount")]
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }

    /// As people say what is stored by the second: 0.0166 is 1/m.
    #[expect(clippy::float_arithmetic, reason = "a rate is no amount")]
    pub fn text(per_second: f64) -> String {
        let units = [(1.0, "s"), (60.0, "m"), (3600.0, "h")];
        let whole = units.into_iter().find_map(|(seconds, unit)| {
            let count = per_second * seconds;
            let is_whole = count >= 0.5 && (count - count.round()).abs() < 1e-6;
            is_whole.then(|| format!("{count:.0}/{unit}"))
        });
        whole.unwrap_or_else(|| format!("{per_second}/s"))
    }

    /// How long so many take.
    fn time_for(self, count: u64) -> Duration {
        let nanoseconds = self.per.as_nanos() * u128::from(count) / u128::from(self.count);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// How long after one the next may go.
    pub fn interval(self) -> Duration {
        self.time_for(1)
    }

    /// How many there are in a while.
    fn count_in(self, while_: Duration) -> usize {
        let count = while_.as_nanos() * u128::from(self.count) / self.per.as_nanos();
        usize::try_from(count).unwrap_or(usize::MAX)
    }
}

/// Lets no more go out than the rate allows.
pub struct Throttle {
    rate: Option<Rate>,
    since: Instant,
    gone: u64,
}

/// Between two portions where there is a rate.
const BEAT: Duration = Duration::from_millis(200);

impl Throttle {
    pub fn new(rate: Option<Rate>) -> Self {
        Self { rate, since: Instant::now(), gone: 0 }
    }

    /// How many to take at a time, at most `most`.
    pub fn portion(&self, most: usize) -> usize {
        self.rate.map_or(most, |rate| rate.count_in(BEAT).clamp(1, most))
    }

    /// Waits until `count` more may go out.
    pub async fn wait_for(&mut self, count: usize) {
        if let Some(rate) = self.rate {
            tokio::time::sleep_until(self.since + rate.time_for(self.gone)).await;
        }
        self.gone += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_so_many_in_a_second_a_minute_or_an_hour() {
        let check = |text: &str, milliseconds: u64| {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.time_for(10), Duration::from_millis(milliseconds), "{text}");
        };
        check("50/s", 200);
        check("100/m", 6_000);
        check("1000/h", 36_000);
        for wrong in ["", "50", "0/s", "-1/s", "50/d", "1.5/s", "/s", "s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_rate_is_shown_as_it_was_said() {
        for text in ["50/s", "1/m", "100/m", "7/h", "1001/h"] {
            assert_eq!(Rate::text(text.parse::<Rate>().unwrap().per_second()), text);
        }
    }

    #[test]
    fn portions_are_small_where_it_goes_slowly() {
        let check = |rate: &str, expect| {
            assert_eq!(Throttle::new(Some(rate.parse().unwrap())).portion(100), expect, "{rate}");
        };
        check("50/s", 10);
        check("100/m", 1);
        check("100000/s", 100);
        assert_eq!(Throttle::new(None).portion(100), 100);
    }
}
