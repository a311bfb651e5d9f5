"""Writes the files of this folder: python make.py (torch 2.15.0 on a CPU, safetensors)."""

import math

import torch
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(7)

CASES = {
    "linear": (nn.Linear(6, 5), (3, 6)),
    "linear_without_bias": (nn.Linear(6, 5, bias=False), (3, 6)),
    "conv1d": (nn.Conv1d(3, 5, 3, padding=1), (2, 3, 7)),
    "conv2d": (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 6, 5)),
    "conv2d_without_bias": (nn.Conv2d(3, 4, (3, 1), bias=False), (2, 3, 5, 5)),
    "conv_transpose2d": (nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1), (2, 4, 3, 4)),
    "batch_norm1d": (nn.BatchNorm1d(5), (4, 5)),
    "batch_norm2d": (nn.BatchNorm2d(6), (3, 6, 4, 3)),
    "batch_norm2d_mean": (nn.BatchNorm2d(3, momentum=None), (3, 3, 4, 3)),
    "batch_norm2d_plain": (nn.BatchNorm2d(3, affine=False), (3, 3, 4, 3)),
    "batch_norm2d_untracked": (nn.BatchNorm2d(3, track_running_stats=False), (3, 3, 4, 3)),
    "layer_norm": (nn.LayerNorm([3, 6]), (2, 3, 6)),
    "layer_norm_without_bias": (nn.LayerNorm(6, bias=False), (2, 3, 6)),
    "group_norm": (nn.GroupNorm(2, 6), (2, 6, 4)),
    "rms_norm": (nn.RMSNorm(6), (2, 3, 6)),
    "embedding": (nn.Embedding(7, 5), None),
    "multihead_attention": (nn.MultiheadAttention(8, 2, batch_first=True), (2, 5, 8)),
    "multihead_attention_without_bias": (nn.MultiheadAttention(8, 4, bias=False, batch_first=True), (2, 5, 8)),
    "multihead_attention_sizes": (nn.MultiheadAttention(8, 2, kdim=6, vdim=5, batch_first=True), (2, 5, 8)),
    "rnn": (nn.RNN(4, 5, num_layers=2, nonlinearity="relu", batch_first=True), (3, 6, 4)),
    "rnn_without_bias": (nn.RNN(4, 5, bias=False, batch_first=True), (3, 6, 4)),
    "lstm": (nn.LSTM(4, 5, num_layers=2, batch_first=True), (3, 6, 4)),
    "gru": (nn.GRU(4, 5, num_layers=2, batch_first=True), (3, 6, 4)),
    "prelu": (nn.PReLU(4), (2, 4, 3)),
    "prelu_of_one": (nn.PReLU(), (2, 4, 3)),
}


def layers():
    tensors = {}
    for name, (layer, shape) in CASES.items():
        with torch.no_grad():
            for key, tensor in layer.state_dict().items():
                if key not in ("running_mean", "running_var", "num_batches_tracked"):
                    tensor.add_(0.1 * torch.randn_like(tensor))
        x = torch.randint(7, (3, 4)) if shape is None else torch.randn(shape)
        if name.startswith("batch_norm"):
            layer.train()
            for _ in range(3):
                layer(torch.randn(shape) * 2 + 0.5)
        layer.eval()
        inputs = {"x": x}
        args = [x]
        if isinstance(layer, nn.MultiheadAttention):
            args = [x, x, x]
            if layer.kdim != layer.embed_dim:
                inputs |= {"k": torch.randn(2, 4, layer.kdim), "v": torch.randn(2, 4, layer.vdim)}
                args = [x, inputs["k"], inputs["v"]]
        with torch.no_grad():
            y = layer(*args)
        y = y[0] if isinstance(y, tuple) else y
        tensors |= {f"{name}.{key}": tensor for key, tensor in inputs.items()}
        tensors[f"{name}.y"] = y
        tensors |= {f"{name}.state.{key}": tensor for key, tensor in layer.state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, "layers.safetensors")


def types():
    floats = [1 / 3, -2.5, 0.0, -0.0, math.nan, math.inf, -math.inf, 1e-7, 60000.0, -1e-40]
    tensors = {}
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        tensors[str(dtype).removeprefix("torch.")] = torch.tensor(floats, dtype=torch.float64).to(dtype)
    for dtype, values in {
        torch.int64: [0, -1, 2**24 + 1, 2**62 + 1, -(2**63)],
        torch.int32: [0, -1, 2**24 + 1, 2**31 - 1, -(2**31)],
        torch.int16: [0, -1, 2**15 - 1, -(2**15)],
        torch.int8: [0, -1, 127, -128],
        torch.uint8: [0, 1, 128, 255],
        torch.uint16: [0, 1, 2**15, 2**16 - 1],
        torch.uint32: [0, 1, 2**24 + 1, 2**32 - 1],
        torch.uint64: [0, 1, 2**63 + 1],
        torch.bool: [True, False, True],
    }.items():
        tensors[str(dtype).removeprefix("torch.")] = torch.tensor(values, dtype=dtype)
    tensors |= {f"{name}.as_f32": tensor.to(torch.float32, copy=True) for name, tensor in list(tensors.items())}
    save_file(tensors, "types.safetensors")


layers()
types()
