//! Filters on the command line.

use clap::{Args, ValueEnum};

use super::Filters;
use super::selection::Selection;
use super::values::{self, Glob, Namespace, Network, Ports};

/// What is recorded and what is not.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Only this process and its present and future descendants
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Vec<u32>,
    /// Only this process, without its children
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    only_pid: Vec<u32>,
    /// Only processes with this name in /proc/PID/comm (15 characters at most)
    #[arg(long, value_name = "NAME")]
    comm: Vec<String>,
    /// Only processes whose program's path is like this, such as '/opt/*'; without a slash, whose file name is
    #[arg(long, value_name = "GLOB", value_parser = Glob::parse)]
    exe: Vec<Glob>,
    /// Only processes in cgroups whose path is like this, such as '/user.slice/*'
    #[arg(long, value_name = "GLOB", value_parser = Glob::parse)]
    cgroup: Vec<Glob>,
    /// Only processes in containers whose name is like this, or whose id begins so (6 digits at least)
    #[arg(long, value_name = "NAME|ID", value_parser = Glob::parse)]
    container: Vec<Glob>,
    /// Only processes of this systemd unit, such as nginx or 'web-*.service'
    #[arg(long, value_name = "GLOB", value_parser = Glob::parse)]
    unit: Vec<Glob>,
    /// Only processes of this Kubernetes pod, such as 'shop/cart-*'; without a slash, of pods with that name in any namespace
    #[arg(long, value_name = "GLOB", value_parser = Glob::parse)]
    pod: Vec<Glob>,
    /// Only sockets whose local or remote port is this one, or in this range
    #[arg(long, value_name = "PORT[-PORT]", value_parser = Ports::parse)]
    port: Vec<Ports>,
    /// Only sockets whose own port is this one, or in this range
    #[arg(long, value_name = "PORT[-PORT]", value_parser = Ports::parse)]
    local_port: Vec<Ports>,
    /// Only sockets whose other end's port is this one, or in this range
    #[arg(long, value_name = "PORT[-PORT]", value_parser = Ports::parse)]
    remote_port: Vec<Ports>,
    /// Only sockets with this address at either end, or one of this network, such as 10.0.0.0/8; what listens at any address counts
    #[arg(long, value_name = "ADDRESS[/BITS]", value_parser = Network::parse)]
    cidr: Vec<Network>,
    /// Only sockets in the network namespace of this process, with this inode number, at this path or of this name (ip netns)
    #[arg(long, value_name = "PID|INODE|PATH|NAME", value_parser = Namespace::parse)]
    netns: Vec<Namespace>,
    /// Only sockets that listen or were accepted (server), or that connect (client)
    #[arg(long, value_enum, value_name = "SIDE")]
    side: Option<SideArg>,
    /// Not what this filter would choose, whatever the others say; KIND is one of pid, comm, exe, cgroup, container, unit, pod, port,
    /// local-port, remote-port, cidr and netns
    #[arg(long, value_name = "KIND=VALUE", value_parser = Selection::parse)]
    exclude: Vec<Selection>,
    /// Only one of so many connections, such as 1/100, the same at both ends and on every host; counts are scaled by it
    #[arg(long, value_name = "1/N", value_parser = values::one_in, default_value = "1/1", hide_default_value = true)]
    sample: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SideArg {
    /// What listens or was accepted
    Server,
    /// What connects
    Client,
}

impl From<FilterArgs> for Filters {
    fn from(args: FilterArgs) -> Filters {
        let mut exclude = Selection::default();
        args.exclude.into_iter().for_each(|one| exclude.extend(one));
        Filters {
            include: Selection {
                pids: args.pid,
                only_pids: args.only_pid,
                comms: args.comm,
                exes: args.exe,
                cgroups: args.cgroup,
                containers: args.container,
                units: args.unit,
                pods: args.pod,
                ports: args.port,
                local_ports: args.local_port,
                remote_ports: args.remote_port,
                networks: args.cidr,
                namespaces: args.netns,
            },
            exclude,
            side: args.side.map(|side| match side {
                SideArg::Server => values::Side::Server,
                SideArg::Client => values::Side::Client,
            }),
            one_in: args.sample,
        }
    }
}
