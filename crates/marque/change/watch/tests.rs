use futures::FutureExt as _;
use futures::future::BoxFuture;
use marque_intent::{
    IntentId, MAX_LISTED, Ruling, TicketFacts, TicketLookupError, TicketRef, TokenFacts, Use,
};
use marque_store::{SqliteStore, Store};
use marque_testkit::{SeededRandom, TempDir, temp_dir};

use super::super::tests::{Stage, at};
use super::super::tickets::TicketSource;
use super::super::{Tickets, tests};
use super::*;

/// Grants in a store of their own, and the watch over them.
struct Grants {
    stage: Stage,
    store: Arc<Store>,
    random: SeededRandom,
    _folder: TempDir,
}

impl Grants {
    async fn at(time: &str) -> Self {
        let (stage, folder) = (Stage::new(), temp_dir());
        stage.at(time);
        let clock: Arc<dyn Clock> = Arc::new(stage.clock.clone());
        let trust_domain = "prod.example.org".parse().unwrap();
        let file = folder.path().join("marque.sqlite");
        let store = SqliteStore::open(&file, &trust_domain, clock).await.unwrap();
        Self { stage, store: Arc::new(store), random: SeededRandom::new(7), _folder: folder }
    }

    /// An approved grant that nobody used yet.
    fn approved(&self) -> Intent {
        let now = self.stage.clock.now();
        let grant = self.stage.grant(|terms| {
            terms.intent_id = IntentId::generate(&self.random, now).unwrap();
            terms.not_before = now;
            terms.not_after = now + Duration::from_secs(3600);
        });
        Intent::open(grant, None, Ruling::Approve { rules: Vec::new() }, now).0
    }

    /// A grant of which a token lives.
    fn used(&self) -> Intent {
        let (intent, now) = (self.approved(), self.stage.clock.now());
        let wanted = Use {
            agent: intent.agent(),
            grant_digest: intent.grant().digest(),
            token_id: "tok_1",
            token_expires_at: intent.token_deadline(now),
            facts: TokenFacts::default(),
            epoch: 0,
        };
        intent.redeem(&wanted, now).unwrap().0
    }

    async fn keep(&self, intents: Vec<Intent>) {
        let kept = intents.into_iter().map(|intent| self.store.submit(intent, Vec::new(), None));
        for kept in futures::future::join_all(kept).await {
            kept.unwrap();
        }
    }

    fn watch(self) -> (Watch, Arc<Store>, TempDir) {
        let Self { stage, store, _folder, .. } = self;
        let clock: Arc<dyn Clock> = Arc::new(stage.clock.clone());
        let watch = Watch {
            control: Arc::new(stage.control),
            playbooks: Arc::new(tests::playbooks()),
            store: Arc::clone(&store) as _,
            open: Arc::clone(&store) as _,
            clock,
        };
        (watch, store, _folder)
    }
}

#[tokio::test]
async fn every_grant_of_a_closed_ticket_ends_however_many_there_are() {
    let grants = Grants::at("10:00:00").await;
    let many = MAX_LISTED + 1;
    grants.keep((0..many).map(|_| grants.approved()).collect()).await;
    grants.stage.say(|facts| facts.closed = true);
    let (watch, _store, _folder) = grants.watch();
    assert_eq!(watch.look(Against::Calendars).await.unwrap(), 0);
    assert_eq!(watch.look(Against::Tickets).await.unwrap(), many);
    assert_eq!(watch.look(Against::Tickets).await.unwrap(), 0);
}

/// Never answers.
#[derive(Debug)]
struct Silent;

impl TicketSource for Silent {
    fn look_up<'a>(
        &'a self,
        _ticket: &'a TicketRef,
    ) -> BoxFuture<'a, Result<TicketFacts, TicketLookupError>> {
        futures::future::pending().boxed()
    }
}

#[tokio::test]
async fn a_blackout_waits_for_no_ticket_system() {
    let mut grants = Grants::at("11:59:00").await;
    let clock: Arc<dyn Clock> = Arc::new(grants.stage.clock.clone());
    let name: marque_intent::TicketSystemName = "itsm".parse().unwrap();
    let silent = Tickets::new(name.clone(), Arc::new(Silent), Duration::ZERO, clock);
    grants.stage.control.systems = [(name, silent)].into();
    let used = grants.used();
    let mut all: Vec<Intent> = (0..2 * AT_ONCE).map(|_| grants.approved()).collect();
    all.push(used.clone());
    grants.keep(all).await;
    grants.stage.clock.set(at("12:00:00"));
    let (watch, store, _folder) = grants.watch();
    let stop = CancellationToken::new();
    let running = tokio::spawn(watch.run(stop.clone()));
    let mut grown = marque_audit::LogStore::changed(&*store);
    let ended = async {
        loop {
            let intent = store.find(used.id()).await.unwrap().unwrap();
            if intent.state() == State::Revoked {
                return intent;
            }
            grown.changed().await.unwrap();
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    assert_eq!(ended.ended_for(), Some(EndReason::Blackout));
    stop.cancel();
    running.await.unwrap();
}
