// An average of the parameters. Until an update counts, it holds the values from before the tensor's first update. The first
// update that counts copies the parameters, and later ones move the average towards them.
// torch.optim.swa_utils.AveragedModel.
const AVERAGING_BEGINS = 1u;
const AVERAGING_COUNTS = 2u;

fn keep_average(next: vec4f, p: vec4f, s: ptr<function, State>) {
    let average = select((*s).average_param, p, (hyper.averaging & AVERAGING_BEGINS) != 0u);
    let part = averaged_apart(average, next, hyper.averaging_beta, hyper.averaging_weight);
    let moved = select(part, next, hyper.averaging_weight == 1.0);
    (*s).average_param = select(average, moved, (hyper.averaging & AVERAGING_COUNTS) != 0u);
}
