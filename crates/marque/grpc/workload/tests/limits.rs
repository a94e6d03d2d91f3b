//! Each limit of a socket, and one past it.

use std::path::PathBuf;

use marque_testkit::http2::{ACK, END_HEADERS, Frame, RawClient, call, call_fields, kind, preface};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use prost::Message as _;
use tokio::io::AsyncReadExt;

use super::*;

const FETCH_JWT: &str = "/SpiffeWorkloadAPI/FetchJWTSVID";
const FETCH_X509: &str = "/SpiffeWorkloadAPI/FetchX509SVID";
/// RFC 9113 §7.
const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];

/// What is counted on this thread, where a test and the server that it starts run.
struct Counted {
    handle: PrometheusHandle,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

impl Counted {
    fn begin() -> Self {
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let handle = recorder.handle();
        Self { handle, _recorder: metrics::set_default_local_recorder(recorder) }
    }

    /// How often the limit has refused something.
    fn refusals(&self, limit: &str) -> u64 {
        let name = format!("marque_limit_refusals_total{{limit=\"{limit}\"}} ");
        let text = self.handle.render();
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |n| n.parse().unwrap())
    }
}

/// Has a client whose every byte is its own do something on a thread of its own.
async fn by_hand<T: Send + 'static>(
    served: &Served,
    play: impl FnOnce(RawClient) -> T + Send + 'static,
) -> T {
    let socket: PathBuf = served.socket.clone();
    let playing = tokio::task::spawn_blocking(move || play(RawClient::connect(&socket)));
    timeout(PATIENCE, playing).await.unwrap().unwrap()
}

fn jwt_message() -> Vec<u8> {
    jwt_request(&[AUDIENCE], "").encode_to_vec()
}

fn limit_of(status: &Status) -> &str {
    status.metadata().get(crate::error::CODE_METADATA).unwrap().to_str().unwrap()
}

#[tokio::test]
async fn one_user_gets_as_many_connections_as_the_limit_and_a_place_is_given_back() {
    let counted = Counted::begin();
    let stage = Stage::new();
    let served = stage.serve_workload(Limits { connections_per_uid: 1, ..Limits::default() });
    let mut first = UnixStream::connect(&served.socket).await.unwrap();
    first.read_u8().await.unwrap();
    let mut second = UnixStream::connect(&served.socket).await.unwrap();
    assert_eq!(timeout(PATIENCE, second.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    assert_eq!(counted.refusals("connections_per_uid"), 1);
    drop(first);
    let socket = &served.socket;
    eventually(async || {
        let mut third = UnixStream::connect(socket).await.unwrap();
        third.read(&mut [0; 1]).await.unwrap_or(0) == 1
    })
    .await;
}

#[tokio::test]
async fn a_socket_holds_as_many_connections_as_its_limit() {
    let counted = Counted::begin();
    let stage = Stage::new();
    let served = stage.serve_workload(Limits { connections: 2, ..Limits::default() });
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut connection = UnixStream::connect(&served.socket).await.unwrap();
        connection.read_u8().await.unwrap();
        held.push(connection);
    }
    let mut third = UnixStream::connect(&served.socket).await.unwrap();
    assert_eq!(timeout(PATIENCE, third.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    assert_eq!(counted.refusals("connections"), 1);
}

#[tokio::test]
async fn a_call_over_the_limit_of_a_connection_waits_until_another_ends() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits { streams_per_connection: 1, ..Limits::default() });
    let mut client = raw(&served, proper).await;
    let mut stream = client.fetch_x509svid(proto::X509svidRequest {}).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let mut second = client.clone();
    let waits =
        tokio::spawn(async move { second.fetch_jwtsvid(jwt_request(&[AUDIENCE], "")).await });
    // Time enough for the connection to serve both, if it would.
    for path in ["/agent/b", "/agent/c", "/agent/d"] {
        stage.register(path, EntryRole::Agent);
        timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap();
    }
    assert!(!waits.is_finished());
    drop(stream);
    assert_eq!(code(timeout(PATIENCE, waits).await.unwrap().unwrap()), Code::Ok);
}

#[tokio::test]
async fn a_client_that_does_not_wait_has_the_call_over_the_limit_refused() {
    let counted = Counted::begin();
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits { streams_per_connection: 3, ..Limits::default() });
    let refused = by_hand(&served, |mut client| {
        client.send(&preface());
        for stream in [1, 3, 5, 7] {
            client.send(&call(stream, FETCH_X509, &[(SECURITY_HEADER, "true")], &[]));
        }
        loop {
            let frame = client.next_answered().unwrap();
            if frame.kind == kind::RST_STREAM {
                return (frame.stream, frame.payload);
            }
        }
    })
    .await;
    assert_eq!(refused, (7, REFUSED_STREAM.to_vec()));
    assert_eq!(counted.refusals("streams_per_connection"), 1);
}

#[tokio::test]
async fn open_calls_of_a_user_are_limited_over_all_its_connections() {
    let limits = Limits { calls_per_uid: 2, ..Limits::default() };
    a_third_open_call_is_shed(limits, "calls_per_uid").await;
}

