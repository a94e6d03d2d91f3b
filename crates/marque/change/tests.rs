//! Windows, calendars and tickets together, with a clock that stands still and a ticket system that says what it is told.

use std::sync::Mutex;

use marque_intent::{
    Circumstances, Digest, GrantTerms, IntentRequest, PlaybookSet, Requester, TicketFacts,
    TicketLookupError, resolve,
};
use marque_spiffe::Environment;
use marque_testkit::FixedClock;
use serde_json::json;

use super::tickets::TicketSource;
use super::*;

const PLAYBOOK: &str =
    include_str!("../../../trust-domains/prod.example.org/playbooks/ingress-cert-rotation.toml");
const FREEZE: &str = "apiVersion = \"marque/v1\"\nkind = \"Calendar\"\nname = \"freeze\"\n\
    owner = \"group:board\"\nreason = \"Year end\"\nreview_by = \"2030-11-01\"\n\
    [[fixed]]\nfrom = \"2030-01-01T12:00\"\nuntil = \"2030-01-01T13:30\"\ntz = \"UTC\"\n";

#[derive(Debug)]
struct Told(Mutex<Result<TicketFacts, TicketLookupError>>);

impl TicketSource for Told {
    fn look_up<'a>(
        &'a self,
        _ticket: &'a TicketRef,
    ) -> BoxFuture<'a, Result<TicketFacts, TicketLookupError>> {
        futures::future::ready(self.0.lock().unwrap().clone()).boxed()
    }
}

/// Windows from 10:00 to 11:00 and from 12:00 to 14:00 of each day, with a freeze from 12:00 to 13:30 of the first.
pub(super) struct Stage {
    pub(super) clock: FixedClock,
    told: Arc<Told>,
    pub(super) control: ChangeControl,
    playbook: Playbook,
}

impl Stage {
    pub(super) fn new() -> Self {
        let clock = FixedClock::default();
        let facts = TicketFacts {
            state: "approved".to_owned(),
            fields: [("service".to_owned(), "checkout".to_owned())].into(),
            ..TicketFacts::default()
        };
        let told = Arc::new(Told(Mutex::new(Ok(facts))));
        let name: TicketSystemName = "itsm".parse().unwrap();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let tickets =
            Tickets::new(name.clone(), Arc::clone(&told) as _, Duration::ZERO, Arc::clone(&shared));
        let control = ChangeControl {
            calendars: [Calendar::parse(FREEZE).unwrap()].into_iter().collect(),
            systems: [(name, tickets)].into(),
            clock: shared,
        };
        let text = playbook();
        let playbook = Playbook::parse(&text).unwrap();
        Self { clock, told, control, playbook }
    }

    pub(super) fn at(&self, time: &str) -> &Self {
        self.clock.set(at(time));
        self
    }

    pub(super) fn say(&self, change: impl FnOnce(&mut TicketFacts)) {
        change(self.told.0.lock().unwrap().as_mut().unwrap());
    }

    fn request() -> IntentRequest {
        let request = json!({
            "playbook": "ingress-cert-rotation", "ticket": "CHG-1842",
            "parameters": {"service": "checkout", "region": "eu-west-1"},
        });
        IntentRequest::parse(&serde_json::to_vec(&request).unwrap()).unwrap()
    }

    async fn asked(&self) -> Result<(Option<TicketEvidence>, Option<WindowEvidence>), Denial> {
        let request = Self::request();
        self.control.of_request(&self.playbook, request.ticket(), request.parameters()).await
    }

    async fn refused(&self) -> (DenialCode, Option<u64>) {
        let denial = self.asked().await.unwrap_err();
        (denial.code(), denial.retry().after.map(|after| after.as_secs()))
    }

    pub(super) fn grant(&self, shape: impl FnOnce(&mut GrantTerms)) -> Grant {
        let circumstances = Circumstances {
            intent_id: "int_0123456789abcdefghjkmnpqrs".parse().unwrap(),
            policy_set_digest: Digest::of(b"policies"),
            evidence: Default::default(),
            now: at("00:00:00"),
        };
        let agent = "spiffe://prod.example.org/agent/cert-rotator/one".parse().unwrap();
        let requester = Requester { agent, attestation: None, owner: None };
        let grant = resolve(&self.playbook, &Self::request(), &requester, circumstances).unwrap();
        let mut terms = grant.terms().clone();
        shape(&mut terms);
        Grant::seal(terms).unwrap()
    }

