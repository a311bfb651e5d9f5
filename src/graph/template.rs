//! Expands kernel templates: `#for` loops, `#if` ranges, and constants.

use crate::gpu::{Block, Checks, Uniform};

/// A kernel template: its file and its specialisation.
///
/// Equal templates expand to equal WGSL, so templates are also the key under which pipelines are shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Template {
    /// Stem of the file; also the label of the pipeline.
    pub(crate) name: &'static str,
    /// The file's text.
    pub(crate) source: &'static str,
    /// Named constants: bounds of loops, and `const NAME: u32` in the kernel.
    pub(crate) constants: Vec<(&'static str, u32)>,
    /// Type aliases.
    pub(crate) aliases: Vec<(&'static str, &'static str)>,
}

impl Template {
    /// The WGSL to compile.
    pub(crate) fn expand(&self) -> String {
        expand(self.source, &self.constants, &self.aliases)
    }
}

/// One dispatch of an op kernel: its template, its uniform block, and the workgroups along x and y.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launch<Shape> {
    pub(crate) template: Template,
    pub(crate) shape: Shape,
    pub(crate) groups: [u32; 2],
}

/// A [`Launch`] with any uniform block, so that candidates with different blocks can share a list.
#[derive(Clone, Debug)]
pub(crate) struct AnyLaunch {
    pub(crate) template: Template,
    pub(crate) uniform: Vec<u8>,
    pub(crate) block: Block,
    pub(crate) groups: [u32; 2],
    /// If its WGSL calls `finish`, the number of elements per call.
    pub(crate) finishes: Option<usize>,
    /// Run-time checks, if no fused chain accesses buffers.
    pub(crate) checks: Checks,
    /// Alternatives with the same bindings, fields and results, to be timed by autotuning.
    pub(crate) rivals: Vec<AnyLaunch>,
}

impl AnyLaunch {
    /// For a kernel that stores `finish(i, value)` as vector `i` of `lanes` elements.
    pub(crate) fn finishing(self, lanes: usize) -> Self {
        Self { finishes: Some(lanes), ..self }
    }

    /// For a kernel whose indices are verified by `src/nn/indices.rs`.
    pub(crate) fn unchecked(self) -> Self {
        Self { checks: Checks::None, ..self }
    }
}

impl<S: Uniform> From<Launch<S>> for AnyLaunch {
    fn from(launch: Launch<S>) -> Self {
        let Launch { template, shape, groups } = launch;
        let (uniform, block) = (bytemuck::bytes_of(&shape).to_vec(), Block::of::<S>("Shape"));
        Self { template, uniform, block, groups, finishes: None, checks: Checks::All, rivals: Vec::new() }
    }
}

/// A grid with at least `groups` workgroups and at most 65,535 along each axis. The kernel must skip the excess.
///
/// # Panics
/// If there is no such grid.
pub(crate) fn fold(groups: u32) -> [u32; 2] {
    let height = groups.div_ceil(65_535).max(1);
    assert!(height <= 65_535, "{groups} workgroups do not fit a grid");
    [groups.div_ceil(height), height]
}

/// The constant `EXCESS` of a kernel that returns only where it says so: 1 where a grid from [`fold`] has more workgroups than
/// the kernel has `tiles`, else 0.
pub(crate) fn excess([width, height]: [u32; 2], tiles: u32) -> (&'static str, u32) {
    ("EXCESS", u32::from(width * height > tiles))
}

/// Unrolls each `#for i in 0..N` … `#end` of a kernel and prepends its constants and aliases.
///
/// Directives are on lines of their own and can be nested. A bound is a number or the name of a constant; `$i` in the
/// body is replaced by the number. Inside loops, `#if FIRST <= $i * STRIDE + $j < END` … `#end` keeps its body only
/// if the sum of products of numbers and constants is in the range.
///
/// # Panics
/// If a bound is invalid or a block is not closed. Kernels are part of this crate, so that is a bug.
pub(crate) fn expand(source: &str, constants: &[(&str, u32)], aliases: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in constants {
        text += &format!("const {name}: u32 = {value}u;\n");
    }
    for (name, meaning) in aliases {
        text += &format!("alias {name} = {meaning};\n");
    }
    let lines: Vec<(usize, &str)> = source.lines().enumerate().map(|(at, line)| (at + 1, line)).collect();
    unroll(&lines, constants, &mut Vec::new(), &mut text);
    text
}

