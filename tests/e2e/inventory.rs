//! The inventory of stored credentials over homes with every kind of file: what stands there, who shares it, what could take
//! its place; and no secret in anything that is written.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::folder;
use crate::support::operator::{Said, run_marque};

/// Part of every secret in the fixtures.
const CANARY: &str = "canary7f3a";

struct Homes {
    folder: TempDir,
}

impl Homes {
    /// Two homes and a repository.
    fn new() -> Self {
        let own = Self { folder: tempfile::tempdir().expect("a folder") };
        let shared = format!("AWS{CANARY}shared");
        own.write("alice/.aws/credentials", &format!(
            "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = {shared}\n"
        ));
        own.write("alice/.aws/config", "[profile ops]\nrole_arn = arn:aws:iam::123456789012:role/AdministratorAccess\nsource_profile = default\n");
        own.write("bob/.aws/credentials", &format!(
            "[legacy]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = {shared}\n"
        ));
        own.write("alice/.config/gcloud/application_default_credentials.json", &format!(
            r#"{{"type":"authorized_user","refresh_token":"r{CANARY}","quota_project_id":"shop"}}"#
        ));
        own.write("alice/.kube/config", &format!(
            "clusters:\n- name: prod\n  cluster: {{server: 'https://ingress.prod.example.org'}}\ncontexts:\n- name: prod\n  context: {{cluster: prod, user: ops}}\nusers:\n- name: ops\n  user: {{token: 't{CANARY}'}}\n"
        ));
        own.write(
            "alice/.netrc",
            &format!("machine api.example.org login alice password p{CANARY}\n"),
        );
        own.write("alice/.npmrc", &format!("//npm.example.org/:_authToken=n{CANARY}\n"));
        own.write("bob/.pypirc", &format!("[pypi]\nusername = __token__\npassword = y{CANARY}\n"));
        own.write(
            "bob/.docker/config.json",
            &format!(r#"{{"auths":{{"ghcr.example.org":{{"auth":"d{CANARY}"}}}}}}"#),
        );
        own.write("src/key.json", &format!(
            r#"{{"type":"service_account","project_id":"shop","private_key_id":"1","private_key":"k{CANARY}","client_email":"ci@shop.example.org"}}"#
        ));
        own.write("src/.github/workflows/ci.yml", &format!(
            "env:\n  API_TOKEN: g{CANARY}\njobs:\n  a:\n    steps:\n    - run: x ${{{{ secrets.DEPLOY_KEY }}}}\n"
        ));
        own.write("src/.gitlab-ci.yml", "a:\n  script: push $REGISTRY_TOKEN\n");
        own.write("src/.env", &format!("STRIPE_SECRET=s{CANARY}\n"));
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("write a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    }

    /// Runs the inventory over everything.
    async fn run(&self, form: &str, more: &[&str]) -> Said {
        let own = ["--output", form, "inventory", "--home"].map(ToOwned::to_owned).to_vec();
        let home = |name: &str| self.path(name).display().to_string();
        let places = vec![home("alice"), "--home".to_owned(), home("bob"), home("src")];
        let more = more.iter().map(|argument| (*argument).to_owned());
        let said = run_marque(&own.into_iter().chain(places).chain(more).collect::<Vec<_>>()).await;
        assert!(!said.out.contains(CANARY) && !said.err.contains(CANARY), "a secret: {said:?}");
        said
    }

    async fn json(&self, more: &[&str]) -> Value {
        self.run("json", more).await.succeeded().json()
    }
}

fn codes<'a>(report: &'a Value, code: &str) -> Vec<&'a Value> {
    let findings = report["findings"].as_array().expect("findings").iter();
    findings.filter(|finding| finding["code"] == code).collect()
}

fn credential<'a>(report: &'a Value, kind: &str) -> &'a Value {
    let mut all = report["credentials"].as_array().expect("credentials").iter();
    all.find(|one| one["kind"] == kind).unwrap_or_else(|| panic!("no {kind}: {report}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn m_130_an_inventory_finds_every_kind_and_who_shares_and_shows_no_secret() {
    let homes = Homes::new();
    let report = homes.json(&[]).await;
    for kind in [
        "aws_access_key",
        "aws_role",
        "gcp_user",
        "gcp_service_account_key",
        "kubernetes_token",
        "netrc_password",
        "npm_token",
        "pypi_token",
        "registry_login",
        "ci_stored_secret",
        "environment_secret",
    ] {
        credential(&report, kind);
    }
    assert_eq!(report["counts"]["by_kind"]["ci_stored_secret"], 2, "{report}");
    let shared = codes(&report, "shared_credential");
    assert_eq!(shared.len(), 1, "{shared:?}");
    let files: Vec<PathBuf> = serde_json::from_value(shared[0]["files"].clone()).expect("files");
    assert_eq!(files, [homes.path("alice/.aws/credentials"), homes.path("bob/.aws/credentials")]);
    assert_eq!(report["counts"]["shared"], 1);
    assert_eq!(credential(&report, "aws_role")["privileged"], true);
    let standing = codes(&report, "standing_privilege");
    assert!(
        standing.iter().any(|one| one["message"].as_str().unwrap().contains("administrator's"))
    );
    assert!(codes(&report, "undocumented_exception").is_empty(), "nothing to compare with");
    assert!(codes(&report, "not_read").is_empty(), "{report}");
    assert!(report["plan"].as_array().is_some_and(|plan| !plan.is_empty()));
    let text = homes.run("text", &[]).await.succeeded().out;
    // What just-in-time access does not cure is said every time (M 137).
    for part in ["shared_credential", "a) ", "stays exposed", "an integration with too many rights"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(credential(&report, "aws_access_key")["principal"], "…MPLE");
    // Without a key that is kept, a fingerprint is of one run alone.
    let of = |report: &Value| credential(report, "npm_token")["fingerprint"].clone();
    assert_ne!(of(&report), of(&homes.json(&[]).await));
    homes.write("key", "0123456789abcdef");
    let key = homes.path("key").display().to_string();
    let (one, other) =
        (homes.json(&["--key-file", &key]).await, homes.json(&["--key-file", &key]).await);
    assert_eq!(of(&one), of(&other));
    homes.write("short", "0123456789abcde");
    let short = homes.path("short").display().to_string();
    assert_eq!(homes.run("json", &["--key-file", &short]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn m_136_what_a_playbook_permits_is_told_and_the_rest_is_an_undocumented_exception() {
    let homes = Homes::new();
    let trust_domains = folder::shipped().display().to_string();
    let report = homes.json(&["--trust-domains", &trust_domains]).await;
    assert_eq!(credential(&report, "kubernetes_token")["playbook"], "ingress-cert-rotation");
    let plan = report["plan"].as_array().expect("a plan");
    let step =
        plan.iter().find(|step| step["reach"] == "kubernetes:https://ingress.prod.example.org");
    let step = step.expect("a step for the cluster");
    assert!(step["steps"][0].as_str().unwrap().contains("ingress-cert-rotation"), "{step}");
    let before = codes(&report, "undocumented_exception").len();
    assert!(before > 0);
    let file = homes.path("bob/.aws/credentials");
    let known = |until: &str, playbook: &str| {
        format!(
            "[[exceptions]]\nfile = \"{}\"\nname = \"legacy\"\nowner = \"group:platform\"\nreason = \"the vendor's tool\"\nuntil = \"{until}\"\n\
             [[replaced_by]]\nreach = \"npm:npm.example.org\"\nplaybook = \"{playbook}\"\n",
            file.display()
        )
    };
    homes.write("known.toml", &known("2999-01-31", "ingress-cert-rotation"));
    let path = homes.path("known.toml").display().to_string();
    let arguments = ["--trust-domains", trust_domains.as_str(), "--known", &path];
    let report = homes.json(&arguments).await;
    assert_eq!(codes(&report, "undocumented_exception").len(), before - 2, "{report}");
    assert_eq!(credential(&report, "npm_token")["playbook"], "ingress-cert-rotation");
    // An exception that is over is none.
    homes.write("known.toml", &known("2020-01-31", "ingress-cert-rotation"));
    let report = homes.json(&arguments).await;
    assert_eq!(codes(&report, "undocumented_exception").len(), before - 1);
    homes.write("known.toml", &known("2999-01-31", "no-such-playbook"));
    let said = homes.run("json", &arguments).await.failed();
    assert!(said.err.contains("no-such-playbook"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_listed_and_links_are_not_followed() {
    let homes = Homes::new();
    symlink(homes.path("src/.env"), homes.path("bob/.netrc")).expect("a link");
    mkfifo(&homes.path("bob/.npmrc"), Mode::S_IRUSR).expect("a pipe");
    homes.write("src/ring/.env", "A=b\n");
    symlink(homes.path("src"), homes.path("src/ring/back")).expect("a link");
    homes.write("src/broken/.gitlab-ci.yml", &format!("a: [{CANARY}\nb: }}"));
    homes.write("src/large/.env", &format!("{}\n", "#".repeat(1024 * 1024)));
    homes.write("src/full/.env", &format!("{}\n", "#".repeat(1024 * 1024 - 1)));
    fs::set_permissions(homes.path("src/.env"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let missing = homes.path("missing").display().to_string();
    let report = homes.json(&[&missing]).await;
    let problems: Vec<(String, PathBuf)> = report["problems"]
        .as_array()
        .expect("problems")
        .iter()
        .map(|one| (one["kind"].as_str().unwrap().to_owned(), one["file"].as_str().unwrap().into()))
        .collect();
    let is = |kind: &str, file: &str| {
        assert!(problems.contains(&(kind.to_owned(), homes.path(file))), "{file}: {problems:?}");
    };
    is("link", "bob/.netrc");
    is("unreadable", "bob/.npmrc");
    is("malformed", "src/broken/.gitlab-ci.yml");
    is("too_large", "src/large/.env");
    is("missing", "missing");
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert_eq!(codes(&report, "not_read").len(), 5);
    let loose = codes(&report, "loose_permissions");
    assert_eq!((loose.len(), loose[0]["files"][0].as_str()), (1, homes.path("src/.env").to_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_fails_a_job_and_feeds_a_collector() {
    let homes = Homes::new();
    let file = homes.path("marque_inventory.prom");
    let metrics = file.display().to_string();
    let said = homes.run("text", &["--fail-on", "shared_credential", "--metrics", &metrics]).await;
    assert!(said.failed().err.contains("shared_credential"));
    let text = read(&file);
    for line in [
        "marque_inventory_shared_credentials 1",
        "marque_inventory_credentials{kind=\"aws_access_key\"} 2",
        "marque_inventory_standing{standing=\"static\"}",
        "marque_inventory_findings{code=\"not_read\"} 0",
        "marque_inventory_last_run_timestamp_seconds ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains(CANARY));
    // On whose behalf these are, nobody has said.
    let workflows = "marque_inventory_stored_secret_workflows";
    assert!(!text.contains(workflows), "{text}");
    let of = ["--metrics", &metrics, "--workflows-of", "prod.example.org"];
    homes.run("text", &of).await.succeeded();
    let counted = &homes.json(&[]).await["counts"]["stored_secret_workflows"];
    let line = format!("{workflows}{{trust_domain=\"prod.example.org\"}} {counted}\n");
    assert!(counted.as_u64() > Some(0) && read(&file).contains(&line), "{}", read(&file));
    // Where something was not read, a number would be too low.
    homes.write("bob/.docker/config.json", "{");
    let said = homes.run("text", &of).await.succeeded();
    assert!(format!("{}{}", said.out, said.err).contains("no number"), "{said:?}");
    assert!(!read(&file).contains(workflows), "{}", read(&file));
    fs::remove_file(homes.path("bob/.docker/config.json")).expect("taken away");
    homes.run("text", &["--fail-on", "not_read,loose_permissions"]).await.succeeded();
    homes.run("text", &["--fail-on", "any"]).await.failed();
    assert_eq!(homes.run("text", &["--fail-on", "nothing"]).await.code, 2);
    assert_eq!(homes.run("text", &["--known", &metrics]).await.code, 2);
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_wrong_field_is_not_shown_and_a_path_may_have_any_bytes() {
    let homes = Homes::new();
    homes.write(
        "bob/.git-credentials",
        &format!(
            "https://ghp_{CANARY}:x-oauth-basic@git.example.org\nhttps://ghp_{CANARY}@git.example.net\n"
        ),
    );
    homes.write(
        "src/.pypirc",
        &format!(
            "[own]\nrepository = https://alice:{CANARY}@index.example.org\npassword = {CANARY}\n"
        ),
    );
    homes.write(
        "src/odd/.env",
        &format!(
            "https://u:{CANARY}@h/?key=AIza{CANARY}\nDATABASE_URL=postgres://app:{CANARY}@db.example.org/app\n"
        ),
    );
    let odd = homes.path("src").join(OsStr::from_bytes(b"\xff"));
    fs::create_dir_all(&odd).expect("a folder");
    fs::write(odd.join(".env"), "API_TOKEN=x1y2z3\n").expect("a file");
    symlink(homes.path("src"), homes.path("alice/.docker")).expect("a linked folder");
    // Whether a secret is in what was said is looked at wherever the command runs.
    let report = homes.json(&[]).await;
    let all = report["credentials"].as_array().expect("credentials");
    let of = |part: &str| {
        all.iter().filter(|one| one["place"]["file"].as_str().unwrap().contains(part)).count()
    };
    assert_eq!((of(".git-credentials"), of("src/odd/.env"), of("\u{fffd}/.env")), (2, 1, 1));
    let problems = report["problems"].as_array().expect("problems").iter();
    let linked: Vec<&str> = problems.filter_map(|one| one["file"].as_str()).collect();
    assert_eq!(linked, [homes.path("alice/.docker").to_str().unwrap()], "{report}");
}
