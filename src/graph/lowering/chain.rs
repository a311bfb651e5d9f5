//! Chains of pointwise functions. Nodes whose intermediate values no other node uses run as one kernel, forward and
//! backward.

mod script;

use std::collections::BTreeSet;

use self::script::Script;
use super::elementwise::Target;
use super::finish::Finish;
use super::{Lowering, Operand};
use crate::Error;
use crate::graph::Mode;
use crate::graph::fuse::{self, Relu};
use crate::graph::ops::{self, Anchor, Call};
use crate::graph::view::View;

/// Functions in the order of the graph. Each but the last has exactly one consumer, which is in the chain.
#[derive(Clone, Debug)]
pub(in crate::graph) struct Chain {
    /// The node before the chain whose kernel runs the chain, if there is one. It is the first of `outside`.
    anchor: Option<usize>,
    members: Vec<usize>,
    /// The distinct nodes outside the chain that it reads.
    outside: Vec<usize>,
}

/// The chains of a graph.
#[derive(Debug, Default)]
pub(in crate::graph) struct Chains {
    /// The function call of each node that is a pointwise function.
    calls: Vec<Option<Call>>,
    chains: Vec<Chain>,
    of: Vec<Option<usize>>,
}

/// Storage buffers that a kernel can bind on any device.
const MOST_BUFFERS: usize = 8;

impl Chain {
    fn last(&self) -> usize {
        *self.members.last().expect("a chain has members")
    }

    /// The name of its kernel in labels.
    fn name(&self, calls: &[Option<Call>], frame: &str) -> String {
        let names: Vec<&str> =
            self.members.iter().filter_map(|&id| calls[id].as_ref()).map(|call| call.function.name).collect();
        format!("{frame}[{}]", names.join("+"))
    }
}

impl Chains {
    /// The node whose value the kernel of node `id` writes: the last of the fused chain, or the node itself.
    pub(in crate::graph) fn made_by(&self, id: usize) -> usize {
        self.of[id].map_or(id, |chain| self.chains[chain].last())
    }

    /// The chain fused to the end of a node's kernel.
    pub(in crate::graph) fn ending_in(&self, id: usize) -> Option<Chain> {
        self.of[id].map(|chain| self.chains[chain].clone()).filter(|chain| chain.anchor == Some(id))
    }

    /// Whether a node runs inside another node's kernel and has no value of its own.
    pub(in crate::graph) fn is_inside(&self, id: usize) -> bool {
        self.of[id].is_some_and(|chain| self.chains[chain].last() != id)
    }

    /// The chain whose last node is `id`.
    pub(in crate::graph) fn ending_at(&self, id: usize) -> Option<Chain> {
        self.of[id].map(|chain| self.chains[chain].clone()).filter(|chain| chain.last() == id)
    }
}

impl Lowering {
    /// Finds the chains among the needed nodes.
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

    /// Separates a chain from its anchor if part of it runs in a kernel of its own that has room for the whole chain.
    /// That saves a kernel in the backward pass.
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
        // Chains that were merged into others are still listed.
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

    /// The longest chain that ends with function `id`, given the chains of earlier nodes.
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

    /// Whether the kernels of a chain bind no more buffers than every device allows.
    fn fits(&self, chain: &Chain, anchor: Option<Anchor>) -> bool {
        let draws = |&id: &usize| self.chains.calls[id].as_ref().is_some_and(|call| call.stream.is_some());
        let random = chain.members.iter().any(draws);
        let trained = chain.outside.iter().filter(|&&id| self.gradients.trains[id]).count();
        // The upstream gradient and the result, plus the inputs and their gradients.
        let backward = chain.outside.len() + trained + usize::from(random) + 2;
        if backward > MOST_BUFFERS {
            return false;
        }
        let Some(anchor) = anchor else { return true };
        // The anchor's own buffers, the other inputs, and a buffer to save its value.
        let forward = anchor.buffers + chain.outside.len() - 1 + usize::from(random);
        let room = forward < MOST_BUFFERS || forward == MOST_BUFFERS && !self.keeps_anchor(chain);
        // Random numbers are drawn for whole quads.
        room && (!random || anchor.lanes == 4)
    }

    /// The program that the anchor's kernel runs at its end.
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

    /// Whether the backward pass of a chain needs the value of its anchor.
    fn keeps_anchor(&self, chain: &Chain) -> bool {
        if self.mode != Mode::Train || !self.gradients.trains[chain.last()] {
            return false;
        }
        let mut script = Script::new(self, chain);
        script.differentiate();
        script.inputs.iter().any(|&input| Some(input) == chain.anchor)
    }

    /// Emits the kernel that computes a chain, unless its anchor's kernel does.
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

    /// Emits the kernels that compute the gradients of a chain's inputs.
    pub(in crate::graph) fn chain_backward(&mut self, chain: &Chain) {
        let last = chain.last();
        let layer = self.name(last);
        let dy = self.gradients.of[last].clone().expect("backward runs where a gradient arrived");
        let mut script = Script::new(self, chain);
        let sums = script.differentiate();
        let (mut program, inputs) = script.finish("elementwise_grad");
        let (mut outputs, mut written) = (Vec::new(), Vec::new());
        // Claimed only when they are written: inputs can be parts of one buffer, of which the first writer must not
        // add.
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
            // The gradient's memory order can differ from that of the result, whose quads determine the random
            // numbers.
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
    /// Fuses the backward pass of a chain into the kernel that computes the whole gradient of an input, where the
    /// input is the last node of the chain. Returns where that kernel writes the gradient of the chain's input, and
    /// the program that it runs before.
    ///
    /// Possible if no other node reads that input; the chain has one input with a gradient, of the same shape and
    /// order, in memory that is not written yet and whose view is `writable`; and a kernel with four buffers of its
    /// own has room for what the chain reads.
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
