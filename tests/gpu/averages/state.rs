//! Averages in state dicts and checkpoints, and by themselves as torch has them.

use gradus::graph::{Graph, Var};
use gradus::nn::{BatchNorm, Linear};
use gradus::optim::{AdamW, Averages, Ema, StateDict, Swa};
use gradus::params::Weights;
use gradus::train::{Checkpoint, Trainer};

use super::{adamw, averages_of, build, step};
use crate::common::{bits, gpu, noises, read_all, store};
use crate::folder::Folder;

#[test]
fn a_state_dict_goes_on_with_its_averages() {
    let Some(gpu) = gpu() else { return };
    let all: [Averages; 2] =
        [Ema { start: 2, every: 2, ..Ema::new(0.8) }.into(), Swa { start: 3, ..Swa::default() }.into()];
    for averages in all {
        for stop in [0, 1, 5] {
            let mut whole = build(store(&gpu), adamw(), Some(&averages));
            whole.0.freeze("t2").unwrap();
            (0..stop).for_each(|number| step(&mut whole, number));
            let dict = whole.1.read_state_dict().unwrap();
            let json = serde_json::to_string(&dict).unwrap();
            assert_eq!(serde_json::from_str::<StateDict>(&json).unwrap(), dict);
            let kept = dict.averages.as_ref().unwrap();
            assert_eq!((&kept.options, kept.updates.len()), (&averages, if stop == 0 { 0 } else { 6 }));
            // Options come from the state, as those of the rule do.
            let other = match &averages {
                Averages::Ema(_) => Ema::new(0.1).into(),
                Averages::Swa(_) => Swa::default().into(),
            };
            let mut second = build(store(&gpu), adamw(), Some(&other));
            second.0.freeze("t2").unwrap();
            second.0.load_state_dict(&whole.0.read_weights().unwrap(), true).unwrap();
            second.1.load_state_dict(&dict).unwrap();
            assert_eq!(second.1.averages(), Some(&averages));
            for number in stop..10 {
                step(&mut whole, number);
                step(&mut second, number);
            }
            assert_eq!(bits(&averages_of(&second)), bits(&averages_of(&whole)), "stopped at {stop}");
            assert_eq!(second.1.read_state_dict().unwrap(), whole.1.read_state_dict().unwrap());
        }
    }
}

#[test]
fn averages_go_to_torch_and_back() {
    let Some(gpu) = gpu() else { return };
    let averages = Swa { start: 2, every: 3, ..Swa::default() }.into();
    let mut whole = build(store(&gpu), adamw(), Some(&averages));
    (0..9).for_each(|number| step(&mut whole, number));
    let model = whole.1.read_averaged_model(&whole.0).unwrap();
    // Updates 3, 6 and 9 have entered; torch would not say if others had followed.
    assert_eq!((model.get("n_averaged").unwrap().values[0], model.len()), (3.0, 8));
    assert_eq!(model.get("n_averaged").unwrap().shape, [0_usize; 0]);
    let weights = Weights::from_bytes(&model.to_bytes().unwrap()).unwrap();
    let mut second = build(store(&gpu), adamw(), Some(&averages));
    second.0.load_state_dict(&whole.0.read_weights().unwrap(), true).unwrap();
    let mut dict = whole.1.read_state_dict().unwrap();
    dict.averages = second.1.read_state_dict().unwrap().averages;
    second.1.load_state_dict(&dict).unwrap();
    second.1.load_averages(&second.0, &weights).unwrap();
    assert_eq!(bits(&averages_of(&second)), bits(&averages_of(&whole)));
    for number in 9..20 {
        step(&mut whole, number);
        step(&mut second, number);
        assert_eq!(bits(&averages_of(&second)), bits(&averages_of(&whole)), "step {number}");
    }
}

