//! Memory accesses and arithmetic of a kernel, derived from its WGSL.

use naga::valid::{Capabilities, FunctionInfo, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use naga::{
    AddressSpace, BinaryOperator, Block, Expression, Function, Handle, MathFunction, Module, ScalarKind,
    Statement, TypeInner, UnaryOperator,
};

use crate::gpu::{Binding, KernelSource};

/// How a kernel uses a storage binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gpu) struct Access {
    pub(in crate::gpu) reads: bool,
    pub(in crate::gpu) writes: bool,
}

/// The analysis of a kernel's WGSL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KernelText {
    /// One for each storage binding, in order.
    pub(in crate::gpu) accesses: Vec<Access>,
    /// Floating-point operations of one invocation, each loop body counted once, without those of `finish`.
    pub(in crate::gpu) flops: u64,
    /// Floating-point operations of one call of `finish`.
    pub(in crate::gpu) finish_flops: u64,
    /// Whether some operations are inside a loop.
    pub(in crate::gpu) loops: bool,
    /// Number of invocations in a workgroup.
    pub(in crate::gpu) invocations: u64,
}

impl KernelText {
    /// Analyses a kernel that has already compiled.
    pub(in crate::gpu) fn of(source: &KernelSource) -> Self {
        Self::read(source).unwrap_or_else(|| Self {
            accesses: storage(source).map(|(_, writes)| Access { reads: true, writes }).collect(),
            flops: 0,
            finish_flops: 0,
            loops: false,
            invocations: 1,
        })
    }

    fn read(source: &KernelSource) -> Option<Self> {
        let module = naga::front::wgsl::parse_str(&source.wgsl).ok()?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).ok()?;
        let entry = module.entry_points.first()?;
        let uses = info.get_entry_point(0);
        let access = |(number, _): (u32, bool)| {
            let mut found = module.global_variables.iter().filter(|(_, variable)| {
                matches!(variable.space, AddressSpace::Storage { .. })
                    && variable.binding.as_ref().is_some_and(|at| at.binding == number)
            });
            let used = found.next().map_or(GlobalUse::empty(), |(handle, _)| uses[handle]);
            let atomic = used.contains(GlobalUse::ATOMIC);
            Access {
                reads: atomic || used.contains(GlobalUse::READ),
                writes: atomic || used.contains(GlobalUse::WRITE),
            }
        };
        let accesses = storage(source).map(access).collect();
        let mut count = Count { module: &module, info: &info, loops: false };
        let flops = count.block(&entry.function, uses, &entry.function.body);
        let loops = count.loops;
        let finish = module.functions.iter().find(|(_, function)| is_finish(function));
        let finish_flops = finish.map_or(0, |(handle, _)| count.function(handle));
        let invocations = entry.workgroup_size.iter().map(|n| u64::from(*n)).product();
        Some(Self { accesses, flops, finish_flops, loops, invocations })
    }
}

/// The binding numbers of a kernel's storage buffers, and whether they are writable.
fn storage(source: &KernelSource) -> impl Iterator<Item = (u32, bool)> + '_ {
    let all = (0..).zip(&source.bindings);
    all.filter(|(_, kind)| !matches!(kind, Binding::Uniform { .. }))
        .map(|(number, kind)| (number, *kind == Binding::ReadWrite))
}

/// Whether this is `finish`, which other functions call on the values they store.
fn is_finish(function: &Function) -> bool {
    function.name.as_deref() == Some("finish")
}

struct Count<'m> {
    module: &'m Module,
    info: &'m ModuleInfo,
    loops: bool,
}

