//! What the kernel programs need of this machine, and how to say that it is missing.

use super::error::ProbeError;

/// The oldest kernel whose instructions and helpers the programs use.
const OLDEST_KERNEL: (u32, u32) = (5, 15);

/// Capability numbers of include/uapi/linux/capability.h.
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Checks privileges and kernel before anything is loaded.
///
/// # Errors
/// Says what is missing and what to do.
pub fn check() -> Result<(), ProbeError> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    check_capabilities(&status)?;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    check_kernel(release.trim())
}

/// What this process may not do of what a recording does, and what that leads to; `None`: it may do everything.
pub fn missing_privileges() -> Option<String> {
    missing(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn missing(status: &str) -> Option<String> {
    if let Err(error) = check_capabilities(status) {
        return Some(error.to_string());
    }
    let effective = effective(status);
    let wanted = [(CAP_SYS_PTRACE, "CAP_SYS_PTRACE"), (CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH")];
    let lacks = |capability: u32| effective >> capability & 1 == 0;
    let missing: Vec<&str> =
        wanted.into_iter().filter(|&(number, _)| lacks(number)).map(|(_, name)| name).collect();
    (!missing.is_empty()).then(|| {
        let names = missing.join(" and ");
        format!("without {names} the programs and sockets of other users that were there before are not known by name")
    })
}

fn effective(status: &str) -> u64 {
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

fn check_capabilities(status: &str) -> Result<(), ProbeError> {
    let effective = effective(status);
    let has = |capability: u32| effective >> capability & 1 != 0;
    if has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON)) {
        return Ok(());
    }
    let missing: Vec<&str> = [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|&(number, _)| !has(number))
        .map(|(_, name)| name)
        .collect();
    Err(ProbeError::Privilege(format!(
        "loading kernel programs needs {}: run as root (sudo), or give the program CAP_BPF, CAP_PERFMON, CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE",
        missing.join(" and ")
    )))
}

fn check_kernel(release: &str) -> Result<(), ProbeError> {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map_while(|digits| digits.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST_KERNEL => Err(ProbeError::Kernel(format!(
            "kernel {release} is too old: {}.{} or newer is needed",
            OLDEST_KERNEL.0, OLDEST_KERNEL.1
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named_when_missing() {
        let with = |mask: u64| format!("Name:\tx\nCapEff:\t{mask:016x}\n");
        assert!(check_capabilities(&with(1 << CAP_SYS_ADMIN)).is_ok());
        assert!(check_capabilities(&with(1 << CAP_BPF | 1 << CAP_PERFMON)).is_ok());
        let text = check_capabilities(&with(1 << CAP_BPF)).expect_err("no CAP_PERFMON").to_string();
        assert!(text.starts_with("loading kernel programs needs CAP_PERFMON: run as root"), "{text}");
        let text = check_capabilities("").expect_err("nothing").to_string();
        assert!(text.contains("CAP_BPF and CAP_PERFMON:"), "{text}");
    }

    #[test]
    fn what_is_not_known_without_a_capability_is_told() {
        let with = |mask: u64| missing(&format!("CapEff:\t{mask:016x}\n"));
        let (needed, both) =
            (1 << CAP_BPF | 1 << CAP_PERFMON, 1 << CAP_SYS_PTRACE | 1 << CAP_DAC_READ_SEARCH);
        assert_eq!(with(needed | both), None);
        assert!(with(needed | 1 << CAP_SYS_PTRACE).unwrap().starts_with("without CAP_DAC_READ_SEARCH the"));
        assert!(with(needed).unwrap().contains("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"));
        assert!(with(both).unwrap().contains("loading kernel programs needs"));
    }

    #[test]
    fn old_kernels_are_refused_by_name() {
        for good in ["5.15.0-91-generic", "6.1.0-28-cloud-amd64", "6.18.44", "10.0", ""] {
            assert!(check_kernel(good).is_ok(), "{good}");
        }
        for old in ["5.14.21", "4.19.0-27-amd64", "5.4"] {
            let text = check_kernel(old).expect_err(old).to_string();
            assert!(text.contains(old) && text.contains("5.15"), "{text}");
        }
    }
}
