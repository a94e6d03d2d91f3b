use proptest::prelude::*;

use super::{CgroupError, CgroupRoot, Cgroups, ContainerId, PodUid, Runtime};

/// The ids of `testdata/cgroup`.
const A: &str = "3f1b6f0c8f0f4e6f9a0d4c1e2b7a58c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb0123456789abcdef0123456789abcdef";
const POD: &str = "6f1c0a52-9d3e-4b7a-8c21-5e0f7a9b3d14";
const STATIC_POD: &str = "d2f1e0c9b8a7968574635241302f1e0d";
const USER: &str = "/user.slice/user-1000.slice/user@1000.service";

/// What is said of a process: the runtime, the container and the pod.
type Said = Option<(Runtime, String, Option<String>)>;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/testdata/cgroup/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn said(bytes: &[u8], root: &str) -> Result<Said, CgroupError> {
    let found = Cgroups::parse(bytes)?.container(&CgroupRoot::new(root))?;
    Ok(found.map(|found| {
        let pod = found.pod().map(ToString::to_string);
        (found.runtime(), found.id().to_string(), pod)
    }))
}

fn container(runtime: Runtime, id: &str, pod: Option<&str>) -> Result<Said, CgroupError> {
    Ok(Some((runtime, id.to_owned(), pod.map(ToOwned::to_owned))))
}

#[test]
fn every_known_layout_names_its_container() {
    use Runtime::{Containerd, CriO, Docker, Pod, Podman};
    for (name, runtime, id, pod) in [
        ("docker-cgroupfs-v1", Docker, A, None),
        ("docker-cgroupfs-v2", Docker, A, None),
        ("docker-systemd-v1-hybrid", Docker, A, None),
        ("docker-systemd-v2", Docker, A, None),
        ("docker-systemd-v2-inner", Docker, A, None),
        ("docker-own-parent-v2", Docker, A, None),
        ("podman-systemd-v1", Podman, A, None),
        ("podman-systemd-v2", Podman, A, None),
        ("podman-pod-v2", Podman, A, None),
        ("podman-cgroupfs-v1", Podman, A, None),
        ("podman-split-v2", Podman, A, None),
        ("k8s-containerd-systemd-burstable-v2", Containerd, A, Some(POD)),
        ("k8s-containerd-systemd-besteffort-v1", Containerd, A, Some(POD)),
        ("k8s-containerd-systemd-guaranteed-v2", Containerd, A, Some(POD)),
        ("k8s-containerd-cgroupfs-burstable-v1", Pod, A, Some(POD)),
        ("k8s-containerd-cgroupfs-guaranteed-v2", Pod, A, Some(POD)),
        ("k8s-containerd-mixed-drivers-v1", Containerd, A, Some(POD)),
        ("k8s-containerd-mixed-drivers-v2", Containerd, A, Some(POD)),
        ("k8s-crio-systemd-v2", CriO, A, Some(POD)),
        ("k8s-crio-cgroupfs-v1", CriO, A, Some(POD)),
        ("k8s-cri-dockerd-v2", Docker, A, Some(POD)),
        ("k8s-static-pod-v2", Containerd, A, Some(STATIC_POD)),
        ("kind-node-inside-v2", Containerd, A, Some(POD)),
        ("kind-node-inside-cgroupfs-v1", Pod, A, Some(POD)),
    ] {
        assert_eq!(said(&file(name), "/"), container(runtime, id, pod), "{name}");
    }
}

#[test]
fn the_outermost_container_is_the_one_that_counts() {
    use Runtime::{Containerd, Docker};
    for (name, runtime, id, pod) in [
        ("docker-in-docker-v2", Docker, A, None),
        ("dind-in-a-pod-v2", Containerd, A, Some(POD)),
        ("kind-seen-from-the-host-v2", Docker, B, None),
    ] {
        assert_eq!(said(&file(name), "/"), container(runtime, id, pod), "{name}");
    }
    // To an engine that itself lives in a container, what is below is its own.
    let node = format!("/system.slice/docker-{B}.scope");
    let told = said(&file("kind-seen-from-the-host-v2"), &node);
    assert_eq!(told, container(Containerd, A, Some(POD)));
}

#[test]
fn processes_outside_any_container_and_monitors_are_in_none() {
    for name in [
        "host-session-v2",
        "host-service-v1",
        "podman-conmon-v2",
        "podman-cgroupfs-conmon-v1",
        "podman-split-conmon-v2",
        "k8s-crio-conmon-v2",
        "k8s-kubelet-itself-v2",
    ] {
        assert_eq!(said(&file(name), "/"), Ok(None), "{name}");
    }
    assert_eq!(said(&file("podman-rootless-conmon-v2"), USER), Ok(None));
}

#[test]
fn names_in_cgroups_that_a_user_owns_name_no_container() {
    for name in [
        "forged-docker-in-a-user-slice-v2",
        "forged-docker-path-in-a-user-slice-v2",
        "forged-pod-in-a-user-slice-v2",
        "forged-split-in-a-user-slice-v2",
        "forged-pod-in-a-delegated-service-v2",
        "forged-docker-in-a-delegated-service-v2",
        "forged-in-a-session-scope-v1",
        "forged-below-an-unknown-root-v2",
        "docker-rootless-v2",
        "podman-rootless-v2",
    ] {
        assert_eq!(said(&file(name), "/"), Ok(None), "{name}");
    }
}

