//! The rows of the table: command lines that are refused.

use std::fs;
use std::path::Path;

use gradus::train::data::{idx, npy};

use super::{TEST_X, TEST_Y, X, Y, bad, change, forged, write_data, write_images};

/// What is done to the folder, the command line, and the message.
pub(super) type Row = (fn(&Path), &'static str, &'static str);

const NOTHING: fn(&Path) = |_| ();

pub(super) const DATA: [Row; 14] = [
    (
        |dir| change(&dir.join(X), |bytes| bytes.truncate(bytes.len() - 5)),
        "--data DIR/data",
        "DIR/data/train-images-idx3-ubyte: images: truncated, 2555 of 2560 bytes",
    ),
    (
        |dir| change(&dir.join(TEST_Y), |bytes| bytes.push(0)),
        "--data DIR/data",
        "DIR/data/t10k-labels-idx1-ubyte: has extra bytes after the labels",
    ),
    (
        |dir| fs::copy(dir.join(Y), dir.join(X)).map(drop).unwrap(),
        "--data DIR/data",
        "DIR/data/train-images-idx3-ubyte: magic number: images have 0x00000803 or 0x00000804, got 0x00000801",
    ),
    (
        |dir| change(&dir.join(X), |bytes| bytes[2] = 13),
        "--data DIR/data",
        "DIR/data/train-images-idx3-ubyte: magic number: images have 0x00000803 or 0x00000804, got 0x00000d03",
    ),
    (
        |dir| change(&dir.join(TEST_X), |bytes| bytes[4..].fill(0)),
        "--data DIR/data",
        "DIR/data/t10k-images-idx3-ubyte: number of images: must be at least 1, got 0",
    ),
    (
        |dir| change(&dir.join(TEST_X), Vec::clear),
        "--data DIR/data",
        "DIR/data/t10k-images-idx3-ubyte: magic number: truncated, 0 of 4 bytes",
    ),
    (
        |dir| idx::write_labels(dir.join(Y), &[1; 39]).unwrap(),
        "--data DIR/data",
        "DIR/data/train-labels-idx1-ubyte: 39 labels, but 40 images in DIR/data/train-images-idx3-ubyte",
    ),
    (NOTHING, "--data DIR/nowhere", "DIR/nowhere: there is no such folder"),
    (
        |dir| fs::remove_file(dir.join(TEST_Y)).unwrap(),
        "--data DIR/data",
        "DIR/data: holds none of t10k-labels-idx1-ubyte, t10k-labels.idx1-ubyte, t10k-labels-idx1-ubyte.gz, \
         t10k-labels.idx1-ubyte.gz",
    ),
    (
        |dir| write_images(&dir.join(TEST_X), 20, 9),
        "--data DIR/data",
        "DIR/data: test images of shape [1, 9, 9], but training images of [1, 8, 8]",
    ),
    (
        |dir| write_data(dir, 3),
        "--data DIR/data",
        "--model cnn on images of [1, 3, 3], --batch-size 32: max_pool2d_2: expected an image of at least 2x2 \
         with its padding, got [32, 32, 1, 1]",
    ),
    (
        |dir| write_data(dir, 9),
        "--data DIR/data --evaluate DIR/run/model.safetensors",
        "the test set of --data: the images must have the model's shape [1, 8, 8], got [1, 9, 9]",
    ),
    (
        |dir| idx::write_labels(dir.join(TEST_Y), &[10; 20]).unwrap(),
        "--data DIR/data --evaluate DIR/run/model.safetensors",
        "the test set of --data: the labels must be of the model's 10 classes, got 11",
    ),
    (
        |dir| idx::write_labels(dir.join(TEST_Y), &[7; 20]).unwrap(),
        "--data DIR/data --resume DIR/run/model.safetensors",
        "DIR/run/model.safetensors: its images are others than those of --data: 40 of [1, 8, 8] in 10 classes, \
         checksum ",
    ),
];

