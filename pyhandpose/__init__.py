"""3D hand pose estimation: fused PyTorch ops, and the training and evaluation built on them.

``import pyhandpose.ops`` needs torch alone. What needs images or encoders
(``pyhandpose.Predictor``, the command line) imports torchvision and timm when it is used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pyhandpose.predict import Predictor

__all__ = ["Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Predictor":
        from pyhandpose.predict import Predictor

        return Predictor
    raise AttributeError(f"module 'pyhandpose' has no attribute {name!r}")
