//! The resource server of the story: it verifies access tokens with the `jsonwebtoken` crate, which is not ours, and
//! asks the issuer by introspection whether each is still live. It attests like any workload to do so.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};
use spiffe::WorkloadApiClient;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::orders::member;
use crate::client::HttpClient;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// What the resource server is told on its command line.
#[derive(Clone, Debug)]
pub struct ResourceOptions {
    /// The audience that its tokens must name.
    pub audience: String,
    /// The scope that a call needs.
    pub scope: String,
    /// The issuer whose tokens it accepts.
    pub issuer: String,
    /// Where the issuer's keys are.
    pub jwks_url: String,
    /// The certificate authority of the issuer's TLS.
    pub ca_file: PathBuf,
}

struct Resource {
    options: ResourceOptions,
    http: HttpClient,
    workload: WorkloadApiClient,
}

/// Serves on a loopback port of the system's choice, which it prints, until it is stopped.
///
/// # Errors
/// When the port cannot be bound or the Workload API cannot be reached.
pub(super) async fn run(options: ResourceOptions) -> anyhow::Result<()> {
    let http = HttpClient::new(&options.ca_file)?;
    let workload = WorkloadApiClient::connect_env().await.context("connect to the Workload API")?;
    let resource = Arc::new(Resource { options, http, workload });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("bind a loopback port")?;
    let address = listener.local_addr()?;
    let mut out = tokio::io::stdout();
    out.write_all(format!("{}\n", json!({ "url": format!("http://{address}/") })).as_bytes())
        .await?;
    out.flush().await?;
    let router = Router::new().route("/", get(call)).with_state(resource);
    axum::serve(listener, router).await.context("serve")
}

async fn call(
    State(resource): State<Arc<Resource>>,
    headers: HeaderMap,
) -> (StatusCode, Json<Value>) {
    let Some(token) = bearer(&headers) else {
        return refused("no bearer token");
    };
    let claims = match resource.verify(token.clone()).await {
        Ok(claims) => claims,
        Err(error) => return refused(&format!("{error:#}")),
    };
    match resource.is_active(token).await {
        Ok(true) => {}
        Ok(false) => return refused("introspection says inactive"),
        Err(error) => return refused(&format!("introspection failed: {error:#}")),
    }
    let granted = json!({
        "done": true,
        "agent": member(&claims, "sub"),
        "scope": member(&claims, "scope"),
        "intent": member(&claims, "intent"),
        "authorization_details": member(&claims, "authorization_details"),
    });
    (StatusCode::OK, Json(granted))
}

impl Resource {
    async fn verify(&self, token: String) -> anyhow::Result<Value> {
        let http = self.http.clone();
        let options = self.options.clone();
        tokio::task::spawn_blocking(move || {
            let header = decode_header(&token).context("not a JWT")?;
            anyhow::ensure!(header.typ.as_deref() == Some("at+jwt"), "not an access token");
            let keys: JwkSet = serde_json::from_value(http.get(&options.jwks_url, None)?.body)?;
            let kid = header.kid.context("no key id")?;
            let key = keys.find(&kid).context("the issuer has no such key")?;
            let mut validation = Validation::new(Algorithm::ES256);
            validation.set_audience(&[&options.audience]);
            validation.set_issuer(&[&options.issuer]);
            let claims = decode::<Value>(&token, &DecodingKey::from_jwk(key)?, &validation)?.claims;
            let scopes = member(&claims, "scope").as_str().unwrap_or_default();
            anyhow::ensure!(
                scopes.split(' ').any(|scope| scope == options.scope),
                "scope is missing"
            );
            Ok(claims)
        })
        .await?
    }

    async fn is_active(&self, token: String) -> anyhow::Result<bool> {
        let svid = self
            .workload
            .fetch_jwt_svid([&self.options.issuer], None)
            .await
            .context("fetch a JWT-SVID")?;
        let assertion = svid.token().to_owned();
        let http = self.http.clone();
        let url = format!("{}/oauth2/introspect", self.options.issuer);
        tokio::task::spawn_blocking(move || {
            let form = [
                ("token", token.as_str()),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", assertion.as_str()),
            ];
            let answer = http.post_form(&url, &form)?;
            anyhow::ensure!(answer.is_success(), "status {}", answer.status);
            Ok(*member(&answer.body, "active") == Value::Bool(true))
        })
        .await?
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("authorization")?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(ToOwned::to_owned)
}

fn refused(why: &str) -> (StatusCode, Json<Value>) {
    (StatusCode::UNAUTHORIZED, Json(json!({ "done": false, "why": why })))
}
