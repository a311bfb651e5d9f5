//! Chains of functions of elements: nodes that nobody else sees between them run as one kernel, forward and backward.

use std::collections::{BTreeMap, BTreeSet};

use super::elementwise::{Program, Target};
use super::finish::Finish;
use super::{Lowering, Operand};
use crate::Error;
use crate::graph::Mode;
use crate::graph::fuse::{self, Relu};
use crate::graph::ops::{self, Anchor, Call, Slope};
use crate::graph::view::View;

/// Functions in the order of the graph. All but the last have one reader, which is one of them.
#[derive(Clone, Debug)]
pub(in crate::graph) struct Chain {
    /// The node that they follow and whose kernel runs them, if there is one: it is the first of `outside`.
    anchor: Option<usize>,
    members: Vec<usize>,
    /// The nodes that they read and that are none of them, each once.
    outside: Vec<usize>,
}

/// Which nodes run together.
#[derive(Debug, Default)]
pub(in crate::graph) struct Chains {
    /// What each node calls if it is a function.
    calls: Vec<Option<Call>>,
    chains: Vec<Chain>,
    of: Vec<Option<usize>>,
}

/// Storage buffers that a kernel may bind on any device.
const MOST_BUFFERS: usize = 8;

impl Chain {
    fn last(&self) -> usize {
        *self.members.last().expect("a chain has members")
    }

    /// The name of its kernels in labels.
    fn name(&self, calls: &[Option<Call>], frame: &str) -> String {
        let names: Vec<&str> =
            self.members.iter().filter_map(|&id| calls[id].as_ref()).map(|call| call.function.name).collect();
        format!("{frame}[{}]", names.join("+"))
    }
}

impl Chains {
    /// The node whose value the kernel of a node makes: the last of its chain, if it has one, or itself.
    pub(in crate::graph) fn made_by(&self, id: usize) -> usize {
        self.of[id].map_or(id, |chain| self.chains[chain].last())
    }

    /// The chain that runs at the end of a node's kernel.
    pub(in crate::graph) fn ending_in(&self, id: usize) -> Option<Chain> {
        self.of[id].map(|chain| self.chains[chain].clone()).filter(|chain| chain.anchor == Some(id))
    }

    /// Whether a node runs as a part of another one's kernel, and has no value of its own.
    pub(in crate::graph) fn is_inside(&self, id: usize) -> bool {
        self.of[id].is_some_and(|chain| self.chains[chain].last() != id)
    }

    /// The chain that a node is the last of.
    pub(in crate::graph) fn ending_at(&self, id: usize) -> Option<Chain> {
        self.of[id].map(|chain| self.chains[chain].clone()).filter(|chain| chain.last() == id)
    }
}

impl Lowering {
    /// Finds the chains among the nodes that are needed.
    pub(in crate::graph) fn find_chains(&mut self, needed: &[bool]) {
        let kept = self.outputs.iter().chain(&self.wanted_gradients);
        let is_output = |id: usize| kept.clone().any(|(_, output)| *output == id);
        let readers = fuse::only_consumers(&self.nodes, is_output);
        let calls: Vec<Option<Call>> = (0..self.nodes.len())
            .map(|id| self.nodes[id].op.call(self, id).filter(|_| self.relus[id] != Relu::InConsumer))
            .collect();
        let anchors: Vec<Option<Anchor>> = (0..self.nodes.len())
            .map(|id| self.nodes[id].op.anchor(self, id).filter(|_| needed[id] && self.pools[id].is_none()))
            .collect();
        self.chains = Chains { of: vec![None; self.nodes.len()], chains: Vec::new(), calls };
        for id in (0..self.nodes.len()).filter(|&id| needed[id]) {
            if self.chains.calls[id].is_some() {
                let chain = self.longest_chain(id, &readers, &anchors);
                for &member in chain.members.iter().chain(&chain.anchor) {
                    self.chains.of[member] = Some(self.chains.chains.len());
                }
                self.chains.chains.push(chain);
            }
        }
        (0..self.chains.chains.len()).for_each(|chain| self.keep_whole(chain, &readers));
    }

