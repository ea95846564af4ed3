"""One file per system; ``METHODS`` is how a checkpoint or a command line names one."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from pyhandpose.data.augment import View
from pyhandpose.methods.peclr import PeCLR, PeCLRConfig
from pyhandpose.methods.peclr_finetuned import PeCLRFineTuned, PeCLRFineTunedConfig
from pyhandpose.methods.simclr import SimCLR, SimCLRConfig
from pyhandpose.methods.supervised import Supervised, SupervisedConfig

MethodConfig = PeCLRConfig | SimCLRConfig | SupervisedConfig | PeCLRFineTunedConfig


class Method(Protocol):
    """A system as training and checkpoints see it: an ``nn.Module`` with a loss."""

    Config: ClassVar[type]
    """Frozen dataclass that the constructor takes."""
    num_views: ClassVar[int]
    """Views of each image in a batch; they are stacked along the first dimension."""
    config: Any
    """What it was built from."""
    encoder: nn.Module
    """The part that fine-tuning keeps."""

    def __call__(self, batch: View) -> Tensor:
        """The outputs that ``loss`` takes."""

    def loss(self, outputs: Tensor, batch: View) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and scalars to log."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """As ``nn.Module.parameters``."""

    def state_dict(self) -> dict[str, Tensor]:
        """As ``nn.Module.state_dict``."""

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> Any:
        """As ``nn.Module.load_state_dict``."""

    def to(self, *, device: torch.device, memory_format: torch.memory_format) -> Any:
        """As ``nn.Module.to``, in place."""

    def train(self, mode: bool = True) -> Any:
        """As ``nn.Module.train``."""

    def eval(self) -> Any:
        """As ``nn.Module.eval``."""


METHODS: dict[str, Any] = {
    "peclr": PeCLR,
    "simclr": SimCLR,
    "supervised": Supervised,
    "peclr-finetuned": PeCLRFineTuned,
}


def build_method(config: MethodConfig, seed: int = 0) -> Any:
    """The method of a config, its weights drawn from ``seed``; torch's generator is left alone."""
    cls = next(cls for cls in METHODS.values() if isinstance(config, cls.Config))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(config)
