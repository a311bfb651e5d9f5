"""What torch.optim saves after some steps, and where 25 more steps lead: see README.md.

Made with torch 2.15.0 (CPU), safetensors 0.8. The steps before the save are f32, as a user's are; those after it are
f64, from the saved state, so that what ours are compared with has no rounding of its own.
"""
import copy
import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
SHAPES = {"w": (3, 4), "b": (5,), "s": ()}
BEFORE, AFTER = 5, 25
torch.manual_seed(0)
GRADS = {
    name: torch.randn(BEFORE + AFTER, *shape) * torch.logspace(-3, 1, max(1, math.prod(shape))).reshape(shape)
    for name, shape in SHAPES.items()
}
VALUES = {name: torch.randn(shape) * 0.5 for name, shape in SHAPES.items()}


def save(optimizer, model, path):
    """The lines of docs/torch.md."""
    saved = optimizer.state_dict()
    names = {p: name for name, p in model.named_parameters()}
    for group, ours in zip(saved["param_groups"], optimizer.param_groups):
        group["param_names"] = [names[p] for p in ours["params"]]
    tensors = {
        f"state.{index}.{key}": torch.as_tensor(value).contiguous()
        for index, state in saved["state"].items() for key, value in state.items() if value is not None
    }
    groups = json.dumps(saved["param_groups"], default=float)
    save_file(tensors, path, {"optimizer": type(optimizer).__name__, "param_groups": groups})


def model_of(dtype):
    model = torch.nn.Module()
    for name, value in VALUES.items():
        model.register_parameter(name, torch.nn.Parameter(value.to(dtype, copy=True)))
    return model


def step(model, optimizer, index, without=()):
    for name, p in model.named_parameters():
        p.grad = None if name in without else GRADS[name][index].to(p.dtype)
    optimizer.step()


def make(case, name, rest=None, order=("b", "s"), scheduler=None, late=3, **options):
    """`s` has no gradient in the first `late` steps; `rest` are fields of the second group."""
    def build(model):
        ps = dict(model.named_parameters())
        groups = [{"params": [ps["w"]]}, {"params": [ps[n] for n in order], **(rest or {})}]
        return getattr(torch.optim, name)(groups, **options)

    model = model_of(torch.float32)
    optimizer = build(model)
    schedule = scheduler and scheduler(optimizer)
    for index in range(BEFORE):
        step(model, optimizer, index, ["s"] if index < late else [])
        if schedule:
            schedule.step()
    save(optimizer, model, HERE / f"{case}.safetensors")
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    double = model_of(torch.float64)
    double.load_state_dict(before)
    again = build(double)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for index in range(BEFORE, BEFORE + AFTER):
        step(double, again, index)
    expected.update({f"{case}.before.{n}": p for n, p in before.items()})
    expected.update({f"{case}.after.{n}": p.detach().clone() for n, p in double.named_parameters()})