    /// Takes a chain from its anchor if the rest of it runs in a kernel of its own, which has room for all: that is one
    /// kernel less in the backward pass.
    fn keep_whole(&mut self, at: usize, readers: &[Option<usize>]) {
        let found = &self.chains;
        let chain = &found.chains[at];
        let last = chain.last();
        let (Some(anchor), Some(reader), Some(own)) = (chain.anchor, readers[last], found.of[last]) else {
            return;
        };
        let Some(rest) = found.of[reader].map(|rest| &found.chains[rest]) else { return };
        let follows = rest.anchor.is_none() && rest.members.contains(&reader);
        let lies_so = self.shapes[last] == self.shapes[reader] && self.orders[last] == self.orders[reader];
        // Chains that others have taken in are listed still.
        if own != at || !follows || !lies_so {
            return;
        }
        let mut members = [&chain.members[..], &rest.members].concat();
        members.sort_unstable();
        let whole = Chain { anchor: None, outside: self.outside(&members), members };
        if self.fits(&whole, None) {
            self.chains.of[anchor] = None;
            for &member in &whole.members {
                self.chains.of[member] = Some(self.chains.chains.len());
            }
            self.chains.chains.push(whole);
        }
    }

    /// The chain that ends at a function, of those before it, which are known.
    fn longest_chain(&self, id: usize, readers: &[Option<usize>], anchors: &[Option<Anchor>]) -> Chain {
        let found = &self.chains;
        let mut chain = Chain { anchor: None, members: vec![id], outside: self.outside(&[id]) };
        let inputs: BTreeSet<usize> = self.nodes[id].inputs.iter().copied().collect();
        for input in inputs.into_iter().filter(|&input| readers[input] == Some(id)) {
            if self.shapes[input] != self.shapes[id] || self.orders[input] != self.orders[id] {
                continue;
            }
            let (before, anchor) = match found.of[input].map(|known| &found.chains[known]) {
                Some(known) if known.last() == input => (&known.members[..], known.anchor),
                None if anchors[input].is_some() => (&[][..], Some(input)),
                _ => continue,
            };
            if anchor.is_some() && chain.anchor.is_some() {
                continue;
            }
            let mut members = [before, &chain.members].concat();
            members.sort_unstable();
            let anchor = anchor.or(chain.anchor);
            let joined = Chain { anchor, outside: self.outside(&members), members };
            if self.fits(&joined, anchor.and_then(|id| anchors[id])) {
                chain = joined;
            }
        }
        chain
    }

    fn outside(&self, members: &[usize]) -> Vec<usize> {
        let mut outside: Vec<usize> = Vec::new();
        for &input in members.iter().flat_map(|&member| &self.nodes[member].inputs) {
            if !members.contains(&input) && !outside.contains(&input) {
                outside.push(input);
            }
        }
        outside
    }

    /// Whether the kernels of a chain bind no more than every device allows.
    fn fits(&self, chain: &Chain, anchor: Option<Anchor>) -> bool {
        let draws = |&id: &usize| self.chains.calls[id].as_ref().is_some_and(|call| call.stream.is_some());
        let random = chain.members.iter().any(draws);
        let trained = chain.outside.iter().filter(|&&id| self.gradients.trains[id]).count();
        // The gradient of the result and the result, beside what is read and the gradients of that.
        let backward = chain.outside.len() + trained + usize::from(random) + 2;
        if backward > MOST_BUFFERS {
            return false;
        }
        let Some(anchor) = anchor else { return true };
        // An anchor's own, beside what else is read, and what keeps its value.
        let forward = anchor.buffers + chain.outside.len() - 1 + usize::from(random);
        let room = forward < MOST_BUFFERS || forward == MOST_BUFFERS && !self.keeps_anchor(chain);
        // Random numbers are drawn for whole quads.
        room && (!random || anchor.lanes == 4)
    }

    /// What the kernel of a chain's anchor does at its end.
    pub(in crate::graph) fn finish_with(&mut self, chain: &Chain) -> Finish {
        let (last, anchor) = (chain.last(), chain.anchor.expect("it runs in the kernel of another node"));
        let mut script = Script::new(self, chain);
        script.make(last);
        let result = script.name_of(last);
        let (mut program, inputs) = script.finish("");
        program.results.push(result);
        let view = |id: usize| (id != anchor).then(|| self.view_of(id));
        let inputs = inputs.into_iter().map(view).collect();
        let output = self.view_of(last);
        let before = self.keeps_anchor(chain).then(|| {
            let label = format!("{} before {}", self.name(anchor), self.name(last));
            let before = self.value_as(anchor, &label, self.matrix(anchor).len());
            self.define_as(anchor, before);
            before
        });
        let random = program.random.then(|| self.random());
        Finish { program, inputs, output, before, random }
    }

