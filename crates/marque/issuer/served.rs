//! The generation of rules that is in force, for everybody who begins something.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use anyhow::Context as _;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::doors::{DoorSettings, Doors, Opening};
use super::{Issuer, Lasting};
use crate::http::{HttpServer, Routers, bundle_router, router};

/// One trust domain as it is served: the generation in force, and what lasts.
#[derive(Debug)]
pub(crate) struct Served {
    lasting: Arc<Lasting>,
    current: watch::Sender<Arc<Issuer>>,
    /// What serves HTTP requests.
    pub(super) routers: Routers,
    /// What serves the bundle endpoint of profile `https_spiffe`, where there is one.
    bundle_routers: std::sync::Mutex<Option<Routers>>,
    pub(super) doors: Arc<Doors>,
    /// The folder with the trust domain's, and with those beside it.
    pub(super) root: PathBuf,
    /// Held by whoever reads the folder anew.
    pub(super) reloading: Mutex<()>,
}

impl Served {
    /// What is served by `https`, which is bound, and by the other doors that the document wants.
    ///
    /// # Errors
    /// A door cannot be bound.
    pub(super) async fn build(
        issuer: Issuer,
        https: HttpServer,
        settings: DoorSettings,
        root: PathBuf,
    ) -> anyhow::Result<(Arc<Self>, Opening)> {
        let (lasting, issuer) = (Arc::clone(&issuer.lasting), Arc::new(issuer));
        let routers = https.routers(router(Arc::clone(&issuer) as _));
        let (doors, opening) = Doors::build(&issuer, https, settings).await?;
        let served = Arc::new(Self {
            lasting,
            current: watch::Sender::new(issuer),
            routers,
            bundle_routers: std::sync::Mutex::default(),
            doors: Arc::new(doors),
            root,
            reloading: Mutex::default(),
        });
        served.lasting.served.get_or_init(|| Arc::downgrade(&served));
        Ok((served, opening))
    }

    /// What serves the bundle endpoint from here on.
    pub(super) fn serve_bundles_by(&self, routers: Option<Routers>) {
        *self.bundle_routers.lock().unwrap_or_else(PoisonError::into_inner) = routers;
    }

    /// Serves every request that begins from here on by the rules of `next`.
    pub(super) fn route_to(&self, next: &Arc<Issuer>) {
        self.routers.replace(router(Arc::clone(next) as _));
        let bundles = self.bundle_routers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(routers) = &*bundles {
            routers.replace(bundle_router(Arc::clone(next) as _));
        }
    }

    /// What is in force now. Whoever begins something takes it once and keeps it to its end.
    pub(crate) fn current(&self) -> Arc<Issuer> {
        Arc::clone(&self.current.borrow())
    }

    /// Puts another generation in force for whatever begins from here on.
    pub(super) fn put(&self, next: Arc<Issuer>) {
        self.current.send_replace(next);
    }

    /// What lives as long as the process.
    pub(crate) fn lasting(&self) -> &Arc<Lasting> {
        &self.lasting
    }

    /// Runs the tasks of the generation in force until `stop`. Those of the next begin when those of the last have ended.
    ///
    /// # Errors
    /// A task failed.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut generations = self.current.subscribe();
        while !stop.is_cancelled() {
            let (mut tasks, own) = (JoinSet::new(), stop.child_token());
            generations.borrow_and_update().start(&mut tasks, &own);
            let failed = loop {
                tokio::select! {
                    () = stop.cancelled() => break Ok(()),
                    changed = generations.changed() => break changed.context("nothing is in force"),
                    Some(ended) = tasks.join_next() => {
                        let ended = ended.context("a task of the issuer stopped");
                        if let Err(error) = ended.and_then(|ended| ended) {
                            break Err(error);
                        }
                    }
                }
            };
            own.cancel();
            let mut outcome = failed;
            while let Some(ended) = tasks.join_next().await {
                let ended = ended.context("a task of the issuer stopped").and_then(|ended| ended);
                outcome = outcome.and(ended);
            }
            outcome?;
        }
        Ok(())
    }
}
