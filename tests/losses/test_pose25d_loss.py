import torch

from pyhandpose.losses.pose25d import joint_l1_2d, relative_depth_l1


def test_image_points_count_both_axes_and_valid_joints_only():
    target = torch.zeros(2, 21, 2)
    predicted = torch.zeros(2, 21, 2)
    predicted[0, 3] = torch.tensor([3.0, -4.0])
    predicted[1, 5] = torch.tensor([100.0, 100.0])
    valid = torch.zeros(2, 21, dtype=torch.bool)
    valid[0, 3] = valid[0, 4] = True
    assert joint_l1_2d(predicted, target, valid).item() == 3.5


def test_depth_is_the_mean_absolute_error():
    predicted = torch.full((1, 21), 0.25)
    valid = torch.ones(1, 21, dtype=torch.bool)
    assert relative_depth_l1(predicted, -predicted, valid).item() == 0.5


def test_what_is_not_valid_may_be_nan():
    predicted = torch.ones(1, 21, 2, requires_grad=True)
    target = torch.zeros(1, 21, 2)
    target[0, 7:] = torch.nan
    valid = torch.arange(21)[None] < 7
    loss = joint_l1_2d(predicted, target, valid) + relative_depth_l1(
        predicted[..., 0], target[..., 0], valid
    )
    loss.backward()
    assert loss.item() == 3
    assert (predicted.grad[0, :7] != 0).all()
    assert (predicted.grad[0, 7:] == 0).all()


def test_no_labels_give_zero_with_zero_gradient():
    predicted = torch.randn(1, 21, requires_grad=True)
    nothing = torch.zeros(1, 21, dtype=torch.bool)
    loss = relative_depth_l1(predicted, torch.zeros(1, 21), nothing)
    loss.backward()
    assert loss.item() == 0
    assert (predicted.grad == 0).all()
