//! Each format with everything in it, and what is none of it.

use super::*;
use crate::{Kind, Standing};

/// What is found: kind, name, what it opens, how long, whether it has a secret.
fn told(format: Format, text: &str) -> Vec<(Kind, String, String, Standing, bool)> {
    let found = format.parse(text.as_bytes()).unwrap();
    let told = |one: Found| (one.kind, one.name, one.reach, one.standing, one.secret.is_some());
    found.into_iter().map(told).collect()
}

fn of(
    kind: Kind,
    name: &str,
    reach: &str,
    standing: Standing,
    secret: bool,
) -> (Kind, String, String, Standing, bool) {
    (kind, name.to_owned(), reach.to_owned(), standing, secret)
}

#[test]
fn places_say_what_a_file_is() {
    for (path, format) in [
        ("/home/a/.aws/credentials", Some(Format::AwsCredentials)),
        ("/home/a/.aws/config", Some(Format::AwsConfig)),
        ("/home/a/.kube/config", Some(Format::Kubeconfig)),
        ("/srv/prod.kubeconfig", Some(Format::Kubeconfig)),
        ("/home/a/.docker/config.json", Some(Format::DockerConfig)),
        ("/home/a/key.json", Some(Format::GoogleCloud)),
        ("/src/.github/workflows/ci.yml", Some(Format::GithubWorkflow)),
        ("/src/workflows/ci.yml", None),
        ("/src/.gitlab-ci.yml", Some(Format::GitlabCi)),
        ("/src/.env.production", Some(Format::Environment)),
        ("/src/.env.example", None),
        ("/home/a/.git-credentials", Some(Format::GitCredentials)),
        ("/etc/config", None),
        ("credentials", None),
    ] {
        assert_eq!(Format::of(Path::new(path)), format, "{path}");
    }
}

#[test]
fn aws_profiles_are_static_short_lived_or_got_elsewhere() {
    let text = "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalr#XUtn=FEMI/K7MDENG\n\
                [session]\naws_access_key_id=ASIA1\naws_secret_access_key=b\naws_session_token=c\n";
    assert_eq!(
        told(Format::AwsCredentials, text),
        [
            of(Kind::AwsAccessKey, "default", "aws:default", Standing::Static, true),
            of(Kind::AwsSession, "session", "aws:session", Standing::ShortLived, true),
        ]
    );
    let found = Format::AwsCredentials.parse(text.as_bytes()).unwrap();
    assert_eq!(found[0].principal.as_deref(), Some("…MPLE"));
    assert_eq!(found[0].secret.as_ref().unwrap().expose(), "wJalr#XUtn=FEMI/K7MDENG");
    let config = "[profile ops]\nrole_arn = arn:aws:iam::123456789012:role/AdministratorAccess\nsource_profile = default\n\
                  [profile sso]\nsso_session = corp\nsso_account_id = 210987654321\nsso_role_name = ReadOnly\n\
                  [sso-session corp]\nsso_start_url = https://sso.example.org\n";
    assert_eq!(
        told(Format::AwsConfig, config),
        [
            of(Kind::AwsRole, "ops", "aws:123456789012", Standing::ShortLived, false),
            of(Kind::AwsFederated, "sso", "aws:210987654321", Standing::Federated, false),
        ]
    );
    let found = Format::AwsConfig.parse(config.as_bytes()).unwrap();
    assert!(found[0].privileged && !found[1].privileged);
}

