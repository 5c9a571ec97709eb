//! A look at the sessions as lines: as wide as they need, or fitted to a terminal.

#![forbid(unsafe_code)]

use super::rate::{Activity, Rate, View};
use crate::nvmfctl::amount::{mebibytes, seconds};
use crate::nvmfctl::printable::printable;
use crate::nvmfctl::show::mode;
use crate::nvmfctl::table::{Cell, GAP, Paint, Side, Table, Tone};

/// All of it, below each other.
pub(super) fn whole(view: &View, paint: Paint) -> Vec<String> {
    let names = |name: &str| printable(name);
    let mut lines = table(view, names).lines("", paint);
    lines.extend(missing(view, paint));
    lines
}

/// As much as `columns` and `rows` have room for.
pub(super) fn fitted(view: &View, (columns, rows): (usize, usize), paint: Paint) -> Vec<String> {
    // Where the names begin; they have all to the right of it, but for the gap between them.
    let head = table(view, |_| String::new()).lines("", Paint::Plain);
    let begin = head.first().and_then(|head| head.find(HOST)).unwrap_or(0);
    let room = columns.saturating_sub(begin + GAP.len());
    // A name that is short leaves its room to the other column.
    let longest = |name: fn(&Activity) -> &str| {
        let names = view.sessions.iter().map(name);
        names
            .map(|it| printable(it).chars().count())
            .max()
            .unwrap_or(0)
    };
    let hosts = longest(|it| &it.hostnqn).max(TOTAL.len());
    let subsystems = longest(|it| &it.subsystem).max(SUBSYSTEM.len());
    let host = (room / 2)
        .max(room.saturating_sub(subsystems))
        .min(hosts)
        .max(SHORTEST);
    let subsystem = room.saturating_sub(host).max(SHORTEST);
    let mut shown = Table::new(&HEAD);
    let lines = rows.saturating_sub(2 + usize::from(view.missing.is_some()));
    for activity in view.sessions.iter().take(lines) {
        shown.row(row(
            activity,
            tail(&printable(&activity.hostnqn), host),
            tail(&printable(&activity.subsystem), subsystem),
        ));
    }
    shown.row(total(view));
    let mut text = shown.lines("", Paint::Plain);
    text.extend(missing(view, Paint::Plain));
    let cut = |line: &String| line.chars().take(columns).collect::<String>();
    let mut text: Vec<_> = text.iter().map(cut).take(rows).collect();
    if let Some(head) = text.first_mut() {
        *head = paint.tone(head, Tone::Head);
    }
    text
}

fn table(view: &View, name: impl Fn(&str) -> String) -> Table {
    let mut table = Table::new(&HEAD);
    for activity in &view.sessions {
        table.row(row(
            activity,
            name(&activity.hostnqn),
            name(&activity.subsystem),
        ));
    }
    table.row(total(view));
    table
}

/// The names are escaped already, and a [`Cell`] would do it twice to a backslash.
fn row(activity: &Activity, host: String, subsystem: String) -> [Cell; 9] {
    let rate = activity.rate;
    let number = |figure: fn(Rate) -> String| Cell::maybe(rate.map(figure));
    [
        number(|it| it.reads.to_string()),
        number(|it| it.writes.to_string()),
        number(|it| mebibytes(it.bytes_read)),
        number(|it| mebibytes(it.bytes_written)),
        Cell::maybe(activity.idle.map(seconds)),
        Cell::maybe(activity.io_queues),
        mode(activity.mode).into(),
        Cell::escaped(host),
        Cell::escaped(subsystem),
    ]
}

fn total(view: &View) -> [Cell; 9] {
    let known = view.sessions.iter().any(|it| it.rate.is_some());
    let number = |figure: String| Cell::maybe(known.then_some(figure));
    [
        number(view.total.reads.to_string()),
        number(view.total.writes.to_string()),
        number(mebibytes(view.total.bytes_read)),
        number(mebibytes(view.total.bytes_written)),
        "".into(),
        "".into(),
        "".into(),
        TOTAL.into(),
        match view.sessions.len() {
            1 => "1 session".into(),
            n => format!("{n} sessions").into(),
        },
    ]
}