    /// What the gate says of a use.
    async fn used(&self) -> Result<Option<Timestamp>, (DenialCode, Option<u64>)> {
        let admitted = self.control.admit(&self.grant(|_| {})).await;
        admitted
            .map_err(|denial| (denial.code(), denial.retry().after.map(|after| after.as_secs())))
    }
}

fn playbook() -> String {
    PLAYBOOK
        .replace(
            "start_within = \"15m\"\n",
            "start_within = \"15m\"\nblackout = [\"calendar:freeze\"]\nwindows = [\n\
             { rrule = \"FREQ=DAILY;BYHOUR=10\", tz = \"UTC\", duration = \"1h\" },\n\
             { rrule = \"FREQ=DAILY;BYHOUR=12\", tz = \"UTC\", duration = \"2h\" }]\n",
        )
        .replace(
            "pattern = \"^CHG-[0-9]{3,8}$\"\n",
            "pattern = \"^CHG-[0-9]{3,8}$\"\nvalidator = \"itsm\"\nstates = [\"approved\"]\n\
             bind = [\"service\"]\nrevoke_on_close = true\n",
        )
}

/// The one playbook, as a folder's set of them.
pub(super) fn playbooks() -> PlaybookSet {
    let folder = marque_testkit::temp_dir();
    std::fs::write(folder.path().join("ingress-cert-rotation.toml"), playbook()).unwrap();
    let trust_domain = "prod.example.org".parse().unwrap();
    PlaybookSet::load(folder.path(), &trust_domain, Environment::Production).unwrap()
}

pub(super) fn at(time: &str) -> Timestamp {
    format!("2030-01-01T{time}Z").parse().unwrap()
}

#[tokio::test]
async fn a_use_is_inside_a_window_and_ends_with_it() {
    use DenialCode::{Blackout, OutsideChangeWindow};
    let stage = Stage::new();
    for (time, admitted) in [
        ("09:59:59", Err((OutsideChangeWindow, Some(1)))),
        ("10:00:00", Ok(Some(at("11:00:00")))),
        ("10:59:59", Ok(Some(at("11:00:00")))),
        // The next window that is not in the freeze.
        ("11:00:00", Err((OutsideChangeWindow, Some(2 * 3600 + 1800)))),
        ("12:00:00", Err((Blackout, Some(5400)))),
        ("13:29:59", Err((Blackout, Some(1)))),
        ("13:30:00", Ok(Some(at("14:00:00")))),
        ("14:00:00", Err((OutsideChangeWindow, Some(20 * 3600)))),
    ] {
        assert_eq!(stage.at(time).used().await, admitted, "{time}");
    }
}

#[tokio::test]
async fn a_request_may_come_as_long_before_the_window_as_it_may_wait_for_approval() {
    use DenialCode::{Blackout, OutsideChangeWindow};
    let stage = Stage::new();
    // The playbook's requests wait for thirty minutes.
    assert_eq!(stage.at("09:29:59").refused().await, (OutsideChangeWindow, Some(1801)));
    let window = stage.at("09:30:00").asked().await.unwrap().1.unwrap();
    assert_eq!((window.open, window.opens_at), (false, Some(at("10:00:00"))));
    let window = stage.at("10:30:00").asked().await.unwrap().1.unwrap();
    assert_eq!((window.open, window.until), (true, Some(at("11:00:00"))));
    assert_eq!(stage.at("12:30:00").refused().await, (Blackout, Some(3600)));
    let window = stage.at("13:00:00").asked().await.unwrap().1.unwrap();
    assert_eq!(window.blackout.as_deref(), Some("freeze"));
    // Whoever decides on a use is told of the moment of the use, whatever held when it was asked for.
    let grant = stage.grant(|terms| terms.evidence.window = Some(window));
    let now = async |time: &str| stage.at(time).control.evidence_now(&grant).await.unwrap();
    let (ticket, window) = now("13:45:00").await;
    assert_eq!((window.as_ref().map(|window| window.open), ticket.is_some()), (Some(true), true));
    assert_eq!(window.unwrap().blackout, None);
    assert!(!now("14:00:00").await.1.unwrap().open);
    assert!(now("12:30:00").await.1.unwrap().blackout.is_some());
    // And of what the ticket is then: the work was planned anew, and is over.
    stage.say(|facts| {
        facts.title = "Rotate, earlier".to_owned();
        facts.planned = Some((at("13:00:00"), at("13:48:00")));
    });
    let (ticket, window) = now("13:50:00").await;
    assert_eq!((ticket.unwrap().title.as_str(), window.unwrap().open), ("Rotate, earlier", false));
    let unbound = stage.grant(|terms| terms.conditions = Default::default());
    assert_eq!(stage.control.evidence_now(&unbound).await, Ok((None, None)));
}

