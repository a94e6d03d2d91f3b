//! `marque svid watch`: every update, and what it changed.

use std::time::Duration;

use futures::StreamExt;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::super::Session;
use super::super::failure::Failure;
use super::checked::{self, X509};
use super::follow::{self, News};
use super::show;

/// One update.
#[derive(Debug, Serialize)]
struct Update {
    /// What is there now.
    svids: Vec<X509>,
    /// The identities whose certificate is another than before.
    rotated: Vec<String>,
    /// The identities that were not there before.
    added: Vec<String>,
    /// The identities that are not there any more.
    removed: Vec<String>,
    /// Whether the certificates that verify them are others than before.
    bundle_changed: bool,
}

pub(super) async fn watch(session: &mut Session, socket: Option<&str>) -> Result<(), Failure> {
    let mut stream = follow::x509(session.workload_socket(socket)?);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut before: Vec<X509> = Vec::new();
    loop {
        let news = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            news = stream.next() => news,
        };
        match news {
            Some(News::State(fetched)) => {
                let svids =
                    fetched.svids.iter().map(checked::x509).collect::<Result<Vec<_>, _>>()?;
                let update = Update::between(&before, svids);
                session.output.show_next(&update, render)?;
                before = update.svids;
            }
            Some(News::Interrupted { failure, again_in }) => interrupted(&failure, again_in),
            Some(News::Over(failure)) => return Err(failure),
            None => return Ok(()),
        }
    }
}

/// Says on standard error that a stream ended and is asked for again.
pub(super) fn interrupted(failure: &Failure, again_in: Duration) {
    failure.warn(&format!("trying again in {:.1}s", again_in.as_secs_f64()));
}

impl Update {
    fn between(before: &[X509], svids: Vec<X509>) -> Self {
        let known = |id: &str| before.iter().find(|one| one.spiffe_id == id);
        let ids = |keep: &dyn Fn(&X509) -> bool| -> Vec<String> {
            svids.iter().filter(|svid| keep(svid)).map(|svid| svid.spiffe_id.clone()).collect()
        };
        let rotated = ids(&|svid| {
            known(&svid.spiffe_id).is_some_and(|before| before.thumbprint != svid.thumbprint)
        });
        let added = ids(&|svid| known(&svid.spiffe_id).is_none());
        let still = |id: &str| svids.iter().any(|svid| svid.spiffe_id == id);
        let gone = before.iter().filter(|svid| !still(&svid.spiffe_id));
        let removed = gone.map(|svid| svid.spiffe_id.clone()).collect();
        let bundle = |svids: &[X509]| svids.first().map(|svid| svid.bundle_pem.clone());
        let bundle_changed = !before.is_empty() && bundle(before) != bundle(&svids);
        Self { rotated, added, removed, bundle_changed, svids }
    }
}

fn render(update: &Update) -> String {
    let Update { svids, rotated, added, removed, bundle_changed } = update;
    let mut told = Vec::new();
    for (what, ids) in [("rotated", rotated), ("new", added), ("gone", removed)] {
        if !ids.is_empty() {
            told.push(format!("{what}: {}", ids.join(" ")));
        }
    }
    if *bundle_changed {
        told.push("bundle changed".to_owned());
    }
    if told.is_empty() {
        told.push("the same again".to_owned());
    }
    format!("{}\n{}", super::super::output::visible(&told.join("; ")), show::render(svids))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svid(id: &str, thumbprint: &str, bundle: &str) -> X509 {
        X509 {
            spiffe_id: id.to_owned(),
            hint: String::new(),
            not_before: jiff::Timestamp::UNIX_EPOCH,
            expires_at: jiff::Timestamp::UNIX_EPOCH,
            thumbprint: thumbprint.to_owned(),
            chain: Vec::new(),
            chain_pem: String::new(),
            bundle_pem: bundle.to_owned(),
        }
    }

    #[test]
    fn an_update_says_what_it_changed() {
        let first = Update::between(&[], vec![svid("a", "1", "x"), svid("b", "1", "x")]);
        assert_eq!((first.added.len(), first.bundle_changed), (2, false));
        let next = Update::between(&first.svids, vec![svid("a", "2", "y"), svid("c", "1", "y")]);
        assert_eq!(next.rotated, ["a"]);
        assert_eq!(next.added, ["c"]);
        assert_eq!(next.removed, ["b"]);
        assert!(next.bundle_changed);
        assert!(render(&next).starts_with("rotated: a; new: c; gone: b; bundle changed\n"));
        let same = Update::between(&next.svids, next.svids.clone());
        assert!(render(&same).starts_with("the same again\n"));
    }
}