    /// Whether the backward pass of a chain needs what its anchor computed.
    fn keeps_anchor(&self, chain: &Chain) -> bool {
        if self.mode != Mode::Train || !self.gradients.trains[chain.last()] {
            return false;
        }
        let mut script = Script::new(self, chain);
        script.differentiate();
        script.inputs.iter().any(|&input| Some(input) == chain.anchor)
    }

    /// Emits the kernel that computes a chain, or lets that of its anchor do so.
    pub(in crate::graph) fn chain_forward(&mut self, chain: &Chain) -> Result<(), Error> {
        if let Some(anchor) = chain.anchor {
            return self.nodes[anchor].op.clone().forward(self, anchor);
        }
        let last = chain.last();
        let mut script = Script::new(self, chain);
        script.make(last);
        let result = script.name_of(last);
        let (mut program, inputs) = script.finish("elementwise");
        program.results.push(result);
        let views: Vec<View> = inputs.iter().map(|&id| self.view_of(id)).collect();
        self.define(last);
        let target = Target { view: self.view_of(last), adds: false };
        let layer = self.name(last);
        self.emit_elementwise(&layer, &program, &views, &[target]);
        Ok(())
    }

    fn view_of(&self, id: usize) -> View {
        self.forward[id].clone().expect("nodes are lowered in order")
    }

    /// Emits the kernels that send the gradient of a chain to what it reads.
    pub(in crate::graph) fn chain_backward(&mut self, chain: &Chain) {
        let last = chain.last();
        let layer = self.name(last);
        let dy = self.gradients.of[last].clone().expect("backward runs where a gradient arrived");
        let mut script = Script::new(self, chain);
        let sums = script.differentiate();
        let (mut program, inputs) = script.finish("elementwise_grad");
        let (mut outputs, mut written) = (Vec::new(), Vec::new());
        // Claimed when their turn comes: inputs may be parts of one memory, of which the first that runs must not add.
        let mut later = Vec::new();
        for (id, sum) in sums {
            let spread = self.shapes[id] != self.shapes[last];
            if sum == "dy" {
                if spread {
                    later.push((id, dy.clone()));
                    continue;
                }
                if self.share(&dy, id) {
                    continue;
                }
            }
            let memory = self.gradient_memory(id);
            let fits = !spread && self.gradient_lanes(id) == dy.lanes && !written.contains(&memory);
            let target = if fits {
                written.push(memory);
                let (view, adds) = self.claim(id);
                Target { view, adds }
            } else {
                let label = format!("gradient of an input of {layer}");
                let scratch = self.value_as(last, &label, self.matrix(last).len());
                let view = dy.in_buffer(scratch);
                later.push((id, view.clone()));
                Target { view, adds: false }
            };
            program.results.push(sum);
            outputs.push(target);
        }
        if !outputs.is_empty() {
            let views = inputs.iter().map(|&id| self.view_of(id));
            let views: Vec<View> = views.chain([dy.clone()]).collect();
            // The input's gradient may lie in another order than the result, by whose quads the forward pass drew.
            let order = if program.random { dy } else { outputs[0].view.clone() };
            self.emit_elementwise_as(&layer, &program, &order, &views, &outputs);
        }
        for (id, from) in later {
            let (to, adds) = self.claim(id);
            if self.shapes[id] != self.shapes[last] {
                ops::reduce_to(self, &layer, &from, &to, adds);
            } else {
                ops::rearrange(self, &layer, &from, &to, adds);
            }
        }
    }
}

