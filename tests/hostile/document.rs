//! tests/NEGATIVE.md, which is the table for readers.

use std::fmt::Write;
use std::path::Path;

use nvmf_proto::status::Status;

use crate::scene::Mode;
use crate::table::{CHAPTERS, Gets, Row};

/// Where it is, from the package.
const PATH: &str = "NEGATIVE.md";

/// Set to write it anew.
const WRITE: &str = "NVMFD_WRITE_NEGATIVE";

const HEAD: &str = "\
# What hosts do wrong

What peers do that they must not, and what they get for it: 68 rows, each a test against the running
program in userspace mode and in kernel mode (`cargo test -p nvmfd-tests --test hostile row_24`), and many
in memory besides (`cargo test -p nvmf-proto row_24`). This file is written by a test from
`tests/hostile/table`; change that.

After each row the program holds what it held before (descriptors, threads, memory, controllers), and a
healthy host that was there all the while still reads what it wrote, and writes.

FES and FEI are those of the Terminate Connection Request. Statuses are SCT / SC with DNR
(do not retry) if it is set; of a refused Connect the parameter, by its name. Expected answers are FreeBSD's where it
has one. In kernel mode everything up to the Connect is the same program, and the rest is FreeBSD's kernel;
in tests it is a fake, whose queues are served by nvmfd's own engine. What is known to be different on a real
kernel is said in the row. What kernel mode alone has is in `tests/kernel`: hand-offs that the kernel refuses
with every text and errno, before and after it has taken the connection.
";

#[test]
fn negative_md_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH);
    let text = text();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &text).expect("it can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "tests/{PATH} is not what tests/hostile/table says; to write it anew:\n  \
         {WRITE}=1 cargo test -p nvmfd-tests --test hostile negative_md"
    );
}

fn text() -> String {
    let mut text = HEAD.to_owned();
    for (title, rows) in CHAPTERS {
        let (first, last) = (&rows[0], &rows[rows.len() - 1]);
        let _ = write!(
            text,
            "\n## {title} ({}–{})\n\n| row | what the peer does | what it gets | says who |\n|---|---|---|---|\n",
            first.number, last.number
        );
        for row in rows {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                row.number,
                row.peer,
                gets(row),
                source(row)
            );
        }
    }
    text
}

/// What its cases get, each answer once, with the cases that get it if there are several answers.
fn gets(row: &Row) -> String {
    let mut answers: Vec<(String, Vec<&str>)> = Vec::new();
    for case in row.cases {
        let (user, kernel) = (case.gets(Mode::Userspace), case.gets(Mode::Kernel));
        let mut answer = words(user);
        if kernel != user {
            answer = format!("{answer}, in kernel mode {}", words(kernel));
        }
        match answers.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, names)) => names.push(case.name),
            None => answers.push((answer, vec![case.name])),
        }
    }
    match &answers[..] {
        [(answer, _)] => answer.clone(),
        several => {
            let said = several.iter().map(|(answer, names)| {
                let names = names.join("; ");
                format!("**{answer}**: {names}")
            });
            said.collect::<Vec<_>>().join("<br>")
        }
    }
}

fn source(row: &Row) -> String {
    match row.freebsd {
        None => row.source.to_owned(),
        Some(freebsd) => format!("{}<br>*FreeBSD's kernel:* {freebsd}", row.source),
    }
}

fn words(gets: Gets) -> String {
    match gets {
        Gets::Terminated(fes, fei) => format!("FES {} FEI {fei}", fes as u16),
        Gets::Refused(reject) => match reject.field() {
            Some(field) => {
                let place = if reject.in_data { "data" } else { "SQE" };
                let ipo = reject.ipo;
                format!(
                    "{} {field} (IPO {ipo} of the {place})",
                    codes(reject.status)
                )
            }
            None => codes(reject.status),
        },
        Gets::Failed(status) => codes(status),
        Gets::Result(result) => format!("success, and dword 0 is {result}"),
        Gets::Served => "served".to_owned(),
        Gets::Silence => "closed without a word".to_owned(),
        Gets::Told(words) => words.to_owned(),
    }
}

fn codes(status: Status) -> String {
    let dnr = if status.is_dnr() { " DNR" } else { "" };
    format!("{} / {:02X}{dnr}", status.sct(), status.sc())
}
