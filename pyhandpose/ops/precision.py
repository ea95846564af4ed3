"""How NT-Xent's products over all pairs of rows are computed: the rule behind ``precision=``."""

import torch
from torch import Tensor


def choose_precision(z: Tensor, precision: str) -> str:
    """What ``"auto"`` stands for; any other name is returned as it is.

    ========  ==========================================================================
    ffma      in the dtype of the sums (float32, float64), without tensor cores
    bf16x3    each number as the sum of two bfloat16, three of the four products
    tf32      numbers rounded to 10 bits of mantissa
    bf16      numbers rounded to bfloat16
    ========  ==========================================================================

    ``"auto"`` is ``"bf16"`` for half and bfloat16 rows and under autocast, ``"tf32"`` where torch
    may use it for float32 products (``torch.set_float32_matmul_precision``), else ``"bf16x3"``.
    Sums are float32 or wider in all of them, and each row's positive is taken in full precision.

    The CPU, float64 rows and GPUs before compute capability 8.0 compute as ``"ffma"`` whatever is
    asked.
    """
    if precision != "auto":
        return precision
    if z.device.type != "cuda" or z.dtype == torch.float64:
        return "ffma"
    if z.dtype != torch.float32 or torch.is_autocast_enabled("cuda"):
        return "bf16"
    return "bf16x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"