#[test]
fn a_users_own_engine_is_known_where_it_is_configured_and_nowhere_else() {
    let told = said(&file("podman-rootless-v2"), USER);
    assert_eq!(told, container(Runtime::Podman, A, None));
    let told = said(&file("docker-rootless-v2"), USER);
    assert_eq!(told, container(Runtime::Docker, A, None));
    for name in ["podman-systemd-v2", "docker-systemd-v2", "docker-cgroupfs-v2"] {
        assert_eq!(said(&file(name), USER), Ok(None), "{name}");
    }
    let other = USER.replace("1000", "1001");
    assert_eq!(said(&file("podman-rootless-v2"), &other), Ok(None));
    // A prefix of a name is not a prefix of the path.
    let cut = USER.strip_suffix("ice").unwrap();
    assert_eq!(said(&file("podman-rootless-v2"), cut), Ok(None));
}

#[test]
fn two_containers_in_one_file_are_refused_never_guessed() {
    for name in [
        "conflict-of-two-docker-ids-v1",
        "conflict-of-pod-and-docker-v1",
        "conflict-of-two-pods-v1",
    ] {
        assert_eq!(said(&file(name), "/"), Err(CgroupError::Conflict), "{name}");
    }
}

#[test]
fn a_path_out_of_the_cgroup_namespace_is_refused() {
    for name in ["outside-the-namespace-v1", "outside-the-namespace-v2"] {
        assert_eq!(said(&file(name), "/"), Err(CgroupError::OutsideNamespace), "{name}");
    }
    for path in ["/..", "/docker/..", "/a/./b"] {
        let text = format!("0::{path}\n");
        assert_eq!(said(text.as_bytes(), "/"), Err(CgroupError::OutsideNamespace), "{path}");
    }
}

#[test]
fn what_is_no_cgroup_file_is_refused() {
    let hierarchies = |count: usize| "1:x:/\n".repeat(count);
    for text in [
        "",
        "\n",
        "0::/docker",
        "0::docker\n",
        "0:/\n",
        "x::/\n",
        "-1::/\n",
        "+1::/\n",
        "0::/a//b\n",
        "0::/a/\n",
        "0::/\n\n",
        "4294967296::/\n",
        &hierarchies(65),
        &format!("0::/{}\n", "x".repeat(64 * 1024)),
    ] {
        assert_eq!(said(text.as_bytes(), "/"), Err(CgroupError::Malformed), "{text:.40}");
    }
    assert_eq!(said(hierarchies(64).as_bytes(), "/"), Ok(None));
}

#[test]
fn a_name_that_is_almost_an_id_is_none() {
    let short = A.strip_prefix('3').unwrap();
    for id in [short, &format!("{A}0"), &A.to_uppercase(), &format!("{short}g"), ""] {
        for path in [format!("/docker/{id}x"), format!("/system.slice/docker-{id}.scope")] {
            assert_eq!(said(format!("0::{path}\n").as_bytes(), "/"), Ok(None), "{path}");
        }
        assert_eq!(ContainerId::new(id), None, "{id}");
    }
    for uid in ["", "6f1c0a52", &POD.to_uppercase(), &format!("{POD}-"), short] {
        assert_eq!(PodUid::new(uid), None, "{uid}");
    }
}

#[test]
fn names_that_are_not_utf8_are_no_obstacle_below_and_no_help_above() {
    let mut below = format!("0::/docker/{A}/").into_bytes();
    below.extend_from_slice(b"\xff\xfe\n");
    assert_eq!(said(&below, "/"), container(Runtime::Docker, A, None));
    let mut above = b"0::/\xff/docker/".to_vec();
    above.extend_from_slice(format!("{A}\n").as_bytes());
    assert_eq!(said(&above, "/"), Ok(None));
}

#[test]
fn the_same_name_elsewhere_is_not_the_same_place() {
    let of = |text: &str| {
        let cgroups = Cgroups::parse(text.as_bytes()).unwrap();
        cgroups.container(&CgroupRoot::default()).unwrap().unwrap()
    };
    let init = of(&format!("0::/system.slice/a.service/libpod-payload-{A}\n"));
    let inner = of(&format!("0::/system.slice/a.service/libpod-payload-{A}/deeper\n"));
    let forged = of(&format!("0::/system.slice/b.service/libpod-payload-{A}\n"));
    assert!(init.is_same_place(&inner));
    assert!(!init.is_same_place(&forged));
    // Nor is it when one hierarchy of several is missing.
    let v1 = of(&format!("2:memory:/docker/{A}\n1:name=systemd:/docker/{A}\n"));
    let part = of(&format!("2:memory:/\n1:name=systemd:/docker/{A}\n"));
    assert!(!v1.is_same_place(&part));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ignored = said(&bytes, "/").is_ok();
    }

    #[test]
    fn arbitrary_paths_of_likely_names_never_panic_and_name_only_whole_ids(
        names in proptest::collection::vec(
            prop_oneof![
                Just("docker".to_owned()), Just("kubepods".to_owned()), Just("burstable".to_owned()),
                Just("system.slice".to_owned()), Just("user.slice".to_owned()),
                Just("x.service".to_owned()), Just(A.to_owned()), Just(format!("pod{POD}")),
                Just(format!("docker-{A}.scope")), Just(format!("libpod-payload-{A}")),
                Just(format!("kubepods-pod{STATIC_POD}.slice")),
                Just(format!("cri-containerd-{B}.scope")), "[a-f0-9:.-]{1,70}",
            ],
            0..6,
        ),
    ) {
        let text = format!("0::/{}\n", names.join("/"));
        if let Ok(Some((_, id, _))) = said(text.as_bytes(), "/") {
            prop_assert!(text.contains(&id) && ContainerId::new(&id).is_some());
        }
    }
}
