//! kubeconfig: users, the clusters that contexts join them to, and the groups that client certificates name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{items, text};
use crate::{Found, Kind, Secret, Standing, looks_privileged};

pub(super) fn kubeconfig(document: &Value) -> Vec<Found> {
    items(document, "users").flat_map(|user| credentials(document, user)).collect()
}

fn credentials(document: &Value, entry: &Value) -> Vec<Found> {
    let (Some(name), Some(user)) = (text(entry, "name"), entry.get("user")) else {
        return Vec::new();
    };
    let contexts: Vec<&Value> = items(document, "contexts")
        .filter(|entry| {
            entry.get("context").and_then(|context| text(context, "user")) == Some(name)
        })
        .collect();
    let reach = contexts.iter().find_map(|entry| {
        let cluster = text(entry.get("context")?, "cluster")?;
        let mut clusters = items(document, "clusters");
        let entry = clusters.find(|entry| text(entry, "name") == Some(cluster))?;
        text(entry.get("cluster")?, "server").or(Some(cluster))
    });
    let subject = text(user, "client-certificate-data").and_then(subject);
    let privileged = looks_privileged(name)
        || contexts.iter().filter_map(|entry| text(entry, "name")).any(looks_privileged)
        || subject.as_deref().is_some_and(looks_privileged);
    let found = |kind, standing, secret: Option<&str>| Found {
        kind,
        name: name.to_owned(),
        principal: subject.clone().or_else(|| text(user, "username").map(ToOwned::to_owned)),
        reach: format!("kubernetes:{}", reach.unwrap_or("unknown")),
        standing,
        privileged,
        secret: secret.map(Secret::new),
    };
    let secrets = [
        ("token", Kind::KubernetesToken),
        ("client-key-data", Kind::KubernetesClientKey),
        ("password", Kind::KubernetesPassword),
    ];
    let mut all: Vec<Found> = secrets
        .into_iter()
        .filter_map(|(key, kind)| Some(found(kind, Standing::Static, Some(text(user, key)?))))
        .collect();
    // A key in a file beside this one is as static, and is fingerprinted where that file is read.
    if text(user, "client-key").is_some() {
        all.push(found(Kind::KubernetesClientKey, Standing::Static, None));
    }
    let elsewhere = ["exec", "auth-provider", "tokenFile"];
    if elsewhere.iter().any(|key| user.get(key).is_some()) {
        all.push(found(Kind::KubernetesFederated, Standing::Federated, None));
    }
    all
}

/// Who a client certificate is of: its groups and its name.
fn subject(data: &str) -> Option<String> {
    let pem = STANDARD.decode(data.trim()).ok()?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let subject = certificate.subject();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    let names = subject.iter_common_name().filter_map(|name| name.as_str().ok());
    let all: Vec<&str> = groups.chain(names).collect();
    (!all.is_empty()).then(|| all.join("/"))
}
