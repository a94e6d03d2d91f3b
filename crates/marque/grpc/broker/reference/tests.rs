use prost::Message;

use super::super::super::proto::broker as proto;
use super::{Any, KUBERNETES, MAX_NAME_BYTES, PID, Reference, ReferenceError};

fn read(type_url: &str, message: &impl Message) -> Result<Reference, ReferenceError> {
    let any = Any { type_url: type_url.to_owned(), value: message.encode_to_vec() };
    Reference::read(Some(proto::WorkloadReference { reference: Some(any) }))
}

fn pod(
    change: impl FnOnce(&mut proto::KubernetesObjectReference),
) -> Result<Reference, ReferenceError> {
    let kind = proto::KubernetesObjectType { plural: "pods".into(), group: "core".into() };
    let key = proto::KubernetesObjectKey { namespace: "shop".into(), name: "cart".into() };
    let mut reference =
        proto::KubernetesObjectReference { r#type: Some(kind), key: Some(key), uid: "one".into() };
    change(&mut reference);
    read(&format!("type.googleapis.com/{KUBERNETES}"), &reference)
}

#[test]
fn br_3_the_type_is_what_follows_the_last_slash() {
    let pid = proto::WorkloadPidReference { pid: 7 };
    for place in ["type.googleapis.com/", "/", "example.org/a/b/"] {
        assert_eq!(read(&format!("{place}{PID}"), &pid), Ok(Reference::Pid(7)), "{place}");
    }
    for unknown in [PID.to_owned(), format!("x/{PID}/"), format!("x/{}", PID.to_lowercase())] {
        assert_eq!(read(&unknown, &pid), Err(ReferenceError::UnknownType), "{unknown}");
    }
    assert!(matches!(read("", &pid), Err(ReferenceError::Missing(_))));
}

#[test]
fn br_3_a_process_id_is_positive() {
    let url = format!("type.googleapis.com/{PID}");
    for pid in [i32::MIN, -1, 0] {
        let found = read(&url, &proto::WorkloadPidReference { pid });
        assert_eq!(found, Err(ReferenceError::Pid), "{pid}");
    }
    for pid in [1, i32::MAX] {
        let found = read(&url, &proto::WorkloadPidReference { pid });
        assert_eq!(found, Ok(Reference::Pid(pid)));
    }
}

#[test]
fn br_3_a_kubernetes_object_has_a_type_and_a_key_or_a_uid() {
    let Ok(Reference::Kubernetes(object)) = pod(|_| {}) else { panic!("a pod") };
    assert_eq!((object.resource.as_str(), object.group.as_str()), ("pods", ""));
    assert_eq!((object.namespace.as_str(), object.name.as_str()), ("shop", "cart"));
    assert_eq!(object.uid, "one");
    pod(|reference| reference.uid.clear()).unwrap();
    pod(|reference| reference.key = None).unwrap();
    let missing: [fn(&mut proto::KubernetesObjectReference); 6] = [
        |reference| reference.r#type = None,
        |reference| reference.r#type.as_mut().unwrap().plural.clear(),
        |reference| reference.r#type.as_mut().unwrap().group.clear(),
        |reference| reference.key.as_mut().unwrap().namespace.clear(),
        |reference| reference.key.as_mut().unwrap().name.clear(),
        |reference| {
            reference.key = None;
            reference.uid.clear();
        },
    ];
    for change in missing {
        assert!(matches!(pod(change), Err(ReferenceError::Missing(_))));
    }
    let long = |bytes: usize| pod(|reference| reference.uid = "u".repeat(bytes));
    long(MAX_NAME_BYTES).unwrap();
    assert_eq!(long(MAX_NAME_BYTES + 1), Err(ReferenceError::TooLong("uid")));
}
