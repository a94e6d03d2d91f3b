//! The attestors of a trust domain, as its document's `[attestation]` has them.
//!
//! Deliberately absent: opening anything. An engine or kubelet that is not there yet is found when
//! it is asked; until then its attestor refuses, which says so in the log.

use std::sync::Arc;

use marque_attest::cgroup::CgroupRoot;
use marque_attest::{
    Attestor, Attestors, EngineAttestor, EngineConfig, FRESH_FOR, Kubelet, KubeletTls,
    KubernetesAttestor, KubernetesConfig, UnixAttestor, UnixAttestorConfig,
};
use marque_attest::{
    Interpreter, Language, ParentAttestor, ParentAttestorConfig, ScriptAttestor,
    ScriptAttestorConfig, SystemdAttestor, SystemdAttestorConfig,
};
use marque_registry::{AttestationSettings, EngineSettings, KubernetesSettings, UnixSettings};
use marque_registry::{ParentSettings, ScriptSettings, SystemdSettings};
use marque_spiffe::Clock;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The attestors in the order in which they are asked.
pub(crate) fn of(settings: &AttestationSettings, clock: &Arc<dyn Clock>) -> Attestors {
    let mut attestors: Vec<Arc<dyn Attestor>> = vec![Arc::new(unix(&settings.unix))];
    if let Some(script) = &settings.script {
        attestors.push(Arc::new(self::script(script, clock)));
    }
    if let Some(systemd) = &settings.systemd {
        attestors.push(Arc::new(self::systemd(systemd)));
    }
    if let Some(docker) = &settings.docker {
        attestors.push(Arc::new(EngineAttestor::docker(engine(docker))));
    }
    if let Some(podman) = &settings.podman {
        attestors.push(Arc::new(EngineAttestor::podman(engine(podman))));
    }
    let kubernetes = settings.kubernetes.as_ref().map(|settings| Arc::new(kubernetes(settings)));
    if let Some(kubernetes) = &kubernetes {
        attestors.push(Arc::clone(kubernetes) as Arc<dyn Attestor>);
    }
    if let Some(parent) = &settings.parent {
        let parent = self::parent(parent, &attestors);
        attestors.push(Arc::new(parent));
    }
    let boxed = |attestor| Box::new(attestor) as Box<dyn Attestor>;
    let attestors = Attestors::new(attestors.into_iter().map(boxed).collect());
    let attestors = attestors.fresh_for(FRESH_FOR);
    match kubernetes {
        Some(kubernetes) => attestors.with_objects(kubernetes),
        None => attestors,
    }
}

fn systemd(settings: &SystemdSettings) -> SystemdAttestor {
    SystemdAttestor::new(SystemdAttestorConfig {
        bus: settings.bus.clone(),
        timeout: settings.timeout,
        max_concurrent: settings.max_concurrent.try_into().unwrap_or(usize::MAX),
    })
}

fn script(settings: &ScriptSettings, clock: &Arc<dyn Clock>) -> ScriptAttestor {
    let by_language = [
        (&settings.python, Language::Python),
        (&settings.node, Language::Node),
        (&settings.perl, Language::Perl),
        (&settings.ruby, Language::Ruby),
    ];
    let interpreters = by_language.into_iter().flat_map(|(paths, language)| {
        paths.iter().map(move |path| Interpreter { path: path.clone(), language })
    });
    let config = ScriptAttestorConfig {
        interpreters: interpreters.collect(),
        max_script_size: u64::from(settings.max_script_kib) * KIB,
        max_concurrent: settings.max_concurrent.try_into().unwrap_or(usize::MAX),
        max_remembered_digests: settings.max_remembered_digests.into(),
    };
    ScriptAttestor::new(config, Arc::clone(clock))
}

fn parent(settings: &ParentSettings, attestors: &[Arc<dyn Attestor>]) -> ParentAttestor {
    ParentAttestor::new(&ParentAttestorConfig { kinds: settings.kinds.clone() }, attestors)
}

fn unix(settings: &UnixSettings) -> UnixAttestor {
    UnixAttestor::new(UnixAttestorConfig {
        max_executable_size: u64::from(settings.max_executable_mib) * MIB,
        max_concurrent: settings.max_concurrent.try_into().unwrap_or(usize::MAX),
        max_remembered_digests: settings.max_remembered_digests.into(),
    })
}

