use crate::graph::lowering::Step;

/// The stem of a kernel's file name: the kernel's name without the variant in brackets.
pub(super) fn stem(kernel: &str) -> &str {
    kernel.split('[').next().unwrap_or(kernel)
}

/// The sizes that a dispatch passes to its kernel: template constants and the uniform block.
#[derive(Debug)]
pub(super) struct Sizes<'a> {
    step: &'a Step,
}

impl<'a> Sizes<'a> {
    pub(super) fn of(step: &'a Step) -> Self {
        Self { step }
    }

    /// The value of a field of the uniform block or, if there is none, of a template constant.
    ///
    /// # Panics
    /// If the kernel has neither, or the field is not a `u32`.
    pub(super) fn get(&self, name: &str) -> usize {
        let found = self.field(name).or_else(|| self.constant(name));
        found.unwrap_or_else(|| panic!("{} has no size {name}", self.step.kernel.name))
    }

    /// Whether a field of the uniform block is not zero; of any type.
    ///
    /// # Panics
    /// If there is no such field.
    pub(super) fn is_set(&self, name: &str) -> bool {
        let field = self.step.block.fields.iter().find(|field| field.name == name);
        let field = field.unwrap_or_else(|| panic!("{} has no field {name}", self.step.kernel.name));
        self.step.uniform[field.offset..field.offset + 4] != [0; 4]
    }

    fn field(&self, name: &str) -> Option<usize> {
        let field = self.step.block.fields.iter().find(|field| field.name == name)?;
        assert_eq!(field.kind, "u32", "{}: {name} is no count", self.step.kernel.name);
        let bytes = &self.step.uniform[field.offset..field.offset + 4];
        Some(bytemuck::pod_read_unaligned::<u32>(bytes) as usize)
    }

    fn constant(&self, name: &str) -> Option<usize> {
        let declared = format!("const {name}: u32 = ");
        let line = self.step.kernel.wgsl.lines().find_map(|line| line.strip_prefix(&declared))?;
        line.strip_suffix("u;")?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Block, Checks, Work, uniform};
    use crate::graph::lowering::source;

    uniform! {
        struct Shape { scale: f32, rows: u32 }
    }

    fn step() -> Step {
        let wgsl = "const ROWS: u32 = 12u;\nconst ROW: u32 = 7u;\n";
        Step {
            label: "layer: kernel".into(),
            kernel: source::<Shape>("kernel[variant]", wgsl, &[]).into(),
            operands: Vec::new(),
            uniform: bytemuck::bytes_of(&Shape { scale: 1.0, rows: 300 }).to_vec(),
            block: Block::of::<Shape>("Shape"),
            grid: [1; 3],
            checks: Checks::All,
            rivals: Vec::new(),
            work: Work::default(),
        }
    }

    #[test]
    fn sizes_are_fields_and_constants() {
        let step = step();
        let sizes = Sizes::of(&step);
        assert_eq!(["rows", "ROWS", "ROW"].map(|name| sizes.get(name)), [300, 12, 7]);
        assert!(sizes.is_set("scale"));
        assert_eq!(stem(&step.kernel.name), "kernel");
    }

    #[test]
    #[should_panic(expected = "kernel[variant] has no size columns")]
    fn a_size_that_is_not_there_is_named() {
        Sizes::of(&step()).get("columns");
    }

    #[test]
    #[should_panic(expected = "scale is no count")]
    fn a_number_that_is_no_count_is_named() {
        Sizes::of(&step()).get("scale");
    }
}
