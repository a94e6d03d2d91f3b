//! `marque svid write`: SVIDs as files for programs that do not speak the Workload API, kept fresh, with word to whoever
//! reads them.

mod have;
mod names;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use futures::stream::{BoxStream, select};
use jiff::Timestamp;
use marque_registry::Lifetime;
use marque_spiffe::{Clock as _, SpiffeId, TrustDomain};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use self::have::{Have, Message};
use super::super::Session;
use super::super::failure::Failure;
use super::super::output::visible;
use super::super::text::moment_from;
use super::folder::{Folder, NewFile};
use super::follow::{self, News};
use super::reload::{Reload, ReloadSignal};
use super::watch::interrupted;
use crate::clock::SystemClock;

pub(super) use self::have::svid_files;
pub(super) use self::names::Names;

/// Write SVIDs into a folder and keep them fresh, for programs that read files
///
/// The files of one update change together: they are links into a folder that is swapped by one rename, so that a key
/// always fits its certificate (see docs/workload-api.md). When the daemon restarts, the old files stay until there are
/// new ones. Ends with SIGTERM.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque svid write --dir /run/agent/svid --reload-command systemctl reload agent
  marque svid write --dir /run/agent/svid --reload-signal HUP --pid-file /run/agent.pid
  marque svid write --dir /run/agent/svid --once                     for an init container
  marque svid write --dir /run/agent/svid --jwt-audience https://api.example.org
  marque svid write --dir /run/proxy/roots --bundle-only

Files: svid.pem (chain, the leaf first), svid_key.pem (PKCS#8), bundle.pem, and with --jwt-audience jwt_svid.token and
jwt_bundle.json (a JWK Set). The reload command runs after each change but the first, which --reload-first adds; that it
failed is said and changes nothing else.")]
pub(super) struct WriteArgs {
    /// The folder; it must not be writable for everybody
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The identity to write [default: the default identity]
    #[arg(long, value_name = "SPIFFE-ID", conflicts_with = "bundle_only")]
    spiffe_id: Option<SpiffeId>,
    /// The identity to write, by its hint
    #[arg(long, conflicts_with_all = ["spiffe_id", "bundle_only"])]
    hint: Option<String>,
    /// Write a JWT-SVID for this audience too; several audiences are in one token
    #[arg(long, value_name = "AUDIENCE", conflicts_with = "bundle_only")]
    jwt_audience: Vec<String>,
    /// Write the keys that verify JWT-SVIDs too; --jwt-audience implies it
    #[arg(long)]
    jwt_bundle: bool,
    /// Write no SVID and no key, just what verifies those of others
    #[arg(long)]
    bundle_only: bool,
    /// The trust domain whose bundle is written with --bundle-only, where there are several
    #[arg(long, value_name = "TRUST-DOMAIN", requires = "bundle_only")]
    bundle_of: Option<TrustDomain>,
    /// Write once and end; fails at once when that is not possible
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    reload: ReloadArgs,
    #[command(flatten)]
    names: Names,
}

/// What to do after a change.
#[derive(Debug, Args)]
#[command(next_help_heading = "After a change")]
struct ReloadArgs {
    /// Run this program with everything that follows, up to a `;`
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true, value_terminator = ";")]
    reload_command: Vec<String>,
    /// How long the program may run
    #[arg(long, value_name = "LIFETIME", default_value = "30s")]
    reload_timeout: Lifetime,
    /// Send this signal, such as HUP, to the process in --pid-file
    #[arg(long, value_name = "SIGNAL", requires = "pid_file", conflicts_with = "reload_command")]
    reload_signal: Option<ReloadSignal>,
    /// The file that holds the process id
    #[arg(long, value_name = "FILE", requires = "reload_signal")]
    pid_file: Option<PathBuf>,
    /// Do it after the first write too
    #[arg(long)]
    reload_first: bool,
}

impl ReloadArgs {
    fn action(&self) -> Reload {
        if let Some((program, arguments)) = self.reload_command.split_first() {
            let at_most = self.reload_timeout.as_duration();
            let (program, arguments) = (program.clone(), arguments.to_vec());
            return Reload::Command { program, arguments, at_most };
        }
        match (self.reload_signal, &self.pid_file) {
            (Some(signal), Some(pid_file)) => Reload::Signal { signal, pid_file: pid_file.clone() },
            _ => Reload::Nothing,
        }
    }
}

/// One change that was written.
#[derive(Debug, Serialize)]
struct Written<'a> {
    dir: &'a PathBuf,
    files: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_id: Option<&'a str>,
    /// When the first of what was written ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    reload: Reloaded,
}

/// What became of the reload.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "error")]
enum Reloaded {
    NotAskedFor,
    Done,
    Failed(String),
}

/// A writer at work.
struct Writer<'a> {
    args: &'a WriteArgs,
    socket: PathBuf,
    folder: Folder,
    reload: Reload,
    have: Have,
    /// What is in the folder.
    written: Option<Vec<NewFile>>,
}

