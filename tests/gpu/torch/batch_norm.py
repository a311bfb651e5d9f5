"""batch_norm.safetensors: fifty steps of torch with batch norm, in float64 from first values in float32.

pip install torch safetensors; python batch_norm.py. The network is conv1 (3x3, padding 1, no bias), bn1, relu, conv2 (3x3,
stride 2), bn2 (momentum 0.3), relu, flatten, fc; SGD with rate 0.1 and momentum 0.9 on the cross-entropy. Element i of the
images of step s is (7919 * i + 104729 * s) % 1009 / 1009 - 0.5 and label i is (31 * i + s) % 4, so that only weights,
statistics and logits are in the file: `first.<name>`, `last.<name>`, and the logits of step 50 in evaluation.
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 8, 3, stride=2), nn.BatchNorm2d(8, momentum=0.3)
        self.fc = nn.Linear(32, 4)

    def forward(self, x):
        h = self.bn1(self.conv1(x)).relu()
        h = self.bn2(self.conv2(h)).relu()
        return self.fc(h.flatten(1))


def images(step, batch=8):
    i = torch.arange(batch * 2 * 6 * 6)
    return ((7919 * i + 104729 * step) % 1009 / 1009 - 0.5).double().reshape(batch, 2, 6, 6)


model = Net()
tensors = {f"first.{key}": value.clone() for key, value in model.state_dict().items()}
model.double()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for step in range(50):
    labels = (31 * torch.arange(8) + step) % 4
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images(step)), labels).backward()
    optimizer.step()
tensors |= {f"last.{key}": value.clone() for key, value in model.state_dict().items()}
model.eval()
tensors["logits"] = model(images(50)).detach()
save_file(tensors, Path(__file__).parent / "batch_norm.safetensors")
