use super::{
    HttpLimits, Server,
    door::{FakeDoor, NOTHING},
};

const LISTS: &str = "/oauth2/status";

#[tokio::test]
async fn oauth_15_2_a_list_is_served_as_its_own_media_type_and_asked_for_every_time() {
    let server = Server::start().await;
    let answer = server.get(&format!("{LISTS}/1"), "").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"list.1.x".as_slice()));
    assert_eq!(answer.header("content-type"), Some("application/statuslist+jwt"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(server.door.calls(), ["status list 1"]);
}

#[tokio::test]
async fn oauth_15_2_a_copy_that_is_still_the_list_is_not_sent_again() {
    let server = Server::start().await;
    let path = format!("{LISTS}/0");
    let tag = server.get(&path, "").await.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() == 45, "{tag}");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = server.get(&path, &format!("if-none-match: {known}\r\n")).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
    }
    let other = server.get(&format!("{LISTS}/1"), &format!("if-none-match: {tag}\r\n")).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn oauth_15_6_a_list_of_another_time_is_501() {
    let server = Server::start().await;
    for query in ["time=1893456000", "x=1&time=", "%74ime=0"] {
        let answer = server.get(&format!("{LISTS}/0?{query}"), "").await;
        assert_eq!(answer.status, 501, "{query}");
    }
    assert_eq!(server.get(&format!("{LISTS}/0?times=1"), "").await.status, 200);
}

#[tokio::test]
async fn oauth_15_8_a_list_has_one_spelling_and_an_unknown_one_is_not_found() {
    let server = Server::start().await;
    for list in ["2", "99999999999999999999", "00", "+1", "-1", "0x0", "1.0", "%30%30", "a", "0/"] {
        let answer = server.get(&format!("{LISTS}/{list}"), "").await;
        assert_eq!(answer.status, 404, "{list}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{list}");
    }
    assert_eq!(server.door.calls(), ["status list 2"]);
}

#[tokio::test]
async fn oauth_15_7_where_the_lists_are_is_told_where_there_are_any() {
    let server = Server::start().await;
    let answer = server.get(LISTS, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), serde_json::json!({"status_lists": ["https://x/0"]}));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    let without = FakeDoor { offers: NOTHING, ..FakeDoor::default() };
    let server = Server::with(without, HttpLimits::default()).await;
    assert_eq!(server.get(LISTS, "").await.status, 404);
}
