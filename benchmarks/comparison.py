"""What a benchmark of one op declares: sizes, inputs, and who computes the same outputs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

Passes = Literal["forward", "forward+backward"]
OURS = "pyhandpose"


@dataclass(frozen=True)
class Case:
    """One size of one op, with its options."""

    size: int
    """M rows or B samples."""
    passes: Passes
    options: tuple[tuple[str, Any], ...] = ()
    """What the rivals must agree on, e.g. (("temperature", 0.5),)."""

    def __getitem__(self, option: str) -> Any:
        return dict(self.options)[option]

    def __str__(self) -> str:
        options = "".join(f"-{name}={value}" for name, value in self.options)
        return f"{self.size}{options}-{self.passes}".replace(" ", "")


@dataclass(frozen=True)
class Inputs:
    """Seeded float32 inputs of a case, on the CPU."""

    leaves: tuple[Tensor, ...]
    """What gradients are taken for."""
    constants: tuple[Tensor, ...] = ()

    def map(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        """The inputs with every tensor changed."""
        return Inputs(tuple(map(change, self.leaves)), tuple(map(change, self.constants)))


Function = Callable[..., tuple[Tensor, ...]]
"""(*leaves, *constants) -> the outputs that rivals are compared on."""


@dataclass(frozen=True)
class Provider:
    """Somebody who computes the op."""

    name: str
    build: Callable[[Case], Function | None]
    """The function for a case; None where the provider does not compute that case."""
    requires: tuple[str, ...] = ()
    """Modules that must be installed."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    passes: tuple[Passes, ...] = ("forward", "forward+backward")

    def takes(self, case: Case, device: str) -> bool:
        """Whether the provider computes this case on this kind of device."""
        offered = device in self.devices and case.passes in self.passes
        return offered and self.build(case) is not None

    def missing(self) -> str | None:
        """The first required module that is not installed."""
        for module in self.requires:
            if importlib.util.find_spec(module) is None:
                return module
        return None


@dataclass(frozen=True)
class Comparison:
    """An op, its cases and its providers; the provider named ``pyhandpose`` is ours."""

    op: str
    letter: str
    """What the size counts: M rows or B samples."""
    growth: float
    """Exponent of time in the size, by which a case's time is predicted from a smaller one."""
    inputs: Callable[[int], Inputs]
    """Of a size."""
    exact: Callable[[Case], Function]
    """The readable twin, run in float64."""
    cases: tuple[Case, ...]
    providers: tuple[Provider, ...]
    exact_up_to: int
    """The largest size whose error against float64 is measured."""
    grows_from: int
    """The smallest size that the fit of growth looks at: below it, fixed costs."""
    note: str = ""
    """What the reader must know of the cases, for the report."""
    dtypes: Mapping[str, str] = field(default_factory=dict)
    """Of providers that do not compute in float32, for the report."""
