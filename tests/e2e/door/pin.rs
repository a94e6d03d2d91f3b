//! Connections whose process changes, or that somebody else comes to speak on, after they were accepted.

use marque_testkit::http2::{RawClient, call, kind, preface};

use super::part::{Part, Player};
use super::{daemon, rounds};
use crate::support::daemon::PRODUCTION;
use crate::support::programs::copy_of_this_program;
use crate::support::tools::several_users;
use crate::support::wait::within;

const NOTHING: &str = "0 messages on 1 connections";

#[tokio::test(flavor = "multi_thread")]
async fn a_program_executed_after_the_proof_earns_nothing_for_whoever_kept_the_connection() {
    let (daemon, trusted) = daemon().await;
    let socket = daemon.place(PRODUCTION).workload_api_socket.clone();
    for round in 0..rounds(6) {
        // In turn, the request comes from the process just before it executes the program, or from its helper after.
        let asks = round % 2 == 0;
        let part =
            Part::Prove { socket: socket.clone(), asks, speaks: !asks, then: trusted.clone() };
        let mut thief = Player::start(&copy_of_this_program("door-thief"), &part);
        let mut told = Vec::new();
        thief.go().await;
        while told.len() < 3 {
            told.push(thief.said().await);
        }
        assert!(told.iter().any(|told| told == NOTHING), "round {round}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_on_the_connection_that_it_inherited_is_nobody() {
    let (daemon, trusted) = daemon().await;
    let socket = daemon.place(PRODUCTION).workload_api_socket.clone();
    for _ in 0..rounds(3) {
        let mut parent = Player::start(&trusted, &Part::Share { socket: socket.clone() });
        assert_eq!(parent.said().await, "reads");
        assert_eq!(parent.said().await, NOTHING);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_process_whoever_holds_it() {
    let (daemon, trusted) = daemon().await;
    let socket = daemon.place(PRODUCTION).workload_api_socket.clone();
    for _ in 0..rounds(3) {
        let mut leaving = Player::start(&trusted, &Part::Leave { socket: socket.clone() });
        assert_eq!(leaving.said().await, "reads");
        // The first order ends the wait for the reader, the second that of the process.
        leaving.go().await;
        leaving.go().await;
        assert_eq!(leaving.said().await, NOTHING);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_becomes_another_user_gets_nothing_more_on_its_connection() {
    if !several_users() {
        return;
    }
    let (daemon, trusted) = daemon().await;
    let socket = daemon.place(PRODUCTION).workload_api_socket.clone();
    for _ in 0..rounds(3) {
        let mut changing = Player::start(&trusted, &Part::Change { socket: socket.clone() });
        assert_eq!(changing.said().await, "got a message: false, then the end (Some(0))");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_socket_answers_nobody_who_does_not_prove_himself() {
    const GET_STATUS: &str = "/marque.admin.v1.Admin/GetStatus";
    let (daemon, _trusted) = daemon().await;
    let socket = daemon.place(PRODUCTION).admin_socket.clone();
    let messages = tokio::task::spawn_blocking(move || {
        let mut proven = RawClient::connect(&socket);
        proven.send(&[preface(), call(1, GET_STATUS, &[], &[])].concat());
        let proven = proven.gets_a_message(1);
        let mut silent = RawClient::connect(&socket);
        silent.send(&[preface(), call(1, GET_STATUS, &[], &[])].concat());
        let frames = std::iter::from_fn(|| silent.next_frame());
        let unproven =
            frames.filter(|frame| frame.kind == kind::DATA && !frame.payload.is_empty()).count();
        (proven, unproven)
    });
    let (proven, unproven) = within("both clients", messages).await.expect("their ends");
    assert!(proven, "the daemon's own user is an operator");
    assert_eq!(unproven, 0);
}
