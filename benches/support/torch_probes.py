"""AdamW over many tensors and products of square matrices in torch: what step.rs measures here.

Prints a line "<name>: <figure>" for each: milliseconds of a step, and GFLOP/s of a product; the best of five series.
"""
import sys
import time

import torch

torch.set_num_threads(int(sys.argv[1]))
# The second argument: with "gpu", on CUDA if torch has it. Products in full single precision, as everywhere here.
device = "cuda" if sys.argv[2] == "gpu" and torch.cuda.is_available() else "cpu"
torch.backends.cuda.matmul.allow_tf32 = False
REPEATS = 20 if device == "cuda" else 1


def milliseconds(run):
    times = []
    for _ in range(6):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(REPEATS):
            run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3 / REPEATS)
    return min(times[1:])


# ResNet-18's tensors.
def resnet18():
    def block(inputs, channels, downsample):
        yield from [(channels, inputs, 3, 3), (channels,), (channels,)]
        yield from [(channels, channels, 3, 3), (channels,), (channels,)]
        if downsample:
            yield from [(channels, inputs, 1, 1), (channels,), (channels,)]

    yield from [(64, 3, 7, 7), (64,), (64,)]
    inputs = 64
    for channels in (64, 128, 256, 512):
        yield from block(inputs, channels, inputs != channels)
        yield from block(channels, channels, False)
        inputs = channels
    yield from [(1000, 512), (1000,)]


for name, shapes in [("62 tensors", list(resnet18())), ("1,000 tensors of 1,000", [(1000,)] * 1000)]:
    params = [torch.zeros(shape, device=device, requires_grad=True) for shape in shapes]
    for param in params:
        param.grad = torch.full_like(param, 0.01)
    for how, options in [("fused", {"fused": True}), ("foreach", {"foreach": True}), ("loop", {"foreach": False})]:
        optimizer = torch.optim.AdamW(params, **options)
        print(f"adamw {name}, {how}: {milliseconds(optimizer.step):.4f}")
for size in (512, 1024, 4096) if device == "cuda" else (512, 1024):
    a, b = torch.rand(2, size, size, device=device)
    print(f"matmul {size}: {2 * size**3 / milliseconds(lambda: a @ b) / 1e6:.1f}")
