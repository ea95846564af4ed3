import pytest
import torch
from torch import nn

from pyhandpose.models.projector import Projector, ProjectorConfig
from pyhandpose.models.regressor import Regressor


@pytest.mark.parametrize(
    ("features", "hidden"), [(2048, 512), (512, 512), (128, 128)], ids=["rn50", "rn18", "narrow"]
)
def test_the_projection_head_is_the_papers_at_its_widths(features, hidden):
    first, norm, _, last = Projector(features, ProjectorConfig()).layers
    assert (first.in_features, first.out_features) == (features, hidden)
    assert first.bias is not None
    assert isinstance(norm, nn.BatchNorm1d)
    assert (last.in_features, last.out_features, last.bias) == (hidden, 128, None)


@pytest.mark.parametrize(
    ("head", "shape"),
    [(Projector(16, ProjectorConfig(num_points=8)), (4, 16)), (Regressor(16), (4, 21, 3))],
    ids=["projector", "regressor"],
)
def test_heads_compute_in_float32_under_autocast(head, shape):
    features = torch.randn(4, 16).bfloat16()
    head.eval()
    with torch.autocast("cpu", torch.bfloat16):
        out = head(features)
    assert out.shape == shape
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, head(features.float()))
