//! The lines of our processes on their way to syslog, which a confined process cannot reach.
//!
//! One writes them to a pipe, as to systemd's journal: with a priority in front, which is [`crate::log`]'s
//! doing. What comes without one is what something said that is not our log: a panic, most likely. A
//! process may have been taken over, so that a line is bounded, and printed as text, whatever is in it.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Read};

use tracing::{Level, debug, error, info, trace, warn};

/// Logs every line, with the name of who wrote it, until it has ended.
pub(super) fn pass_on(from: impl Read, name: &str) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while let Ok(true) = next(&mut from, &mut line) {
        let (level, text) = read(&line);
        match level {
            Level::ERROR => error!("{name}: {text}"),
            Level::WARN => warn!("{name}: {text}"),
            Level::INFO => info!("{name}: {text}"),
            Level::DEBUG => debug!("{name}: {text}"),
            Level::TRACE => trace!("{name}: {text}"),
        }
    }
}

/// Reads a line, or as much of one as a line may have. Whether there was any.
fn next(from: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let read = from.take(LINE_MAX).read_until(b'\n', line)?;
    Ok(read != 0)
}

/// How severe a line is, and what it says. The priority of debugging is that of tracing too.
fn read(line: &[u8]) -> (Level, String) {
    let (level, text) = match line {
        [b'<', b'3', b'>', text @ ..] => (Level::ERROR, text),
        [b'<', b'4', b'>', text @ ..] => (Level::WARN, text),
        [b'<', b'6', b'>', text @ ..] => (Level::INFO, text),
        [b'<', b'7', b'>', text @ ..] => (Level::DEBUG, text),
        text => (Level::ERROR, text),
    };
    let text = String::from_utf8_lossy(text.trim_ascii_end());
    let printable = |it: char| match it.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => it,
    };
    (level, text.chars().map(printable).collect())
}

/// Bytes of a line; what is longer is several.
const LINE_MAX: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_severe_as_its_priority_says() {
        assert_eq!(read(b"<4>slow\n"), (Level::WARN, "slow".into()));
        assert_eq!(read(b"<6>serving\n"), (Level::INFO, "serving".into()));
        assert_eq!(read(b"<7>closed"), (Level::DEBUG, "closed".into()));
        let panic = "thread 'accept' panicked";
        assert_eq!(read(panic.as_bytes()), (Level::ERROR, panic.into()));
        assert_eq!(read(b"<9>what\n"), (Level::ERROR, "<9>what".into()));
        assert_eq!(read(b"\n"), (Level::ERROR, String::new()));
    }

    #[test]
    fn what_no_terminal_should_get_is_replaced() {
        let (_, text) = read(b"<6>a\x1b[2Jb\xff\r\n");
        assert_eq!(text, "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let endless = std::io::repeat(b'x').take(3 * LINE_MAX);
        let mut from = BufReader::new(endless);
        let mut line = Vec::new();
        for _ in 0..3 {
            assert!(next(&mut from, &mut line).unwrap());
            assert_eq!(u64::try_from(line.len()).unwrap(), LINE_MAX);
        }
        assert!(!next(&mut from, &mut line).unwrap());
    }
}
