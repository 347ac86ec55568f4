//! Kernel programs and the places where they are attached.

use super::error::{ProbeError, explain};
use aya::Btf as KernelTypes;
use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, FEntry, FExit, Program};

/// A place in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A tracepoint.
    Tracepoint(&'static str),
    /// The entry of a function.
    Entry(&'static str),
    /// Its exit.
    Exit(&'static str),
}

/// A program and where it is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooked {
    /// Its name in the object.
    pub program: &'static str,
    /// Where.
    pub place: Place,
}

impl Hooked {
    /// A program at a tracepoint.
    pub const fn tracepoint(program: &'static str, name: &'static str) -> Hooked {
        Hooked { program, place: Place::Tracepoint(name) }
    }

    /// Hands the program to the kernel.
    pub fn load(self, ebpf: &mut Ebpf, types: &KernelTypes) -> Result<(), ProbeError> {
        let name = self.program;
        let loaded = match self.place {
            Place::Tracepoint(place) => program::<BtfTracePoint>(ebpf, name)?.load(place, types),
            Place::Entry(place) => program::<FEntry>(ebpf, name)?.load(place, types),
            Place::Exit(place) => program::<FExit>(ebpf, name)?.load(place, types),
        };
        loaded.map_err(|error| explain(&format!("program {name}"), &error))
    }

    /// Attaches the program, until the link is dropped.
    pub fn attach(self, ebpf: &mut Ebpf) -> Result<FdLink, ProbeError> {
        let name = self.program;
        let link = match self.place {
            Place::Tracepoint(_) => {
                let program = program::<BtfTracePoint>(ebpf, name)?;
                program.attach().and_then(|id| program.take_link(id)).map(FdLink::from)
            }
            Place::Entry(_) => {
                let program = program::<FEntry>(ebpf, name)?;
                program.attach().and_then(|id| program.take_link(id)).map(FdLink::from)
            }
            Place::Exit(_) => {
                let program = program::<FExit>(ebpf, name)?;
                program.attach().and_then(|id| program.take_link(id)).map(FdLink::from)
            }
        };
        link.map_err(|error| explain(&format!("attaching to {name}"), &error))
    }
}

/// A program of the object, of the type that it has to be.
pub fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, ProbeError>
where
    &'a mut T: TryFrom<&'a mut Program>,
{
    let damaged =
        |reason: &str| ProbeError::Object { what: format!("program {name}"), reason: reason.to_owned() };
    ebpf.program_mut(name)
        .ok_or_else(|| damaged("not in the object"))?
        .try_into()
        .map_err(|_| damaged("of another type"))
}