impl WriteArgs {
    pub(super) async fn run(
        self,
        session: &mut Session,
        socket: Option<&str>,
    ) -> Result<(), Failure> {
        self.names.check()?;
        let socket = session.workload_socket(socket)?;
        let folder = Folder::open(&self.dir)?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let reload = self.reload.action();
        let have = Have::new(&self);
        let writer = Writer { args: &self, socket, folder, reload, have, written: None };
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            ended = writer.run(session) => ended,
        }
    }
}

impl Writer<'_> {
    async fn run(mut self, session: &mut Session) -> Result<(), Failure> {
        let mut news = self.news();
        loop {
            let due = self.have.jwt_due();
            let next = tokio::select! {
                next = news.next() => next,
                () = until(due) => {
                    if let Err(failure) = self.have.renew_jwt(&self.socket).await {
                        self.cannot(&failure)?;
                    }
                    None
                }
            };
            match next {
                Some(News::State(message)) => {
                    if let Err(failure) = self.have.take(message) {
                        self.cannot(&failure)?;
                    }
                }
                Some(News::Interrupted { failure, .. }) if self.args.once => return Err(failure),
                Some(News::Interrupted { failure, again_in }) => interrupted(&failure, again_in),
                Some(News::Over(failure)) => return Err(failure),
                None => {}
            }
            self.write(session).await?;
            if self.args.once && self.written.is_some() {
                return Ok(());
            }
        }
    }

    fn news(&self) -> BoxStream<'static, News<Message>> {
        let socket = || self.socket.clone();
        let primary = if self.args.bundle_only {
            follow::x509_bundles(socket()).map(|news| news.map(Message::X509Bundles)).boxed()
        } else {
            follow::x509(socket()).map(|news| news.map(Message::Svids)).boxed()
        };
        if !self.args.wants_jwt_bundle() {
            return primary;
        }
        let keys = follow::jwt_bundles(socket()).map(|news| news.map(Message::JwtBundles));
        select(primary, keys).boxed()
    }

    /// Something that came cannot be used: the old files stay.
    fn cannot(&self, failure: &Failure) -> Result<(), Failure> {
        if self.args.once {
            return Err(failure.clone());
        }
        failure.warn("the old files stay");
        Ok(())
    }

    /// Writes what there is, once everything is there and something differs.
    async fn write(&mut self, session: &mut Session) -> Result<(), Failure> {
        let Some(files) = self.have.files(&self.args.names) else { return Ok(()) };
        if self.written.as_ref().is_some_and(|written| same(written, &files)) {
            return Ok(());
        }
        if let Err(failure) = self.folder.replace(&files) {
            return self.cannot(&failure);
        }
        let is_first = self.written.is_none();
        let files = self.written.insert(files);
        let wanted = self.reload.is_something() && (!is_first || self.args.reload.reload_first);
        let reload = match wanted {
            false => Reloaded::NotAskedFor,
            true => match self.reload.run().await {
                Ok(()) => Reloaded::Done,
                Err(why) => {
                    Failure::failed(format!("the reload failed: {why}")).warn("the files stay");
                    Reloaded::Failed(why)
                }
            },
        };
        let written = Written {
            dir: &self.args.dir,
            files: files.iter().map(|file| file.name.as_str()).collect(),
            spiffe_id: self.have.spiffe_id(),
            expires_at: self.have.expires_at(),
            reload,
        };
        session.output.show_next(&written, render)
    }
}

impl WriteArgs {
    fn wants_jwt_bundle(&self) -> bool {
        self.jwt_bundle || !self.jwt_audience.is_empty()
    }
}

async fn until(due: Option<Timestamp>) {
    match due {
        Some(due) => SystemClock.sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn same(written: &[NewFile], files: &[NewFile]) -> bool {
    written.len() == files.len()
        && written.iter().zip(files).all(|(one, other)| {
            (&one.name, one.mode, &*one.content) == (&other.name, other.mode, &*other.content)
        })
}

fn render(written: &Written<'_>) -> String {
    let Written { dir, files, spiffe_id, expires_at, reload } = written;
    let whose = spiffe_id.map_or_else(String::new, |id| format!(" of {}", visible(id)));
    let until = expires_at.map_or_else(String::new, |at| {
        format!(", until {}", moment_from(Some(at), SystemClock.now()))
    });
    let reload = match reload {
        Reloaded::NotAskedFor => "",
        Reloaded::Done => "; reloaded",
        Reloaded::Failed(_) => "; the reload failed",
    };
    format!("Wrote {}{whose} to {}{until}{reload}", files.join(" "), dir.display())
}

/// How long before its end a token is fetched anew: at half of what is left of its life.
fn half_life(now: Timestamp, end: Timestamp) -> Timestamp {
    let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    now + left / 2
}

#[cfg(test)]
mod tests;
