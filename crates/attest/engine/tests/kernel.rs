//! Real processes in real cgroups, where this machine lets us make one.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::ProcessPin;

/// A container's cgroup, made where the kernel lets us and gone with the test.
struct RealCgroup {
    folder: PathBuf,
    id: String,
}

impl RealCgroup {
    fn make() -> Option<Self> {
        // Another id for each test process and test.
        let id = format!("{:064x}", u128::from(std::process::id()) << 64 | 0xc0);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let writable = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (at, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == "cgroup2" || (kind == "cgroup" && options.contains("name=systemd")))
                .then_some(at)
        });
        for mount in writable {
            let folder = Path::new(mount).join("docker").join(&id);
            if fs::create_dir_all(&folder).is_ok() {
                return Some(Self { folder, id });
            }
        }
        eprintln!("skipped: no cgroup can be made here");
        None
    }

    fn take(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for RealCgroup {
    fn drop(&mut self) {
        // A cgroup whose last process was killed takes a moment to become empty.
        for _ in 0..1000 {
            match fs::remove_dir(&self.folder) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                    std::thread::yield_now();
                }
                _gone_or_not_ours => break,
            }
        }
        if let Some(parent) = self.folder.parent() {
            // Left alone where a real engine has containers in it.
            fs::remove_dir(parent).ok();
        }
    }
}

/// A shell that has its own idea of where its cgroups are mounted.
struct Liar(Child);

impl Drop for Liar {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn a_real_process_in_a_real_cgroup_is_found_and_one_outside_is_not() {
    let stage = Stage::new();
    let Some(cgroup) = RealCgroup::make() else { return };
    for process in [&stage.main, &stage.agent] {
        cgroup.take(process.pid().try_into().unwrap());
    }
    let body = stage.inspected(|body| body["Id"] = json!(cgroup.id));
    let _server = stage.serve(move |_| Reply::Json(200, body.clone()));
    let docker = EngineAttestor::docker(stage.config());
    assert_eq!(docker.selectors(&stage.agent.pin()).await.unwrap().len(), 7);
    let outside = Waiting::start();
    assert!(docker.selectors(&outside.pin()).await.unwrap().is_empty());
    drop(stage);
}

/// The lesson of spire#7060 and #7288: the mount table is whatever the process makes of it.
#[tokio::test]
async fn a_forged_mount_table_puts_no_process_into_a_container() {
    let stage = Stage::new();
    let folder = stage.folder.path().join("docker").join(A);
    fs::create_dir_all(&folder).unwrap();
    let script =
        "mount --make-rprivate / && mount --bind \"$1\" /mnt && echo ready && exec sleep 1000";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(child) = command.spawn() else {
        eprintln!("skipped: unshare is not at hand");
        return;
    };
    let mut liar = Liar(child);
    let mut said = String::new();
    let output = liar.0.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut said).unwrap();
    if said != "ready\n" {
        eprintln!("skipped: no mount namespace can be made here");
        return;
    }
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", liar.0.id())).unwrap();
    assert!(mounts.contains(&format!("/docker/{A}")), "the forgery is in place");
    let server = stage.serve_inspected();
    let pin = ProcessPin::open(liar.0.id().try_into().unwrap()).unwrap();
    assert!(EngineAttestor::docker(stage.config()).selectors(&pin).await.unwrap().is_empty());
    assert_eq!(server.asked(), []);
}