#[tokio::test]
async fn open_calls_are_limited_in_all() {
    let limits = Limits { calls: 2, ..Limits::default() };
    a_third_open_call_is_shed(limits, "calls").await;
}

async fn a_third_open_call_is_shed(limits: Limits, name: &str) {
    let counted = Counted::begin();
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(limits);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = raw(&served, proper).await;
        let stream = client.fetch_x509svid(proto::X509svidRequest {}).await.unwrap();
        held.push((client, stream));
    }
    let mut client = raw(&served, proper).await;
    let shed = client.fetch_jwtsvid(jwt_request(&[AUDIENCE], "")).await.unwrap_err();
    assert_eq!((shed.code(), limit_of(&shed)), (Code::Unavailable, name));
    assert_eq!(counted.refusals(name), 1);
    held.pop();
    eventually(async || code(client.fetch_jwtsvid(jwt_request(&[AUDIENCE], "")).await) == Code::Ok)
        .await;
}

#[tokio::test]
async fn a_user_that_calls_too_fast_is_shed() {
    const NAME: &str = "requests_per_second_per_uid";
    let counted = Counted::begin();
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let limits =
        Limits { requests_per_second_per_uid: 1, request_burst_per_uid: 3, ..Limits::default() };
    let served = stage.serve_workload(limits);
    let mut client = raw(&served, proper).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(code(client.fetch_jwtsvid(jwt_request(&[AUDIENCE], "")).await));
    }
    assert_eq!(answers, [Code::Ok; 3]);
    // On a slow machine a second may pass in between, which is worth one call more.
    let mut another = raw(&served, proper).await;
    let shed = loop {
        if let Err(shed) = another.fetch_jwtsvid(jwt_request(&[AUDIENCE], "")).await {
            break shed;
        }
    };
    assert_eq!((shed.code(), limit_of(&shed)), (Code::Unavailable, NAME));
    assert_eq!(counted.refusals(NAME), 1);
}

#[tokio::test]
async fn a_message_one_byte_over_the_limit_is_refused() {
    let counted = Counted::begin();
    let stage = Stage::new();
    let served = stage.serve_workload(Limits { message_bytes: 1000, ..Limits::default() });
    let mut client = raw(&served, proper).await;
    // Two field headers and the audience take the rest.
    let overhead = validation(AUDIENCE, &"x".repeat(900)).encoded_len() - 900;
    let fits = validation(AUDIENCE, &"x".repeat(1000 - overhead));
    assert_eq!(code(client.validate_jwtsvid(fits).await), Code::PermissionDenied);
    let over = validation(AUDIENCE, &"x".repeat(1001 - overhead));
    let refused = client.validate_jwtsvid(over).await.unwrap_err();
    assert_eq!((refused.code(), limit_of(&refused)), (Code::ResourceExhausted, "message_bytes"));
    assert_eq!(counted.refusals("message_bytes"), 1);
}

