//! What a folder of policies has to be, and what is refused in it.

use std::fs;

use super::super::*;
use super::{ASK, AUTO, dev, folder, folder_with, point, prod};

#[test]
fn every_policy_has_an_id_of_its_own_and_a_finding_names_file_and_line() {
    refused("", "\npermit (principal, action, resource);", "gate.cedar:2: the policy has no `@id");
    let twice = format!("{AUTO}{AUTO}");
    let found = findings("", &twice);
    assert!(found[0].starts_with("gate.cedar:4: the id `auto` is taken by "), "{found:?}");
    let across = "@id(\"auto\")\n@code(\"blackout\")\nforbid (principal, action, resource);";
    refused(across, AUTO, "gate.cedar:1: the id `auto` is taken by");
    refused(
        "",
        "@id(\"No Spaces\")\n@tier(\"ask\")\npermit (principal, action, resource);",
        "an id has 1 to 64",
    );
}

#[test]
fn annotations_are_required_and_checked() {
    refused(
        "",
        "@id(\"x\")\npermit (principal, action, resource);",
        "gate.cedar:1: `x` has no `@tier",
    );
    refused(
        "",
        "@id(\"x\")\n@tier(\"maybe\")\npermit (principal, action, resource);",
        "`maybe` is no tier",
    );
    refused(
        "@id(\"x\")\nforbid (principal, action, resource);",
        "",
        "hard.cedar:1: `x` has no `@code",
    );
    refused(
        "@id(\"x\")\n@code(\"because\")\nforbid (principal, action, resource);",
        "",
        "`because` is no denial code",
    );
}

#[test]
fn each_file_has_its_own_effect() {
    refused(&AUTO.replace("@tier", "@code"), "", "hard.cedar:1: `auto` permits");
    let forbid = "@id(\"x\")\n@tier(\"auto\")\nforbid (principal, action, resource);";
    refused("", forbid, "gate.cedar:1: `x` forbids");
}

#[test]
fn a_policy_that_does_not_validate_strictly_refuses_the_folder() {
    let gate = |condition: &str| {
        format!(
            "\n\n@id(\"x\")\n@tier(\"ask\")\npermit (principal, action == Marque::Action::\"request\", resource)\n\
             when {{ {condition} }};"
        )
    };
    refused("", &gate("context.riks < 30"), "gate.cedar:3: ");
    refused("", &gate("context.risk < \"30\""), "gate.cedar:3: ");
    refused("", &gate("resource.secret"), "gate.cedar:3: ");
    refused("", &gate("principal == Marque::Human::\"alice\""), "gate.cedar:3: ");
    // A policy that can never hold is a mistake, although Cedar only warns of it.
    refused("", &gate("context.risk < 1 && false"), "gate.cedar:3: ");
    refused(
        "",
        "@id(\"x\")\n@tier(\"ask\")\npermit (principal, action, resource",
        "gate.cedar:1: ",
    );
    refused(
        "",
        "@id(\"x\")\n@tier(\"ask\")\npermit (principal == ?principal, action, resource);",
        "gate.cedar:1: ",
    );
}

#[test]
fn a_folder_without_its_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let found = CedarDecisionPoint::load(dir.path()).unwrap_err();
    assert_eq!(found.len(), 2, "{found:?}");
    let dir = folder("", "");
    fs::write(dir.path().join("schema.cedarschema"), "entity Agent = {").unwrap();
    assert!(CedarDecisionPoint::load(dir.path()).is_err());
}

#[test]
fn files_and_policies_have_their_limits() {
    let dir = folder("", "");
    fs::write(dir.path().join("hard.cedar"), format!("//{}", "x".repeat(256 * 1024 - 2))).unwrap();
    assert!(CedarDecisionPoint::load(dir.path()).is_ok());
    fs::write(dir.path().join("hard.cedar"), format!("//{}", "x".repeat(256 * 1024 - 1))).unwrap();
    assert!(CedarDecisionPoint::load(dir.path()).is_err());

    let many = |count: usize| {
        (0..count).map(|n| ASK.replace("ask\")\n@", &format!("p{n}\")\n@"))).collect::<String>()
    };
    assert!(CedarDecisionPoint::load(folder("", &many(500)).path()).is_ok());
    refused("", &many(501), "more than 500 policies");
}