impl Lowering {
    /// Lets the kernel that makes the whole gradient of an input of a node send it on through the chain that the input is the
    /// last of: returns where that writes the gradient of what the chain reads, and what it does before.
    ///
    /// So it is where nobody else reads that input, the chain sends one gradient on, of the same shape and order and to
    /// memory that nothing has written and whose view is `writable`, and a kernel that binds four buffers of its own has
    /// room for what the chain reads.
    pub(crate) fn finish_gradient(
        &mut self,
        (id, input): (usize, usize),
        writable: impl Fn(View) -> bool,
    ) -> Option<(View, Finish)> {
        let target = self.nodes[id].inputs[input];
        let chain = self.chains.ending_at(target)?;
        if !self.gets_one_gradient(target) || self.relus[target] == Relu::InConsumer {
            return None;
        }
        let mut script = Script::new(self, &chain);
        let sums: Vec<(usize, String)> = script.differentiate().into_iter().collect();
        let (mut program, inputs) = script.finish("elementwise_grad");
        let [(source, sum)] = &sums[..] else { return None };
        let lies_so =
            self.shapes[*source] == self.shapes[target] && self.orders[*source] == self.orders[target];
        let is_free = self.gradients.of[*source].is_none() && self.view_of[*source].is_none();
        let room = inputs.len() + 4 <= MOST_BUFFERS && !program.random;
        let is_laid = self.laid.contains(source) || self.laid.contains(&target);
        if sum == "dy" || !lies_so || !is_free || !room || is_laid || self.is_parameter(*source) {
            return None;
        }
        if !writable(View::packed(Operand::Value(0), &self.shapes[target], self.orders[target])) {
            return None;
        }
        program.results.push(sum.clone());
        program.name = chain.name(&self.chains.calls, "").replacen('[', "[gradient of ", 1);
        let (region, adds) = self.claim(*source);
        assert!(!adds, "nothing has written it");
        let views = inputs.iter().map(|&id| Some(self.view_of(id)));
        let inputs = views.chain([None]).collect();
        let finish = Finish { program, inputs, output: region.clone(), before: None, random: None };
        Some((region, finish))
    }
}

/// The text of a chain while it is written. Members are `m0`, `m1`, .. and what they read `e0`, `e1`, ..: equal chains
/// have equal texts wherever they stand in a graph.
struct Script<'a> {
    lowering: &'a Lowering,
    chain: &'a Chain,
    program: Program,
    /// What the kernel binds, in order.
    inputs: Vec<usize>,
    made: BTreeSet<usize>,
}

impl<'a> Script<'a> {
    fn new(lowering: &'a Lowering, chain: &'a Chain) -> Self {
        Self { lowering, chain, program: Program::default(), inputs: Vec::new(), made: BTreeSet::new() }
    }

    /// The program without its results, and what it binds.
    fn finish(mut self, frame: &str) -> (Program, Vec<usize>) {
        self.program.name = self.chain.name(&self.lowering.chains.calls, frame);
        if frame == "elementwise_grad" {
            self.program.body = format!("    let dy = x{};\n{}", self.inputs.len(), self.program.body);
        }
        (self.program, self.inputs)
    }

    fn name_of(&self, id: usize) -> String {
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

    fn bind(&mut self, id: usize) {
        if self.made.insert(id) {
            let line = format!("    let {} = x{};\n", self.name_of(id), self.inputs.len());
            self.program.body += &line;
            self.inputs.push(id);
        }
    }

    /// Writes how a value is computed, unless that is written already.
    fn make(&mut self, id: usize) {
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

    /// The text of a call of one of a function's two kinds.
    fn call(&mut self, call: &'a Call, kind: &str, arguments: &[String], nan: &str) -> String {
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

    /// Writes the gradients of all members, and returns those of what the chain reads.
    fn differentiate(&mut self) -> BTreeMap<usize, String> {
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

    /// The slopes of a member that lead to something that is trained.
    fn slopes(&self, id: usize) -> Vec<(usize, Slope)> {
        let node = &self.lowering.nodes[id];
        let slopes = self.call_of(id).function.slopes.iter().copied().enumerate();
        let trains = |at: usize| self.lowering.gradients.trains[node.inputs[at]];
        slopes.filter(|&(at, slope)| slope != Slope::Absent && trains(at)).collect()
    }

    /// The members' values that gradients need.
    fn needed(&self) -> BTreeSet<usize> {
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

/// A number as WGSL has it.
#[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
fn literal(constant: f64) -> String {
    let number = constant as f32;
    assert!(number.is_finite(), "{constant} is no literal");
    format!("{number:?}f")
}