#[tokio::test]
async fn headers_one_byte_over_the_limit_are_refused() {
    const LIMIT: usize = 2000;
    let counted = Counted::begin();
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let limits = Limits { header_list_bytes: 2000, ..Limits::default() };
    let served = stage.serve_workload(limits);
    let own = [(SECURITY_HEADER, "true"), ("filler", "")];
    let fields = [&call_fields(FETCH_JWT)[..], &own].concat();
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    for (filler, is_answered) in [(LIMIT - bytes, true), (LIMIT - bytes + 1, false)] {
        let answered = by_hand(&served, move |mut client| {
            client.send(&preface());
            let filler = "x".repeat(filler);
            let fields = [(SECURITY_HEADER, "true"), ("filler", filler.as_str())];
            client.send(&call(1, FETCH_JWT, &fields, &jwt_message()));
            client.gets_a_message(1)
        })
        .await;
        assert_eq!(answered, is_answered);
        assert_eq!(counted.refusals("header_list_bytes"), u64::from(!is_answered));
    }
    let mut client = raw(&served, proper).await;
    let mut request = Request::new(jwt_request(&[AUDIENCE], ""));
    request.metadata_mut().insert("filler", "x".repeat(LIMIT).parse().unwrap());
    let refused = client.fetch_jwtsvid(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(limit_of(&refused), "header_list_bytes");
}

/// What ends a connection: the code of its GOAWAY after these frames.
async fn ends_with(served: &Served, frames: Vec<u8>) -> Option<u32> {
    by_hand(served, move |mut client| {
        client.send(&[preface(), frames].concat());
        client.goaway()
    })
    .await
}

/// Calls that are reset as soon as they are made.
fn made_and_reset(calls: u32) -> Vec<u8> {
    let fields = [&call_fields(FETCH_X509)[..], &[(SECURITY_HEADER, "true")]].concat();
    let frames = (0..calls).map(|call| 2 * call + 1).flat_map(|stream| {
        let reset = Frame::new(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        [Frame::headers(stream, 0, &fields), reset]
    });
    frames.flat_map(|frame| frame.bytes()).collect()
}

#[tokio::test]
async fn a_connection_that_makes_and_resets_calls_ends_one_past_the_limit() {
    let counted = Counted::begin();
    let stage = Stage::new();
    let served = stage.serve_workload(Limits { pending_resets: 10, ..Limits::default() });
    assert_eq!(ends_with(&served, made_and_reset(11)).await, Some(ENHANCE_YOUR_CALM));
    assert_eq!(counted.refusals("pending_resets"), 1);
    let goes_on = by_hand(&served, |mut client| {
        client.send(&[preface(), made_and_reset(10)].concat());
        let ping = Frame::new(kind::PING, 0, 0, b"stillon?");
        client.send(&ping.bytes());
        std::iter::from_fn(|| client.next_frame())
            .any(|frame| frame.kind == kind::PING && frame.flags == ACK)
    })
    .await;
    assert!(goes_on);
}

/// Calls that HTTP/2 has to reset: their headers are malformed (RFC 9113 §8.2.2).
fn malformed(calls: u32) -> Vec<u8> {
    let fields = [&call_fields(FETCH_X509)[..], &[("connection", "close")]].concat();
    let frames = (0..calls).map(|call| Frame::headers(2 * call + 1, 0, &fields));
    frames.flat_map(|frame| frame.bytes()).collect()
}

#[tokio::test]
async fn a_connection_whose_calls_must_be_reset_ends_one_past_the_limit() {
    let counted = Counted::begin();
    let stage = Stage::new();
    let served = stage.serve_workload(Limits { local_error_resets: 10, ..Limits::default() });
    assert_eq!(ends_with(&served, malformed(11)).await, Some(ENHANCE_YOUR_CALM));
    assert_eq!(counted.refusals("local_error_resets"), 1);
    let resets = by_hand(&served, |mut client| {
        client.send(&[preface(), malformed(10)].concat());
        let frames = std::iter::from_fn(|| client.next_answered());
        frames.filter(|frame| frame.kind == kind::RST_STREAM).take(10).count()
    })
    .await;
    assert_eq!(resets, 10);
}

#[tokio::test]
async fn a_connection_that_sends_headers_without_end_is_ended() {
    let counted = Counted::begin();
    let stage = Stage::new();
    let served = stage.serve_workload(Limits::default());
    let mut begin = Frame::headers(1, 0, &call_fields(FETCH_X509));
    begin.flags &= !END_HEADERS;
    let more = Frame::new(kind::CONTINUATION, 0, 1, &[]);
    let flood = [begin.bytes(), more.bytes().repeat(6)].concat();
    assert_eq!(ends_with(&served, flood).await, Some(ENHANCE_YOUR_CALM));
    assert_eq!(counted.refusals("continuation_frames"), 1);
}

#[tokio::test]
async fn a_client_that_does_not_prove_itself_in_time_is_refused_and_closed() {
    let counted = Counted::begin();
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let limits = Limits { handshake: Duration::from_millis(50), ..Limits::default() };
    let served = stage.serve_workload(limits);
    // One that says nothing, one that says everything but the answer, and one that guesses it.
    let begin =
        [preface(), call(1, FETCH_JWT, &[(SECURITY_HEADER, "true")], &jwt_message())].concat();
    let acked = [begin.clone(), Frame::settings_ack().bytes()].concat();
    let guessed = [acked.clone(), Frame::pong(&[0; 8]).bytes()].concat();
    for (number, said) in [Vec::new(), begin, acked, guessed].into_iter().enumerate() {
        let messages = by_hand(&served, move |mut client| {
            client.send(&said);
            std::iter::from_fn(|| client.next_frame())
                .filter(|frame| frame.kind == kind::DATA && !frame.payload.is_empty())
                .count()
        })
        .await;
        assert_eq!(messages, 0);
        assert_eq!(counted.refusals("handshake"), u64::try_from(number).unwrap() + 1);
    }
    assert_eq!(
        code(raw(&served, proper).await.fetch_jwtsvid(jwt_request(&[AUDIENCE], "")).await),
        Code::Ok
    );
}

#[tokio::test]
async fn a_connection_that_no_longer_answers_is_closed_and_one_that_does_is_kept() {
    let stage = Stage::new();
    let limits = Limits {
        keepalive_interval: Duration::from_millis(20),
        keepalive_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let served = stage.serve_workload(limits);
    let is_closed = by_hand(&served, |mut client| {
        client.send(&preface());
        let mut pings = 0;
        while let Some(frame) = client.next_frame() {
            if frame.kind == kind::PING && frame.flags & ACK == 0 {
                pings += 1;
                // The challenge and two more.
                if pings <= 3 {
                    client.send(&Frame::pong(&frame.payload).bytes());
                }
            }
        }
        pings
    })
    .await;
    assert!(is_closed > 3, "{is_closed}");
    let kept = by_hand(&served, |mut client| {
        client.send(&preface());
        let mut pings = 0;
        while pings < 30 {
            let Some(frame) = client.next_frame() else { break };
            if frame.kind == kind::PING && frame.flags & ACK == 0 {
                pings += 1;
                client.send(&Frame::pong(&frame.payload).bytes());
            }
        }
        pings
    })
    .await;
    assert_eq!(kept, 30);
}