/// Appends `lines` with the loop variables replaced.
fn unroll<'a>(
    lines: &[(usize, &'a str)],
    constants: &[(&str, u32)],
    variables: &mut Vec<(&'a str, u32)>,
    text: &mut String,
) {
    let mut rest = lines;
    while let [(number, line), tail @ ..] = rest {
        rest = tail;
        let directive = line.trim();
        assert!(directive != "#end", "line {number}: #end without #for");
        if directive.starts_with("#if ") {
            let mut range = String::new();
            substitute(directive, *number, variables, &mut range);
            let (body, after) = split_block(tail, *number);
            if is_in_range(&range, *number, constants) {
                unroll(body, constants, variables, text);
            }
            rest = after;
        } else if directive.starts_with('#') {
            let (variable, first, end) = header(directive, *number, constants);
            let (body, after) = split_block(tail, *number);
            for value in first..end {
                variables.push((variable, value));
                unroll(body, constants, variables, text);
                variables.pop();
            }
            rest = after;
        } else {
            substitute(line, *number, variables, text);
            text.push('\n');
        }
    }
}

/// Variable, first number and end (exclusive) of a `#for` line.
fn header<'a>(directive: &'a str, number: usize, constants: &[(&str, u32)]) -> (&'a str, u32, u32) {
    let words: Vec<&str> = directive.split_whitespace().collect();
    let ["#for", variable, "in", range] = words[..] else {
        panic!("line {number}: expected `#for i in 0..N`, got `{directive}`");
    };
    let Some((first, end)) = range.split_once("..") else {
        panic!("line {number}: expected a range `0..N`, got `{range}`");
    };
    (variable, known(first, number, constants), known(end, number, constants))
}

/// A number, or the value of a constant.
fn known(word: &str, number: usize, constants: &[(&str, u32)]) -> u32 {
    let constant = || constants.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    let value = word.parse().ok().or_else(constant);
    value.unwrap_or_else(|| panic!("line {number}: unknown bound `{word}`"))
}

/// Whether an `#if` line, with variables replaced, is true.
fn is_in_range(directive: &str, number: usize, constants: &[(&str, u32)]) -> bool {
    let range = directive.trim_start_matches("#if ").split_once(" <= ");
    let Some((first, (sum, end))) = range.and_then(|(first, rest)| Some((first, rest.split_once(" < ")?)))
    else {
        panic!("line {number}: expected `#if a <= b < c`, got `{directive}`");
    };
    let product = |term: &str| term.split(" * ").map(|word| known(word, number, constants)).product::<u32>();
    let value: u32 = sum.split(" + ").map(product).sum();
    (known(first, number, constants)..known(end, number, constants)).contains(&value)
}

type Lines<'s, 'a> = &'s [(usize, &'a str)];

/// The body of the block that was opened just before `lines`, and the lines after its `#end`.
fn split_block<'s, 'a>(lines: Lines<'s, 'a>, opened: usize) -> (Lines<'s, 'a>, Lines<'s, 'a>) {
    let mut depth = 0;
    for (at, (_, line)) in lines.iter().enumerate() {
        match line.trim() {
            "#end" if depth == 0 => return (&lines[..at], &lines[at + 1..]),
            "#end" => depth -= 1,
            other if other.starts_with("#for ") || other.starts_with("#if ") => depth += 1,
            _ => {}
        }
    }
    panic!("line {opened}: #for or #if without #end");
}

