"""Writes block.json beside it: python make.py (torch 2.15.0 on a CPU, numpy).

Two blocks of a transformer of 512 elements and 8 heads over 2 sequences of 64, in f64, with values that `noise` of
`tests/gpu/common.rs` makes too: torch's own, causal, and one without attention, as tutorials of optimizers use it. Of the
output and of the gradient of each tensor, for an upstream gradient that is noise as well, it records the 2-norm, two sums
of products with noise, which any wrong element changes, and the first elements.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

BATCH, STEPS, WIDTH, HEADS = 2, 64, 512, 8


def noise(stream, shape):
    """Numbers in [-1, 1), exact in f32."""
    with np.errstate(over="ignore"):
        x = (np.uint64(stream) << np.uint64(32) | np.arange(int(np.prod(shape)), dtype=np.uint64))
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    values = (x >> np.uint64(44)).astype(np.float64) / (1 << 19) - 1.0
    return torch.from_numpy(values).reshape(shape)


class WithoutAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        x = x + self.proj(self.qkv(self.norm1(x)).chunk(3, -1)[2])
        return x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


def record(tensor):
    flat = tensor.detach().flatten()
    sums = [float(flat @ noise(stream, flat.shape)) for stream in (1, 2)]
    return {"norm": float(flat.norm()), "sums": sums, "first": flat[:8].tolist()}


def block(module, forward):
    module = module.double().eval()
    tensors = {}
    for stream, (name, parameter) in enumerate(module.named_parameters(), 10):
        shape = tuple(parameter.shape)
        # A power of 2, so that the values are exact.
        scale, shift = (2.0**-5, 0.0) if len(shape) == 2 else (0.25, float(name.startswith("norm") and "weight" in name))
        parameter.data = noise(stream, shape) * scale + shift
        tensors[name] = {"stream": stream, "scale": scale, "shift": shift, "shape": shape}
    x = noise(3, (BATCH, STEPS, WIDTH)).requires_grad_()
    y = forward(module, x)
    (y * noise(4, y.shape)).sum().backward()
    for name, parameter in module.named_parameters():
        tensors[name]["grad"] = record(parameter.grad)
    return {"y": record(y), "x": record(x.grad), "parameters": tensors}


LAYER = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
MASK = torch.ones(STEPS, STEPS, dtype=torch.bool).triu(1)

blocks = {
    "causal": block(LAYER, lambda layer, x: layer(x, src_mask=MASK, is_causal=True)),
    "without_attention": block(WithoutAttention(), lambda layer, x: layer(x)),
}
Path(__file__).with_name("block.json").write_text(json.dumps(blocks, indent=1) + "\n")