fn engine(settings: &EngineSettings) -> EngineConfig {
    EngineConfig {
        socket: settings.socket.clone(),
        timeout: settings.timeout,
        max_response: settings.max_response_bytes,
        max_concurrent: settings.max_concurrent.try_into().unwrap_or(usize::MAX),
        cgroup_root: CgroupRoot::new(&settings.cgroup_root),
    }
}

fn kubernetes(settings: &KubernetesSettings) -> KubernetesAttestor {
    let tls = settings.auth.as_ref().map(|auth| KubeletTls {
        ca_file: auth.ca_file.clone(),
        server_name: auth.server_name.clone(),
        token_file: auth.token_file.clone(),
        client_certificate: auth.client_certificate.clone(),
    });
    if tls.as_ref().is_some_and(|tls| tls.ca_file.is_none()) {
        tracing::warn!(
            kubelet = %settings.kubelet,
            "the kubelet is not verified: whoever answers at its address decides what pods are"
        );
    }
    let kubelet = Kubelet {
        host: settings.kubelet.host().to_owned(),
        port: settings.kubelet.port(),
        tls,
        timeout: settings.timeout,
        max_response: settings.max_response_bytes,
    };
    let config = KubernetesConfig {
        attempts: settings.attempts,
        interval: settings.interval,
        max_list_age: settings.max_list_age,
        cgroup_root: CgroupRoot::new(&settings.cgroup_root),
    };
    KubernetesAttestor::new(kubelet, config)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use marque_attest::{AttestError, KubernetesObject};
    use marque_registry::TrustDomainDocument;

    use super::*;

    /// What a shipped document with more in it says.
    fn settings(more: &str) -> AttestationSettings {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("trust-domains/dev.example.org/trust-domain.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let document = TrustDomainDocument::parse(&file, &format!("{text}\n{more}")).unwrap();
        document.attestation().clone()
    }

    fn attestors(more: &str) -> Attestors {
        let clock: Arc<dyn Clock> = Arc::new(marque_testkit::FixedClock::default());
        of(&settings(more), &clock)
    }

    fn kinds(more: &str) -> Vec<&'static str> {
        attestors(more).kinds()
    }

    #[test]
    fn a_table_that_is_there_switches_its_attestor_on() {
        assert_eq!(kinds(""), ["unix"]);
        assert_eq!(kinds("[attestation.docker]"), ["unix", "docker"]);
        assert_eq!(kinds("[attestation.podman]"), ["unix", "podman"]);
        assert_eq!(kinds("[attestation.kubernetes]"), ["unix", "k8s"]);
        assert_eq!(kinds("[attestation.systemd]"), ["unix", "systemd"]);
        assert_eq!(kinds("[attestation.script]"), ["unix", "script"]);
        assert_eq!(kinds("[attestation.parent]"), ["unix", "parent"]);
        let all = "[attestation.kubernetes]\n[attestation.podman]\n[attestation.docker]\n\
                   [attestation.parent]\n[attestation.script]\n[attestation.systemd]";
        let expected = ["unix", "script", "systemd", "docker", "podman", "k8s", "parent"];
        assert_eq!(kinds(all), expected);
    }

    #[tokio::test]
    async fn br_3_pods_are_known_by_name_only_where_there_is_a_kubelet() {
        let object = KubernetesObject {
            resource: "pods".to_owned(),
            namespace: "agents".to_owned(),
            name: "build".to_owned(),
            ..KubernetesObject::default()
        };
        let without = attestors("").attest_kubernetes(&object).await.unwrap_err();
        assert!(matches!(without, AttestError::UnsupportedObject), "{without}");
        // Port 0 is nobody's, so this kubelet is known and does not answer.
        let kubelet = "[attestation.kubernetes]\nkubelet = \"http://127.0.0.1:0\"";
        let with = attestors(kubelet).attest_kubernetes(&object).await.unwrap_err();
        assert!(matches!(with, AttestError::Source { attestor: "k8s", .. }), "{with}");
    }
}
