//! `marque top` on a real terminal: it draws, it follows, it listens to keys, and it leaves the terminal as it was.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::oauth::Client;
use crate::support::programs::marque;
use crate::support::wait::until;

const ROWS: NonZeroU16 = NonZeroU16::new(30).expect("rows");
const COLUMNS: NonZeroU16 = NonZeroU16::new(132).expect("columns");

/// A terminal with a program in it, and what can be seen on it.
struct Screen {
    program: Child,
    keyboard: std::fs::File,
    /// The program's side, which knows how the terminal is set.
    line: OwnedFd,
    seen: Arc<Mutex<vt100::Parser>>,
}

impl Screen {
    fn open(daemon: &Daemon) -> Self {
        let (ws_row, ws_col) = (ROWS.get(), COLUMNS.get());
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("a terminal");
        let side = || Stdio::from(pair.slave.try_clone().expect("its other side"));
        let mut command = Command::new(marque());
        command.args(["--endpoints", daemon.endpoints_file().to_str().expect("a path")]);
        command.args(["--trust-domain", PRODUCTION, "top"]).env("TERM", "xterm-256color");
        command.stdin(side()).stdout(side()).stderr(side());
        let program = command.spawn().expect("it starts");
        drop(command);
        let seen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let keyboard = std::fs::File::from(pair.master);
        let mut reading = keyboard.try_clone().expect("the terminal");
        let sight = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut bytes) {
                sight.lock().expect("the screen").process(&bytes[..count]);
            }
        });
        Self { program, keyboard, line: pair.slave, seen }
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.line).expect("its settings")
    }

    fn text(&self) -> String {
        self.seen.lock().expect("the screen").screen().contents()
    }

    /// Whether a program has the whole screen for itself, and hides the cursor.
    fn is_taken(&self) -> (bool, bool) {
        let seen = self.seen.lock().expect("the screen");
        (seen.screen().alternate_screen(), seen.screen().hide_cursor())
    }

    fn press(&mut self, key: &str) {
        self.keyboard.write_all(key.as_bytes()).expect("a key");
    }

    /// Waits until the text is there.
    async fn shows(&self, text: &str) {
        until(text, async || self.text().contains(text).then_some(())).await;
    }

    /// The columns of the production trust domain.
    fn row(&self) -> Vec<String> {
        let text = self.text();
        let row = text.lines().find(|line| line.starts_with(PRODUCTION)).unwrap_or_default();
        row.split_whitespace().map(str::to_owned).collect()
    }

    async fn ended(&mut self) -> ExitStatus {
        until("the end of marque top", async || self.program.try_wait().expect("its status")).await
    }

    /// That whoever sits there can go on as before.
    #[track_caller]
    fn is_given_back(&self, before: &Termios) {
        let after = self.settings();
        assert_eq!(after.local_flags, before.local_flags);
        assert_eq!(after.input_flags, before.input_flags);
        assert_eq!(after.output_flags, before.output_flags);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(self.program.kill());
        drop(self.program.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn top_draws_follows_pauses_and_gives_the_terminal_back() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let mut screen = Screen::open(&daemon);
    screen.shows("q quit").await;
    screen.shows(PRODUCTION).await;
    assert_eq!(screen.is_taken(), (true, true));
    let taken = screen.settings().local_flags;
    assert!(!taken.intersects(LocalFlags::ICANON | LocalFlags::ECHO), "{taken:?}");
    assert_eq!((screen.row()[1].as_str(), screen.row()[4].as_str()), ("yes", "0"));
    // What happens is seen without a key.
    rotator.ask_rotation().await;
    until("a request that waits", async || {
        (screen.row().get(4).map(String::as_str) == Some("1")).then_some(())
    })
    .await;
    screen.press("p");
    screen.shows("PAUSED").await;
    rotator.ask_rotation().await;
    screen.press("p");
    until("both requests", async || {
        let follows = !screen.text().contains("PAUSED");
        (follows && screen.row().get(4).map(String::as_str) == Some("2")).then_some(())
    })
    .await;
    screen.press("q");
    assert!(screen.ended().await.success(), "{}", screen.text());
    until("the screen as it was", async || (screen.is_taken() == (false, false)).then_some(()))
        .await;
    let fresh = openpty(None, None).expect("a terminal");
    screen.is_given_back(&tcgetattr(&fresh.slave).expect("its settings"));
}

#[tokio::test(flavor = "multi_thread")]
async fn top_says_that_the_daemon_has_gone_and_gives_the_terminal_back() {
    let mut daemon = Daemon::start().await;
    let mut screen = Screen::open(&daemon);
    screen.shows("q quit").await;
    screen.shows(PRODUCTION).await;
    daemon.kill().await;
    let status = screen.ended().await;
    assert!(!status.success(), "{}", screen.text());
    // Said where it stays, not on the picture that goes away.
    until("the screen as it was", async || (screen.is_taken() == (false, false)).then_some(()))
        .await;
    screen.shows("error").await;
    let fresh = openpty(None, None).expect("a terminal");
    screen.is_given_back(&tcgetattr(&fresh.slave).expect("its settings"));
}
