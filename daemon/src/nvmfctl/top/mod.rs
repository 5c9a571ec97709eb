//! `nvmfctl top`: who reads and writes how much, look after look.
//!
//! `rate` makes rates of two looks, `frame` lines of rates, `screen` has the terminal. On a
//! terminal a daemon that is gone may come back; elsewhere it is an error.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, stdout};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, select};

use super::cli::Top;
use super::client::Daemon;
use super::failure::CtlError;
use super::{Form, amount, now, write_out};
use crate::control::message::Sessions;

mod frame;
mod rate;
mod screen;

use rate::View;
use screen::{Screen, Wish};

/// Shows it until the user has seen enough, or as often as is wanted.
///
/// # Errors
/// What the terminal, or without one the daemon, does not do.
pub(super) fn run(daemon: &Daemon, wanted: &Top, form: Form) -> Result<(), CtlError> {
    if form.json || wanted.count.is_some() || !stdout().is_terminal() {
        print(daemon, wanted, form)
    } else {
        watch(daemon, wanted.interval, form)
    }
}

/// A table, or an object, for each look but the first, which has no rates.
fn print(daemon: &Daemon, wanted: &Top, form: Form) -> Result<(), CtlError> {
    let mut looks = Looks::default();
    looks.look(daemon)?;
    let mut printed = 0;
    while wanted.count.is_none_or(|count| printed < count.get()) {
        thread::sleep(wanted.interval);
        let view = looks.look(daemon)?;
        if printed > 0 && !form.json {
            write_out(b"\n")?;
        }
        form.print(&view, |paint| {
            let mut text = frame::whole(&view, paint).join("\n");
            text.push('\n');
            text
        })?;
        printed += 1;
    }
    Ok(())
}

/// The daemon is asked in a thread of its own, so that one that does not answer does not keep the
/// user from ending it.
fn watch(daemon: &Daemon, interval: Duration, form: Form) -> Result<(), CtlError> {
    // What is wrong from the beginning is an error like any other, on a screen that is not ours.
    let mut looks = Looks::default();
    let mut last = Ok(looks.look(daemon)?);
    let screen = Screen::take().map_err(CtlError::Terminal)?;
    let (hurry, now) = bounded(1);
    let views = looks
        .go_on(daemon.clone(), interval, now)
        .map_err(CtlError::Terminal)?;
    let wishes = screen::wishes().map_err(CtlError::Terminal)?;
    loop {
        let lines = lines(&last, interval, form);
        screen.show(&lines).map_err(CtlError::Terminal)?;
        select! {
            recv(views) -> view => last = view.unwrap_or(Err(CtlError::Ended)),
            recv(wishes) -> wish => match wish {
                Ok(Ok(Wish::Redraw)) => {}
                // If there is no room, somebody was as hasty just now.
                Ok(Ok(Wish::Look)) => drop(hurry.try_send(())),
                Ok(Ok(Wish::Quit)) | Err(_) => return Ok(()),
                Ok(Err(error)) => return Err(CtlError::Terminal(error)),
            },
        }
    }
}

fn lines(last: &Result<View, CtlError>, interval: Duration, form: Form) -> Vec<String> {
    let (columns, rows) = Screen::size();
    let head = format!(
        "nvmfctl top, {}, every {interval:?}; q ends it",
        amount::moment(now())
    );
    let mut lines = vec![head.chars().take(columns).collect(), String::new()];
    match last {
        Ok(view) => {
            let room = (columns, rows.saturating_sub(lines.len()));
            lines.extend(frame::fitted(view, room, form.paint));
        }
        Err(error) => {
            let text = error.to_string();
            let text = text
                .lines()
                .map(|line| line.chars().take(columns).collect());
            lines.extend(text);
        }
    }
    lines.truncate(rows);
    lines
}

/// The look before, which the next one is compared with.
#[derive(Debug, Default)]
struct Looks {
    before: Option<(Sessions, Instant)>,
}

impl Looks {
    /// Looks again after each interval, or `now`, for as long as somebody takes what is seen.
    fn go_on(
        mut self,
        daemon: Daemon,
        interval: Duration,
        now: Receiver<()>,
    ) -> io::Result<Receiver<Result<View, CtlError>>> {
        let (sender, views) = bounded(1);
        let look = move || {
            loop {
                if now.recv_timeout(interval) == Err(RecvTimeoutError::Disconnected)
                    || sender.send(self.look(&daemon)).is_err()
                {
                    return;
                }
            }
        };
        thread::Builder::new().name("looks".into()).spawn(look)?;
        Ok(views)
    }

    fn look(&mut self, daemon: &Daemon) -> Result<View, CtlError> {
        let sessions = daemon.sessions();
        let at = Instant::now();
        let before = self.before.take();
        let sessions = sessions?;
        let compared = before
            .as_ref()
            .map(|(sessions, then)| (sessions, at - *then));
        let view = View::of(&sessions, compared);
        self.before = Some((sessions, at));
        Ok(view)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::control::message::{Mode, Session, Traffic};

    /// A session of `vol0` that has read `reads` times 4 KiB, and written nothing twice as often.
    pub(in crate::nvmfctl) fn session(hostnqn: &str, cntlid: u16, reads: Option<u64>) -> Session {
        Session {
            mode: Mode::User,
            subsystem: "vol0".into(),
            cntlid,
            hostnqn: hostnqn.into(),
            hostid: None,
            peer: None,
            local: None,
            io_queues: Some(4),
            header_digest: None,
            data_digest: None,
            kato: None,
            age: None,
            idle: Some(3),
            traffic: reads.map(|reads| Traffic {
                reads,
                writes: reads * 2,
                bytes_read: reads * 4096,
                bytes_written: 0,
            }),
        }
    }
}
