import pytest
import torch

from pyhandpose.models.encoder import EncoderConfig, build_encoder


def test_tiny_gives_eight_widths_for_each_quarter_of_a_view_of_any_size():
    encoder = build_encoder(EncoderConfig("tiny", width=4))
    assert encoder.num_features == 4 * 32
    for side in (32, 64, 80):
        assert encoder(torch.randn(2, 3, side, side)).shape == (2, 4 * 32)


def test_tiny_computes_the_same_in_channels_last():
    encoder = build_encoder(EncoderConfig("tiny", width=4)).eval()
    image = torch.randn(2, 3, 64, 64)
    expected = encoder(image)
    torch.testing.assert_close(
        encoder.to(memory_format=torch.channels_last)(image), expected, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_take_torchvision_weights_and_compute_its_features(name):
    import torchvision

    theirs = getattr(torchvision.models, name)(weights=None).eval()
    weights = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    ours = build_encoder(EncoderConfig(name)).eval()
    ours.load_state_dict(weights)
    theirs.fc = torch.nn.Identity()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image))
    assert ours.num_features == theirs(image).shape[1]


def test_any_timm_backbone_is_an_encoder():
    encoder = build_encoder(EncoderConfig("mobilenetv3_small_050")).eval()
    assert encoder(torch.randn(1, 3, 64, 64)).shape == (1, encoder.num_features)


def test_unknown_names_are_refused_with_suggestions():
    with pytest.raises(ValueError, match=r"got 'resnet17'; for example .*resnet"):
        build_encoder(EncoderConfig("resnet17"))


def test_the_tiny_encoder_has_no_pretrained_weights():
    with pytest.raises(ValueError, match="no ImageNet weights"):
        build_encoder(EncoderConfig("tiny", pretrained=True))


def test_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch):
    import timm

    def offline(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(OSError, match=r"could not be fetched .*set pretrained to false"):
        build_encoder(EncoderConfig("resnet50.tv_in1k", pretrained=True))
