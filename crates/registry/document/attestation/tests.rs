use std::path::Path;
use std::time::Duration;

use super::AttestationSettings;
use crate::TrustDomainDocument;

const DOCUMENT: &str = include_str!("../../folder/tests/trust-domain.toml");

fn parse(attestation: &str) -> Result<AttestationSettings, String> {
    let text = format!("{DOCUMENT}\n{attestation}");
    let document = TrustDomainDocument::parse(Path::new("t.toml"), &text);
    let lines = DOCUMENT.lines().count() + 1;
    document.map(|document| document.attestation().clone()).map_err(|findings| {
        let told = |finding: &crate::Finding| {
            format!("{}: {}", finding.line.unwrap_or(0).saturating_sub(lines), finding.message)
        };
        findings.iter().map(told).collect::<Vec<_>>().join("\n")
    })
}

#[test]
fn without_a_table_only_unix_attests() {
    let settings = parse("").unwrap();
    assert_eq!(settings, AttestationSettings::default());
    assert_eq!(settings.unix.max_executable_mib, 256);
    assert!(settings.docker.is_none() && settings.podman.is_none());
    assert!(settings.kubernetes.is_none() && settings.log_selectors.is_empty());
}

#[test]
fn an_empty_table_switches_an_attestor_on_with_its_defaults() {
    let text = "[attestation.docker]\n[attestation.podman]\n[attestation.kubernetes]";
    let settings = parse(text).unwrap();
    let (docker, podman) = (settings.docker.unwrap(), settings.podman.unwrap());
    assert_eq!(docker.socket, Path::new("/run/docker.sock"));
    assert_eq!(podman.socket, Path::new("/run/podman/podman.sock"));
    assert_eq!((docker.timeout, docker.max_response_bytes), (Duration::from_secs(5), 1 << 20));
    let kubernetes = settings.kubernetes.unwrap();
    assert_eq!(kubernetes.kubelet.to_string(), "https://127.0.0.1:10250");
    assert_eq!((kubernetes.attempts, kubernetes.interval), (60, Duration::from_millis(500)));
    let auth = kubernetes.auth.unwrap();
    let account = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(auth.ca_file.unwrap(), account.join("ca.crt"));
    assert_eq!(auth.token_file.unwrap(), account.join("token"));
    assert_eq!(auth.server_name, "127.0.0.1");
}

