//! A ticket system of the test's own: a real HTTP server that says what it is told.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What proves that it is Marque who asks.
pub(crate) const SECRET: &str = "Bearer e2e-ticket-system-secret";

/// Knows one ticket, `CHG-1842`.
#[derive(Clone, Debug)]
pub(crate) struct TicketServer {
    said: Arc<Mutex<(StatusCode, Value)>>,
    port: u16,
}

impl TicketServer {
    /// Starts it with an approved ticket about the rotation that the tests ask for.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let ticket = json!({
            "state": "approved", "title": "Renew the certificate of checkout",
            "service": "checkout", "region": "eu-west-1",
        });
        let said = Arc::new(Mutex::new((StatusCode::OK, ticket)));
        let telling = Arc::clone(&said);
        let tell = async move |Path(ticket): Path<String>, headers: HeaderMap| {
            if headers.get("authorization").is_none_or(|value| value != SECRET) {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            if ticket != "CHG-1842" {
                return StatusCode::NOT_FOUND.into_response();
            }
            let (status, ticket) = telling.lock().expect("what is said").clone();
            (status, axum::Json(ticket)).into_response()
        };
        let routes = Router::new().route("/changes/{ticket}", axum::routing::get(tell));
        tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        Self { said, port }
    }

    /// Says something else of the ticket from now on.
    pub(crate) fn set(&self, member: &str, value: &str) {
        self.said.lock().expect("what is said").1[member] = value.into();
    }

    /// Answers with this status from now on.
    pub(crate) fn answer_with(&self, status: u16) {
        self.said.lock().expect("what is said").0 = StatusCode::from_u16(status).expect("a status");
    }

    /// The lines of `trust-domain.toml` by which it is asked.
    pub(crate) fn document(&self) -> String {
        format!(
            "\n[[ticket_systems]]\nname = \"itsm\"\nurl = \"http://127.0.0.1:{}/changes/{{ticket}}\"\n\
             max_age = \"1s\"\nclosed = [\"closed\"]\n\
             [ticket_systems.header]\nname = \"authorization\"\nfile = \"itsm.header\"\n\
             [ticket_systems.answer]\nstate = \"/state\"\ntitle = \"/title\"\n\
             planned_from = \"/from\"\nplanned_until = \"/until\"\n\
             [ticket_systems.fields]\nservice = \"/service\"\nregion = \"/region\"\n",
            self.port
        )
    }
}
