//! The buffers of a plan.

use std::sync::{Arc, Mutex};

use super::Output;
use crate::Error;
use crate::gpu::{Buffer, Gpu};
use crate::graph::Workspace;
use crate::graph::input::Input;
use crate::graph::lowering::{Keep, Lowering, Operand};
use crate::graph::workspace::{Life, assign};

pub(super) type Allocated = (Vec<Input>, Vec<Output>, Vec<Arc<Buffer<f32>>>);

/// Allocates a buffer for every value: a separate one if the host writes or reads it, otherwise a shared one.
pub(super) fn allocate(
    gpu: &Gpu,
    lowering: &Lowering,
    workspace: &mut Workspace,
) -> Result<Allocated, Error> {
    let limit = gpu.device().limits().max_storage_buffer_binding_size;
    for value in &lowering.values {
        let bytes = (value.words() * size_of::<f32>()) as u64;
        if bytes > limit {
            let (tensor, limit_name) = (value.label.clone(), "max_storage_buffer_binding_size");
            return Err(Error::Limit { tensor, bytes, limit_name, limit });
        }
    }
    let lives = lives(lowering);
    let pooled: Vec<usize> = (0..lives.len()).filter(|&value| lives[value].is_some()).collect();
    let (slot_of, lens) = assign(&lives.iter().flatten().copied().collect::<Vec<_>>());
    let slots = workspace.take(gpu, &lens)?;
    let mut buffers: Vec<Option<Arc<Buffer<f32>>>> = vec![None; lowering.values.len()];
    for (&value, slot) in pooled.iter().zip(slot_of) {
        buffers[value] = Some(slots[slot].clone());
    }
    let (mut inputs, mut outputs): (Vec<Input>, Vec<Output>) = (Vec::new(), Vec::new());
    for (number, (value, buffer)) in lowering.values.iter().zip(&mut buffers).enumerate() {
        if buffer.is_some() {
            continue;
        }
        let made = Arc::new(Buffer::storage(gpu, &value.label, value.words())?);
        match value.keep.clone() {
            Keep::Input { name, labels, shape, classes, ignored } => {
                if inputs.iter().any(|input| input.name == name) {
                    return Err(Error::Duplicate { kind: "input", name });
                }
                let (buffer, gather) = (made.clone(), Mutex::default());
                inputs.push(Input { name, value: number, buffer, labels, shape, classes, ignored, gather });
            }
            Keep::Output(names) => {
                for (name, shape, order) in names {
                    if outputs.iter().any(|output| output.name == name) {
                        return Err(Error::Duplicate { kind: "output", name });
                    }
                    let backward = lowering.wanted_gradients.iter().any(|(gradient, _)| *gradient == name);
                    outputs.push(Output {
                        name,
                        value: number,
                        backward,
                        buffer: made.clone(),
                        shape,
                        order,
                    });
                }
            }
            Keep::Constant(data) => made.write(gpu, 0, &data)?,
            Keep::Pooled | Keep::Random | Keep::LossScale => {}
        }
        *buffer = Some(made);
    }
    Ok((inputs, outputs, buffers.into_iter().flatten().collect()))
}

/// The lifetimes of values whose memory is reused; `None` for all others.
fn lives(lowering: &Lowering) -> Vec<Option<Life>> {
    let mut lives: Vec<Option<Life>> = vec![None; lowering.values.len()];
    for (number, step) in lowering.steps.iter().enumerate() {
        for operand in &step.operands {
            if let Operand::Value(value) | Operand::Part { value, .. } = *operand
                && lowering.values[value].keep == Keep::Pooled
            {
                let len = lowering.values[value].words();
                lives[value].get_or_insert(Life { len, first: number, last: number }).last = number;
            }
        }
    }
    lives
}