#[test]
fn every_field_is_read() {
    let settings = parse(
        "[attestation]
         log_selectors = [\"unix:uid\", \"k8s:pod-label:app\"]
         [attestation.unix]
         max_executable_mib = 1
         max_concurrent = 2
         max_remembered_digests = 3
         [attestation.docker]
         socket = \"/run/user/1000/docker.sock\"
         timeout = \"2s\"
         max_response_kib = 64
         max_concurrent = 4
         cgroup_root = \"/user.slice/user-1000.slice/user@1000.service\"
         [attestation.kubernetes]
         kubelet = \"https://[::1]:10250\"
         server_name = \"node-1\"
         ca_file = \"/etc/ca.pem\"
         client_certificate_file = \"/etc/client.pem\"
         client_key_file = \"/etc/client.key\"
         timeout = \"3s\"
         max_response_mib = 2
         attempts = 4
         interval_ms = 5
         max_list_age_ms = 0",
    )
    .unwrap();
    assert_eq!(settings.unix.max_executable_mib, 1);
    assert_eq!(settings.unix.max_concurrent, 2);
    assert_eq!(settings.unix.max_remembered_digests, 3);
    let docker = settings.docker.clone().unwrap();
    assert_eq!(docker.socket, Path::new("/run/user/1000/docker.sock"));
    assert_eq!((docker.max_response_bytes, docker.max_concurrent), (64 * 1024, 4));
    assert_eq!(docker.cgroup_root, "/user.slice/user-1000.slice/user@1000.service");
    let kubernetes = settings.kubernetes.clone().unwrap();
    assert_eq!(kubernetes.kubelet.to_string(), "https://[::1]:10250");
    assert_eq!(kubernetes.max_list_age, Duration::ZERO);
    let auth = kubernetes.auth.unwrap();
    assert_eq!((auth.server_name.as_str(), auth.token_file), ("node-1", None));
    assert!(settings.may_log("unix:uid:0") && settings.may_log("k8s:pod-label:app:x"));
    for hidden in ["unix:uidx:0", "unix:user:root", "k8s:pod-label:apps:x", "docker:env:A=b"] {
        assert!(!settings.may_log(hidden), "{hidden}");
    }
}

#[test]
fn a_kubelet_without_tls_is_taken_on_the_loopback_only_and_without_credentials() {
    let text = "[attestation.kubernetes]\nkubelet = \"http://127.0.0.1:10255\"";
    assert_eq!(parse(text).unwrap().kubernetes.unwrap().auth, None);
    let told = parse(&format!("{text}\ntoken_file = \"/token\"")).unwrap_err();
    assert!(told.starts_with("1: `token_file`"), "{told}");
    let told = parse("[attestation.kubernetes]\nkubelet = \"http://192.0.2.1:10255\"").unwrap_err();
    assert!(told.starts_with("2: ") && told.contains("loopback"), "{told}");
}

#[test]
fn verification_of_the_kubelet_is_skipped_by_its_key_alone() {
    let text = "[attestation.kubernetes]\nskip_kubelet_verification = true";
    assert_eq!(parse(text).unwrap().kubernetes.unwrap().auth.unwrap().ca_file, None);
    let told = parse(&format!("{text}\nca_file = \"/ca\"")).unwrap_err();
    assert!(told.starts_with("2: ") && told.contains("contradicts"), "{told}");
}

#[test]
fn the_tables_of_the_host_have_defaults() {
    let settings = parse("").unwrap();
    assert!(settings.systemd.is_none() && settings.script.is_none() && settings.parent.is_none());
    let text = "[attestation.systemd]\n[attestation.script]\n[attestation.parent]";
    let settings = parse(text).unwrap();
    let systemd = settings.systemd.unwrap();
    assert_eq!(systemd.bus, Path::new("/run/dbus/system_bus_socket"));
    assert_eq!((systemd.timeout, systemd.max_concurrent), (Duration::from_secs(2), 16));
    let script = settings.script.unwrap();
    assert_eq!(script.python, [Path::new("/usr/bin/python3")]);
    assert_eq!(script.node, [Path::new("/usr/bin/node")]);
    assert!(script.perl.is_empty() && script.ruby.is_empty());
    assert_eq!((script.max_script_kib, script.max_concurrent), (16_384, 8));
    assert_eq!(settings.parent.unwrap().kinds, [""; 0]);
}

#[test]
fn every_field_of_the_tables_of_the_host_is_read() {
    let settings = parse(
        "[attestation.systemd]
         bus = \"/bus\"
         timeout = \"9s\"
         max_concurrent = 3
         [attestation.script]
         perl = [\"/usr/bin/perl\", \"/usr/bin/perl5\"]
         ruby = [\"/usr/bin/ruby\"]
         max_script_kib = 1
         max_concurrent = 2
         max_remembered_digests = 3
         [attestation.parent]
         kinds = [\"unix\", \"systemd\", \"script\"]",
    )
    .unwrap();
    let systemd = settings.systemd.unwrap();
    assert_eq!((systemd.bus.as_path(), systemd.max_concurrent), (Path::new("/bus"), 3));
    assert_eq!(systemd.timeout, Duration::from_secs(9));
    let script = settings.script.unwrap();
    assert_eq!((script.perl.len(), script.ruby.len()), (2, 1));
    assert!(script.python.is_empty() && script.node.is_empty(), "only those that are named");
    let limits = (script.max_script_kib, script.max_concurrent, script.max_remembered_digests);
    assert_eq!(limits, (1, 2, 3));
    assert_eq!(settings.parent.unwrap().kinds, ["unix", "systemd", "script"]);
}

#[test]
fn every_bad_value_is_a_finding_on_its_line() {
    for (text, line, told) in [
        ("[attestation.systemd]\nbus = \"bus\"", 2, "absolute path"),
        ("[attestation.systemd]\ntimeout = \"61s\"", 2, "at most 60s"),
        ("[attestation.systemd]\nmax_concurrent = 0", 2, "from 1 to 1024"),
        ("[attestation.systemd]\nuser = true", 2, "unknown field"),
        ("[attestation.script]\npython = [\"python3\"]", 2, "absolute path"),
        ("[attestation.script]\nshell = [\"/bin/sh\"]", 2, "unknown field"),
        ("[attestation.script]\nmax_script_kib = 0", 2, "from 1 to 1048576"),
        ("[attestation.script]\nmax_concurrent = 1025", 2, "from 1 to 1024"),
        ("[attestation.script]\nmax_remembered_digests = 0", 2, "from 1 to 1000000"),
        ("[attestation.parent]\nkinds = [\"systemd\"]", 1, "no attestor that is on"),
        ("[attestation.parent]\nkinds = [\"parent\"]", 1, "no attestor that is on"),
        ("[attestation.parent]\nkind = \"unix\"", 2, "unknown field"),
        ("[attestation]\ndocker = 1", 2, "must be a table"),
        ("[attestation]\nloq_selectors = []", 2, "unknown field `loq_selectors`"),
        ("[attestation]\nlog_selectors = [\"unix\"]", 2, "is not the start of a selector"),
        ("[attestation]\nlog_selectors = [\"unix:\"]", 2, "is not the start of a selector"),
        ("[attestation]\nlog_selectors = [\"unix:uid:\"]", 2, "is not the start of a selector"),
        ("[attestation.unix]\nmax_executable_mib = 0", 2, "from 1 to 65536"),
        ("[attestation.unix]\nmax_executable_mib = 65537", 2, "from 1 to 65536"),
        ("[attestation.docker]\nsocket = \"docker.sock\"", 2, "absolute path"),
        ("[attestation.docker]\n\ntimeout = \"61s\"", 3, "at most 60s"),
        ("[attestation.docker]\nmax_response_kib = 3", 2, "from 4 to 65536"),
        ("[attestation.podman]\ncgroup_root = \"/a/../b\"", 2, "cgroup path"),
        ("[attestation.podman]\nunknown = 1", 2, "unknown field"),
        ("[attestation.kubernetes]\nkubelet = \"127.0.0.1\"", 2, "https://host:port"),
        ("[attestation.kubernetes]\nkubelet = \"https://node/x:1\"", 2, "https://host:port"),
        ("[attestation.kubernetes]\nclient_key_file = \"/k\"", 1, "needs both"),
        ("[attestation.kubernetes]\nskip_kubelet_verification = \"yes\"", 2, "true or false"),
        ("[attestation.kubernetes]\nmax_list_age_ms = 1001", 2, "from 0 to 1000"),
        ("[attestation.kubernetes]\nattempts = 0", 2, "from 1 to 1000"),
        ("[attestation.kubernetes]\nserver_name = \"no name\"", 2, "DNS name"),
    ] {
        let found = parse(text).unwrap_err();
        assert!(found.starts_with(&format!("{line}: ")) && found.contains(told), "{text}: {found}");
    }
}

#[test]
fn more_interpreters_than_can_be_looked_for_are_a_finding() {
    let named = |count| {
        let paths: Vec<_> = (0..count).map(|n| format!("\"/usr/bin/python{n}\"")).collect();
        parse(&format!("[attestation.script]\npython = [{}]", paths.join(", ")))
    };
    assert_eq!(named(64).unwrap().script.unwrap().python.len(), 64);
    let found = named(65).unwrap_err();
    assert!(found.contains("more than 64 interpreters"), "{found}");
}