fn missing(view: &View, paint: Paint) -> Option<String> {
    let why = printable(view.missing.as_deref()?);
    Some(paint.tone(&format!("not all sessions are known: {why}"), Tone::Bad))
}

/// The end of a name, which tells names apart, in at most `width` characters.
fn tail(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        return name.into();
    }
    let kept = width.saturating_sub(1);
    let tail: String = name.chars().skip(length - kept).collect();
    format!("…{tail}")
}

const HEAD: [(&str, Side); 9] = [
    ("READ/s", Side::Right),
    ("WRITE/s", Side::Right),
    ("R MiB/s", Side::Right),
    ("W MiB/s", Side::Right),
    ("IDLE", Side::Right),
    ("IOQ", Side::Right),
    ("MODE", Side::Left),
    (HOST, Side::Left),
    (SUBSYSTEM, Side::Left),
];

const HOST: &str = "HOST";
const SUBSYSTEM: &str = "SUBSYSTEM";
const TOTAL: &str = "total";

/// Of a name something is always shown.
const SHORTEST: usize = 6;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::session;
    use super::*;
    use crate::control::message::{Mode, Sessions};

    fn a_view() -> View {
        let mut kernel = session("nqn.2014-08.org.example:host2", 2, None);
        kernel.mode = Mode::Kernel;
        kernel.subsystem = "nqn.2014-08.org.example:a-volume-in-the-kernel".into();
        let before = Sessions {
            sessions: vec![
                kernel.clone(),
                session("nqn.2014-08.org.example:host1", 1, Some(0)),
            ],
            missing: None,
        };
        let mut now = before.clone();
        now.sessions[1] = session("nqn.2014-08.org.example:host1", 1, Some(100_000));
        View::of(&now, Some((&before, Duration::from_secs(1))))
    }

    #[test]
    fn a_look_without_a_terminal_has_whole_names() {
        let expected = "\
READ/s  WRITE/s  R MiB/s  W MiB/s  IDLE  IOQ  MODE    HOST                           SUBSYSTEM
100000   200000    390.6      0.0    3s    4  user    nqn.2014-08.org.example:host1  vol0
     -        -        -        -    3s    4  kernel  nqn.2014-08.org.example:host2  nqn.2014-08.org.example:a-volume-in-the-kernel
100000   200000    390.6      0.0                     total                          2 sessions";
        assert_eq!(whole(&a_view(), Paint::Plain).join("\n"), expected);
    }

    #[test]
    fn a_terminal_gets_the_ends_of_names() {
        let expected = "\
READ/s  WRITE/s  R MiB/s  W MiB/s  IDLE  IOQ  MODE    HOST         SUBSYSTEM
100000   200000    390.6      0.0    3s    4  user    …mple:host1  vol0
     -        -        -        -    3s    4  kernel  …mple:host2  …the-kernel
100000   200000    390.6      0.0                     total        2 sessions";
        let lines = fitted(&a_view(), (78, 24), Paint::Plain);
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_none_is_below_it() {
        let view = View {
            missing: Some("the worker did not answer, for a reason of some length".into()),
            ..a_view()
        };
        for columns in 0..200 {
            for rows in 0..10 {
                let lines = fitted(&view, (columns, rows), Paint::Plain);
                assert!(lines.len() <= rows, "{columns}x{rows}");
                let widest = lines.iter().map(|line| line.chars().count()).max();
                assert!(widest.unwrap_or(0) <= columns, "{columns}x{rows}");
            }
        }
        let wide = fitted(&view, (250, 24), Paint::Plain);
        let whole = whole(&view, Paint::Plain);
        assert_eq!(wide, whole, "nothing is cut where there is room");
    }

    #[test]
    fn nobody_is_a_table_as_well() {
        let view = View::of(&Sessions::default(), None);
        let lines = whole(&view, Paint::Plain);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with("total  0 sessions"), "{lines:?}");
    }
}
