"""The blocks of blocks.rs in torch: forward and backward, the best of five steps in milliseconds.

Prints a line "<name>: <milliseconds>" for each; the input has a gradient too, and the loss is the mean.
"""
import sys
import time

import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(int(sys.argv[1]))
# The second argument: with "gpu", on CUDA if torch has it. Products in full single precision, as everywhere here.
device = "cuda" if sys.argv[2] == "gpu" and torch.cuda.is_available() else "cpu"
torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_tf32 = False


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(128), nn.LayerNorm(128)
        self.attention = nn.MultiheadAttention(128, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(128, 512), nn.GELU(), nn.Linear(512, 128))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(64))

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.attention(h, h, h, attn_mask=self.mask, is_causal=True, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(128, 128, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        conv = lambda: [nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)]
        self.body = nn.Sequential(*conv(), nn.ReLU(), *conv())

    def forward(self, x):
        return (self.body(x) + x).relu()


BLOCKS = [
    ("transformer block", Transformer, (8, 64, 128)),
    ("lstm", Lstm, (32, 50, 128)),
    ("residual block", Residual, (32, 32, 14, 14)),
]

for name, build, shape in BLOCKS:
    model = build().to(device)
    x = (torch.arange(torch.Size(shape).numel(), device=device) % 89 / 89 - 0.5).reshape(shape).requires_grad_()

    def step():
        model.zero_grad(set_to_none=True)
        x.grad = None
        model(x).mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    times = []
    for _ in range(6):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    print(f"{name}: {min(times[1:]):.3f}")