/// Appends `line` with each `$name` replaced. The longest name matches, so `$i` does not affect `$ii`.
fn substitute(line: &str, number: usize, variables: &[(&str, u32)], text: &mut String) {
    let mut parts = line.split('$');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        let (name, after) = part.split_at(end);
        let Some((_, value)) = variables.iter().rev().find(|(variable, _)| *variable == name) else {
            panic!("line {number}: `${name}` is not the variable of an enclosing #for");
        };
        *text += &format!("{value}{after}");
    }
}

#[cfg(test)]
mod tests {
    use super::{excess, expand, fold};

    #[test]
    fn grids_fold_above_the_limit_of_one_axis() {
        assert_eq!(fold(65_535), [65_535, 1]);
        assert_eq!(fold(65_536), [32_768, 2]);
        assert_eq!(fold(200_001), [50_001, 4]);
    }

    #[test]
    fn a_kernel_returns_behind_its_tiles_where_a_folded_grid_has_more() {
        let excess_of = |tiles| excess(fold(tiles), tiles).1;
        assert_eq!([65_535, 65_536, 65_537, 200_001, 200_004].map(excess_of), [0, 0, 1, 1, 0]);
    }

    #[test]
    fn loops_nest_and_take_named_bounds() {
        let source = "a\n#for i in 0..ROWS\n  #for j in 1..3\n  x[$i*2+$j]\n  #end\n  y$i;\n#end\nb";
        let unrolled = "const ROWS: u32 = 2u;\nalias V = vec4f;\na\n  x[0*2+1]\n  x[0*2+2]\n  y0;\n  x[1*2+1]\n  x[1*2+2]\n  y1;\nb\n";
        assert_eq!(expand(source, &[("ROWS", 2)], &[("V", "vec4f")]), unrolled);
    }

    #[test]
    fn an_empty_range_leaves_nothing() {
        assert_eq!(expand("#for i in 0..0\nx$i\n#end", &[], &[]), "");
    }

    #[test]
    fn a_variable_does_not_touch_longer_names() {
        let source = "#for i in 7..8\n#for ii in 9..10\n$i $ii $i.x $ii_\n#end\n#end";
        let fails = std::panic::catch_unwind(|| expand(source, &[], &[]));
        assert!(fails.is_err(), "`$ii_` is another name");
        assert_eq!(expand(&source.replace(" $ii_", ""), &[], &[]), "7 9 7.x\n");
    }

    #[test]
    #[should_panic(expected = "line 2: unknown bound `ROWS`")]
    fn an_unknown_bound_is_named() {
        expand("a\n#for i in 0..ROWS\n#end", &[("ROW", 1)], &[]);
    }

    #[test]
    #[should_panic(expected = "line 1: #for or #if without #end")]
    fn a_missing_end_is_named() {
        expand("#for i in 0..2\n#for j in 0..2\n#end\n", &[], &[]);
    }

    #[test]
    #[should_panic(expected = "line 3: #end without #for")]
    fn a_missing_start_is_named() {
        expand("#for i in 0..2\n#end\n#end\n", &[], &[]);
    }

    #[test]
    fn a_range_keeps_what_lies_in_it() {
        let source =
            "#for i in 0..4\n#if FIRST <= $i * STRIDE + 1 < 7\n#for j in 0..1\nx$i\n#end\n#end\n#end";
        let kept = |first, stride| expand(source, &[("FIRST", first), ("STRIDE", stride)], &[]);
        assert!(kept(1, 2).ends_with("2u;\nx0\nx1\nx2\n"), "{}", kept(1, 2));
        assert!(kept(2, 1).ends_with("1u;\nx1\nx2\nx3\n"), "{}", kept(2, 1));
        assert!(kept(8, 1).ends_with("1u;\n"));
    }

    #[test]
    #[should_panic(expected = "line 1: expected `#if a <= b < c`")]
    fn a_range_has_both_ends() {
        expand("#if 0 <= 1\n#end", &[], &[]);
    }

    #[test]
    #[should_panic(expected = "line 2: expected `#for i in 0..N`")]
    fn another_directive_is_refused() {
        expand("a\n#unless i", &[], &[]);
    }
}
