//! Sizes, times and rates as people read them.

#![forbid(unsafe_code)]

/// A size in binary units: `512 B`, `1.5 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let unit = bytes.checked_ilog2().unwrap_or(0) / 10;
    if unit == 0 {
        return format!("{bytes} B");
    }
    let name = char::from(UNITS[unit as usize - 1]);
    let (whole, rest) = (bytes >> (10 * unit), bytes & ((1 << (10 * unit)) - 1));
    if rest == 0 {
        return format!("{whole} {name}iB");
    }
    let tenths = (u128::from(rest) * 10) >> (10 * unit);
    format!("{whole}.{tenths} {name}iB")
}

/// A time in its two largest units: `42s`, `3m 5s`, `2d 0h`.
pub(super) fn seconds(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    if minutes == 0 {
        format!("{seconds}s")
    } else if hours == 0 {
        format!("{minutes}m {}s", seconds % 60)
    } else if days == 0 {
        format!("{hours}h {}m", minutes % 60)
    } else {
        format!("{days}d {}h", hours % 24)
    }
}

/// A short time: `15s`, `500ms`.
pub(super) fn milliseconds(milliseconds: u64) -> String {
    if milliseconds.is_multiple_of(1000) {
        seconds(milliseconds / 1000)
    } else {
        format!("{milliseconds}ms")
    }
}

/// A moment, from seconds since 1970 (UTC): `2026-11-28 15:54:55Z`.
///
/// By hand, because it is the only date in the program, and the standard library has none: days
/// are counted from the first of March of the year 0, so that leap days are last.
pub(super) fn moment(time: u64) -> String {
    let (days, second) = (time / 86400 + 719_468, time % 86400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let (month, next) = if from_march < 10 {
        (from_march + 3, 0)
    } else {
        (from_march - 9, 1)
    };
    let year = era * 400 + year_of_era + next;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// A number with its noun: `1 session`, `2 sessions`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Mebibytes with one decimal, of a rate in bytes.
pub(super) fn mebibytes(bytes: u64) -> String {
    let tenths = (u128::from(bytes) * 10) >> 20;
    format!("{}.{}", tenths / 10, tenths % 10)
}

const UNITS: &[u8; 6] = b"KMGTPE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_or_have_one_decimal() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 30, "1 GiB"),
            (10 << 40, "10 TiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(mebibytes(0), "0.0");
        assert_eq!(mebibytes((3 << 20) / 2), "1.5");
        assert_eq!(mebibytes(u64::MAX), "17592186044415.9");
    }

    #[test]
    fn times_have_two_units() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (185, "3m 5s"),
            (3600, "1h 0m"),
            (86399, "23h 59m"),
            (90_000, "1d 1h"),
            (u64::MAX, "213503982334601d 7h"),
        ];
        for (number, text) in cases {
            assert_eq!(seconds(number), text);
        }
        assert_eq!(milliseconds(15_000), "15s");
        assert_eq!(milliseconds(1500), "1500ms");
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        // From date(1).
        let cases = [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (951_868_799, "2000-02-29 23:59:59Z"),
            (1_795_881_295, "2026-11-28 15:54:55Z"),
            (4_107_542_399, "2100-02-28 23:59:59Z"),
            (4_107_542_400, "2100-03-01 00:00:00Z"),
        ];
        for (time, text) in cases {
            assert_eq!(moment(time), text);
        }
        // Whatever a peer says.
        moment(u64::MAX);
    }
}
