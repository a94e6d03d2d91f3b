//! A ticket system on real sockets, with and without TLS.

use std::time::{Duration, Instant};

use marque_registry::TrustDomainDocument;
use marque_testkit::FixedClock;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::federation::tests::{Answer, DOCUMENT, Endpoint};

const SECRET: &str = "Bearer of-a-secret-that-nobody-logs";
const PATH: &str = "/changes/CHG-1842";

struct Stage {
    endpoint: Endpoint,
    folder: TempDir,
}

impl Stage {
    async fn new() -> Self {
        Self { endpoint: Endpoint::web().await, folder: marque_testkit::temp_dir() }
    }

    fn system(&self) -> HttpTicketSystem {
        let ca_file = format!("ca_file = \"{}\"", self.endpoint.ca_file.display());
        open(&self.endpoint.url("/changes/{ticket}"), &ca_file, &self.folder)
    }

    async fn told(&self, answer: Answer) -> Result<TicketFacts, TicketLookupError> {
        self.endpoint.answer(PATH, answer);
        look_up(&self.system()).await
    }

    /// Why the system is unavailable.
    async fn why(&self, answer: Answer) -> String {
        match self.told(answer).await {
            Err(TicketLookupError::Unavailable(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn open(url: &str, more: &str, folder: &TempDir) -> HttpTicketSystem {
    std::fs::write(folder.path().join("itsm.header"), format!("{SECRET}\n")).unwrap();
    let text = format!(
        "{DOCUMENT}\n[[ticket_systems]]\nname = \"itsm\"\nurl = \"{url}\"\n{more}\ntimeout = \"1s\"\n\
         closed = [\"closed\"]\n\
         [ticket_systems.header]\nname = \"authorization\"\nfile = \"itsm.header\"\n\
         [ticket_systems.answer]\nstate = \"/result/state\"\ntitle = \"/result/title\"\n\
         planned_from = \"/result/from\"\nplanned_until = \"/result/until\"\n\
         [ticket_systems.fields]\nservice = \"/result/service\"\nreplicas = \"/result/more/0/replicas\"\n\
         [ticket_systems.states]\n3 = \"approved\"\n7 = \"closed\"\n"
    );
    let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::default());
    HttpTicketSystem::open(document.ticket_systems()[0].clone(), folder.path(), &clock).unwrap()
}

async fn look_up(system: &HttpTicketSystem) -> Result<TicketFacts, TicketLookupError> {
    system.look_up(&"CHG-1842".parse().unwrap()).await
}

fn answer() -> Value {
    json!({"result": {
        "state": 3, "title": "Rotate", "service": "checkout", "more": [{"replicas": 2}],
        "from": "2030-01-01T00:00:00Z", "until": "2030-01-01T02:00:00+01:00",
    }})
}

fn document(change: impl FnOnce(&mut Value)) -> Answer {
    let mut answer = answer();
    change(&mut answer["result"]);
    Answer::Document(answer.to_string())
}

#[tokio::test]
async fn a_plan_in_a_form_that_is_not_known_is_no_answer_and_not_no_plan() {
    let stage = Stage::new().await;
    let planned = async |from: Value, until: Value| {
        let told = stage.told(document(|result| {
            result["from"] = from;
            result["until"] = until;
        }));
        told.await.map(|facts| facts.planned)
    };
    for unsaid in [Value::Null, json!("")] {
        assert_eq!(planned(unsaid.clone(), unsaid).await, Ok(None));
    }
    for odd in [json!({"date": "2030-01-01"}), json!(["2030-01-01"]), json!("2".repeat(2000))] {
        let told = planned(odd.clone(), odd.clone()).await;
        assert!(matches!(told, Err(TicketLookupError::Unavailable(_))), "{odd}: {told:?}");
    }
}

#[tokio::test]
async fn a_name_that_leads_out_of_the_tickets_is_no_ticket_and_nobody_is_asked() {
    let stage = Stage::new().await;
    let system = stage.system();
    for name in ["..", ".", "../incidents/INC1", "CHG-1/../../users", "x\\..\\y", "a/."] {
        stage.endpoint.answer("/incidents/INC1", document(|_| {}));
        let told = system.look_up(&name.parse().unwrap()).await;
        assert_eq!(told, Err(TicketLookupError::Unknown), "{name}");
    }
    assert_eq!(stage.endpoint.asked(), [] as [String; 0]);
}

#[tokio::test]
async fn a_ticket_is_read_over_tls_with_the_secret_of_the_file() {
    let stage = Stage::new().await;
    let facts = stage.told(document(|_| {})).await.unwrap();
    assert_eq!(
        (facts.state.as_str(), facts.closed, facts.title.as_str()),
        ("approved", false, "Rotate")
    );
    assert_eq!(
        (facts.fields["service"].as_str(), facts.fields["replicas"].as_str()),
        ("checkout", "2")
    );
    let planned = ["2030-01-01T00:00:00Z", "2030-01-01T01:00:00Z"].map(|at| at.parse().unwrap());
    assert_eq!(facts.planned, Some(planned.into()));
    let heads = stage.endpoint.heads();
    assert!(heads[0].contains(SECRET) && heads[0].starts_with("GET "), "{heads:?}");
    assert!(!format!("{:?}", stage.system()).contains(SECRET));
}

#[tokio::test]
async fn what_a_ticket_does_not_say_is_not_made_up() {
    let stage = Stage::new().await;
    let spare = |result: &mut Value| *result = json!({"state": "7"});
    let facts = stage.told(document(spare)).await.unwrap();
    assert!(facts.closed && facts.fields.is_empty() && facts.title.is_empty());
    assert_eq!(facts.planned, None);
    let facts = stage.told(document(|result| result["state"] = "approved".into())).await.unwrap();
    assert_eq!(facts.state, UNMAPPED, "a word of theirs is none of ours");
    let facts =
        stage.told(document(|result| result["service"] = json!(["checkout"]))).await.unwrap();
    assert!(!facts.fields.contains_key("service"));
}

#[tokio::test]
async fn a_ticket_that_is_not_there_is_told_from_a_system_that_is_not() {
    let stage = Stage::new().await;
    for status in [404, 410] {
        assert_eq!(stage.told(Answer::Status(status)).await, Err(TicketLookupError::Unknown));
    }
    for status in [500, 503, 401, 403, 429, 201, 204] {
        let why = stage.why(Answer::Status(status)).await;
        assert!(why.contains(&status.to_string()), "{why}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_no_answer() {
    let stage = Stage::new().await;
    let huge = format!("{{\"result\":{{\"state\":3,\"title\":\"{}\"}}}}", "x".repeat(256 * 1024));
    let deep = format!("{{\"result\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let twice = r#"{"result":{"state":"3","state":"3"}}"#;
    for (body, says) in [
        ("not json", "no JSON object"),
        ("[]", "no JSON object"),
        ("", "no JSON object"),
        (twice, "no JSON object"),
        (&deep, "no JSON object"),
        ("{}", "`/result/state`"),
        (r#"{"result":{"state":null}}"#, "`/result/state`"),
        (r#"{"result":{"state":""}}"#, "`/result/state`"),
        (&huge, "larger than"),
    ] {
        let why = stage.why(Answer::Document(body.to_owned())).await;
        assert!(why.contains(says), "{body:.60}: {why}");
    }
    for (from, until) in [
        (json!("2030-01-01T00:00:00Z"), json!(null)),
        (json!("soon"), json!("2030-01-01T00:00:00Z")),
        (json!("2030-01-01T00:00:00Z"), json!("2030-01-01T00:00:00Z")),
    ] {
        let half = document(|result| {
            result["from"] = from;
            result["until"] = until;
        });
        let why = stage.why(half).await;
        assert!(why.contains("`/result/"), "{why}");
    }
}

#[tokio::test]
async fn no_redirect_is_followed_and_the_secret_goes_nowhere_else() {
    let (stage, elsewhere) = (Stage::new().await, Endpoint::web().await);
    elsewhere.answer(PATH, document(|_| {}));
    let why = stage.why(Answer::Redirect(elsewhere.url(PATH))).await;
    assert!(why.contains("redirects are not followed"), "{why}");
    assert!(elsewhere.heads().is_empty());
}

#[tokio::test]
async fn a_system_that_is_slow_or_somebody_else_is_unavailable_in_time() {
    let stage = Stage::new().await;
    let begun = Instant::now();
    let why = stage.why(Answer::Silence).await;
    assert!(why.contains("no answer within"), "{why}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    // A certificate that another authority signed.
    let other = Endpoint::web().await;
    let ca_file = format!("ca_file = \"{}\"", other.ca_file.display());
    let system = open(&stage.endpoint.url("/changes/{ticket}"), &ca_file, &stage.folder);
    let asked = stage.endpoint.heads().len();
    assert!(matches!(look_up(&system).await, Err(TicketLookupError::Unavailable(_))));
    assert_eq!(stage.endpoint.heads().len(), asked, "it was not even asked");
}

#[tokio::test]
async fn a_secret_that_is_not_there_or_is_none_asks_nobody() {
    let stage = Stage::new().await;
    stage.endpoint.answer(PATH, document(|_| {}));
    let system = stage.system();
    let file = stage.folder.path().join("itsm.header");
    let large = "x".repeat(8 * 1024 + 1);
    for spoilt in [Some(""), Some("\n"), Some("a\nb: c"), Some(large.as_str()), None] {
        match spoilt {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let Err(TicketLookupError::Unavailable(why)) = look_up(&system).await else { panic!() };
        assert!(why.contains("header") && !why.contains("b: c"), "{why}");
    }
    assert!(stage.endpoint.heads().is_empty());
    std::fs::write(&file, "another secret").unwrap();
    look_up(&system).await.unwrap();
    assert!(stage.endpoint.heads()[0].contains("another secret"), "read anew with each question");
}

#[tokio::test]
async fn a_system_of_this_host_is_asked_without_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/changes/{{ticket}}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let body = answer().to_string();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let folder = marque_testkit::temp_dir();
    let facts = look_up(&open(&url, "", &folder)).await.unwrap();
    assert_eq!(facts.state, "approved");
    let head = serving.await.unwrap();
    assert!(head.starts_with(&format!("GET {PATH} ")) && head.contains(SECRET), "{head}");
    // Nobody listens there any more.
    assert!(matches!(
        look_up(&open(&url, "", &folder)).await,
        Err(TicketLookupError::Unavailable(_))
    ));
}
