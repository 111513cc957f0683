//! `%START_TIME(...)%`: strftime with Envoy's additions (`%3f`, `%E3S`, `%s`), UTC.

use std::time::SystemTime;

use super::operator::since_epoch;
use super::put;

/// A compiled time format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeFormat {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    /// `2016-12-15T16:24:43`, which most formats begin with.
    DateTime,
    /// Seconds since the epoch.
    EpochSeconds,
    /// This many digits of the second's fraction.
    Fraction(u32),
    /// Anything else of strftime.
    Strftime(Box<str>),
}

/// The default format, ISO 8601 with milliseconds.
pub(super) const DEFAULT: &str = "%Y-%m-%dT%H:%M:%E3SZ";
const DATE_TIME: &str = "%Y-%m-%dT%H:%M:%S";
const DATE_TIME_PREFIX: &str = "%Y-%m-%dT%H:%M:";

impl TimeFormat {
    /// Compiles a format; an empty one is the default. `None` if it is not a format.
    pub(super) fn parse(format: &str) -> Option<Self> {
        let format = if format.is_empty() { DEFAULT } else { format };
        let mut pieces = Vec::new();
        let mut rest = format;
        while !rest.is_empty() {
            rest = next_piece(rest, &mut pieces)?;
        }
        Some(Self { pieces })
    }

    /// Appends a time.
    pub(super) fn write(&self, time: SystemTime, out: &mut Vec<u8>) -> bool {
        let elapsed = since_epoch(time);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::DateTime => write_date_time(elapsed.as_secs(), out),
                Piece::EpochSeconds => _ = put(out, format_args!("{}", elapsed.as_secs())),
                Piece::Fraction(digits) => {
                    let fraction = elapsed.subsec_nanos() / 10_u32.pow(9 - digits);
                    put(
                        out,
                        format_args!("{fraction:0width$}", width = *digits as usize),
                    );
                }
                Piece::Strftime(format) => {
                    if let Ok(timestamp) = jiff::Timestamp::try_from(time) {
                        put(
                            out,
                            format_args!("{}", timestamp.strftime(format.as_bytes())),
                        );
                    }
                }
            }
        }
        true
    }
}

/// Compiles what the format begins with and returns the rest.
fn next_piece<'f>(format: &'f str, pieces: &mut Vec<Piece>) -> Option<&'f str> {
    if let Some(rest) = format.strip_prefix(DATE_TIME) {
        pieces.push(Piece::DateTime);
        return Some(rest);
    }
    if let Some(rest) = format.strip_prefix(DATE_TIME_PREFIX)
        && rest.starts_with("%E")
    {
        let (digits, rest) = extended_seconds(rest)?;
        pieces.extend([
            Piece::DateTime,
            Piece::Literal(".".into()),
            Piece::Fraction(digits),
        ]);
        return Some(rest);
    }
    let Some(conversion) = format.strip_prefix('%') else {
        let end = format.find('%').unwrap_or(format.len());
        pieces.push(Piece::Literal(format[..end].into()));
        return Some(&format[end..]);
    };
    let first = conversion.chars().next()?;
    let rest = &conversion[first.len_utf8()..];
    match first {
        's' => pieces.push(Piece::EpochSeconds),
        'f' => pieces.push(Piece::Fraction(9)),
        '%' => pieces.push(Piece::Literal("%".into())),
        '1'..='9' => {
            pieces.push(Piece::Fraction(first.to_digit(10)?));
            return rest.strip_prefix('f');
        }
        'E' => {
            let (digits, rest) = extended_seconds(format)?;
            pieces.push(Piece::Strftime("%S".into()));
            pieces.extend([Piece::Literal(".".into()), Piece::Fraction(digits)]);
            return Some(rest);
        }
        'a'..='z' | 'A'..='Z' => {
            let conversion = format!("%{first}");
            // Tried on a time, so that an unknown conversion is found now.
            let epoch = jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
            jiff::fmt::strtime::format(&conversion, &epoch).ok()?;
            pieces.push(Piece::Strftime(conversion.into()));
        }
        _ => return None,
    }
    Some(rest)
}

/// `%E3S`: seconds with that many digits of their fraction.
fn extended_seconds(format: &str) -> Option<(u32, &str)> {
    let rest = format.strip_prefix("%E")?;
    let digits = rest
        .chars()
        .next()?
        .to_digit(10)
        .filter(|digits| (1..=9).contains(digits))?;
    Some((digits, rest[1..].strip_prefix('S')?))
}

/// Date and time of day in UTC, after Howard Hinnant's `civil_from_days`: several times cheaper than a general
/// formatter, and every line has one.
fn write_date_time(seconds: u64, out: &mut Vec<u8>) {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    let second = second % 60;
    put(
        out,
        format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"),
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn format(format: &str, time: SystemTime) -> Option<String> {
        let mut out = Vec::new();
        TimeFormat::parse(format)?.write(time, &mut out);
        String::from_utf8(out).ok()
    }

    fn leap_day() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(1_709_210_096, 7_654_321)
    }

    #[rstest]
    #[case::default("", "2024-02-29T12:34:56.007Z")]
    #[case::epoch("%s.%3f", "1709210096.007")]
    #[case::slashes("%Y/%m/%d %H:%M:%S", "2024/02/29 12:34:56")]
    #[case::nanoseconds("%Y-%m-%dT%H:%M:%S.%fZ", "2024-02-29T12:34:56.007654321Z")]
    #[case::seconds("%E1S%%", "56.0%")]
    fn envoys_formats(#[case] pattern: &str, #[case] expected: &str) {
        assert_eq!(format(pattern, leap_day()).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_not_a_format_is_refused() {
        for pattern in ["%", "%3x", "%E0S", "%!"] {
            assert_eq!(format(pattern, leap_day()), None, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn dates_agree_with_the_general_formatter(seconds in 0_u64..8_000_000_000) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let general = jiff::Timestamp::try_from(time).unwrap().strftime("%Y-%m-%dT%H:%M:%S").to_string();
            prop_assert_eq!(format("%Y-%m-%dT%H:%M:%S", time), Some(general));
        }
    }
}
