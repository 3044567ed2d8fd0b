"""The light net: one hidden layer on descriptions or features that are computed once; trained in seconds."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from components.modeling.feature_config import LightNetConfig
from components.modeling.one_cycle import OneCycle, train_one_cycle

BATCH_SIZE, WEIGHT_DECAY = 64, 0.05
PREDICTED_AT_ONCE = 512


class LightNet(nn.Module):
    """Standardized inputs, one hidden layer with dropout, one linear layer.

    Attributes:
        loss: the mean of the last epoch, once it is trained.
    """

    mean: Tensor
    scale: Tensor
    loss = float("nan")

    def __init__(self, inputs: Tensor, classes: int, config: LightNetConfig) -> None:
        """Built for inputs (N, D) like these."""
        super().__init__()
        self.register_buffer("mean", inputs.mean(dim=0))
        # What is hardly ever there varies little: it is not blown up to the size of the others.
        self.register_buffer("scale", 1 / (inputs.std(dim=0) + 0.02))
        self.hidden = nn.Linear(inputs.shape[1], config.hidden)
        self.head = nn.Linear(config.hidden, classes)
        self.dropout = nn.Dropout(config.dropout)

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> "LightNet":
        """The trained net whose state this is."""
        config = LightNetConfig(hidden=len(tensors["hidden.bias"]))
        net = cls(tensors["mean"].expand(2, -1), len(tensors["head.bias"]), config)
        net.load_state_dict(dict(tensors))
        return net

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) to logits (B, C) and hidden activations (B, hidden)."""
        hidden = self.hidden((inputs - self.mean) * self.scale).relu()
        return self.head(self.dropout(hidden)), hidden

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities (N, C) float32 of inputs (N, D)."""
        return self.outputs(inputs)[0].softmax(dim=1).numpy()

    @torch.no_grad()
    def outputs(self, inputs: np.ndarray) -> tuple[Tensor, Tensor]:
        """Logits (N, C) and hidden activations (N, hidden) of inputs (N, D)."""
        parts = torch.from_numpy(inputs).to(self.mean.device).split(PREDICTED_AT_ONCE)
        found = [self.eval()(part) for part in parts]
        return torch.cat([logits for logits, _ in found]).cpu(), torch.cat(
            [hidden for _, hidden in found]
        ).cpu()


def fit_light_net(
    inputs: np.ndarray,
    labels: np.ndarray,
    classes: int,
    config: LightNetConfig,
    *,
    name: str,
    seed: int,
    device: torch.device,
) -> LightNet:
    """Trains a light net by cross-entropy.

    Args:
        inputs: (N, D) float32.
        labels: (N,) classes.
        name: what is trained, for messages.
        device: where it is trained, and predicts.

    Raises:
        InputError: a loss is not a number.
    """
    torch.manual_seed(seed)
    rows, targets = torch.from_numpy(inputs).to(device), torch.from_numpy(labels).to(device)
    net = LightNet(rows, classes, config).to(device)

    def loss_of(batch: np.ndarray) -> Tensor:
        places = torch.from_numpy(batch)
        return cross_entropy(net(rows[places])[0], targets[places])

    cycle = OneCycle(config.epochs, config.min_steps, BATCH_SIZE, config.learning_rate, WEIGHT_DECAY)
    net.loss = train_one_cycle(net, np.arange(len(labels)), loss_of, cycle, name=name, seed=seed)
    return net
