//! Why the kernel programs do not run, told so that somebody can do something about it.

use rustix::process::{Resource, getrlimit};

/// Why the kernel programs are not running, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A capability is missing.
    #[error("{0}")]
    Privilege(String),
    /// The kernel lacks something.
    #[error("{0}")]
    Kernel(String),
    /// A limit of this process or of the machine was reached.
    #[error("{0}")]
    Limit(String),
    /// An option cannot be honoured.
    #[error("{0}")]
    Option(String),
    /// The object is damaged or refused.
    #[error("{what}: {reason}")]
    Object {
        /// The program, map or file.
        what: String,
        /// The kernel's or the loader's reason.
        reason: String,
    },
}

/// What the kernel's refusal of a program or map means.
pub fn explain(what: &str, error: &(dyn std::error::Error + 'static)) -> ProbeError {
    let mut reason = error.to_string();
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            match io.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) if !reason.contains("processed") => {
                    return ProbeError::Privilege(format!(
                        "the kernel refused {what} ({io}): run as root, outside of containers without CAP_BPF; kernel lockdown and kernel.unprivileged_bpf_disabled are the other usual reasons"
                    ));
                }
                Some(libc::EMFILE | libc::ENFILE) => return ProbeError::Limit(too_many_files(what, io)),
                Some(libc::ENOMEM) => {
                    return ProbeError::Limit(format!(
                        "there is not enough memory for {what} ({io}): the limit of a container or cgroup counts the kernel's maps and rings, too; give it more, or make the rings smaller (--ring-size)"
                    ));
                }
                _ => {}
            }
            if !reason.contains(&io.to_string()) {
                reason = format!("{reason}: {io}");
            }
        }
        cause = inner.source();
    }
    ProbeError::Object { what: what.to_owned(), reason }
}

fn too_many_files(what: &str, error: &std::io::Error) -> String {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or("any number".to_owned(), |limit| limit.to_string());
    format!(
        "no file descriptor is left for {what} ({error}): this process may have {limit} open; allow more (ulimit -n), a hundred and one for each CPU are enough"
    )
}

/// A map that the loaded object lacks.
pub fn missing_map(name: &str) -> ProbeError {
    ProbeError::Object { what: format!("map {name}"), reason: "not in the object".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_reached_is_named() {
        let of = |number: i32| std::io::Error::from_raw_os_error(number);
        let text = explain("map A", &of(libc::EMFILE)).to_string();
        assert!(text.contains("map A") && text.contains("ulimit -n"), "{text}");
        let text = explain("map A", &of(libc::ENOMEM)).to_string();
        assert!(text.contains("not enough memory for map A"), "{text}");
        let refused = aya::maps::MapError::CreateError { name: "A".to_owned(), io_error: of(libc::E2BIG) };
        let text = explain("the programs", &refused).to_string();
        assert!(text.contains("failed to create map `A`") && text.contains("too long"), "{text}");
        let refused = aya::maps::MapError::CreateError { name: "A".to_owned(), io_error: of(libc::EMFILE) };
        assert!(matches!(explain("the programs", &refused), ProbeError::Limit(_)));
    }
}
