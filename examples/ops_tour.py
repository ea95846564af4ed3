"""The ops in a few lines: needs torch and pyhandpose.ops, nothing else."""

import torch

from pyhandpose import ops

# PeCLR's loss: 512 images, two views each, 64 latent points, the affine of every view.
z = torch.randn(1024, 128, requires_grad=True)  # row i and row i + 512 are views of one image
angle = torch.linspace(-0.8, 0.8, 1024)
A = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], 1).view(-1, 2, 2)
v = torch.rand(1024, 2, 1) * 0.3 - 0.15  # a fraction of the image's side
loss = ops.equivariant_nt_xent(z, torch.cat([A, v], 2), temperature=0.5)
loss.backward()  # O(M D) memory: the 1024 x 1024 matrix of similarities is never held
print(f"equivariant NT-Xent {loss.item():.4f}, gradient {z.grad.norm():.2e}")

# 2.5D to 3D: pixels and relative depth of 21 joints, K, and the reference bone's length in metres.
joints_25d = torch.cat([torch.rand(4, 21, 2) * 224, torch.randn(4, 21, 1) * 0.2], 2)
K = torch.tensor([[480.0, 0, 112], [0, 480, 112], [0, 0, 1]])
depth, joints, other_depth, status = ops.root_depth(joints_25d, K, torch.full((4,), 0.09))
print("root depth in bone lengths:", [round(d, 2) for d in depth.tolist()], status.tolist())

# Procrustes: the similarity that brings one pose nearest to another, and the PA-EPE it leaves.
target = joints + 0.005 * torch.randn_like(joints)
similarity = ops.procrustes(joints, target)
error_mm = 1000 * (similarity.aligned - target).norm(dim=2).mean()
print(f"PA-EPE {error_mm:.2f} mm, scale {similarity.scale.mean():.3f}")