impl Count<'_> {
    fn function(&mut self, handle: Handle<Function>) -> u64 {
        let function = &self.module.functions[handle];
        self.block(function, &self.info[handle], &function.body)
    }

    /// Operations of a block of statements. Of an `if` or `switch`, the branch with the most operations
    /// counts.
    fn block(&mut self, function: &Function, info: &FunctionInfo, block: &Block) -> u64 {
        let mut flops = 0;
        for statement in block {
            flops += match statement {
                Statement::Emit(range) => {
                    range.clone().map(|handle| self.expression(function, info, handle)).sum()
                }
                Statement::Block(block) => self.block(function, info, block),
                Statement::If { accept, reject, .. } => {
                    self.block(function, info, accept).max(self.block(function, info, reject))
                }
                Statement::Switch { cases, .. } => {
                    cases.iter().map(|case| self.block(function, info, &case.body)).max().unwrap_or(0)
                }
                Statement::Loop { body, continuing, .. } => {
                    let inside = self.block(function, info, body) + self.block(function, info, continuing);
                    self.loops |= inside > 0;
                    inside
                }
                Statement::Call { function: called, .. } if !is_finish(&self.module.functions[*called]) => {
                    self.function(*called)
                }
                _ => 0,
            };
        }
        flops
    }

    fn expression(&self, function: &Function, info: &FunctionInfo, handle: Handle<Expression>) -> u64 {
        let lanes = |handle| self.float_lanes(info, handle);
        match function.expressions[handle] {
            Expression::Unary { op: UnaryOperator::Negate, .. } => lanes(handle),
            Expression::Binary {
                op:
                    BinaryOperator::Add
                    | BinaryOperator::Subtract
                    | BinaryOperator::Multiply
                    | BinaryOperator::Divide
                    | BinaryOperator::Modulo,
                ..
            } => lanes(handle),
            Expression::Math { fun, arg, .. } => match fun {
                MathFunction::Fma => 2 * lanes(handle),
                MathFunction::Dot => (2 * lanes(arg)).saturating_sub(1),
                _ => lanes(handle),
            },
            _ => 0,
        }
    }

    /// Number of floats in the value of an expression; 0 if it is not of floats.
    fn float_lanes(&self, info: &FunctionInfo, handle: Handle<Expression>) -> u64 {
        match *info[handle].ty.inner_with(&self.module.types) {
            TypeInner::Scalar(scalar) if scalar.kind == ScalarKind::Float => 1,
            TypeInner::Vector { size, scalar } if scalar.kind == ScalarKind::Float => size as u64,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(wgsl: &'static str, bindings: Vec<Binding>) -> KernelText {
        KernelText::of(&KernelSource { name: "a".into(), wgsl: wgsl.into(), bindings })
    }

    const THREE: &str = "
        @group(0) @binding(0) var<uniform> n: u32;
        @group(0) @binding(1) var<storage, read> x: array<vec4f>;
        @group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
        @group(0) @binding(3) var<storage, read_write> z: array<vec4f>;
        fn finish(i: u32, value: vec4f) -> vec4f { return max(value, vec4f()) + x[i]; }
        fn half(value: vec4f) -> vec4f { return 0.5 * value; }";

    fn three(main: &str) -> KernelText {
        let wgsl = format!(
            "{THREE} @compute @workgroup_size(8, 4) fn main(@builtin(global_invocation_id) id: vec3u) {{ {main} }}"
        );
        let uniform = Binding::Uniform { bytes: 4, dynamic: false };
        text(wgsl.leak(), vec![uniform, Binding::Read, Binding::ReadWrite, Binding::ReadWrite])
    }

    #[test]
    fn a_text_tells_what_is_read_and_what_is_written() {
        let of = |main| three(main).accesses.iter().map(|a| (a.reads, a.writes)).collect::<Vec<_>>();
        let (reads, writes, both, neither) = ((true, false), (false, true), (true, true), (false, false));
        assert_eq!(of("y[id.x] = x[n];"), [reads, writes, neither]);
        // Writing one element of a vector does not read the binding.
        assert_eq!(of("y[id.x].z = x[n].x; z[0] = z[1];"), [reads, writes, both]);
        assert_eq!(of("y[id.x] += vec4f();"), [neither, both, neither]);
        // Access through a function.
        assert_eq!(of("y[id.x] = finish(n, vec4f());"), [reads, writes, neither]);
    }

    #[test]
    fn a_text_tells_what_it_computes_once() {
        let of = |main| {
            let text = three(main);
            assert_eq!(text.invocations, 32);
            (text.flops, text.finish_flops, text.loops)
        };
        // Operations of `finish` are counted separately.
        assert_eq!(of("y[id.x] = x[n];"), (0, 8, false));
        assert_eq!(of("y[id.x] = finish(n, half(x[n] + 1.0));"), (8, 8, false));
        assert_eq!(
            of("let v = x[n]; y[id.x] = vec4f(dot(v, v), fma(v.x, v.y, v.z), sqrt(v.x), -v.x);"),
            (11, 8, false)
        );
        // Integer operations, comparisons and `select` are not float arithmetic.
        assert_eq!(of("y[id.x * 3u + 1u] = select(x[n], x[id.y], x[n] < vec4f(1.0));"), (0, 8, false));
        // The longer branch counts, and a loop body once.
        assert_eq!(
            of("if id.x > 3u { y[0] = half(x[0]); } else { y[0] = half(half(x[0])); }"),
            (8, 8, false)
        );
        assert_eq!(
            of("var s = vec4f(); for (var i = 0u; i < n; i++) { s += x[i]; } y[0] = half(s);"),
            (8, 8, true)
        );
        // A loop without float arithmetic does not count as one.
        assert_eq!(
            of("var k = 0u; for (var i = 0u; i < n; i++) { k += i; } y[k] = half(x[0]);"),
            (4, 8, false)
        );
    }

    #[test]
    fn a_text_that_cannot_be_read_reads_all_and_writes_what_it_may() {
        let bindings = vec![Binding::Read, Binding::ReadWrite];
        let accesses = text("fn main(", bindings).accesses;
        assert_eq!(
            accesses.iter().map(|a| (a.reads, a.writes)).collect::<Vec<_>>(),
            [(true, false), (true, true)]
        );
    }
}
