//! Many things, a portion at a time: no faster than is allowed, the canary first, with progress on the terminal.

use super::Speed;
use super::rate::Throttle;
use crate::output::progress::ProgressLine;
use anyhow::Result;

/// Things under way at a time.
const AT_ONCE: usize = 100;

/// How a portion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    Well,
    /// Not all of it ended well. After the canary nothing more is begun.
    Badly,
    /// Nothing more is to be begun.
    Stops,
}

/// The canary did not end well, and the rest was left alone.
#[derive(Debug, PartialEq, Eq)]
pub struct CanaryFailed {
    pub first: usize,
    pub left: usize,
}

/// Has `some` carried out for one portion after the other. The canary comes first; the rest only if all of it ended well.
pub async fn in_portions<T>(
    things: &[T],
    speed: &Speed,
    step: &str,
    mut some: impl AsyncFnMut(&[T]) -> Result<Portion>,
) -> Result<Option<CanaryFailed>> {
    let (mut throttle, line) = (Throttle::new(speed.rate), ProgressLine::new());
    let (canary, rest) = things.split_at(speed.canary.unwrap_or(0).min(things.len()));
    let size = throttle.portion(AT_ONCE);
    let (mut done, mut is_well) = (0, true);
    for portion in canary.chunks(size).chain(rest.chunks(size)) {
        if !is_well && !canary.is_empty() && done == canary.len() {
            return Ok(Some(CanaryFailed { first: canary.len(), left: rest.len() }));
        }
        throttle.wait_for(portion.len()).await;
        match some(portion).await? {
            Portion::Well => {}
            Portion::Badly => is_well = false,
            Portion::Stops => return Ok(None),
        }
        done += portion.len();
        line.show(step, done as i64, things.len() as i64);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Which of five things are begun, where some of them go wrong.
    async fn begun(canary: Option<usize>, rate: &str, went: impl Fn(usize) -> Portion) -> (Vec<usize>, bool) {
        let rate = Some(rate.parse().expect("a rate"));
        let speed = Speed { rate, canary, wait: Duration::ZERO };
        let mut begun = Vec::new();
        let ended = in_portions(&[0, 1, 2, 3, 4], &speed, "tried", async |portion: &[usize]| {
            begun.extend(portion);
            Ok(went(portion[0]))
        });
        let failed = ended.await.expect("nothing fails");
        (begun, failed.is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_comes_only_if_all_of_the_canary_ended_well() {
        let bad = |number| move |first| if first == number { Portion::Badly } else { Portion::Well };
        assert_eq!(begun(Some(2), "1/s", bad(0)).await, (vec![0, 1], true), "the canary is tried whole");
        assert_eq!(begun(Some(2), "1/s", bad(1)).await, (vec![0, 1], true));
        assert_eq!(begun(Some(2), "1/s", bad(3)).await, (vec![0, 1, 2, 3, 4], false));
        assert_eq!(begun(Some(9), "1/s", bad(0)).await, (vec![0, 1, 2, 3, 4], false), "there is no rest");
        assert_eq!(begun(None, "1/s", bad(0)).await, (vec![0, 1, 2, 3, 4], false), "there is no canary");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_begun_after_a_stop_and_none_too_early() {
        let stops = |first| if first == 2 { Portion::Stops } else { Portion::Well };
        let began = tokio::time::Instant::now();
        assert_eq!(begun(None, "1/s", stops).await, (vec![0, 1, 2], false));
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        assert_eq!(begun(None, "1000/s", |_| Portion::Well).await, (vec![0, 1, 2, 3, 4], false));
    }
}
