"""The models of models.rs in torch, with their weights by name and their batch.

Answers each line of JSON with one: {"model", "clips", "weights", "batch", "steps"} loads a model and takes its first steps,
whose losses it returns; with "clips", gradients are clipped to a norm of 1; {"time": n, "threads": t} returns the seconds of n steps more with t threads.
"""
import json
import sys
import time

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

torch.set_num_threads(int(sys.argv[1]))
# The second argument: with "gpu", on CUDA if torch has it. Products in full single precision, as everywhere here.
device = "cuda" if sys.argv[2] == "gpu" and torch.cuda.is_available() else "cpu"
torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_tf32 = False


class ReferenceCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(32 * 7 * 7, 128), nn.Linear(128, 10)

    def forward(self, x):
        for conv in (self.conv1, self.conv2):
            x = functional.max_pool2d(conv(x).relu(), 2)
        return self.fc2(self.fc1(x.flatten(1)).relu())


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv2d_1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2d_2 = nn.Conv2d(16, 32, 3, padding=1)
        self.linear1, self.linear2 = nn.Linear(32 * 2 * 2, 64), nn.Linear(64, 10)

    def forward(self, x):
        h = functional.max_pool2d(self.conv2d_1(x).relu(), 2)
        h = functional.max_pool2d(self.conv2d_2(h).relu(), 2)
        return self.linear2(self.linear1(h.flatten(1)).relu())


class WideCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 3, padding=1)
        self.conv2 = nn.Conv2d(64, 128, 3, padding=1)
        self.conv3 = nn.Conv2d(128, 256, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(256, 512), nn.Linear(512, 10)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = functional.max_pool2d(conv(x).relu(), 2)
        return self.fc2(self.fc1(x.flatten(1)).relu())


class BasicBlock(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if inputs != channels:
            conv1x1 = nn.Conv2d(inputs, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv1x1, nn.BatchNorm2d(channels))

    def forward(self, x):
        h = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (h + (x if self.downsample is None else self.downsample(x))).relu()


class Resnet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(BasicBlock(16, 16, 1))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        h = self.bn1(self.conv1(x)).relu()
        return self.fc(self.layer3(self.layer2(self.layer1(h))).mean((2, 3)))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(28 * 28, 128), nn.Linear(128, 10)

    def forward(self, x):
        return self.fc2(self.fc1(x.flatten(1)).relu())


class Sums(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.rnn, self.head = cell(2, 32, num_layers=2, batch_first=True), nn.Linear(32, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, mask):
        h = self.ln1(x)
        x = x + self.attn(h, h, h, attn_mask=mask, is_causal=True, need_weights=False)[0]
        return x + self.mlp(self.ln2(x))


class Transformer(nn.Module):
    def __init__(self, width=64, heads=4, layers=2, context=64, kinds=60):
        super().__init__()
        self.tok_emb = nn.Embedding(kinds, width)
        self.pos_emb = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f, self.head = nn.LayerNorm(width), nn.Linear(width, kinds)
        mask = nn.Transformer.generate_square_subsequent_mask(context)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens):
        x = self.tok_emb(tokens) + self.pos_emb
        for block in self.blocks:
            x = block(x, self.mask)
        return self.head(self.ln_f(x)).permute(0, 2, 1)


# How each is built, and its loss; tokens and classes are whole numbers.
MODELS = {
    "reference-cnn": (ReferenceCnn, functional.cross_entropy),
    "reference-cnn-16": (ReferenceCnn, functional.cross_entropy),
    "cnn": (Cnn, functional.cross_entropy),
    "wide-cnn": (WideCnn, functional.cross_entropy),
    "resnet": (Resnet, functional.cross_entropy),
    "mlp": (Mlp, functional.cross_entropy),
    "rnn": (lambda: Sums(nn.RNN), functional.mse_loss),
    "lstm": (lambda: Sums(nn.LSTM), functional.mse_loss),
    "gru": (lambda: Sums(nn.GRU), functional.mse_loss),
    "transformer": (Transformer, functional.cross_entropy),
}


def training(name, clips, weights, batch):
    """A function that takes a step and returns its loss."""
    build, loss_of = MODELS[name]
    model = build().to(device)
    model.load_state_dict(load_file(weights), strict=True)
    data = load_file(batch)
    x = data["x"].long() if name == "transformer" else data["x"]
    y = data["y"].long() if loss_of is functional.cross_entropy else data["y"]
    x, y = x.pin_memory() if device == "cuda" else x, y.pin_memory() if device == "cuda" else y
    optimizer = torch.optim.AdamW(model.parameters())

    def step():
        optimizer.zero_grad(set_to_none=True)
        # A batch comes from the host in each step, here as there.
        loss = loss_of(model(x.to(device, non_blocking=True)), y.to(device, non_blocking=True))
        loss.backward()
        if clips:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


step = None
for line in sys.stdin:
    request = json.loads(line)
    if "model" in request:
        step = training(request["model"], request["clips"], request["weights"], request["batch"])
        answer = [step().item() for _ in range(request["steps"])]
    else:
        torch.set_num_threads(request["threads"])
        start = time.perf_counter()
        for _ in range(request["time"]):
            step()
        if device == "cuda":
            torch.cuda.synchronize()
        answer = [time.perf_counter() - start]
    print(json.dumps(answer), flush=True)
