//! What the path of a cgroup says about who runs in it.

/// Container runtimes name a container's cgroup after its id, 64 hex digits, with or without their own
/// name around it: `docker-<id>.scope`, `cri-containerd-<id>.scope`, `/docker/<id>`.
pub fn container_id(cgroup: &str) -> Option<&str> {
    let words = cgroup.rsplit(|c: char| !c.is_ascii_alphanumeric());
    words
        .into_iter()
        .find(|word| word.len() == 64 && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// kubelet: `kubepods-burstable-pod<uid>.slice` with `_` for `-`, or `/kubepods/burstable/pod<uid>`.
pub fn pod_uid(cgroup: &str) -> Option<String> {
    cgroup.split('/').filter(|_| cgroup.contains("kubepods")).find_map(|segment| {
        let uid = segment.rsplit_once("pod")?.1.trim_end_matches(".slice").replace('_', "-");
        (uid.len() == 36).then_some(uid)
    })
}

/// The innermost systemd service: `billing` of `/system.slice/billing.service/worker`.
pub fn service(cgroup: &str) -> Option<&str> {
    let names = cgroup.rsplit('/').filter_map(|part| part.strip_suffix(".service"));
    names.into_iter().find(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_pods_are_found_in_cgroups() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("/system.slice/docker-{id}.scope"),
            format!("/docker/{id}"),
            format!("/a/cri-containerd-{id}.scope/x"),
        ] {
            assert_eq!(container_id(&path), Some(id.as_str()), "{path}");
        }
        assert_eq!(container_id("/system.slice/nginx.service"), None);
        let uid = "6f2a0f5e-0001-4b3c-8d9e-0123456789ab";
        let systemd = format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/x",
            uid.replace('-', "_")
        );
        let plain = format!("/kubepods/burstable/pod{uid}/{id}");
        for path in [systemd, plain] {
            assert_eq!(pod_uid(&path).as_deref(), Some(uid), "{path}");
        }
        assert_eq!(pod_uid("/system.slice/tripod.service"), None);
    }

    #[test]
    fn the_innermost_service_is_the_one() {
        assert_eq!(service("/system.slice/billing.service/worker"), Some("billing"));
        assert_eq!(service("/user.slice/user@0.service/app.slice/shop.service"), Some("shop"));
        assert_eq!(service("/user.slice/session-1.scope"), None);
    }
}
