//! The processes of the story: each is started, spoken to and stopped here.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::orders::{Order, Outcome};

/// How long a process may take to say that it is ready, or to answer an order.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long a process may take to end once it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A process of the story; killed if it is dropped while it runs.
#[derive(Debug)]
pub(super) struct Player {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Player {
    /// Starts `program`; its standard output is read line by line, its standard error goes to `log`.
    pub(super) fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log =
            std::fs::File::create(log).with_context(|| format!("create `{}`", log.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("the process has no standard output")?;
        Ok(Self { name: name.to_owned(), child, input, lines: BufReader::new(output).lines() })
    }

    /// The next line that the process prints.
    pub(super) async fn line(&mut self) -> anyhow::Result<String> {
        let next = tokio::time::timeout(ANSWER_LIMIT, self.lines.next_line()).await;
        match next.with_context(|| format!("{} does not answer", self.name))?? {
            Some(line) => Ok(line),
            None => bail!("{} ended: {}", self.name, self.child.wait().await?),
        }
    }

    /// Has the agent carry out an order.
    pub(super) async fn order(&mut self, order: &Order) -> anyhow::Result<Outcome> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let input = self.input.as_mut().context("the process was stopped")?;
        input.write_all(&line).await?;
        input.flush().await?;
        let outcome: Outcome = serde_json::from_str(&self.line().await?)?;
        if outcome.status == -1 {
            bail!(
                "{}: {}",
                self.name,
                outcome.detail.get("error").and_then(Value::as_str).unwrap_or("failed")
            );
        }
        Ok(outcome)
    }

    /// Closes the standard input, asks the process to end, and waits for it.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        drop(self.input.take());
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let asked = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGTERM,
            );
            asked.with_context(|| format!("stop {}", self.name))?;
        }
        tokio::time::timeout(STOP_LIMIT, self.child.wait())
            .await
            .with_context(|| format!("{} does not end", self.name))??;
        Ok(())
    }
}
