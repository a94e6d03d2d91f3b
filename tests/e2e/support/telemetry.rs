//! What the daemon tells whoever watches over it: a request on its plain socket, and the numbers of a scrape.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::daemon::Daemon;

/// An answer as it came.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

/// Asks on the socket in the daemon's data folder.
pub(crate) async fn ask(daemon: &Daemon, path: &str) -> Told {
    let socket = daemon.data_dir().join("telemetry.sock");
    try_ask(&socket, path).await.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Asks on a socket; fails when nobody answers.
pub(crate) async fn try_ask(socket: &Path, path: &str) -> std::io::Result<Told> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let content_type = lines.find_map(|line| line.strip_prefix("content-type: "));
    Ok(Told {
        status: status.parse().expect("a status"),
        content_type: content_type.unwrap_or_default().to_owned(),
        body: body.to_owned(),
    })
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The numbers of a scrape, each by its name and labels as they are written.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(BTreeMap<String, f64>);

impl Numbers {
    /// Scrapes the daemon.
    pub(crate) async fn of(daemon: &Daemon) -> Self {
        Self::read(&ask(daemon, "/metrics").await.body)
    }

    pub(crate) fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let number = |line: &str| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a number");
            (name.to_owned(), value.parse().expect("a number"))
        };
        Self(lines.map(number).collect())
    }

    /// The sum over every series of this name that has all of these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels).sum()
    }

    /// Whether there is such a series at all.
    pub(crate) fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.series(name, labels).next().is_some()
    }

    fn series(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let wanted: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let found = self.0.iter().filter(move |(series, _)| {
            let (own, labels) = series.split_once('{').unwrap_or((series, ""));
            own == name && wanted.iter().all(|label| labels.contains(label.as_str()))
        });
        found.map(|(_, value)| *value)
    }

    /// Every series, by its name and the names of its labels.
    pub(crate) fn names(&self) -> impl Iterator<Item = (String, Vec<String>)> {
        self.0.keys().map(|series| {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let names = labels.split("\",").filter_map(|one| one.split_once('='));
            (name.to_owned(), names.map(|(name, _)| name.to_owned()).collect())
        })
    }
}
