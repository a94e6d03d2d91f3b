//! A resource server in Rust: axum behind `marque-verify`. docs/resource-servers.md walks through it.
//!
//! It guards the TLS secrets of an ingress: `GET` and `PATCH /secrets/<name>` need the scope `secrets.update` and an entry
//! of `authorization_details` that permits `get` or `patch` of exactly that secret.
//!
//! ```sh
//! cargo run --example rust-axum -- --issuer https://localhost:8443 --ca certs-dev/ca.pem \
//!     --resource https://ingress.prod.example.org --listen 127.0.0.1:8080
//! ```

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Path;
use axum::http::Method;
use axum::routing::get;
use marque_verify::{
    Binding, HttpsFetch, KillCheck, Need, Refused, VerifiedToken, VerifierSettings, VerifyLayer,
    metadata_route,
};
use tokio::net::TcpListener;

/// Where the cluster is whose secrets these are.
const CLUSTER: &str = "https://k8s.eu-west-1.prod.example.org";

/// What the handler does is asked of the token before it is done: not "may this agent write", but "may it patch this".
async fn secret(
    token: VerifiedToken,
    method: Method,
    Path(name): Path<String>,
) -> Result<String, Refused> {
    let action = if method == Method::PATCH { "patch" } else { "get" };
    let identifier = format!("ns/ingress/secret/{name}");
    token.require(&Need::new("k8s_object", action).on(&identifier).at(CLUSTER))?;
    Ok(format!("{action} {identifier} for {} under {}\n", token.client_id(), token.id()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = arguments()?;
    let mut take =
        |name: &str| arguments.remove(name).with_context(|| format!("--{name} is missing"));
    let listener = TcpListener::bind(take("listen")?).await?;
    let address = listener.local_addr()?;

    let mut settings = VerifierSettings::new(take("issuer")?.parse()?, take("resource")?.parse()?);
    let roots = std::fs::read(take("ca")?)?;
    settings.scopes = vec!["secrets.update".to_owned()];
    settings.detail_types = vec!["k8s_object".to_owned()];
    // Where clients reach it, as their DPoP proofs say. Behind a TLS proxy this would be the proxy's https origin.
    settings.origin = format!("http://{address}");
    // A kill is heeded within a second, and whoever is cut off from the issuer for two refuses.
    settings.kills = KillCheck::required();
    if arguments.remove("binding").is_some_and(|binding| binding == "required") {
        settings.binding = Binding::Required;
    }
    let verifier = Arc::new(settings.verifier(Arc::new(HttpsFetch::trusting(&roots)?))?);

    let app: Router = Router::new()
        .route("/secrets/{name}", get(secret).patch(secret))
        .layer(VerifyLayer::new(Arc::clone(&verifier)).with_scopes(["secrets.update"]))
        .merge(metadata_route(&verifier));
    writeln!(std::io::stdout(), "listening on {address}")?;
    axum::serve(listener, app).await?;
    Ok(())
}

/// `--name value`, as often as wanted.
fn arguments() -> anyhow::Result<HashMap<String, String>> {
    let mut arguments = HashMap::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").with_context(|| format!("`{word}` is no option"))?;
        let value = words.next().with_context(|| format!("--{name} has no value"))?;
        arguments.insert(name.to_owned(), value);
    }
    Ok(arguments)
}
