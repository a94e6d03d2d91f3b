//! `marque top`: a live view of the daemon, drawn anew every second; or once, as text.

mod draw;
mod view;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::Session;
use super::daemon::Home;
use super::failure::Failure;
use super::output::OutputFormat;
use view::{Reading, Sort, View};

/// How long the keyboard is listened to before it is looked whether anybody still wants to know.
const LISTEN: Duration = Duration::from_millis(200);

/// Watch the daemon: what waits, what is in force, what is issued and refused, as it happens
///
/// Keys: q quits, space or p pauses, and n, t, o, w sort by name, tokens, open grants and what waits.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque top
  marque top --trust-domain prod.example.org --interval 5
  marque top --once                       # one picture as text, for a pipe or a ticket
  marque top --once --output json")]
pub(super) struct TopArgs {
    /// Seconds between two pictures
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Print one picture as text and end; so it is where the output is no terminal
    #[arg(long)]
    once: bool,
}

impl TopArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let interval = Duration::from_secs(self.interval);
        let mut homes = session.homes().await?;
        let json = session.output.format() == OutputFormat::Json;
        if self.once || json || !std::io::stdout().is_terminal() {
            let first = read(&mut homes).await?;
            tokio::time::sleep(interval).await;
            let view = View::of(&read(&mut homes).await?, Some(&first), Sort::Name);
            return session.output.show(&view, draw::as_text);
        }
        let failed = |error: std::io::Error| Failure::because("cannot draw", &error);
        let mut terminal = Terminal::take().map_err(failed)?;
        let watched = watch(&mut terminal.0, &mut homes, interval).await;
        drop(terminal);
        watched
    }
}

/// The terminal, which is given back however this ends.
struct Terminal(DefaultTerminal);

impl Terminal {
    fn take() -> std::io::Result<Self> {
        ratatui::try_init().map(Self)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Quit,
    Pause,
    Sort(Sort),
    /// The window has another size.
    Redraw,
}

async fn watch(
    terminal: &mut DefaultTerminal,
    homes: &mut [Home],
    interval: Duration,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::because("cannot draw", &error);
    let mut wishes = keyboard();
    let (mut sort, mut paused) = (Sort::Name, false);
    let mut before: Option<Reading> = None;
    let mut now = read(homes).await?;
    let mut turn = tokio::time::interval(interval);
    turn.reset();
    loop {
        let view = View { paused, ..View::of(&now, before.as_ref(), sort) };
        terminal.draw(|frame| draw::draw(frame, &view)).map_err(failed)?;
        tokio::select! {
            _ = turn.tick(), if !paused => {
                before = Some(std::mem::replace(&mut now, read(homes).await?));
            }
            wish = wishes.recv() => match wish {
                None | Some(Wish::Quit) => return Ok(()),
                Some(Wish::Pause) => paused = !paused,
                Some(Wish::Sort(by)) => sort = by,
                Some(Wish::Redraw) => {}
            }
        }
    }
}

/// Listens to the keyboard on a thread of its own, until nobody wants to know any more.
fn keyboard() -> mpsc::Receiver<Wish> {
    let (sender, wishes) = mpsc::channel(16);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let wish = match event::poll(LISTEN) {
                Ok(false) => continue,
                Ok(true) => event::read().map(|event| wish(&event)),
                Err(error) => Err(error),
            };
            match wish {
                Ok(None) => {}
                Ok(Some(wish)) if sender.blocking_send(wish).is_ok() => {}
                // Without a keyboard nobody could quit.
                Ok(Some(_)) | Err(_) => return,
            }
        }
    });
    wishes
}

fn wish(event: &Event) -> Option<Wish> {
    let key = match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        Event::Resize(..) => return Some(Wish::Redraw),
        _ => return None,
    };
    let KeyEvent { code, modifiers, .. } = *key;
    match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Wish::Quit),
        KeyCode::Char('p' | ' ') => Some(Wish::Pause),
        KeyCode::Char('n') => Some(Wish::Sort(Sort::Name)),
        KeyCode::Char('t') => Some(Wish::Sort(Sort::Tokens)),
        KeyCode::Char('o') => Some(Wish::Sort(Sort::Open)),
        KeyCode::Char('w') => Some(Wish::Sort(Sort::Waiting)),
        _ => None,
    }
}

/// How everything is now.
async fn read(homes: &mut [Home]) -> Result<Reading, Failure> {
    let mut reading = Reading::begin();
    for home in homes {
        let status = home.admin.status().await?;
        let metrics = home.admin.metrics().await?;
        reading.add(status, &metrics);
    }
    Ok(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> Option<Wish> {
        wish(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    #[test]
    fn keys_quit_pause_and_sort() {
        assert_eq!(key(KeyCode::Char('q')), Some(Wish::Quit));
        assert_eq!(key(KeyCode::Esc), Some(Wish::Quit));
        assert_eq!(key(KeyCode::Char(' ')), Some(Wish::Pause));
        assert_eq!(key(KeyCode::Char('w')), Some(Wish::Sort(Sort::Waiting)));
        assert_eq!((key(KeyCode::Char('x')), key(KeyCode::Char('c'))), (None, None));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(wish(&Event::Key(interrupt)), Some(Wish::Quit));
        assert_eq!(wish(&Event::Resize(80, 24)), Some(Wish::Redraw));
    }
}
