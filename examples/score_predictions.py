"""Score predictions that are in memory, and say how long it took.

score_predictions.py [POSES [REPETITIONS]]: the least of the repetitions is printed.
"""

import sys
import time

import torch

from pyhandpose.evaluation.poses import Poses
from pyhandpose.evaluation.protocols import score


def main(num_poses: int = 3960, repetitions: int = 1) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = 0.04 * torch.randn(num_poses, 21, 3, generator=generator, dtype=torch.float64)
    labels[..., 2] += 0.6
    noise = 0.008 * torch.randn(num_poses, 21, 3, generator=generator, dtype=torch.float64)
    predictions, truth = Poses("predictions", labels + noise), Poses("labels", labels)
    for protocol in ("freihand", "ho3d", "peclr-paper"):
        times = []
        for _ in range(repetitions):
            start, cpu = time.perf_counter(), time.process_time()
            found = score(protocol, predictions, truth)
            times.append((time.perf_counter() - start, time.process_time() - cpu))
        elapsed, used = min(times)
        print(f"\n{protocol}: {num_poses:,} poses in {elapsed:.3f} s ({used:.3f} s of CPU)")
        print(found.table())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
