"""Train the network of notebook 14 and write it to 14-digits-cnn.onnx, beside this file.

It is a residual network with max-pooling for scikit-learn's images of digits, 8 × 8 pixels. The
training labels are clean. Its last layer is a softmax, so it writes ten probabilities. The
notebook reads the committed file; to train anew, `make torch`, then

    build/torch/bin/python notebooks/14-digits-cnn.py

which takes half a minute. Another processor may round otherwise and end with other weights.
"""

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from torch import nn

FILE = Path(__file__).with_suffix(".onnx")
SEED = 0  # of the initial weights and of the order of the mini-batches
EPOCHS = 60
BATCH = 32
RATE = 3e-3  # of Adam, from which it falls to 0 as a cosine does
DECAY = 1e-4
TEST = 500  # images that are kept for the test: the same as in notebook 11
KEPT = ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy")  # what names the layers


class Block(nn.Module):
    """Two convolutions, and the input added to what they make of it."""

    def __init__(self, channels_in, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        same = channels_in == channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels, 1)

    def forward(self, x):
        z = self.norm1(self.conv1(x))
        z = self.norm2(self.conv2(self.relu1(z)))
        return self.relu2(z + self.shortcut(x))


class DigitsCNN(nn.Module):
    """A stem, two residual blocks with a max-pool between them, and a linear head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.block1 = Block(8, 8)
        self.pool = nn.MaxPool2d(2)
        self.block2 = Block(8, 16)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(16 * 4 * 4, 10)
        self.softmax = nn.Softmax(dim=1)

    def logits(self, x):
        """What the softmax reads, and the loss in training."""
        x = self.relu(self.norm(self.stem(x)))
        x = self.block2(self.pool(self.block1(x)))
        return self.head(self.flatten(x))

    def forward(self, x):
        return self.softmax(self.logits(x))


def digits():
    """Images (n, 1, 8, 8) with grey levels from 0 to 1, and labels: to train on, and for the
    test.
    """
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images = torch.tensor(images[order] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    labels = torch.tensor(labels[order])
    return images[TEST:], labels[TEST:], images[:TEST], labels[:TEST]


def train(images, labels):
    """A network that has learned the labels."""
    torch.manual_seed(SEED)
    model = DigitsCNN()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    loss = nn.CrossEntropyLoss()
    for _ in range(EPOCHS):
        order = torch.randperm(len(images))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            optimiser.zero_grad()
            loss(model.logits(images[rows]), labels[rows]).backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def exported(model, example):
    """The network as a model of ONNX with a free batch axis, and nothing in it about the machine.

    The exporter writes into every node where in which file the call stands; of all it says there
    only the names of the layers are kept.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            input_names=["image"],
            output_names=["probabilities"],
            dynamic_shapes=({0: "batch"},),
            verbose=False,
        )
    made = program.model_proto
    for node in made.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key in KEPT]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
        node.doc_string = ""
    tensors = (*made.graph.input, *made.graph.output, *made.graph.value_info)
    for part in (made, made.graph, *tensors, *made.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    return made


def main():
    """Train, measure, write."""
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    images, labels, test_images, test_labels = digits()
    model = train(images, labels)
    with torch.no_grad():
        right = (model(test_images).argmax(dim=1) == test_labels).double().mean().item()
    made = exported(model, test_images[:2])
    made.doc_string = "A residual network for scikit-learn's digits: notebooks/14-digits-cnn.py"
    said = {"seed": SEED, "epochs": EPOCHS, "test images": TEST, "test accuracy": f"{right:.3f}"}
    onnx.helper.set_model_props(made, {name: str(value) for name, value in said.items()})
    onnx.checker.check_model(made, full_check=True)
    FILE.write_bytes(made.SerializeToString())
    print(f"{FILE.name}: {FILE.stat().st_size} bytes, accuracy {right:.3f} on {TEST} test images")


if __name__ == "__main__":
    main()
