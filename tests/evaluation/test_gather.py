"""Errors collected in two processes, merged in both, equal those of one."""

import torch
import torch.distributed as dist

from pyhandpose.evaluation.gather import merged_over_processes
from pyhandpose.evaluation.mesh import MeshErrors
from pyhandpose.evaluation.metrics import PoseErrors


def poses():
    generator = torch.Generator().manual_seed(0)
    label = 0.05 * torch.randn(7, 21, 3, generator=generator)
    return label + 0.01 * torch.randn(7, 21, 3, generator=generator), label


def pose_errors(rows):
    estimate, label = (part[rows] for part in poses())
    errors = PoseErrors()
    errors.add(100 * estimate[..., :2], estimate, 100 * label[..., :2], label)
    return errors


def mesh_errors(rows):
    estimate, label = (part[rows].repeat(1, 38, 1)[:, :778] for part in poses())
    errors = MeshErrors()
    errors.add(estimate, label)
    return errors


def measure_a_part(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    rows = slice(0, 3) if rank == 0 else slice(3, 7)
    merged = merged_over_processes(pose_errors(rows))
    meshes = merged_over_processes(mesh_errors(rows))
    found = [summary.to_json() for summary in merged.summaries().values()]
    torch.save([found, meshes.summary().to_json()], folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_find_what_one_finds(tmp_path):
    second = torch.multiprocessing.get_context("spawn").Process(
        target=measure_a_part, args=(1, tmp_path)
    )
    second.start()
    measure_a_part(0, tmp_path)
    second.join()
    whole = [summary.to_json() for summary in pose_errors(slice(0, 7)).summaries().values()]
    expected = [whole, mesh_errors(slice(0, 7)).summary().to_json()]
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == expected


def test_without_a_process_group_nothing_changes():
    errors = pose_errors(slice(0, 7))
    assert merged_over_processes(errors) is errors
