//! The terminal while `top` has it: another screen, keys as they come, and everything as it was
//! at the end, whichever end that is: a key, an error, a panic or a signal.

#![forbid(unsafe_code)]

use std::io::{self, Write, stdout};
use std::panic;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{execute, queue};
use nix::sys::signal::{SigSet, Signal, raise};

/// The terminal, which is given back when this goes.
#[derive(Debug)]
pub(super) struct Screen {
    /// Held while the screen is written to; and for good by a signal, so that nothing is written
    /// to what is not ours any more.
    ours: Arc<Mutex<()>>,
}

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Another look at once.
    Look,
    /// The same again: the terminal has another size, or shows something else.
    Redraw,
    /// The end.
    Quit,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// The system's, when there is none, or it cannot do it.
    pub(super) fn take() -> io::Result<Self> {
        let signals = SigSet::from_iter([
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
        ]);
        signals.thread_block()?;
        let screen = Self {
            ours: Arc::default(),
        };
        let ours = Arc::clone(&screen.ours);
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || end_by_signal(&signals, &ours))?;
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Its columns and rows.
    pub(super) fn size() -> (usize, usize) {
        let (columns, rows) = size().unwrap_or(USUAL_SIZE);
        (columns.into(), rows.into())
    }

    /// Shows these lines, and nothing else. They fit.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn show(&self, lines: &[String]) -> io::Result<()> {
        let _ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        let mut frame = Vec::new();
        for (row, line) in (0..).zip(lines) {
            queue!(frame, MoveTo(0, row))?;
            frame.write_all(line.as_bytes())?;
            queue!(frame, Clear(ClearType::UntilNewLine))?;
        }
        let below = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        queue!(frame, MoveTo(0, below), Clear(ClearType::FromCursorDown))?;
        let mut out = stdout().lock();
        out.write_all(&frame)?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        give_back();
    }
}

/// What the user wishes from now on, and at the end why no more of it will be known.
///
/// # Errors
/// The system's, when it has no thread for it.
pub(super) fn wishes() -> io::Result<Receiver<io::Result<Wish>>> {
    let (sender, wishes) = bounded(1);
    let listen = move || {
        loop {
            let wish = match read() {
                Ok(event) => meaning(&event).map(Ok),
                Err(error) => Some(Err(error)),
            };
            let is_last = matches!(wish, Some(Err(_)));
            if wish.is_some_and(|wish| sender.send(wish).is_err()) || is_last {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".into()).spawn(listen)?;
    Ok(wishes)
}

fn meaning(event: &Event) -> Option<Wish> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
    match event {
        Event::Resize(..) => Some(Wish::Redraw),
        Event::Key(KeyEvent {
            code: KeyCode::Char(key),
            modifiers,
            kind: KeyEventKind::Press,
            ..
        }) => match key {
            'q' | 'Q' => Some(Wish::Quit),
            'c' if modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
            'l' if modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Redraw),
            ' ' => Some(Wish::Look),
            _ => None,
        },
        _ => None,
    }
}

/// In raw mode the terminal sends none, but others do: then it is given back, and the signal does
/// what it would have done.
fn end_by_signal(signals: &SigSet, ours: &Mutex<()>) {
    let Ok(signal) = signals.wait() else {
        return;
    };
    let _for_good = ours.lock().unwrap_or_else(PoisonError::into_inner);
    give_back();
    // Its default is to end the process, here and now.
    let _ = signals.thread_unblock();
    let _ = raise(signal);
}

fn give_back() {
    // Whatever of it fails, the rest is still to be tried.
    let _ = execute!(stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

/// Of a terminal that does not know its own.
const USUAL_SIZE: (u16, u16) = (80, 24);