#[test]
fn a_policy_that_nobody_would_read_is_a_finding() {
    let forbid =
        "@id(\"own\")\n@code(\"purpose_mismatch\")\nforbid (principal, action, resource);\n";
    for file in [
        "more.cedar",
        "Hard.cedar",
        "hard.CEDAR",
        "extra/hard.cedar",
        "rego/own.rego",
        "playbooks/x/deny.cedar",
        "playbooks/x/own.rego",
        "playbooks/x/hard/hard.cedar",
    ] {
        let dir = folder_with("", AUTO, file, forbid);
        fs::create_dir_all(dir.path().join("playbooks/x")).unwrap();
        fs::write(dir.path().join("playbooks/x/hard.cedar"), "").unwrap();
        let found = CedarDecisionPoint::load(dir.path()).unwrap_err();
        assert!(found.iter().any(|one| one.message.contains("is not read")), "{file}: {found:?}");
    }
    let dir = folder_with("", AUTO, "README.md", "# Policies");
    assert!(CedarDecisionPoint::load(dir.path()).is_ok());
}

#[cfg(not(feature = "rego"))]
#[test]
fn a_build_without_rego_refuses_a_folder_with_it() {
    let dir = folder_with("", AUTO, "own.rego", "package marque\nallow := true\n");
    let found = CedarDecisionPoint::load(dir.path()).unwrap_err();
    assert!(found[0].message.contains("without the feature `rego`"), "{found:?}");
}

#[test]
fn the_digest_is_over_every_file() {
    let digest = |hard: &str, gate: &str| *point(hard, gate).set_digest();
    assert_eq!(digest("", AUTO), digest("", AUTO));
    assert_ne!(digest("", AUTO), digest("", &format!("{AUTO}// edited\n")));
    assert_ne!(digest("", AUTO), digest("// edited\n", AUTO));
    assert_ne!(prod().set_digest(), dev().set_digest());
}

#[test]
fn the_ids_of_every_policy_can_be_listed() {
    let point =
        point("@id(\"h\")\n@code(\"blackout\")\nforbid (principal, action, resource);", AUTO);
    let ids: Vec<&str> = point.policies().map(|policy| policy.id.as_str()).collect();
    assert_eq!(ids, ["h", "auto"]);
}

#[test]
fn m_86_a_gate_does_not_look_at_the_agents_own_confidence() {
    let looks = "@id(\"sure\")\n@tier(\"auto\")\npermit (principal, action == Marque::Action::\"request\", resource)\n\
                 when { context has confidence && context.confidence > 90 };\n";
    refused("", looks, "only counts against it");
    let hard = looks.replace("@tier(\"auto\")\npermit", "@code(\"confidence_too_low\")\nforbid");
    point(&hard.replace("> 90", "< 90"), AUTO);
}

#[test]
fn a_schema_of_another_version_and_broken_relations_are_refused() {
    let dir = folder_with("", AUTO, "schema.cedarschema", &format!("{SCHEMA}// more\n"));
    assert!(CedarDecisionPoint::load(dir.path()).is_err());
    for (text, because) in [
        ("[[thing]]\nid = \"account\"\n", "kind:name"),
        ("[[thing]]\nid = \"a:b\"\n[thing.relations]\nowner = []\n", "names somebody"),
        (
            "[[thing]]\nid = \"a:b\"\n[thing.relations]\n\"Account Owner\" = [\"x\"]\n",
            "no relation",
        ),
        ("[[thing]]\nid = \"a:b\"\nowner = \"x\"\n", "unknown field"),
        ("[[thing]]\nid = \"a:b\"\n[[thing]]\nid = \"a:b\"\n", "too"),
        (
            "[[thing]]\nid = \"a:b\"\nin = [\"a:c\"]\n[[thing]]\nid = \"a:c\"\nin = [\"a:b\"]\n",
            "cycle",
        ),
    ] {
        let dir = folder_with("", AUTO, "relations/one.toml", text);
        let found = CedarDecisionPoint::load(dir.path()).unwrap_err();
        let told: String = found.iter().map(|one| one.to_string()).collect();
        assert!(told.contains(because), "{text}: {told}");
    }
}

/// The findings, as `file:line: message` without the folder.
fn findings(hard: &str, gate: &str) -> Vec<String> {
    let dir = folder(hard, gate);
    let found = CedarDecisionPoint::load(dir.path()).unwrap_err();
    let prefix = format!("{}/", dir.path().display());
    found.iter().map(|finding| finding.to_string().replace(&prefix, "")).collect()
}

#[track_caller]
pub(super) fn refused(hard: &str, gate: &str, expected: &str) {
    let found = findings(hard, gate);
    assert!(found.iter().any(|finding| finding.contains(expected)), "{found:?}");
}
