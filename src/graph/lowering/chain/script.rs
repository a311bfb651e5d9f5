//! The WGSL of a chain.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Lowering;
use super::super::elementwise::Program;
use super::Chain;
use crate::graph::ops::{Call, Slope};

/// Generates the WGSL of a chain. Members are called `m0`, `m1`, .. and inputs `e0`, `e1`, .., so equal chains have
/// equal text wherever they are in a graph.
pub(super) struct Script<'a> {
    lowering: &'a Lowering,
    chain: &'a Chain,
    program: Program,
    /// The nodes that the kernel binds, in order.
    pub(super) inputs: Vec<usize>,
    made: BTreeSet<usize>,
}

impl<'a> Script<'a> {
    pub(super) fn new(lowering: &'a Lowering, chain: &'a Chain) -> Self {
        Self { lowering, chain, program: Program::default(), inputs: Vec::new(), made: BTreeSet::new() }
    }

    /// The program without its results, and the nodes it binds.
    pub(super) fn finish(mut self, frame: &str) -> (Program, Vec<usize>) {
        self.program.name = self.chain.name(&self.lowering.chains.calls, frame);
        if frame == "elementwise_grad" {
            self.program.body = format!("    let dy = x{};\n{}", self.inputs.len(), self.program.body);
        }
        (self.program, self.inputs)
    }

    pub(super) fn name_of(&self, id: usize) -> String {
        let place = |list: &[usize]| list.iter().position(|&known| known == id);
        match (place(&self.chain.members), place(&self.chain.outside)) {
            (Some(member), _) => format!("m{member}"),
            (_, Some(outside)) => format!("e{outside}"),
            _ => unreachable!("a chain reads its members and what it lists"),
        }
    }

    fn call_of(&self, id: usize) -> &'a Call {
        self.lowering.chains.calls[id].as_ref().expect("members are functions")
    }

    pub(super) fn bind(&mut self, id: usize) {
        if self.made.insert(id) {
            let line = format!("    let {} = x{};\n", self.name_of(id), self.inputs.len());
            self.program.body += &line;
            self.inputs.push(id);
        }
    }

    /// Writes the computation of a value, unless already written.
    pub(super) fn make(&mut self, id: usize) {
        if !self.chain.members.contains(&id) {
            return self.bind(id);
        }
        if self.made.contains(&id) {
            return;
        }
        let inputs = self.lowering.nodes[id].inputs.clone();
        inputs.iter().for_each(|&input| self.make(input));
        let names: Vec<String> = inputs.iter().map(|&input| self.name_of(input)).collect();
        let call = self.call_of(id);
        let value = self.call(call, "of", &names, &names[0]);
        self.program.body += &format!("    let {} = {value};\n", self.name_of(id));
        self.made.insert(id);
    }

    /// The text of a call of the forward function or of one of the gradient functions.
    pub(super) fn call(&mut self, call: &'a Call, kind: &str, arguments: &[String], nan: &str) -> String {
        let function = call.function;
        self.program.functions.insert(function.wgsl);
        let mut all = arguments.to_vec();
        if let Some(stream) = call.stream {
            self.program.random = true;
            all.extend(["i".into(), format!("{stream}u")]);
        }
        all.extend(call.constants.iter().map(|constant| literal(*constant)));
        let text = format!("{}_{kind}({})", function.name, all.join(", "));
        if function.keeps_nan { format!("select({text}, {nan}, is_nan({nan}))") } else { text }
    }

    /// Writes the gradients of all members, and returns those of the chain's inputs.
    pub(super) fn differentiate(&mut self) -> BTreeMap<usize, String> {
        let result_serves = self.needed() == BTreeSet::from([self.chain.last()]);
        if result_serves {
            self.bind(self.chain.last());
        }
        let mut sums: BTreeMap<usize, Vec<String>> = BTreeMap::from([(self.chain.last(), vec!["dy".into()])]);
        for &id in self.chain.members.iter().rev() {
            let Some(terms) = sums.remove(&id) else { continue };
            let mut dy = terms.join(" + ");
            if dy != "dy" && self.lowering.gradients.trains[id] {
                let name = format!("d{}", self.name_of(id));
                self.program.body += &format!("    let {name} = {dy};\n");
                dy = name;
            }
            for (at, slope) in self.slopes(id) {
                let input = self.lowering.nodes[id].inputs[at];
                let mut arguments = vec![dy.clone()];
                let inputs = self.lowering.nodes[id].inputs.clone();
                match slope {
                    Slope::OfResult => {
                        self.make(id);
                        arguments.push(self.name_of(id));
                    }
                    Slope::OfInputs => {
                        inputs.iter().for_each(|&input| self.make(input));
                        arguments.extend(inputs.iter().map(|&input| self.name_of(input)));
                    }
                    Slope::Absent | Slope::Pass | Slope::OfNothing => {}
                }
                let term = match slope {
                    Slope::Pass => dy.clone(),
                    _ => {
                        let nan = arguments.last().cloned().unwrap_or_default();
                        self.call(self.call_of(id), &format!("grad{at}"), &arguments, &nan)
                    }
                };
                sums.entry(input).or_default().push(term);
            }
        }
        sums.into_iter().map(|(id, terms)| (id, terms.join(" + "))).collect()
    }

    /// The inputs of a member that need a gradient, with how it is computed.
    pub(super) fn slopes(&self, id: usize) -> Vec<(usize, Slope)> {
        let node = &self.lowering.nodes[id];
        let slopes = self.call_of(id).function.slopes.iter().copied().enumerate();
        let trains = |at: usize| self.lowering.gradients.trains[node.inputs[at]];
        slopes.filter(|&(at, slope)| slope != Slope::Absent && trains(at)).collect()
    }

    /// The members whose values the gradients need.
    pub(super) fn needed(&self) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        for &id in &self.chain.members {
            for (_, slope) in self.slopes(id) {
                match slope {
                    Slope::OfResult => needed.extend([id]),
                    Slope::OfInputs => needed.extend(&self.lowering.nodes[id].inputs),
                    Slope::Absent | Slope::Pass | Slope::OfNothing => {}
                }
            }
        }
        needed.retain(|id| self.chain.members.contains(id));
        needed
    }
}

/// A number as a WGSL literal.
#[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
fn literal(constant: f64) -> String {
    let number = constant as f32;
    assert!(number.is_finite(), "{constant} is no literal");
    format!("{}f", crate::wgsl::literal(number))
}