expected = {f"grad.{name}": grads[BEFORE:].contiguous() for name, grads in GRADS.items()}
half = {"lr": 5e-3, "weight_decay": 0.0}
one_cycle = lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, [0.01, 0.005], 30)
cyclic = lambda optimizer: torch.optim.lr_scheduler.CyclicLR(optimizer, 0.005, 0.02, 3)
make("sgd", "SGD", half, lr=1e-2, weight_decay=0.1, maximize=True)
make("sgd_momentum", "SGD", {**half, "momentum": 0.5}, lr=1e-2, momentum=0.9, dampening=0.3, scheduler=cyclic, late=5)
make("sgd_nesterov", "SGD", half, lr=1e-2, momentum=0.9, nesterov=True)
make("adam", "Adam", half, lr=1e-2, amsgrad=True, weight_decay=0.1, betas=(0.8, 0.99))
make("adamw", "AdamW", half, lr=1e-2, weight_decay=0.1, scheduler=one_cycle, late=5)
make("adagrad", "Adagrad", half, lr=1e-2, lr_decay=0.01, weight_decay=0.1, initial_accumulator_value=0.1, late=5)
make("adadelta", "Adadelta", {"lr": 0.5, "rho": 0.8}, lr=1.0, weight_decay=0.1)
make("rmsprop", "RMSprop", half, ("s", "b"), lr=1e-2, momentum=0.9, centered=True, weight_decay=0.1)
make("adamax", "Adamax", half, lr=1e-2, weight_decay=0.1)
make("nadam", "NAdam", half, lr=1e-2, weight_decay=0.1, decoupled_weight_decay=True, scheduler=one_cycle)
make("radam", "RAdam", half, lr=1e-2, weight_decay=0.1, betas=(0.9, 0.99))
make("rprop", "Rprop", {"lr": 5e-3, "etas": (0.4, 1.1)}, lr=1e-2)
make("adafactor", "Adafactor", half, lr=1e-2, eps=(2**-23, 1e-3), d=1.5, weight_decay=0.1)
make("asgd", "ASGD", {"lr": 5e-3, "lambd": 0.05}, lr=2e-2, lambd=0.02, t0=3, alpha=0.6, weight_decay=0.1)
save_file(expected, HERE / "expected.safetensors")


def cycled(case, scheduler, schedule):
    """NAdam under a schedule that cycles betas[0], as a case of the example `replay`, in f64."""
    model = model_of(torch.float64)
    optimizer = torch.optim.NAdam(model.parameters(), lr=0.01, betas=(0.9, 0.99))
    cycle = scheduler(optimizer)
    after = {}
    for index in range(25):
        step(model, optimizer, index)
        cycle.step()
        if index + 1 in (1, 5, 10, 25):
            after |= {f"param.{i}.step{index + 1}": p.detach().clone() for i, p in enumerate(model.parameters())}
    save_file(after, HERE / "cycled" / f"{case}.safetensors")
    return {"id": case, "problem": "cycled", "file": f"{case}.safetensors", "tol": {"rtol": 0, "atol": ATOL},
            "optimizer": {"name": "NAdam", "lr": 0.01, "betas": [0.9, 0.99]}, "schedule": schedule}


ATOL = 5e-7  # of ways of 0.4; what torch in f32 needs too
(HERE / "cycled").mkdir(exist_ok=True)
problem = {f"param.{i}": value for i, value in enumerate(VALUES.values())}
problem |= {f"grad.{i}": grads[:25].contiguous() for i, grads in enumerate(GRADS.values())}
save_file(problem, HERE / "cycled" / "problem_cycled.safetensors", metadata={"T": "25"})
cases = [
    cycled("one_cycle", lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, 25),
           {"name": "OneCycleLR", "max_lr": 0.05, "total_steps": 25}),
    cycled("cyclic", lambda optimizer: torch.optim.lr_scheduler.CyclicLR(optimizer, 0.005, 0.05, 4),
           {"name": "CyclicLR", "base_lr": 0.005, "max_lr": 0.05, "step_size_up": 4}),
]
(HERE / "cycled" / "cases.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")


def muon():
    """Two matrices; torch's own iteration rounds to bfloat16, so where steps lead is not compared."""
    model = torch.nn.Module()
    for name, shape in {"w": (3, 4), "v": (5, 2)}.items():
        model.register_parameter(name, torch.nn.Parameter(torch.arange(1.0, 1 + math.prod(shape)).reshape(shape) / 10))
    ps = dict(model.named_parameters())
    groups = [{"params": [ps["w"]]}, {"params": [ps["v"]], "lr": 5e-3, "adjust_lr_fn": "match_rms_adamw"}]
    optimizer = torch.optim.Muon(groups, lr=1e-2, momentum=0.9)
    for _ in range(3):
        for p in ps.values():
            p.grad = p.detach() - 0.5
        optimizer.step()
    save(optimizer, model, HERE / "muon.safetensors")


muon()
