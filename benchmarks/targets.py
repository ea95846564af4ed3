"""What the ops are held to, and whether a run reached it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.comparison import OURS
from benchmarks.results import CaseResult, OpResults

NT_XENT = "equivariant_nt_xent"
BFLOAT16 = f"{OURS} bfloat16"
BOTH = "forward+backward"
EAGER = ("eager cross_entropy", "eager logsumexp")
CHAINS = ("eager, lean", "eager, reference")
FIT = (("outputs", "R, k, t"),)
ALL = (("outputs", "R, k, t, aligned, conditioning"),)
TAU = (("temperature", 0.5),)


@dataclass(frozen=True)
class Target:
    """One figure that is to be reached on one kind of device."""

    op: str
    size: int
    passes: str
    kind: Literal["ratio", "seconds", "bytes"]
    bound: float
    """At least, for a ratio; at most, for seconds and bytes."""
    rivals: tuple[str, ...] = ()
    """The fastest of them counts."""
    provider: str = OURS
    device: str = "cpu"
    options: tuple[tuple[str, Any], ...] = ()

    def describe(self, letter: str) -> str:
        """What is compared."""
        case = f"{self.op}, {self.passes}, {letter} = {self.size:,}"
        case += "".join(f", {name} {value}" for name, value in self.options)
        if self.provider != OURS:
            case += f", {self.provider.removeprefix(OURS).strip()}"
        if self.kind == "ratio":
            return f"{case}: against {' and '.join(self.rivals)}"
        return f"{case}: {'time' if self.kind == 'seconds' else 'extra memory'}"

    def measured(self, case: CaseResult) -> float | None:
        """The figure that is compared with the bound."""
        if self.kind == "ratio":
            ratios = [ratio for name in self.rivals if (ratio := case.ratio(name)) is not None]
            return min(ratios) if ratios else None
        measurement = case.providers.get(self.provider)
        if measurement is None:
            return None
        return measurement.median if self.kind == "seconds" else measurement.bytes

    def reached(self, figure: float) -> bool:
        """Whether a figure is good enough."""
        return figure >= self.bound if self.kind == "ratio" else figure <= self.bound

    def show(self, figure: float) -> str:
        """A figure in the target's unit."""
        if self.kind == "ratio":
            return f"{figure:.1f}x"
        if self.kind == "bytes":
            return f"{figure / 1e6:.0f} MB"
        return f"{figure * 1e6:.1f} us" if figure < 1e-3 else f"{figure * 1e3:.2f} ms"


def latent_memory(rows: int, dim: int = 128) -> float:
    """4 M D floats and 64 MB."""
    return 4 * rows * dim * 4 + 64e6


TARGETS = (
    *(
        target
        for M in (4096, 8192)
        for target in (
            Target(NT_XENT, M, BOTH, "ratio", 4, EAGER, options=TAU),
            Target(NT_XENT, M, BOTH, "ratio", 6, ("lightly",), options=TAU),
            Target(NT_XENT, M, BOTH, "bytes", latent_memory(M), options=TAU),
        )
    ),
    Target("procrustes", 64, "forward", "ratio", 25, ("roma",), options=FIT),
    Target("procrustes", 1024, "forward", "ratio", 30, ("roma",), options=FIT),
    Target("procrustes", 1024, BOTH, "ratio", 20, ("roma",), options=FIT),
    Target("root_depth", 4096, BOTH, "ratio", 5, CHAINS),
    Target("latent_affine", 4096, BOTH, "ratio", 5, CHAINS),
    *(
        Target(op, 1, "forward", "seconds", 20e-6, options=FIT if op == "procrustes" else ())
        for op in ("latent_affine", "procrustes", "root_depth")
    ),
    Target(NT_XENT, 16_384, BOTH, "ratio", 5, EAGER, device="cuda", options=TAU),
    Target(NT_XENT, 16_384, BOTH, "ratio", 2, ("torch.compile",), device="cuda", options=TAU),
    Target(NT_XENT, 65_536, BOTH, "seconds", 33e-3, device="cuda", options=TAU),
    Target(NT_XENT, 65_536, BOTH, "seconds", 11e-3, (), BFLOAT16, "cuda", TAU),
    Target(NT_XENT, 1_048_576, BOTH, "bytes", 4e9, device="cuda", options=TAU),
    Target("procrustes", 1_048_576, "forward", "seconds", 0.34e-3, device="cuda", options=ALL),
)


@dataclass(frozen=True)
class Outcome:
    """A target beside what one device did."""

    target: Target
    what: str
    measured: str
    verdict: str


def outcomes(results: Iterable[OpResults]) -> list[Outcome]:
    """One for each target and device of its kind; "not measured" where there is none."""
    results = list(results)
    rows = []
    for target in TARGETS:
        found = []
        for result in results:
            if result.op != target.op or result.environment["kind"] != target.device:
                continue
            what = target.describe(result.letter)
            case = result.find(target.size, target.passes, **dict(target.options))
            figure = target.measured(case) if case else None
            if figure is not None:
                verdict = "reached" if target.reached(figure) else "NOT reached"
                found.append(Outcome(target, what, target.show(figure), verdict))
        what = target.describe("M" if "nt_xent" in target.op else "B")
        rows += found or [Outcome(target, what, "not measured", "not measured")]
    return rows
