"""What the example loads: two small models of torch with random weights, and the logits that they give.

pip install torch safetensors; python make.py. Writes lstm.safetensors and transformer.safetensors, each as
`save_file(model.state_dict(), ..)` has it, and expected.safetensors: `tokens` and `<model>.logits`, computed in float64
from the weights in float32.
"""
import copy
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
VOCABULARY, CONTEXT, CLASSES = 29, 24, 5


class Lstm(nn.Module):
    """Two layers over the tokens; the last step's output decides."""

    def __init__(self, width=20):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 12)
        self.lstm = nn.LSTM(12, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0][:, -1])


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, hidden):
        h = self.ln1(x)
        x = x + self.attn(h, h, h, attn_mask=hidden, need_weights=False)[0]
        return x + self.mlp(self.ln2(x))


class Transformer(nn.Module):
    """A causal model of characters with blocks that normalise first: logits of the next token at each place."""

    def __init__(self, width=24, heads=3, depth=2):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Parameter(torch.randn(CONTEXT, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens):
        hidden = torch.ones(CONTEXT, CONTEXT, dtype=torch.bool).triu(1)
        x = self.tokens(tokens) + self.positions
        for block in self.blocks:
            x = block(x, hidden)
        return self.head(self.norm(x))


torch.manual_seed(0)
tokens = torch.randint(0, VOCABULARY, (6, CONTEXT))
expected = {"tokens": tokens.int()}
for name, model in [("lstm", Lstm()), ("transformer", Transformer())]:
    with torch.no_grad():
        for parameter in model.parameters():  # Far from what a layer begins with, biases and norms too.
            parameter += 0.2 * torch.randn_like(parameter)
        save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, HERE / f"{name}.safetensors")
        expected[f"{name}.logits"] = copy.deepcopy(model).double()(tokens)
save_file(expected, HERE / "expected.safetensors")