pub(super) const MODELS: [Row; 16] = [
    (
        NOTHING,
        "--resume DIR/run/model.safetensors --model mlp",
        "DIR/run/model.safetensors: its --model is cnn, not mlp: leave the option out to go on with that",
    ),
    (
        NOTHING,
        r#"--resume DIR/run/model.safetensors --optimizer {"name":"SGD"}"#,
        r#"DIR/run/model.safetensors: its --optimizer is the default, not {"name":"SGD"}: leave the option out"#,
    ),
    (
        NOTHING,
        r#"--resume DIR/run/model.safetensors --schedule {"name":"StepLR","step_size":3}"#,
        "DIR/run/model.safetensors: its --schedule is the default, not {",
    ),
    (
        NOTHING,
        "--resume DIR/run/model.safetensors --epochs 3",
        "DIR/run/model.safetensors: its --epochs is 2, not 3: leave the option out to go on with that",
    ),
    (
        NOTHING,
        "--resume DIR/typo.safetensors --out DIR/run",
        "--resume DIR/typo.safetensors: there is no such file, but a model.safetensors in --out DIR/run",
    ),
    (
        |dir| bad(dir, |bytes| bytes.truncate(bytes.len() - 7)),
        "--resume DIR/bad.safetensors",
        "DIR/bad.safetensors: it is not a whole safetensors file: ",
    ),
    (
        |dir| {
            bad(dir, |bytes| {
                let place = bytes.len() - 100;
                bytes[place] ^= 4;
            });
        },
        "--resume DIR/bad.safetensors",
        "DIR/bad.safetensors: it was changed since it was written: its checksum does not fit",
    ),
    (
        |dir| forged(dir, |record| record, |bytes| bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes())),
        "--resume DIR/bad.safetensors",
        "DIR/bad.safetensors: optim.exp_avg.conv2d_1.bias holds NaN at element 0",
    ),
    (
        |dir| forged(dir, |record| record.replace(r#""format":1"#, r#""format":2"#), |_| ()),
        "--evaluate DIR/bad.safetensors",
        "DIR/bad.safetensors: it has format 2, this version reads format 1",
    ),
    (
        |dir| forged(dir, |record| record.replace(r#""epochs":2"#, r#""epochs":"two""#), |_| ()),
        "--resume DIR/bad.safetensors",
        "DIR/bad.safetensors: it is not a run of train_cnn: invalid type: string \"two\"",
    ),
    // Of another model, optimizer and schedule than its record says.
    (
        |dir| forged(dir, |record| record.replace(r#""model":"cnn""#, r#""model":"mlp""#), |_| ()),
        "--data DIR/data --resume DIR/bad.safetensors",
        "DIR/bad.safetensors: params.linear1.weight has the shape [64, 128], this model's has [128, 64]",
    ),
    (
        |dir| forged(dir, |record| record.replace(r#""name":"AdamW""#, r#""name":"Adam""#), |_| ()),
        "--data DIR/data --resume DIR/bad.safetensors",
        "DIR/bad.safetensors: optimizer: it is of Adam, this optimizer is AdamW",
    ),
    (
        |dir| forged(dir, |record| record.replace(r#""name":"OneCycleLR""#, r#""name":"StepLR""#), |_| ()),
        "--data DIR/data --resume DIR/bad.safetensors",
        "DIR/bad.safetensors: its schedule is {",
    ),
    (
        |dir| {
            let one = [0; 4];
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &one).unwrap();
            let plain = safetensors::serialize([("w", view)], None).unwrap();
            bad(dir, |bytes| *bytes = plain);
        },
        "--evaluate DIR/bad.safetensors",
        "DIR/bad.safetensors: it is not a checkpoint: there is no metadata key \"gradus\"",
    ),
    (NOTHING, "--evaluate DIR/none", "DIR/none: "),
    (NOTHING, "--resume DIR/data", "DIR/data: "),
];

pub(super) const OPTIONS: [Row; 20] = [
    (
        NOTHING,
        "--data DIR/data --out DIR/run/model.safetensors/under",
        "--out DIR/run/model.safetensors/under must be a folder that can be written: ",
    ),
    (
        NOTHING,
        "--data DIR/data --out DIR/run/model.safetensors",
        "--out DIR/run/model.safetensors must be a folder that can be written: ",
    ),
    (NOTHING, "--save-every 3", "the following required arguments were not provided:"),
    (NOTHING, "--epochs 0", "invalid value '0' for '--epochs <EPOCHS>': it must be an integer of at least 1"),
    (
        NOTHING,
        "--epochs 18446744073709551615",
        "--epochs 18446744073709551615 are more steps than can be counted",
    ),
    (
        NOTHING,
        "--batch-size 1e3",
        "invalid value '1e3' for '--batch-size <BATCH_SIZE>': it must be an integer",
    ),
    (NOTHING, "--lr nan", "invalid value 'nan' for '--lr <LR>': it must be a finite number of at least 0"),
    (
        NOTHING,
        "--optimizer SGD",
        "invalid value 'SGD' for '--optimizer <OPTIMIZER>': it must be JSON: expected",
    ),
    (
        NOTHING,
        r#"--optimizer {"name":"Sgdd"}"#,
        "--optimizer: unknown optimizer \"Sgdd\", did you mean \"SGD\"?; known: ASGD, AdaBelief, Adadelta, Adafactor,",
    ),
    (
        NOTHING,
        r#"--optimizer {"name":"SGD","mom":1}"#,
        "--optimizer: unknown field of SGD \"mom\", did you mean \"momentum\"?; known: lr, momentum,",
    ),
    (
        NOTHING,
        "--schedule StepLR",
        "invalid value 'StepLR' for '--schedule <SCHEDULE>': it must be JSON: expected",
    ),
    (
        NOTHING,
        r#"--schedule {"name":"Step"}"#,
        "--schedule: unknown schedule \"Step\", did you mean \"StepLR\"?",
    ),
    (
        NOTHING,
        r#"--data DIR/data --epochs 2 --schedule {"name":"OneCycleLR","max_lr":0.1,"total_steps":2}"#,
        "--schedule for 4 steps: step must be at most 2, the total_steps of OneCycleLR, got 3",
    ),
    (
        NOTHING,
        "--data DIR/data --epochs 3 --lr 1e30 --out DIR/run",
        "the run diverged, try a lower rate: the loss of step 2 is NaN",
    ),
    (
        |dir| npy::write(dir.join("x.npy"), &[3, 5, 5], &[0_u8; 75]).unwrap(),
        "--predict DIR/x.npy --load DIR/run/model.safetensors",
        "DIR/x.npy: shape: must be a number of images of [[1, 8, 8], [64], [8, 8]], got [3, 5, 5]",
    ),
    (
        |dir| npy::write(dir.join("x.npy"), &[0, 8, 8], &[0_u8; 0]).unwrap(),
        "--predict DIR/x.npy --load DIR/run/model.safetensors",
        "DIR/x.npy: shape: must be a number of images of [[1, 8, 8], [64], [8, 8]], got [0, 8, 8]",
    ),
    (
        |dir| npy::write(dir.join("x.npy"), &[1, 64], &[f32::INFINITY; 64]).unwrap(),
        "--predict DIR/x.npy --load DIR/run/model.safetensors",
        "DIR/x.npy: value 0: must be finite, got inf",
    ),
    (
        NOTHING,
        "--predict DIR/run/history.csv --load DIR/run/model.safetensors",
        "DIR/run/history.csv: magic number: not that of an NPY file",
    ),
    (NOTHING, "--predict DIR/x.npy", "the following required arguments were not provided:"),
    (
        NOTHING,
        "--evaluate DIR/run/model.safetensors --out DIR/run",
        "the argument '--evaluate <MODEL>' cannot be used with '--out <OUT>'",
    ),
];
