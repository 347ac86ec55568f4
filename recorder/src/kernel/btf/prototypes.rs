//! What the running kernel hands to the programs at a tracepoint: the prototype behind `btf_trace_NAME`.

use super::{Btf, BtfError, MOST_DEPTH, Type, kind, word};

/// An argument of a tracepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A pointer to the struct of that name.
    Pointer(String),
    /// A number, or a pointer to something else.
    Other,
}

impl Argument {
    /// Whether it is a pointer to that struct.
    pub fn points_to(&self, name: &str) -> bool {
        matches!(self, Argument::Pointer(found) if found == name)
    }
}

impl Btf {
    /// The arguments of a tracepoint, in the order in which programs see them.
    ///
    /// # Errors
    /// The kernel has no such tracepoint, or its type information is damaged.
    pub fn tracepoint(&self, name: &str) -> Result<Vec<Argument>, BtfError> {
        let missing = || BtfError::NoTracepoint(name.to_owned());
        let wanted = format!("btf_trace_{name}");
        let id = self.id(kind::TYPEDEF, &wanted)?.ok_or_else(missing)?;
        let pointer = self.type_by_id(self.type_by_id(id)?.inner)?;
        let prototype = self.type_by_id(pointer.inner)?;
        if pointer.kind != kind::POINTER || prototype.kind != kind::FUNC_PROTO {
            return Err(missing());
        }
        // The first parameter is the kernel's own.
        (1..prototype.members)
            .map(|index| self.argument(word(&self.data, prototype.rest + index * 8 + 4)?))
            .collect()
    }

    /// The arguments of a function.
    ///
    /// # Errors
    /// The kernel has no such function, or its type information is damaged.
    pub fn parameters(&self, name: &str) -> Result<Vec<Argument>, BtfError> {
        let missing = || BtfError::NoFunction(name.to_owned());
        let id = self.function(name)?.ok_or_else(missing)?;
        let prototype = self.type_by_id(self.type_by_id(id)?.inner)?;
        if prototype.kind != kind::FUNC_PROTO {
            return Err(missing());
        }
        (0..prototype.members)
            .map(|index| self.argument(word(&self.data, prototype.rest + index * 8 + 4)?))
            .collect()
    }

    fn argument(&self, id: u32) -> Result<Argument, BtfError> {
        let Some(pointer) = self.unqualified(id)? else { return Ok(Argument::Other) };
        if pointer.kind != kind::POINTER || pointer.inner == 0 {
            return Ok(Argument::Other);
        }
        match self.unqualified(pointer.inner)? {
            Some(found) if found.kind == kind::STRUCT => Ok(Argument::Pointer(self.name(found.name))),
            _ => Ok(Argument::Other),
        }
    }

    /// The type behind typedefs and qualifiers.
    fn unqualified(&self, id: u32) -> Result<Option<Type>, BtfError> {
        let mut found = self.type_by_id(id)?;
        for _ in 0..MOST_DEPTH {
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG
                    if found.inner != 0 =>
                {
                    found = self.type_by_id(found.inner)?;
                }
                _ => return Ok(Some(found)),
            }
        }
        Ok(None)
    }

    fn name(&self, at: u32) -> String {
        let bytes = self.data.get(self.strings + at as usize..).unwrap_or_default();
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::btf;
    use super::*;

    #[test]
    fn a_prototype_names_what_its_arguments_point_to() {
        let (trace, task, int) = (1, 15, 20);
        // 1 int; 2 struct task; 3 const struct task; 4 pointer to 3; 5 prototype (own, pointer, int); 6 pointer; 7 typedef.
        let types = [
            [int, kind::INT << 24, 4, 32].as_slice(),
            &[task, kind::STRUCT << 24, 0],
            &[0, kind::CONST << 24, 2],
            &[0, kind::POINTER << 24, 3],
            &[0, kind::FUNC_PROTO << 24 | 3, 0, 0, 4, 0, 4, 0, 1],
            &[0, kind::POINTER << 24, 5],
            &[trace, kind::TYPEDEF << 24, 6],
        ]
        .concat();
        let types = Btf::parse(btf("\0btf_trace_run\0task\0int\0", &types)).expect("well-formed");
        let arguments = types.tracepoint("run").expect("it is there");
        assert_eq!(arguments, [Argument::Pointer("task".into()), Argument::Other]);
        assert!(arguments[0].points_to("task") && !arguments[1].points_to("task"));
        let error = types.tracepoint("walk").expect_err("none").to_string();
        assert!(error.ends_with("has no tracepoint walk"), "{error}");
    }
}
