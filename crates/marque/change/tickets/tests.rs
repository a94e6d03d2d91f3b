use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use marque_testkit::FixedClock;
use tokio::sync::Notify;

use super::*;

/// Answers when it is let, and counts who asks.
#[derive(Debug, Default)]
struct Counting {
    asked: AtomicUsize,
    held: bool,
    let_go: Notify,
    down: bool,
}

impl TicketSource for Counting {
    fn look_up<'a>(
        &'a self,
        _ticket: &'a TicketRef,
    ) -> BoxFuture<'a, Result<TicketFacts, TicketLookupError>> {
        async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.held {
                self.let_go.notified().await;
            }
            if self.down {
                return Err(TicketLookupError::Unavailable("down".to_owned()));
            }
            Ok(TicketFacts { state: "approved".to_owned(), ..TicketFacts::default() })
        }
        .boxed()
    }
}

fn tickets(source: Counting) -> (Arc<Counting>, Tickets, FixedClock) {
    let (source, clock) = (Arc::new(source), FixedClock::default());
    let age = Duration::from_secs(5);
    let shared = Arc::new(clock.clone());
    let tickets = Tickets::new("itsm".parse().unwrap(), Arc::clone(&source) as _, age, shared);
    (source, tickets, clock)
}

fn ticket(number: usize) -> TicketRef {
    format!("CHG-{number}").parse().unwrap()
}

#[tokio::test]
async fn an_answer_is_believed_for_a_few_seconds_and_not_longer() {
    let (source, tickets, clock) = tickets(Counting::default());
    let (_, first) = tickets.look_up(&ticket(1)).await;
    clock.advance(Duration::from_millis(4_999));
    assert_eq!(tickets.look_up(&ticket(1)).await.1, first, "says from when it is");
    assert_eq!(source.asked.load(Ordering::SeqCst), 1);
    clock.advance(Duration::from_millis(1));
    assert!(tickets.look_up(&ticket(1)).await.1 > first);
    assert_eq!(source.asked.load(Ordering::SeqCst), 2);
    // A clock that went back makes nothing last longer.
    clock.set(first);
    tickets.look_up(&ticket(1)).await.0.unwrap();
    assert_eq!(source.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_failure_is_believed_for_a_second() {
    let (source, tickets, clock) = tickets(Counting { down: true, ..Counting::default() });
    for asked in [1, 1] {
        tickets.look_up(&ticket(1)).await.0.unwrap_err();
        assert_eq!(source.asked.load(Ordering::SeqCst), asked);
    }
    clock.advance(Duration::from_secs(1));
    tickets.look_up(&ticket(1)).await.0.unwrap_err();
    assert_eq!(source.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn many_who_ask_for_one_ticket_at_a_time_are_one_question() {
    let (source, tickets, _clock) = tickets(Counting { held: true, ..Counting::default() });
    let tickets = Arc::new(tickets);
    let askers: Vec<_> = (0..32)
        .map(|_asker| {
            let tickets = Arc::clone(&tickets);
            tokio::spawn(async move { tickets.look_up(&ticket(1)).await.0 })
        })
        .collect();
    while source.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    source.let_go.notify_waiters();
    source.let_go.notify_one();
    for asker in askers {
        asker.await.unwrap().unwrap();
    }
    assert_eq!(source.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn only_so_many_tickets_are_kept_in_mind() {
    let (_source, tickets, _clock) = tickets(Counting::default());
    for number in 0..=MAX_KEPT {
        tickets.look_up(&ticket(number)).await.0.unwrap();
        assert!(tickets.kept.lock().unwrap().len() <= MAX_KEPT);
    }
    assert_eq!(tickets.kept.lock().unwrap().len(), 1);
}
