"""What a case would cost, from what smaller ones did: nobody is run into the ground."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from benchmarks.growth import exponent, extrapolate

MEMORY_SHARE = 0.6
"""Of the device's memory; what would need more is not run."""
SHORTEST = 1e-3
"""Seconds below which a call's time is fixed cost and predicts nothing."""
SMALLEST = 8 << 20
"""Bytes below which a call's memory predicts nothing."""


@dataclass(frozen=True)
class Limits:
    """What calls may cost on a device."""

    memory_bytes: float
    """Memory of the device."""
    rival_seconds: float = 5.0
    our_seconds: float = 90.0
    case_seconds: float = 3.0
    """What the rounds of a case may take together, unless that is too few of them."""


class History:
    """Sizes, times and memory of the calls so far, by provider and passes."""

    def __init__(self, growth: float, grows_from: int = 1) -> None:
        """``grows_from``: below this size fixed costs hide the growth; times predict nothing."""
        self.growth = growth
        self.grows_from = grows_from
        self.times: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        self.memory: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)

    def add(self, name: str, passes: str, size: int, seconds: float, bytes_: float) -> None:
        """Keep what tells of larger sizes."""
        if seconds >= SHORTEST and size >= self.grows_from:
            self.times[name, passes][size] = seconds
        if bytes_ >= SMALLEST:
            self.memory[name, passes][size] = bytes_

    def seconds(self, name: str, passes: str, size: int) -> float:
        """Of a call, 0 where nothing is known."""
        known = self.times[name, passes]
        if not known:
            return 0.0
        return extrapolate(size, (max(known), known[max(known)]), self.growth)

    def bytes(self, name: str, passes: str, size: int) -> float:
        """Of a call, 0 where nothing is known; by the growth seen, else by that of time."""
        known = self.memory[name, passes]
        if not known:
            return 0.0
        last = sorted(known)[-2:]
        power = exponent(last, [known[s] for s in last]) if len(last) == 2 else self.growth
        return extrapolate(size, (last[-1], known[last[-1]]), min(max(power, 0), self.growth))

    def refusal(
        self, name: str, passes: str, size: int, limits: Limits, seconds: float
    ) -> str | None:
        """Why a case is not run, in the table's words; `seconds` is what a call may take."""
        needed = self.bytes(name, passes, size)
        if needed > MEMORY_SHARE * limits.memory_bytes:
            return f"would need {needed / 1e9:.0f} GB"
        took = self.seconds(name, passes, size)
        return f"would take {took:.0f} s" if took > seconds else None
