//! The terminal, and the thread that draws on it.

use std::io::{self, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::board::Board;
use super::view;

/// Time between two drawings.
const PAUSE: Duration = Duration::from_millis(100);

/// What the run and the thread share. Neither holds a lock while it waits for anything.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    board: Mutex<Board>,
    /// Lines that wait until the terminal is restored; `None` while it is.
    waiting: Mutex<Option<Vec<u8>>>,
    closing: AtomicBool,
    interrupted: AtomicBool,
}

/// The value, also after a panic of another thread: it is shown, and decides nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Board)) {
        change(&mut locked(&self.board));
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Prints the lines that have waited; those to come are printed at once.
    fn release(&self) {
        let mut waiting = locked(&self.waiting);
        if let Some(lines) = waiting.take() {
            // The run does not end because its terminal has gone away.
            let _ = io::stdout().lock().write_all(&lines);
        }
    }
}

/// Standard output, once the terminal is restored.
pub(crate) struct Lines(pub(crate) Arc<Shared>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *locked(&self.0.waiting) {
            Some(waiting) => waiting.write(bytes),
            None => io::stdout().lock().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if locked(&self.0.waiting).is_none() { io::stdout().lock().flush() } else { Ok(()) }
    }
}

/// A terminal that shows the dashboard until this is dropped, or until somebody closes it.
pub(crate) struct Screen {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Screen {
    /// `None` if this terminal cannot show it.
    pub(crate) fn open(shared: &Arc<Shared>) -> Option<Self> {
        let restored = Restored::new().ok()?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).ok()?;
        *locked(&shared.waiting) = Some(Vec::new());
        let of_thread = shared.clone();
        let draw = move || {
            run(terminal, &of_thread);
            drop(restored);
            of_thread.release();
        };
        let thread = std::thread::Builder::new().name("gradus dashboard".into()).spawn(draw);
        match thread {
            Ok(thread) => Some(Self { shared: shared.clone(), thread: Some(thread) }),
            Err(_) => {
                shared.release();
                None
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Raw mode and the alternate screen, until this is dropped.
struct Restored;

impl Restored {
    fn new() -> io::Result<Self> {
        enable_raw_mode()?;
        let restored = Self;
        execute!(io::stdout(), EnterAlternateScreen)?;
        Ok(restored)
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        // There is nothing to restore on a terminal that has gone away.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Draws until it is closed or the terminal has gone away.
fn run(mut terminal: Terminal<CrosstermBackend<Stdout>>, shared: &Shared) {
    while !shared.closing.load(Ordering::Relaxed) {
        // A copy, so that drawing keeps nobody waiting.
        let board = locked(&shared.board).clone();
        if terminal.draw(|frame| view::draw(frame, &board, Instant::now())).is_err() {
            return;
        }
        match event::poll(PAUSE).and_then(|is_there| is_there.then(event::read).transpose()) {
            Ok(Some(Event::Key(key))) => match Pressed::of(key) {
                Some(Pressed::Quit) => return,
                Some(Pressed::Interrupt) => {
                    shared.interrupted.store(true, Ordering::Relaxed);
                    return;
                }
                None => (),
            },
            // A new size is drawn at once.
            Ok(_) => (),
            Err(_) => return,
        }
    }
}

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pressed {
    Quit,
    Interrupt,
}

impl Pressed {
    fn of(key: KeyEvent) -> Option<Self> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            _ if key.kind == KeyEventKind::Release => None,
            KeyCode::Char('c') if control => Some(Self::Interrupt),
            KeyCode::Char('q' | 'Q') if !control => Some(Self::Quit),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_quit_or_interrupt() {
        let none = KeyModifiers::NONE;
        let rows = [
            ('q', none, Some(Pressed::Quit)),
            ('Q', KeyModifiers::SHIFT, Some(Pressed::Quit)),
            ('c', KeyModifiers::CONTROL, Some(Pressed::Interrupt)),
            ('c', none, None),
            ('q', KeyModifiers::CONTROL, None),
            ('x', none, None),
        ];
        for (character, modifiers, pressed) in rows {
            let mut key = KeyEvent::new(KeyCode::Char(character), modifiers);
            assert_eq!(Pressed::of(key), pressed, "{character}");
            key.kind = KeyEventKind::Release;
            assert_eq!(Pressed::of(key), None);
        }
    }

    #[test]
    fn lines_wait_until_the_terminal_is_restored() {
        let shared = Arc::new(Shared::default());
        *locked(&shared.waiting) = Some(Vec::new());
        let mut lines = Lines(shared.clone());
        lines.write_all(b"").unwrap();
        assert!(locked(&shared.waiting).is_some());
        shared.release();
        assert!(locked(&shared.waiting).is_none());
        lines.flush().unwrap();
    }
}
