use super::{
    HttpLimits, Server,
    door::{AGENT, FakeDoor, document},
};

const TOKEN: &str = "tok_00000000000000000000000000000001";
const FOREVER: &str = "public, max-age=31536000, immutable";

async fn server(more: &str) -> Server {
    let door = FakeDoor { document: document(more), ..FakeDoor::default() };
    Server::with(door, HttpLimits::default()).await
}

#[tokio::test]
async fn tiles_are_served_to_everybody_for_a_year_and_the_checkpoint_is_asked_for_every_time() {
    let server = Server::start().await;
    let checkpoint = server.get("/log/checkpoint", "").await;
    assert_eq!((checkpoint.status, checkpoint.body.as_slice()), (200, b"checkpoint".as_slice()));
    assert_eq!(checkpoint.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(checkpoint.header("cache-control"), Some("no-cache"));
    for (path, length) in [("0/000", 8192), ("3/000.p/5", 160)] {
        let tile = server.get(&format!("/log/tile/{path}"), "").await;
        assert_eq!((tile.status, tile.body.len()), (200, length), "{path}");
        assert_eq!(tile.header("content-type"), Some("application/octet-stream"));
        assert_eq!(tile.header("cache-control"), Some(FOREVER));
        let known = format!("if-none-match: {}\r\n", tile.header("etag").unwrap());
        let again = server.get(&format!("/log/tile/{path}"), &known).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.header("cache-control"), Some(FOREVER));
    }
    let deep = server.get("/log/tile/0/x001/x234/067.p/17", "").await;
    assert_eq!(
        (deep.status, deep.json()["code"].as_str().unwrap().to_owned()),
        (404, "log_piece_not_found".to_owned())
    );
    assert_eq!(server.door.calls().last().unwrap(), "tile/0/x001/x234/067.p/17");
    let behind = server.get("/log/tile/1/001", "").await;
    assert_eq!(
        (behind.status, behind.json()["code"].as_str().unwrap().to_owned()),
        (503, "log_tree_behind".to_owned())
    );
    assert_eq!(behind.header("retry-after"), Some("1"));
    assert_eq!(behind.header("cache-control"), Some("no-store"));
    let busy = server.get("/log/tile/1/002", "").await;
    assert_eq!(
        (busy.status, busy.json()["code"].as_str().unwrap().to_owned()),
        (503, "log_busy".to_owned())
    );
    assert_eq!(busy.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn what_is_no_tile_reaches_nobody() {
    let server = Server::start().await;
    for path in [
        "0/0",
        "0/000.p/256",
        "64/000",
        "data/000",
        "0/x001",
        "0/000/000",
        "0/000.p/1/1/1/1",
        "0/..",
        "0",
        "0/%ff",
    ] {
        let answer = server.get(&format!("/log/tile/{path}"), "").await;
        assert_eq!(answer.status, 404, "{path}");
    }
    assert!(server.door.calls().is_empty(), "{:?}", server.door.calls());
}

#[tokio::test]
async fn leaves_are_for_readers_and_hashes_where_the_document_says_so() {
    let agent = "authorization: Bearer good\r\n";
    let entries = "/log/tile/entries/000.p/1";
    let nobody = server("").await;
    let answer = nobody.get(entries, "").await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer realm"));
    assert_eq!(nobody.get(entries, "authorization: Bearer nobody\r\n").await.status, 401);
    let answer = nobody.get(entries, agent).await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str().unwrap().to_owned()),
        (403, "log_reader_required".to_owned())
    );
    assert!(nobody.door.calls().iter().all(|call| !call.starts_with("tile")));

    let readers = server(&format!("[audit]\nreaders = [\"{AGENT}\"]\nhashes = \"readers\"")).await;
    let answer = readers.get(entries, agent).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("private, max-age=31536000, immutable"));
    for path in ["/log/checkpoint", "/log/tile/0/000"] {
        assert_eq!(readers.get(path, "").await.status, 401, "{path}");
        let answer = readers.get(path, agent).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_ne!(answer.header("cache-control"), Some(FOREVER), "{path}");
    }
}

#[tokio::test]
async fn a_receipt_is_for_whoever_has_to_do_with_the_token() {
    let server = Server::start().await;
    let path = format!("/v1/receipts/{TOKEN}");
    let answer = server.get(&path, "authorization: Bearer agent\r\n").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"proof".as_slice()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let early = server.get(&path, "authorization: Bearer early\r\n").await;
    assert_eq!(
        (early.status, early.json()["code"].as_str().unwrap().to_owned()),
        (404, "receipt_pending".to_owned())
    );
    assert_eq!(early.header("retry-after"), Some("1"));
    let stranger = server.get(&path, "authorization: Bearer stranger\r\n").await;
    assert_eq!(
        (stranger.status, stranger.json()["code"].as_str().unwrap().to_owned()),
        (404, "receipt_not_found".to_owned())
    );
    assert_eq!(stranger.header("retry-after"), None);
    let stopped = server.get(&path, "authorization: Bearer stopped\r\n").await;
    assert_eq!(
        (stopped.status, stopped.json()["code"].as_str().unwrap().to_owned()),
        (403, "kill_switch_agent".to_owned())
    );
    for header in ["", "authorization: Bearer x\r\n"] {
        assert_eq!(server.get(&path, header).await.status, 401, "{header}");
    }
    let spelt = server.get("/v1/receipts/%ff", "authorization: Bearer agent\r\n").await;
    assert_eq!(spelt.status, 404);
    let other = server.get("/v1/receipts/x", "authorization: Bearer agent\r\n").await;
    assert_eq!(
        (other.status, other.json()["code"].as_str().unwrap().to_owned()),
        (404, "receipt_not_found".to_owned())
    );
}
