use serde_json::json;

use super::*;

#[test]
fn options_survive_their_json_and_take_the_defaults_of_their_variant() {
    let rows = [
        (json!({"name": "LBFGS"}), LBFGS::default()),
        (json!({"name": "LBFGS", "variant": "optax"}), LBFGS::optax()),
        (
            json!({"name": "LBFGS", "lr": 1, "max_eval": null, "line_search_fn": null, "history_size": 3}),
            LBFGS { history_size: 3, ..LBFGS::default() },
        ),
        (
            json!({"name": "LBFGS", "variant": "optax", "line_search_fn": "zoom"}),
            LBFGS { line_search_fn: Some(LineSearch::Zoom), ..LBFGS::optax() },
        ),
    ];
    for (json, want) in rows {
        let options = LBFGS::from_json(&json).unwrap();
        assert_eq!(options, want, "{json}");
        assert_eq!(LBFGS::from_json(&options.to_json()).unwrap(), want, "{json}");
    }
    let names = |options: LBFGS| options.to_json().as_object().unwrap().len();
    assert_eq!((names(LBFGS::default()), names(LBFGS::optax())), (10, 5));
    assert_eq!(LBFGS { max_iter: 7, ..LBFGS::default() }.evaluations(), 8);
    assert_eq!(LBFGS { max_iter: 20, max_eval: Some(3), ..LBFGS::default() }.evaluations(), 3);
}

#[test]
fn refusals_say_what_to_write() {
    let rows = [
        (
            json!({"name": "lbfgs"}),
            "unknown optimizer with a closure \"lbfgs\", did you mean \"LBFGS\"?; known: LBFGS",
        ),
        (
            json!({"name": "LBFGS", "memory_size": 3}),
            "unknown field of LBFGS \"memory_size\", did you mean \"history_size\"?; known: lr, maximize, \
             max_iter, max_eval, tolerance_grad, tolerance_change, history_size, line_search_fn, variant",
        ),
        (json!({"name": "LBFGS", "lr": -1}), "lr must be finite and at least 0, got -1"),
        (json!({"name": "LBFGS", "max_iter": 0}), "max_iter must be at least 1, got 0"),
        (json!({"name": "LBFGS", "max_eval": 0}), "max_eval must be at least 1, got 0"),
        (json!({"name": "LBFGS", "history_size": 0}), "history_size must be at least 1, got 0"),
        (
            json!({"name": "LBFGS", "tolerance_grad": -1}),
            "tolerance_grad must be finite and at least 0, got -1",
        ),
        (
            json!({"name": "LBFGS", "line_search_fn": "zoom"}),
            "optimizer LBFGS: line_search_fn: the variant has strong_wolfe, or none",
        ),
        (
            json!({"name": "LBFGS", "variant": "optax", "line_search_fn": "strong_wolfe"}),
            "optimizer LBFGS: line_search_fn: the variant has backtracking or zoom, or none",
        ),
        (
            json!({"name": "LBFGS", "variant": "optax", "tolerance_grad": 1e-7}),
            "optimizer LBFGS: the variant has no field `tolerance_grad`",
        ),
        (
            json!({"name": "LBFGS", "variant": "optax", "maximize": false}),
            "optimizer LBFGS: the variant has no field `maximize`",
        ),
        (
            json!({"name": "LBFGS", "maximize": 1}),
            "optimizer LBFGS: maximize: invalid type: integer `1`, expected a boolean",
        ),
        (
            json!({"name": "LBFGS", "line_search_fn": "wolfe"}),
            "optimizer LBFGS: line_search_fn: unknown variant `wolfe`, expected one of `strong_wolfe`, \
             `backtracking`, `zoom`",
        ),
    ];
    for (json, message) in rows {
        assert_eq!(LBFGS::from_json(&json).unwrap_err().to_string(), message, "{json}");
    }
    for mixed in [LBFGS { max_iter: 3, ..LBFGS::optax() }, LBFGS { maximize: true, ..LBFGS::optax() }] {
        let said = "optimizer LBFGS: the variant optax has no maximize, max_iter, max_eval, tolerance_grad, \
                    tolerance_change";
        assert_eq!(mixed.check().unwrap_err().to_string(), said);
    }
}
