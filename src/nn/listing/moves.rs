use crate::graph::{Graph, Init, Var};
use crate::nn::{AvgPool2d, RandomCrop, RandomErasing};

/// A graph that moves and reduces elements: in whole quads and within quads; overwriting, adding and writing side by
/// side; along adjacent axes and along the lanes; in one kernel and in parts.
pub(super) fn moves() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let x = graph.parameter("x", [2, 6, 3, 7], Init::Normal { std: 1.0 });
    let image = x.avg_pool2d(AvgPool2d::new(1));
    let odd = x.slice(3, 1, 6, 2).concat(&[&x.narrow(3, 0, 5), &image.narrow(3, 2, 5)], -1);
    let padded = image.pad(&[1, 2, -1, 1], f32::NEG_INFINITY).pad(&[-2, -1], 0.5).narrow(2, 1, 2);
    let rows = |of: &Var| of.reshape(&[-1, 3, 2]).narrow(0, 0, 16);
    let turned = rows(&padded.permute(&[3, 0, 2, 1])).stack(&[&rows(&x.select(0, 0))], 1);
    let flat = odd.flatten_dims(1, 2).squeeze(None).unsqueeze(0).expand(&[5, -1, -1, -1]);
    let reduced = [
        flat.sum_dim(&[0, 3], true).mean_dim(&[1, 2], false),
        turned.var_dim(&[0, 1], 1, true).amax(&[3], false),
        image.amin(&[1], true).mean_dim(&[0, 2], false),
        image.mean_dim(&[0, 2, 3], true).sum_dim(&[2], false),
        x.var_dim(&[-1], 0, true),
    ];
    let long = graph.parameter("long", [1300, 5, 2], Init::Normal { std: 1.0 });
    let more = [long.amax(&[0], true), long.transpose(0, 2).amin(&[2], false), long.var_dim(&[], 1, false)];
    let augmented = [&x, &image].map(|x| {
        let x = x
            .random_horizontal_flip(0.5)
            .random_vertical_flip(0.5)
            .random_crop(RandomCrop::new(3).padding(1));
        x.random_erasing(RandomErasing::new().scale([0.2, 0.4])).cutout(2).sum()
    });
    let loss = reduced.iter().chain(&more).map(Var::sum).chain(augmented).reduce(|sum, term| sum.add(&term));
    let places = [x.argmax(-1, true), x.argmin(0, false), long.argmax(None, false)];
    let places = places.iter().map(Var::sum).reduce(|sum, term| sum.add(&term));
    (graph, loss.expect("there are terms"), places.expect("there are terms"))
}
