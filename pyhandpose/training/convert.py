"""Published weights as a checkpoint folder of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pyhandpose.methods import METHODS, build_method
from pyhandpose.methods.peclr_finetuned import INPUT_SIZE
from pyhandpose.models.encoder import EncoderConfig, build_encoder
from pyhandpose.models.pretrained import (
    KeyReport,
    PretrainedError,
    compare,
    read_weights,
    resnet_name,
    translate,
)
from pyhandpose.training.checkpoint import (
    ENCODER,
    find_checkpoint,
    load_method,
    save_checkpoint,
    save_encoder,
)

METHOD_OF_LAYOUT = {
    "peclr-finetuned": "peclr-finetuned",
    "peclr-lightning": "peclr",
    "resnet": ENCODER,
}

VIEW_SIZES = {"peclr-finetuned": INPUT_SIZE, "peclr-lightning": 128, "resnet": INPUT_SIZE}
"""Side of the views that the weights were trained on, px; ImageNet's for a plain ResNet."""


@dataclass(frozen=True)
class Conversion:
    """What a file was found to hold, and how it fits."""

    layout: str
    """As ``models.pretrained.Translation.layout``, or "pyhandpose" for a checkpoint of ours."""
    method: str
    """What was written: a key of ``METHODS``, or "encoder"."""
    encoder: str
    """The network's name."""
    num_tensors: int
    """Tensors that were written."""
    report: KeyReport
    """By the names in the converted checkpoint; what is unexpected by the file's own."""


class MisfitError(PretrainedError):
    """Weights that lack tensors of the network, or have them in another shape."""


def convert(
    source: Path, out: Path, encoder: str | None = None, trust_pickle: bool = False
) -> Conversion:
    """Read published weights or a checkpoint of ours, and write them as a checkpoint folder.

    A plain ResNet gives an encoder alone, for ``--init``; a checkpoint of PeCLR's own pre-training
    the method ``peclr``; the fine-tuned network the method ``peclr-finetuned``, which predicts.

    Args:
        source: a file (safetensors, .pth, .pt, .ckpt), or a checkpoint or run folder of ours.
        out: the folder to write; must not exist yet.
        encoder: name of the timm model; by default recognised among the ResNets.
        trust_pickle: see ``models.pretrained.read_weights``.

    Raises:
        PretrainedError: not readable, of no known layout, or the output exists.
        MisfitError: missing or reshaped keys, all of which it names; nothing is written.
        CheckpointError: a folder that is no checkpoint.
    """
    if out.exists():
        raise PretrainedError(f"{out} exists already; choose another folder (--out)")
    if source.is_dir():
        return _convert_own(source, out)
    translated = translate(read_weights(source, trust_pickle))
    layout, tensors = translated.layout, translated.tensors
    inner = {name.removeprefix("encoder.") for name in tensors if name.startswith("encoder.")}
    config = EncoderConfig(encoder or resnet_name(inner))
    method = METHOD_OF_LAYOUT[layout]
    network = _encoder_alone(config) if method == ENCODER else _build(method, config)
    report = compare(network.state_dict(), tensors)
    report = KeyReport(report.missing, report.unexpected + translated.left_out, report.reshaped)
    if not report.fits:
        raise MisfitError(
            f"{source} does not fit {config.name} ({layout}); nothing written:\n{report}"
        )
    known = network.state_dict()
    network.load_state_dict({name: tensors[name] for name in known})
    side = VIEW_SIZES[layout]
    if method == ENCODER:
        save_encoder(out, network.encoder, config, side)
    else:
        save_checkpoint(out, network, side)
    return Conversion(layout, method, config.name, len(known), report)


def _convert_own(source: Path, out: Path) -> Conversion:
    """A checkpoint of ours without its training state; ``load_method`` refuses one that misfits."""
    method, config = load_method(find_checkpoint(source))
    save_checkpoint(out, method, config["input_size"])
    state: Mapping[str, Tensor] = method.state_dict()
    name = method.config.encoder.name
    return Conversion("pyhandpose", config["method"], name, len(state), compare(state, state))


def _build(method: str, config: EncoderConfig) -> Any:
    return build_method(METHODS[method].Config(encoder=config))


def _encoder_alone(config: EncoderConfig) -> Any:
    return nn.ModuleDict({"encoder": build_encoder(config)})
