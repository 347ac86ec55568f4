use super::*;

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e47364bf92f3577b34da6a3ce929d0e0e4736";
const OUTER: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const UID: &str = "6f2a0f5e-0001-4b3c-8d9e-0123456789ab";
const UID_OF_SLICE: &str = "6f2a0f5e_0001_4b3c_8d9e_0123456789ab";
const UID_OF_FILE: &str = "0123456789abcdef0123456789abcdef";

/// Container, runtime, name, unit, pod and service of a path in which `ID`, `OUTER`, `UID`, `UID_` and `FILE` stand for the
/// constants.
type Told<'a> =
    (Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn written(path: &str) -> String {
    let names = [("OUTER", OUTER), ("UID_", UID_OF_SLICE), ("UID", UID), ("FILE", UID_OF_FILE), ("ID", ID)];
    names.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
}

#[track_caller]
fn tells(path: &str, wanted: Told<'_>) {
    let place = Place::of(&written(path));
    let is = (
        place.container_id.as_deref(),
        place.runtime,
        place.container.as_deref(),
        place.unit.as_deref(),
        place.pod_uid.as_deref(),
        place.service(),
    );
    let wanted_unit = wanted.3.map(written);
    assert_eq!(is, (wanted.0, wanted.1, wanted.2, wanted_unit.as_deref(), wanted.4, wanted.5), "{path}");
}

const NOTHING: Told<'_> = (None, None, None, None, None, None);

/// A container with an id, in no pod and unit.
fn container(runtime: &str) -> Told<'_> {
    (Some(ID), Some(runtime), None, None, None, None)
}

/// The same, in a scope.
fn scope<'a>(runtime: &'a str, unit: &'a str) -> Told<'a> {
    (Some(ID), Some(runtime), None, Some(unit), None, None)
}

/// The same, in a pod.
fn pod<'a>(runtime: Option<&'a str>, unit: Option<&'a str>) -> Told<'a> {
    (Some(ID), runtime, None, unit, Some(UID), None)
}

/// A unit, and the service that it names.
fn unit<'a>(unit: &'a str, service: Option<&'a str>) -> Told<'a> {
    (None, None, None, Some(unit), None, service)
}

#[test]
fn containers_of_docker() {
    tells("/docker/ID", container("docker"));
    tells("/docker/ID/init.scope", scope("docker", "init.scope"));
    tells("/system.slice/docker-ID.scope", scope("docker", "docker-ID.scope"));
    tells("/system.slice/docker.service/docker/ID", scope("docker", "docker.service"));
    tells("/actions_job/ID", (Some(ID), None, None, None, None, None));
    tells("/ecs/5f0c6f0a/ID", (Some(ID), None, None, None, None, None));
    tells(
        "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
        scope("docker", "docker-ID.scope"),
    );
    tells("/system.slice/docker.service", unit("docker.service", Some("docker")));
}

#[test]
fn containers_of_containerd() {
    tells("/default/ID", container("containerd"));
    tells("/k8s.io/ID", container("containerd"));
    tells("/system.slice/nerdctl-ID.scope", scope("containerd", "nerdctl-ID.scope"));
    tells(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice/cri-containerd-ID.scope",
        pod(Some("containerd"), Some("cri-containerd-ID.scope")),
    );
    tells(
        "/kubepods.slice/kubepods-podUID_.slice/cri-containerd-ID.scope",
        pod(Some("containerd"), Some("cri-containerd-ID.scope")),
    );
    tells(
        "/system.slice/containerd.service/kubepods-besteffort-podUID_.slice:cri-containerd:ID",
        pod(Some("containerd"), Some("containerd.service")),
    );
}

#[test]
fn pods_of_any_runtime() {
    tells("/kubepods/podUID/ID", pod(None, None));
    tells("/kubepods/burstable/podUID/ID", pod(None, None));
    tells("/kubepods/besteffort/podUID/crio-ID", pod(Some("cri-o"), None));
    tells(
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID_.slice/docker-ID.scope",
        pod(Some("docker"), Some("docker-ID.scope")),
    );
    tells("/kubepods/burstable/podUID", (None, None, None, None, Some(UID), None));
    tells(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podFILE.slice/crio-ID.scope/container",
        (Some(ID), Some("cri-o"), None, Some("crio-ID.scope"), Some(UID_OF_FILE), None),
    );
    tells(
        "/system.slice/tripodUID.service",
        unit(&written("tripodUID.service"), Some(&written("tripodUID"))),
    );
    tells("/kubepods/podUID7", NOTHING);
}

#[test]
fn containers_of_podman_and_crio() {
    tells("/machine.slice/libpod-ID.scope", scope("podman", "libpod-ID.scope"));
    tells("/machine.slice/libpod-ID.scope/container", scope("podman", "libpod-ID.scope"));
    tells("/libpod_parent/libpod-ID", container("podman"));
    tells(
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
        scope("podman", "libpod-ID.scope"),
    );
    tells(
        "/machine.slice/machine-libpod_pod_OUTER.slice/libpod-ID.scope",
        scope("podman", "libpod-ID.scope"),
    );
    // A unit that Podman runs the container for.
    tells(
        "/system.slice/web.service/libpod-payload-ID",
        (Some(ID), Some("podman"), None, Some("web.service"), None, Some("web")),
    );
    // The monitors.
    tells("/machine.slice/libpod-conmon-ID.scope", unit("libpod-conmon-ID.scope", None));
    tells("/system.slice/crio-conmon-ID.scope", unit("crio-conmon-ID.scope", None));
    tells("/system.slice/crio-ID.scope", scope("cri-o", "crio-ID.scope"));
}

