//! nvmfctl(8): asks the daemon over its control socket, and is a host of its own.
//!
//! `cli` is what can be asked for, `run` does it; `client` speaks to the daemon, `show` puts its
//! answers in words, `top` watches it, `check` needs none. What is printed goes to standard output
//! in one piece; warnings and errors go to standard error, and an error makes the exit status
//! (`failure`).

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime};

use clap::{CommandFactory, Parser};
use serde::Serialize;

use crate::control::message::{Answer, Mode, Plan, Refusals, Request, Sessions, Whose};
use crate::error::PathText;
use crate::host;

mod amount;
mod check;
mod cli;
mod client;
mod failure;
pub(crate) mod printable;
mod show;
mod table;
mod top;

use check::Verdict;
use cli::{Arguments, Command};
use client::{Daemon, unexpected};
use failure::CtlError;
use printable::{lines, printable};
use table::Paint;

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return fail(&CtlError::Usage(error.to_string())),
        Err(error) => {
            // Help, on a terminal with its colours; nobody may read it.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    match run(arguments) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// The command line as clap knows it, for what compares the manual page with it.
pub fn command() -> clap::Command {
    Arguments::command()
}

fn fail(error: &CtlError) -> ExitCode {
    if !error.is_unheard() {
        warn(&error.report());
    }
    error.exit().into()
}

fn run(arguments: Arguments) -> Result<ExitCode, CtlError> {
    let daemon = Daemon {
        socket: arguments.socket,
    };
    let form = Form {
        json: arguments.json,
        paint: Paint::of_stdout(),
    };
    match arguments.command {
        Command::Status => {
            let answer = daemon.ask(Request::Status)?;
            let Answer::Status(status) = answer else {
                return Err(unexpected(&answer));
            };
            form.print(&status, |paint| show::status(&status, now(), paint))?;
        }
        Command::Sessions => {
            let sessions = daemon.sessions()?;
            form.print(&sessions, |paint| show::sessions(&sessions, paint))?;
        }
        Command::Refusals { count } => refusals(&daemon, count, form)?,
        Command::Top(wanted) => top::run(&daemon, &wanted, form)?,
        Command::Check { file } => check(&file, form)?,
        Command::Plan { file, exit_code } => {
            let name = PathText::from(file.as_path()).to_string();
            let text = check::text(&file)?;
            let plan = daemon.plan(Request::Plan { name, text })?;
            print_plan(&plan, "nothing would change\n", form)?;
            if exit_code && !plan.steps.is_empty() {
                return Ok(ExitCode::from(WOULD_CHANGE));
            }
        }
        Command::Reload => {
            let plan = daemon.plan(Request::Reload)?;
            print_plan(&plan, "nothing has changed\n", form)?;
        }
        Command::Terminate { whose } => terminate(&daemon, whose, form)?,
        Command::Drain { end, wait } => {
            daemon.tell(Request::Drain { on: !end })?;
            if wait {
                let every = Duration::from_secs(1);
                wait_for_the_last(|| daemon.sessions(), every, form)?;
            }
            form.done(match (end, wait) {
                (true, _) => "new controllers are accepted\n",
                (false, true) => "no session is left\n",
                (false, false) => "new controllers are refused until nvmfctl drain --end\n",
            })?;
        }
        Command::Log { level } => {
            let level = level.name().to_owned();
            let said = format!("{level} and worse is logged until the next reload or start\n");
            daemon.tell(Request::Log { level })?;
            form.done(&said)?;
        }
        Command::Leave => {
            daemon.tell(Request::Leave)?;
            form.done("nvmfd ends; what the kernel serves goes on\n")?;
        }
        Command::Host(command) => return Ok(host::run(command, form.json)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "nvmfctl", &mut script);
            write_out(&script)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn refusals(daemon: &Daemon, count: Option<usize>, form: Form) -> Result<(), CtlError> {
    let answer = daemon.ask(Request::Refusals)?;
    let Answer::Refusals(refusals) = answer else {
        return Err(unexpected(&answer));
    };
    let shown = Refusals {
        total: refusals.total,
        last: show::last(&refusals, count).to_vec(),
    };
    form.print(&shown, |paint| show::refusals(&refusals, count, paint))
}

fn check(file: &std::path::Path, form: Form) -> Result<(), CtlError> {
    let verdict = Verdict::of(file);
    let text = verdict.problems.to_string();
    if form.json {
        form.print(&verdict.report(), |_| String::new())?;
        return verdict.result(String::new());
    }
    verdict.result(text.clone())?;
    warn(&text);
    let name = PathText::from(file);
    form.print(&(), |_| format!("{name}: good\n"))
}

fn print_plan(plan: &Plan, nothing: &str, form: Form) -> Result<(), CtlError> {
    if !form.json {
        for warning in &plan.warnings {
            warn(&format!("{}\n", lines(warning)));
        }
    }
    form.print(plan, |paint| show::plan(plan, nothing.trim_end(), paint))
}

fn terminate(daemon: &Daemon, whose: Whose, form: Form) -> Result<(), CtlError> {
    #[derive(Serialize)]
    struct Terminated {
        terminated: u64,
    }
    let name = match &whose {
        Whose::Host(nqn) => printable(nqn),
        Whose::Cntlid(cntlid) => format!("CNTLID {cntlid}"),
    };
    let answer = daemon.ask(Request::Terminate { whose })?;
    let Answer::Terminated(terminated) = answer else {
        return Err(unexpected(&answer));
    };
    if terminated == 0 {
        return Err(CtlError::NoSession(name));
    }
    let sessions = amount::counted(terminated, "session");
    form.print(&Terminated { terminated }, |_| {
        format!("{name}: {sessions} told to end\n")
    })
}

/// Waits until nobody uses a subsystem any more; discovery does not count. Whoever tells of the
/// sessions is asked each time after a pause.
fn wait_for_the_last(
    mut ask: impl FnMut() -> Result<Sessions, CtlError>,
    every: Duration,
    form: Form,
) -> Result<(), CtlError> {
    let mut told = None;
    loop {
        let sessions = ask()?;
        let left = sessions.sessions.iter().filter(|it| match it.mode {
            Mode::Kernel | Mode::User => true,
            Mode::Discovery => false,
        });
        let left = u64::try_from(left.count()).unwrap_or(u64::MAX);
        let missing = sessions.missing.is_some();
        if left == 0 && !missing {
            return Ok(());
        }
        if told != Some((left, missing)) && !form.json {
            let more = if missing { " or more" } else { "" };
            let text = format!("{}{more} left\n", amount::counted(left, "session"));
            write_out(text.as_bytes())?;
        }
        told = Some((left, missing));
        thread::sleep(every);
    }
}

/// In which form answers are printed.
#[derive(Debug, Clone, Copy)]
struct Form {
    json: bool,
    paint: Paint,
}

impl Form {
    /// Prints `value`, or for people the text of it.
    fn print(
        self,
        value: &impl Serialize,
        text: impl FnOnce(Paint) -> String,
    ) -> Result<(), CtlError> {
        if !self.json {
            return write_out(text(self.paint).as_bytes());
        }
        let mut line = serde_json::to_vec(value).map_err(io::Error::from)?;
        line.push(b'\n');
        write_out(&line)
    }

    /// Says that it is done.
    fn done(self, text: &str) -> Result<(), CtlError> {
        #[derive(Serialize)]
        struct Done {
            done: bool,
        }
        self.print(&Done { done: true }, |_| text.into())
    }
}

fn write_out(bytes: &[u8]) -> Result<(), CtlError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Says something beside what was asked for.
fn warn(text: &str) {
    // Nobody may listen, and what was asked for is still to be printed.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The exit status of `plan --exit-code` when anything would change, as diff(1) has it.
const WOULD_CHANGE: u8 = 1;

#[cfg(test)]
mod tests;