#[test]
fn google_s_files_are_known_by_their_members() {
    for (text, expected) in [
        (
            r#"{"type":"service_account","project_id":"shop","private_key_id":"0123456789abcdef","private_key":"k","client_email":"ci@shop.iam.gserviceaccount.com"}"#,
            Some(of(
                Kind::GcpServiceAccountKey,
                "0123456789ab",
                "gcp:shop",
                Standing::Static,
                true,
            )),
        ),
        (
            r#"{"type":"authorized_user","refresh_token":"r","quota_project_id":"shop"}"#,
            Some(of(Kind::GcpUser, "credentials", "gcp:shop", Standing::Static, true)),
        ),
        (
            r#"{"type":"external_account","audience":"//iam.example.org/x"}"#,
            Some(of(Kind::GcpFederated, "credentials", "gcp:unknown", Standing::Federated, false)),
        ),
        (
            r#"{"type":"impersonated_service_account","source_credentials":{"type":"authorized_user","refresh_token":"r"},"service_account_impersonation_url":"https://iam.example.org/v1/projects/-/serviceAccounts/a@shop.example.org:generateAccessToken"}"#,
            Some(of(Kind::GcpUser, "credentials", "gcp:unknown", Standing::Static, true)),
        ),
        (r#"{"type":"service_account"}"#, None),
        (r#"{"name":"package"}"#, None),
        ("[1]", None),
        ("no JSON", None),
    ] {
        assert_eq!(told(Format::GoogleCloud, text), Vec::from_iter(expected), "{text}");
    }
}

#[test]
fn a_kubeconfig_joins_users_to_clusters() {
    let text = "apiVersion: v1\nclusters:\n- name: prod\n  cluster: {server: 'https://k8s.example.org:6443'}\n\
                contexts:\n- name: kubernetes-admin@prod\n  context: {cluster: prod, user: ops}\n\
                users:\n- name: ops\n  user: {token: t}\n- name: cert\n  user: {client-key-data: a, client-certificate-data: b}\n\
                - name: exec\n  user: {exec: {command: aws}}\n- name: basic\n  user: {username: u, password: p}\n";
    assert_eq!(
        told(Format::Kubeconfig, text),
        [
            of(
                Kind::KubernetesToken,
                "ops",
                "kubernetes:https://k8s.example.org:6443",
                Standing::Static,
                true
            ),
            of(Kind::KubernetesClientKey, "cert", "kubernetes:unknown", Standing::Static, true),
            of(Kind::KubernetesFederated, "exec", "kubernetes:unknown", Standing::Federated, false),
            of(Kind::KubernetesPassword, "basic", "kubernetes:unknown", Standing::Static, true),
        ]
    );
    assert!(Format::Kubeconfig.parse(text.as_bytes()).unwrap()[0].privileged);
}

#[test]
fn logins_to_hosts_indexes_and_registries() {
    let netrc = "# a comment\nmachine api.example.org login alice password p1\nmacdef init\n password no\n\nmachine b\n  login root\n  password p2\ndefault login anonymous password p3\n";
    let host =
        |name: &str| of(Kind::NetrcPassword, name, &format!("host:{name}"), Standing::Static, true);
    assert_eq!(told(Format::Netrc, netrc), [host("api.example.org"), host("b"), host("default")]);
    assert!(Format::Netrc.parse(netrc.as_bytes()).unwrap()[1].privileged);
    let git = "https://alice:s3cret@git.example.org/path\nhttps://git.example.org\n";
    assert_eq!(
        told(Format::GitCredentials, git),
        [of(
            Kind::NetrcPassword,
            "git.example.org",
            "host:git.example.org",
            Standing::Static,
            true
        )]
    );
    let npmrc = "registry=https://npm.example.org/\n//npm.example.org/:_authToken=npm_x\n//other.example.org/:_authToken=${NPM_TOKEN}\n_auth=abc\n";
    assert_eq!(
        told(Format::Npmrc, npmrc),
        [
            of(Kind::NpmToken, "_authToken", "npm:npm.example.org", Standing::Static, true),
            of(Kind::NpmToken, "_auth", "npm:registry.npmjs.org", Standing::Static, true),
        ]
    );
    let pypirc =
        "[distutils]\nindex-servers = pypi\n[pypi]\nusername = __token__\npassword: pypi-x\n";
    assert_eq!(
        told(Format::Pypirc, pypirc),
        [of(Kind::PypiToken, "pypi", "pypi:pypi", Standing::Static, true)]
    );
    let docker = r#"{"auths":{"ghcr.example.org":{"auth":"YTpi"},"empty.example.org":{}},"credHelpers":{"ecr.example.org":"ecr-login"},"credsStore":"pass"}"#;
    assert_eq!(
        told(Format::DockerConfig, docker),
        [
            of(
                Kind::RegistryLogin,
                "ghcr.example.org",
                "registry:ghcr.example.org",
                Standing::Static,
                true
            ),
            of(
                Kind::RegistryHelper,
                "ecr.example.org",
                "registry:ecr.example.org",
                Standing::Federated,
                false
            ),
            of(
                Kind::RegistryHelper,
                "every registry",
                "registry:every registry",
                Standing::Federated,
                false
            ),
        ]
    );
}

#[test]
fn pipelines_name_stored_secrets_and_write_some_out() {
    let github = "on: push\npermissions:\n  id-token: write\nenv:\n  API_TOKEN: in-clear-text\n  REGION: eu\njobs:\n  a:\n    steps:\n    - run: deploy\n      env:\n\
                  \x20       KEY: ${{ secrets.DEPLOY_KEY }}\n    - run: echo ${{ secrets['ADMIN_TOKEN'] }} ${{ secrets.GITHUB_TOKEN }}\n";
    let stored =
        |name: &str| of(Kind::CiStoredSecret, name, &format!("ci:{name}"), Standing::Static, false);
    assert_eq!(
        told(Format::GithubWorkflow, github),
        [
            stored("ADMIN_TOKEN"),
            stored("DEPLOY_KEY"),
            of(Kind::CiFederated, "id-token", "ci:identity-token", Standing::Federated, false),
            of(Kind::EnvironmentSecret, "API_TOKEN", "env:API_TOKEN", Standing::Static, true),
        ]
    );
    let gitlab = "variables:\n  DB_PASSWORD: hunter2\n  REGION: eu\ndeploy:\n  id_tokens:\n    VAULT_ID_TOKEN: {aud: 'https://vault.example.org'}\n\
                  \x20 script:\n  - push $REGISTRY_TOKEN ${CI_JOB_TOKEN} $DB_PASSWORD $VAULT_ID_TOKEN $REGION\n";
    assert_eq!(
        told(Format::GitlabCi, gitlab),
        [
            of(Kind::EnvironmentSecret, "DB_PASSWORD", "env:DB_PASSWORD", Standing::Static, true),
            of(Kind::CiFederated, "id_tokens", "ci:identity-token", Standing::Federated, false),
            stored("REGISTRY_TOKEN"),
        ]
    );
}

#[test]
fn variables_are_secrets_by_their_name_or_their_beginning() {
    let text = "# TOKEN=no\nexport GITHUB_TOKEN=abc\nPLAIN=ghp_0123456789\nSECRET_FILE=/run/secrets/x\nDATABASE_URL=postgres://x\nAPI_KEY=$OTHER\nPASSWORD=changeme\nTOKEN_TTL=5m\nEMPTY_SECRET=\nNOTE=\"hello\"\n";
    let names: Vec<String> =
        told(Format::Environment, text).into_iter().map(|(_, name, ..)| name).collect();
    assert_eq!(names, ["GITHUB_TOKEN", "PLAIN"]);
}

#[test]
fn what_does_not_read_is_an_error_that_shows_nothing_of_it() {
    let canary = "canary-5e9f";
    for (format, text) in [
        (Format::AwsCredentials, format!("[open\n{canary} = {canary}")),
        (Format::DockerConfig, format!("{{\"auths\": {canary}")),
        (Format::Kubeconfig, format!("users: [{canary}\n  : : {canary}")),
        (Format::GithubWorkflow, format!("a: &x [{canary}\n*y : {canary}")),
    ] {
        let error = format.parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, FormatError::Syntax(_)), "{format:?}: {error}");
        assert!(!format!("{error} {error:?}").contains(canary), "{error:?}");
    }
    assert_eq!(Format::Netrc.parse(&[0xff]).unwrap_err(), FormatError::Text);
    let many = |count| "TOKEN=a\n".repeat(count);
    assert!(Format::Environment.parse(many(MAX_FOUND).as_bytes()).is_ok());
    let error = Format::Environment.parse(many(MAX_FOUND + 1).as_bytes()).unwrap_err();
    assert_eq!(error, FormatError::TooMany);
    let deep = |levels| format!("{}a{}", "[".repeat(levels), "]".repeat(levels));
    assert!(Format::GitlabCi.parse(deep(MAX_DEPTH).as_bytes()).is_ok());
    assert!(Format::GitlabCi.parse(deep(MAX_DEPTH + 1).as_bytes()).is_err());
}
