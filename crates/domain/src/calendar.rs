//! Moments that can be told: in UTC, of the years 0 to 9999, as RFC 3339 spells them.
//!
//! A moment with an offset may be none of them although its own digits are (`9999-12-31T23:59:59-10:00`), and a sum of a moment
//! and a duration may be none. Nobody who converts, stores or prints a moment that went through here has to ask again.

use time::{Duration, OffsetDateTime, UtcOffset};

/// Why a moment cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a time of the years 0000 to 9999 in UTC, got one outside of them")]
pub struct OutsideCalendar;

/// The same moment in UTC.
///
/// # Errors
/// It is before the year 0 or after 9999.
pub fn in_utc(at: OffsetDateTime) -> Result<OffsetDateTime, OutsideCalendar> {
    at.checked_to_offset(UtcOffset::UTC).filter(|at| (0..=9999).contains(&at.year())).ok_or(OutsideCalendar)
}

/// The moment as it is, if it can be told.
///
/// # Errors
/// It is before the year 0 or after 9999.
pub fn told(at: OffsetDateTime) -> Result<OffsetDateTime, OutsideCalendar> {
    in_utc(at).map(|_| at)
}

/// So much later; nothing where that cannot be told.
pub fn later(at: OffsetDateTime, after: Duration) -> Option<OffsetDateTime> {
    in_utc(in_utc(at).ok()?.checked_add(after)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::format_description::well_known::Rfc3339;

    fn parsed(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    #[test]
    fn what_has_no_place_in_the_calendar_is_an_error_and_no_panic() {
        for wrong in ["9999-12-31T23:59:59-00:01", "9999-12-31T00:01:00-23:59", "0000-01-01T00:00:00+23:59"] {
            assert_eq!(told(parsed(wrong)), Err(OutsideCalendar), "{wrong}");
        }
        for right in ["9999-12-31T23:59:59.999999999Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59+00:01"] {
            assert_eq!(told(parsed(right)), Ok(parsed(right)), "{right}");
        }
        let last = parsed("9999-12-31T23:59:59Z");
        assert_eq!(later(last, Duration::seconds(0)), Some(last));
        assert_eq!(later(last, Duration::seconds(1)), None);
        assert_eq!(later(last, Duration::MAX), None);
    }

    fn any_moment() -> impl Strategy<Value = OffsetDateTime> {
        let seconds = time::PrimitiveDateTime::MIN.assume_utc().unix_timestamp()
            ..=time::PrimitiveDateTime::MAX.assume_utc().unix_timestamp();
        (seconds, -86_399..=86_399i32).prop_filter_map("within the type", |(seconds, offset)| {
            let offset = UtcOffset::from_whole_seconds(offset).ok()?;
            OffsetDateTime::from_unix_timestamp(seconds).ok()?.checked_to_offset(offset)
        })
    }

    proptest! {
        #[test]
        fn a_moment_that_is_told_can_be_converted_and_printed(at in any_moment(), after in any::<i64>()) {
            for at in [told(at).ok(), later(at, Duration::seconds(after))].into_iter().flatten() {
                let utc = at.to_offset(UtcOffset::UTC);
                prop_assert_eq!(parsed(&utc.format(&Rfc3339).unwrap()), utc);
            }
        }
    }
}
