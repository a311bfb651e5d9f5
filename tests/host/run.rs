//! `gradus run`: what is refused before anything is computed, and where that stands in the file.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::folder::Folder;

/// What `gradus run` says of a file that it refuses. It must leave nothing.
fn refused(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    let out = folder.join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_gradus"))
        .arg("run")
        .arg(&file)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "it was not refused:\n{text}");
    assert!(!out.exists(), "it left a folder:\n{text}");
    assert!(!said.contains("panicked"), "{said}");
    // A driver may have said something before.
    let head = format!("Error: {}: ", file.display());
    let (_, rest) = said.split_once(&head).unwrap_or_else(|| panic!("{said}\nof\n{text}"));
    rest.split("\n\nStack backtrace").next().unwrap().trim_end().to_owned()
}

/// A file that would run, with a part that is put elsewhere or added.
fn with(parts: &[(&str, &str)]) -> String {
    let keys = [
        ("epochs", "epochs = 1"),
        ("model", "model = \"mlp\""),
        ("data", "data = \"digits\""),
        ("optimizer", "[optimizer]\nname = \"AdamW\"\nlr = 0.01"),
    ];
    let own = |key: &str| parts.iter().find(|(name, _)| *name == key).map(|(_, text)| *text);
    let mut text: Vec<&str> = keys.iter().map(|(key, usual)| own(key).unwrap_or(usual)).collect();
    text.extend(parts.iter().filter(|(key, _)| *key == "more").map(|(_, text)| *text));
    text.join("\n")
}

