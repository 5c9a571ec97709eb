//! Numbers as the kernel reads them from strings.

#![forbid(unsafe_code)]

/// The kernel's strtoul(9) with base 0: leading blanks, a sign, `0x` and a leading 0 for octal are
/// understood, too large a number becomes the largest, and a minus wraps. Returns the number and what
/// follows it; of no number at all, everything follows.
fn strtoul(text: &[u8]) -> (u64, &[u8]) {
    let blanks = text
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r'))
        .count();
    let (negative, rest) = match &text[blanks..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (base, digits): (u32, _) = match rest {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        // The 0 is a digit as well.
        [b'0', ..] => (8, rest),
        _ => (10, rest),
    };
    let value_of = |byte: &u8| char::from(*byte).to_digit(base).map(u64::from);
    let count = digits.iter().map_while(value_of).count();
    if count == 0 {
        return (0, text);
    }
    let number = digits
        .iter()
        .map_while(value_of)
        .try_fold(0_u64, |sum, digit| {
            sum.checked_mul(base.into())?.checked_add(digit)
        });
    let number = match number {
        None => u64::MAX,
        Some(number) if negative => number.wrapping_neg(),
        Some(number) => number,
    };
    (number, &digits[count..])
}

/// A number that fills the whole string (`dnvlist_get_strnum` of nvmft).
pub(super) fn whole(text: &[u8]) -> Option<u64> {
    match strtoul(text) {
        _ if text.is_empty() => None,
        (number, []) => Some(number),
        _ => None,
    }
}

/// A number that begins the string, whatever follows, as strtol(9) and a C `int` give it.
pub(super) fn leading(text: &[u8]) -> i32 {
    let [a, b, c, d, ..] = strtoul(text).0.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// A size with a suffix like K, M or G (`ctl_expand_number`).
pub(super) fn size(text: &[u8]) -> Option<u64> {
    let (number, suffix) = strtoul(text);
    let shift = match suffix {
        [] | [b'b' | b'B', ..] => 0,
        [b'k' | b'K', ..] => 10,
        [b'm' | b'M', ..] => 20,
        [b'g' | b'G', ..] => 30,
        [b't' | b'T', ..] => 40,
        [b'p' | b'P', ..] => 50,
        [b'e' | b'E', ..] => 60,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Whether a number is written as one should: decimal digits, and no 0 before others, which would make
/// it octal.
pub(super) fn is_plain(text: &[u8]) -> bool {
    match text {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_kernel_reads_them() {
        let cases: &[(&str, Option<u64>)] = &[
            ("1024", Some(1024)),
            ("0", Some(0)),
            ("010", Some(8)),
            ("08", None),
            ("0x10", Some(16)),
            ("0XfF", Some(255)),
            ("0x", None),
            (" \t\n12", Some(12)),
            ("+5", Some(5)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("-18446744073709551616", Some(u64::MAX)),
            ("", None),
            (" ", None),
            ("-", None),
            ("12 ", None),
            ("12k", None),
            ("--1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(whole(text.as_bytes()), *expected, "{text:?}");
        }
        assert_eq!(size(b"64M"), Some(64 << 20));
        assert_eq!(size(b"64x"), None);
        assert_eq!(leading(b"14 threads"), 14);
        assert_eq!(leading(b"many"), 0);
    }
}