#[tokio::test]
async fn what_was_approved_before_the_window_opens_may_start_until_after_it_opened() {
    let stage = Stage::new();
    let (ticket, window) = stage.at("09:30:00").asked().await.unwrap();
    let grant = stage.grant(|terms| {
        terms.evidence.ticket = ticket;
        terms.evidence.window = window;
        terms.not_before = at("09:30:00");
        terms.not_after = at("10:25:00");
    });
    let ruling = marque_intent::Ruling::Approve { rules: Vec::new() };
    let (intent, _) = marque_intent::Intent::open(grant, None, ruling, at("09:30:00"));
    assert_eq!(intent.expires_at(), Some(at("10:15:00")), "fifteen minutes after it opened");
}

#[tokio::test]
async fn the_ticket_is_looked_at_when_it_is_asked_for_approved_and_used() {
    let stage = Stage::new();
    stage.at("10:00:00");
    let grant = stage.grant(|_| {});
    let found = stage.asked().await.unwrap().0.unwrap();
    assert_eq!((found.system.as_str(), found.state.as_str()), ("itsm", "approved"));
    for (spoil, code) in [
        ((|facts| facts.state = "new".to_owned()) as fn(&mut TicketFacts), DenialCode::TicketState),
        (|facts| facts.closed = true, DenialCode::TicketClosed),
        (|facts| facts.fields.clear(), DenialCode::TicketNotBound),
    ] {
        let before = stage.told.0.lock().unwrap().clone();
        stage.say(spoil);
        stage.clock.advance(Duration::from_secs(1));
        assert_eq!(stage.refused().await.0, code);
        assert_eq!(stage.control.of_ticket(&grant).await.unwrap_err().code(), code);
        assert_eq!(stage.used().await.unwrap_err().0, code);
        *stage.told.0.lock().unwrap() = before;
    }
    for (error, code) in [
        (TicketLookupError::Unknown, DenialCode::TicketMissing),
        (TicketLookupError::Unavailable("down".to_owned()), DenialCode::TicketSystemUnavailable),
    ] {
        *stage.told.0.lock().unwrap() = Err(error);
        stage.clock.advance(Duration::from_secs(2));
        assert_eq!(stage.refused().await.0, code);
        assert_eq!(stage.control.of_ticket(&grant).await.unwrap_err().code(), code);
        assert_eq!(stage.used().await.unwrap_err().0, code);
    }
}

#[tokio::test]
async fn the_time_that_the_ticket_plans_narrows_the_window() {
    let stage = Stage::new();
    stage.say(|facts| facts.planned = Some((at("10:15:00"), at("10:20:00"))));
    assert_eq!(
        stage.at("10:10:00").used().await,
        Err((DenialCode::OutsideChangeWindow, Some(300)))
    );
    assert_eq!(stage.at("10:15:00").used().await, Ok(Some(at("10:20:00"))));
    let over = stage.at("10:20:00").used().await.unwrap_err();
    assert_eq!(over.0, DenialCode::OutsideChangeWindow);
}

#[tokio::test]
async fn a_calendar_or_a_ticket_system_that_is_gone_lets_nothing_through() {
    let mut stage = Stage::new();
    stage.at("10:00:00");
    stage.control.calendars = CalendarSet::default();
    assert_eq!(stage.used().await.unwrap_err().0, DenialCode::Blackout);
    stage.control.systems.clear();
    assert_eq!(stage.used().await.unwrap_err().0, DenialCode::TicketSystemUnavailable);
}