fn network() -> (Graph, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [8, 5]), graph.labels("y", 8));
    let h = x.linear(Linear::new(6).name("a")).batch_norm1d(BatchNorm::new().name("bn")).relu();
    let loss = h.linear(Linear::new(3).name("b")).cross_entropy(&y);
    (graph, loss)
}

fn trainer(gpu: &gradus::Gpu, averages: impl Into<Averages>, seed: u64, together: usize) -> Trainer<AdamW> {
    let (graph, loss) = network();
    let rule = AdamW { lr: 0.02, ..AdamW::default() };
    let builder = graph.trainer(&loss, rule).seed(seed).averages(averages).steps_per_submit(together);
    builder.build(gpu).unwrap()
}

fn train(trainer: &mut Trainer<AdamW>, steps: std::ops::Range<u64>) {
    for step in steps {
        let x = noises(step, 40);
        trainer.step(&[("x", &x), ("y", &vec![0, 1, 2, 1, 0, 2, 2, 1])]).unwrap();
    }
}

fn look(trainer: &mut Trainer<AdamW>) -> f64 {
    let x = noises(77, 80);
    let y: Vec<u32> = (0..16).map(|i| i % 3).collect();
    trainer.with_averages(|trainer| trainer.evaluate(&[("x", &x), ("y", &y)], 5)).unwrap().loss
}

#[test]
fn a_run_that_was_stopped_or_looked_at_ends_in_the_same_file() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("averages");
    let path = folder.join("model.safetensors");
    let all: [Averages; 2] =
        [Ema { use_buffers: true, ..Ema::new(0.9) }.into(), Swa { start: 5, ..Swa::default() }.into()];
    for averages in all {
        let mut whole = trainer(&gpu, averages.clone(), 1, 1);
        train(&mut whole, 0..20);
        whole.read_checkpoint().unwrap().write(&path).unwrap();
        let want = std::fs::read(&path).unwrap();
        let mut together = trainer(&gpu, averages.clone(), 1, 4);
        for step in 0..20 {
            train(&mut together, step..step + 1);
            if step % 6 == 1 {
                let of_weights = together.read_averages().unwrap();
                let (bits_before, loss) = (together.params().read("a.weight").unwrap(), look(&mut together));
                assert!(loss.is_finite());
                assert_eq!(together.params().read("a.weight").unwrap(), bits_before);
                assert_eq!(together.read_averages().unwrap(), of_weights);
            }
        }
        together.read_checkpoint().unwrap().write(&path).unwrap();
        assert!(std::fs::read(&path).unwrap() == want, "looked at, steps submitted together");
        for stop in [0, 3, 11] {
            let mut first = trainer(&gpu, averages.clone(), 1, 1);
            train(&mut first, 0..stop);
            first.read_checkpoint().unwrap().write(&path).unwrap();
            let checkpoint = Checkpoint::read(&path).unwrap();
            let kept = Weights::try_from(checkpoint.averages().unwrap()).unwrap();
            assert_eq!(kept, first.read_averages().unwrap());
            let mut second = trainer(&gpu, averages.clone(), 99, 1);
            second.load_checkpoint(&checkpoint).unwrap();
            assert_eq!(look(&mut second).to_bits(), look(&mut first).to_bits());
            train(&mut second, stop..20);
            second.read_checkpoint().unwrap().write(&path).unwrap();
            assert!(std::fs::read(&path).unwrap() == want, "stopped at {stop}");
        }
        // The weights themselves are those of a run without averages.
        let (graph, loss) = network();
        let rule = AdamW { lr: 0.02, ..AdamW::default() };
        let mut plain = graph.trainer(&loss, rule).seed(1).build(&gpu).unwrap();
        train(&mut plain, 0..20);
        assert_eq!(bits(&read_all(plain.params())), bits(&read_all(whole.params())));
        assert!(
            plain.load_checkpoint(&Checkpoint::read(&path).unwrap()).is_err(),
            "averages that it keeps none of"
        );
    }
}