fn check(name: &str, rows: &[(&[(&str, &str)], &str)]) {
    let folder = Folder::new(name);
    fs::write(folder.join("hole.csv"), "a,b,y\n1,2,0\n3,,1\n").unwrap();
    let mut wrong = Vec::new();
    for (parts, message) in rows {
        let said = refused(&folder, "run.toml", &with(parts));
        if !said.starts_with(message) {
            wrong.push(format!("expected {message}\n     got {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn keys_of_a_run_are_refused_with_their_line() {
    check(
        "run-keys",
        &[
            (
                &[("model", "modle = \"mlp\"")],
                "line 2: modle: unknown key \"modle\", did you mean \"model\"?; known: ",
            ),
            (&[("epochs", "")], "line 1: epochs: it is missing"),
            (&[("optimizer", "")], "line 1: optimizer: it is missing"),
            (&[("epochs", "epochs = 0")], "line 1: epochs: must be at least 1, got 0"),
            (&[("epochs", "epochs = 2\nbatch_size = 0")], "line 2: batch_size: must be at least 1, got 0"),
            (
                &[("epochs", "epochs = \"many\"")],
                "line 1: epochs: invalid type: string \"many\", expected u64",
            ),
            (&[("epochs", "epochs = -1")], "line 1: epochs: invalid value: integer `-1`, expected u64"),
            (
                &[("epochs", "epochs = 1\nshuffle = 1")],
                "line 2: shuffle: invalid type: integer `1`, expected a boolean",
            ),
            (&[("epochs", "epochs = 0xffffffffffffffff")], "line 1: epochs: must be at most"),
            (
                &[("epochs", "epochs = 99999999999999999999")],
                "line 1: epochs: must be a whole number of 64 bits",
            ),
            (&[("epochs", "epochs = 1\nepochs = 2")], "line 2: duplicate key"),
            (
                &[("epochs", "epochs = 1979-05-27")],
                "line 1: epochs: must be a number, a text, true, false, a list or a table",
            ),
            (&[("epochs", "epochs =")], "line 1: "),
            (
                &[("epochs", "epochs = 1\nbatch_size = 2000\ndrop_last = true")],
                "line 3: drop_last: the 1437 training samples make no whole batch of 2000",
            ),
        ],
    );
}

#[test]
fn models_and_layers_are_refused_with_their_line() {
    check(
        "run-models",
        &[
            (&[("model", "model = \"cnm\"")], "line 2: model: unknown model \"cnm\", did you mean \"cnn\"?"),
            (&[("model", "model = {name = \"mpl\"}")], "line 2: model.name: unknown model \"mpl\""),
            (&[("model", "model = {}")], "line 2: model.name: missing field `name` or `layers`"),
            (&[("model", "model = {name = \"mlp\", layers = []}")], "line 2: model.layers: "),
            (&[("model", "model = {width = 3}")], "line 2: model.width: unknown field of model \"width\""),
            (
                &[("model", "model.layers = [\n\"Flatten\",\n{name = \"Linear\", out_featurse = 3}]")],
                "line 4: model.layers[1].out_featurse: layers[1]: unknown field of Linear \"out_featurse\", did you mean \"out_features\"?",
            ),
            (
                &[("model", "model.layers = [\n\"Relu\"]")],
                "line 3: model.layers[0]: layers[0]: unknown layer \"Relu\", did you mean \"ReLU\"?",
            ),
            (
                &[(
                    "model",
                    "model.layers = [\"Flatten\",\n{name = \"Residual\", layers = [\n{name = \"Linear\"}]}]",
                )],
                "line 4: model.layers[1].layers[0].out_features: layers[1].layers[0]: layer Linear: missing field `out_features`",
            ),
            (
                &[("model", "model.layers = [\"Flatten\",\n{name = \"Linear\", out_features = 9}]")],
                "line 2: model: its outputs have the shape [32, 9], expected [32, 10], a number for each class",
            ),
            (
                &[(
                    "model",
                    "model.layers = [\"Flatten\",\n{name = \"Conv2d\", out_channels = 9, kernel_size = 3}]",
                )],
                "line 3: model.layers[1]: ",
            ),
        ],
    );
}

#[test]
fn data_are_refused_with_the_line_that_names_them() {
    check(
        "run-data",
        &[
            (
                &[("data", "data = \"digit\"")],
                "line 3: data: unknown data \"digit\", did you mean \"digits\"?",
            ),
            (
                &[("data", "data = {name = \"digits\", folder = \"a\"}")],
                "line 3: data.folder: unknown field of data digits",
            ),
            (&[("data", "data = {name = \"csv\"}")], "line 3: data.path: data csv: missing field `path`"),
            (&[("data", "data.name = \"csv\"\ndata.path = \"none.csv\"")], "line 4: data.path: "),
            (&[("data", "data.name = \"csv\"\ndata.path = \"hole.csv\"")], "line 4: data.path: "),
            (
                &[("data", "data.name = \"csv\"\ndata.path = \"hole.csv\"\ndata.test = \"none.csv\"")],
                "line 5: data.test: ",
            ),
            (
                &[("data", "data.name = \"csv\"\ndata.path = \"hole.csv\"\ndata.features = [\n\"c\"]")],
                "line 6: data.features[0]: unknown column",
            ),
            (
                &[("data", "data = {name = \"csv\", path = \"hole.csv\", test_size = -1}")],
                "line 3: data.test_size: ",
            ),
            (
                &[("data", "data = {name = \"csv\", path = \"hole.csv\", task = \"ranking\"}")],
                "line 3: data.task: ",
            ),
            (
                &[("data", "data = {name = \"csv\", path = \"hole.csv\", delimiter = \";;\"}")],
                "line 3: data.delimiter: ",
            ),
            (&[("data", "data = {name = \"idx\", folder = \"nowhere\"}")], "line 3: data.folder: "),
            (&[("data", "data = {name = \"npz\", path = \"hole.csv\"}")], "line 3: data.path: "),
            (
                &[("data", "data = {name = \"npz\", path = \"hole.csv\", x_test = \"a\"}")],
                "line 3: data.x_test: ",
            ),
        ],
    );
    let folder = Folder::new("run-hole");
    fs::write(folder.join("hole.csv"), "a,b,y\n1,2,0\n3,,1\n").unwrap();
    let said =
        refused(&folder, "run.toml", &with(&[("data", "data = {name = \"csv\", path = \"hole.csv\"}")]));
    assert!(said.ends_with("hole.csv: row 2 (line 3): column \"b\": is empty"), "{said}");
}

#[test]
fn optimizers_and_schedules_are_refused_with_their_line() {
    let schedule = |text: &'static str| [("more", text)];
    check(
        "run-optimizers",
        &[
            (
                &[("optimizer", "optimizer = \"AdmW\"")],
                "line 4: optimizer: unknown optimizer \"AdmW\", did you mean \"AdamW\"?",
            ),
            (
                &[("optimizer", "[optimizer]\nlr = 1\nname = \"AdmW\"")],
                "line 6: optimizer.name: unknown optimizer \"AdmW\"",
            ),
            (
                &[("more", "learning_rate = 1")],
                "line 7: optimizer.learning_rate: unknown field of AdamW \"learning_rate\"",
            ),
            (
                &[("more", "weight_decay = -1")],
                "line 7: optimizer.weight_decay: weight_decay must be finite and at least 0, got -1",
            ),
            (
                &[("more", "betas = [0.9,\n1.5]")],
                "line 8: optimizer.betas[1]: betas[1] must be in [0, 1), got 1.5",
            ),
            (&[("more", "eps = inf")], "line 7: optimizer.eps: must be a finite number"),
            (&[("more", "state = \"9bit\"")], "line 7: optimizer.state: "),
            (
                &schedule("[schedule]\nname = \"StepLr\"\nstep_size = 3"),
                "line 8: schedule.name: unknown schedule \"StepLr\"",
            ),
            (
                &schedule("[schedule]\nname = \"StepLR\""),
                "line 7: schedule.step_size: schedule StepLR: missing field `step_size`",
            ),
            (&schedule("[schedule]\nname = \"StepLR\"\nstep_size = 0"), "line 9: schedule.step_size: "),
            (
                &schedule(
                    "[schedule]\nname = \"ChainedScheduler\"\n[[schedule.schedulers]]\nname = \"ConstantLR\"\n[[schedule.schedulers]]\nname = \"StepLR\"\nstep_sze = 2",
                ),
                "line 13: schedule.schedulers[1].step_sze: ",
            ),
            (
                &schedule("[schedule]\nname = \"OneCycleLR\"\nmax_lr = 0.1\ntotal_steps = 10"),
                "line 7: schedule: the run has 45 steps in 1 epochs: ",
            ),
        ],
    );
}

#[test]
fn transforms_averages_and_callbacks_are_refused_with_their_line() {
    check(
        "run-callbacks",
        &[
            (
                &[("more", "[[transforms]]\nname = \"noise\"\n[[transforms]]\nname = \"skip\"")],
                "line 9: transforms[1]: skip cannot come after noise",
            ),
            (
                &[("more", "[[transforms]]\nname = \"clip\"")],
                "line 8: transforms[0].name: unknown transform \"clip\"",
            ),
            (
                &[("more", "[[transforms]]\nname = \"accumulate\"\nsteps = 7")],
                "line 9: transforms[0].steps: must divide the 45 batches of an epoch, got 7",
            ),
            (&[("more", "[transforms]\nname = \"skip\"")], "line 7: transforms: expected a list of tables"),
            (
                &[("more", "[averages]\nkind = \"emma\"")],
                "line 8: averages.kind: unknown kind of averages \"emma\", did you mean \"ema\"?",
            ),
            (
                &[("more", "[averages]\nkind = \"ema\"\ndecay = 1")],
                "line 9: averages.decay: decay must be in [0, 1), got 1",
            ),
            (
                &[("more", "[[callbacks]]\nname = \"EarlyStoping\"")],
                "line 8: callbacks[0].name: unknown callback \"EarlyStoping\", did you mean \"EarlyStopping\"?",
            ),
            (
                &[("more", "[[callbacks]]\npatience = 3")],
                "line 7: callbacks[0].name: callback: missing field `name`",
            ),
            (
                &[(
                    "more",
                    "[[callbacks]]\nname = \"TerminateOnNaN\"\n[[callbacks]]\nname = \"EarlyStopping\"\npatiense = 3",
                )],
                "line 11: callbacks[1].patiense: unknown field of EarlyStopping",
            ),
            (
                &[("more", "[[callbacks]]\nname = \"CSVLogger\"\npath = \"../a.csv\"")],
                "line 9: callbacks[0].path: path must be a path within the run's folder",
            ),
            (
                &[("more", "[[callbacks]]\nname = \"CSVLogger\"\npath = \"run.json\"")],
                "line 9: callbacks[0].path: ",
            ),
            (
                &[("more", "[[callbacks]]\nname = \"TensorBoard\"\n[[callbacks]]\nname = \"TensorBoard\"")],
                "line 9: callbacks[1]",
            ),
            (
                &[("epochs", "epochs = 1\nloss = \"mse_loss\"")],
                "line 2: loss: \"mse_loss\" does not suit targets that are labels",
            ),
            (&[("epochs", "epochs = 1\nloss = 5")], "line 2: loss: expected a name or a table, got 5"),
            (&[("more", "[data]")], "line 7: "),
            (
                &[("more", "[[callbacks]]\nname = \"CSVLogger\"\npath = \"best.safetensors/a.csv\"")],
                "line 7: callbacks: callback ModelCheckpoint: folder: best.safetensors/a.csv is written by CSVLogger too",
            ),
            (
                &[("more", "[[callbacks]]\nname = \"EarlyStopping\"\nmonitor = \"val_los\"")],
                "line 9: callbacks[0].monitor: unknown metric \"val_los\", did you mean \"val_loss\"?",
            ),
            (
                &[("epochs", "epochs = 1\nloss = \"crossentropy\"")],
                "line 2: loss: unknown loss \"crossentropy\", did you mean \"cross_entropy\"?",
            ),
            (
                &[("epochs", "epochs = 1\nloss.name = \"cross_entropy\"\nloss.label_smoothing = 2")],
                "line 3: loss.label_smoothing: ",
            ),
        ],
    );
}

#[test]
fn json_has_lines_too() {
    let folder = Folder::new("run-json");
    let rows = [
        ("{\n\"epochs\": 1,\n\"modle\": \"mlp\"}", "line 3: modle: unknown key \"modle\""),
        ("{\n\"epochs\": 1,\n\"epochs\": 2}", "line 3: epochs: it comes twice"),
        ("{\n\"epochs\": 1,,\n}", "line 2: key must be a string"),
        ("", "line 1: EOF while parsing a value"),
        ("[]", "line 1: expected a table with the keys of a run"),
        (
            "{\"epochs\": 1, \"model\": \"mlp\",\n\"data\": \"digits\",\n\"optimizer\": {\"name\": \"AdamW\",\n  \"l\\u0072\": -1}}",
            "line 4: optimizer.lr: lr must be finite and at least 0, got -1",
        ),
        (
            "{\"epochs\": 1, \"model\": {\"layers\": [\"Flatten\",\n \"Relu\"]}}",
            "line 2: model.layers[1]: layers[1]: unknown layer \"Relu\"",
        ),
    ];
    for (text, message) in rows {
        let said = refused(&folder, "run.json", text);
        assert!(said.starts_with(message), "expected {message}\n     got {said}");
    }
    let deep = "[".repeat(100_000);
    assert!(refused(&folder, "run.json", &deep).starts_with("line 1: recursion limit exceeded"));
    assert!(refused(&folder, "run.toml", &format!("a = {deep}")).starts_with("line 1: "));
    assert!(refused(&folder, "run.yaml", "a: 1").starts_with("a run file's name must end in .toml or .json"));
}

#[test]
fn a_file_that_is_no_text_or_not_there_is_refused() {
    let folder = Folder::new("run-none");
    let run = |path: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gradus"));
        let output = command.arg("run").arg(path).arg("--out").arg(folder.join("out")).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&folder.join("none.toml")).contains("none.toml: No such file"));
    let bytes = folder.join("bytes.toml");
    fs::write(&bytes, b"epochs = 1\n\xff").unwrap();
    assert!(run(&bytes).contains("bytes.toml: line 2: it is not UTF-8"));
}