#[test]
fn containers_with_names() {
    let lxc = |name, unit, service| (Some(name), Some("lxc"), Some(name), unit, None, service);
    tells("/lxc/web", lxc("web", None, None));
    tells("/lxc/101/ns/system.slice/billing.service", lxc("101", Some("billing.service"), Some("billing")));
    tells("/lxc.payload.web/init.scope", lxc("web", Some("init.scope"), None));
    tells("/lxc.payload/my.service", lxc("my.service", None, None));
    tells("/lxc.monitor.web", NOTHING);
    tells("/lxc.monitor/web", NOTHING);
    let nspawn =
        |unit, service| (Some("web-1"), Some("systemd-nspawn"), Some("web-1"), Some(unit), None, service);
    tells(
        r"/machine.slice/systemd-nspawn@web\x2d1.service/payload",
        nspawn("systemd-nspawn@web-1.service", None),
    );
    tells(
        r"/machine.slice/machine-web\x2d1.scope/payload/system.slice/shop.service",
        nspawn("shop.service", Some("shop")),
    );
    tells(r"/machine.slice/machine-web\x2d1.scope", nspawn("machine-web-1.scope", None));
    tells(
        r"/machine.slice/machine-qemu\x2d1\x2ddb.scope/libvirt/emulator",
        unit("machine-qemu-1-db.scope", None),
    );
    tells(
        r"/machine.slice/machine-lxc\x2d77\x2dweb.scope",
        (Some("lxc-77-web"), Some("lxc"), Some("lxc-77-web"), Some("machine-lxc-77-web.scope"), None, None),
    );
}

#[test]
fn the_innermost_container_and_the_outermost_pod_count() {
    tells("/docker/OUTER/docker/ID", container("docker"));
    tells("/docker/OUTER/kubelet/kubepods/burstable/podUID/ID", pod(None, None));
    tells(
        "/system.slice/docker-OUTER.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUID_.slice/cri-containerd-ID.scope",
        pod(Some("containerd"), Some("cri-containerd-ID.scope")),
    );
    let inner = UID.replace("6f2a", "0000");
    tells(&format!("/kubepods/podUID/OUTER/kubepods/pod{inner}/ID"), pod(None, None));
    // A service in a container is one.
    tells(
        "/docker/ID/system.slice/billing.service",
        (Some(ID), Some("docker"), None, Some("billing.service"), None, Some("billing")),
    );
}

#[test]
fn units_of_systemd() {
    for (path, name, service) in [
        ("/system.slice/billing.service", "billing.service", Some("billing")),
        ("/system.slice/billing.service/worker", "billing.service", Some("billing")),
        ("/system.slice/system-shop.slice/shop@eu.service", "shop@eu.service", Some("shop@eu")),
        (r"/system.slice/my\x2dshop.service", "my-shop.service", Some("my-shop")),
        (r"/system.slice/a\x2.service", r"a\x2.service", Some(r"a\x2")),
        (r"/system.slice/a\xff.service", r"a\xff.service", Some(r"a\xff")),
        ("/user.slice/user-0.slice/user@0.service/app.slice/shop.service", "shop.service", Some("shop")),
        ("/system.slice/snap.shop.daemon.service", "snap.shop.daemon.service", Some("snap.shop.daemon")),
        ("/system.slice/running.service", "running.service", Some("running")),
        ("/system.slice/run-parts.service", "run-parts.service", Some("run-parts")),
        // What is started by hand, or at some time.
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service", "user@1000.service", None),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "init.scope", None),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope",
            "vte-spawn-1.scope",
            None,
        ),
        (
            "/user.slice/user@1000.service/app.slice/app-org.kde.konsole@1f.service",
            "app-org.kde.konsole@1f.service",
            None,
        ),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", None),
        ("/system.slice/ssh.service", "ssh.service", None),
        (
            "/system.slice/system-sshd.slice/sshd@1-10.0.0.1:22-10.0.0.2:4.service",
            "sshd@1-10.0.0.1:22-10.0.0.2:4.service",
            None,
        ),
        ("/system.slice/cron.service", "cron.service", None),
        ("/system.slice/run-u12.service", "run-u12.service", None),
        ("/system.slice/run-r1f00.service", "run-r1f00.service", None),
        ("/system.slice/run-p12-i13.service", "run-p12-i13.service", None),
        ("/init.scope", "init.scope", None),
    ] {
        tells(path, unit(name, service));
    }
}

#[test]
fn paths_from_within_a_namespace_and_such_as_say_nothing() {
    tells("/../../kubepods/burstable/podUID/ID", pod(None, None));
    tells("/../billing.service", unit("billing.service", Some("billing")));
    for path in [
        "",
        "/",
        "/..",
        "/../..",
        "/user.slice",
        "/.service",
        "/.scope",
        "/process_api/FILE",
        "/docker",
        "/lxc/",
        "/docker/0123",
    ] {
        tells(path, NOTHING);
    }
    // No lower-case digits, or too many of them.
    tells(&format!("/docker/{}", ID.to_uppercase()), NOTHING);
    tells("/docker/aID", NOTHING);
}

proptest::proptest! {
    #[test]
    fn any_text_tells_something_or_nothing(text in r"(/|:|\\x2d|\\x|pod|kubepods|lxc|docker-|\.scope|\.service|@|[0-9a-f]{32}|[0-9a-f]{64}|\PC{0,4}){0,12}") {
        let place = Place::of(&text);
        proptest::prop_assert!(place.unit.is_some() || place.service().is_none());
        proptest::prop_assert!(place.container_id.is_some() || place.container.is_none());
        proptest::prop_assert_eq!(place.container_id.is_some_and(|id| id.is_empty()), false);
    }

    #[test]
    fn any_bytes_too(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = Place::of(&String::from_utf8_lossy(&bytes));
    }
}
