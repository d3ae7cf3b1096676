"""A session: true predictions, facts without folders, and errors that say what to do."""

from __future__ import annotations

import json
import shutil

import numpy as np
import PIL.Image
import pytest
import torch

import fmviz
from fmviz.assets import asset
from fmviz.devices import device_words, devices, find_device
from fmviz.errors import BackboneError, Cancelled, DeviceError, ForwardError, LayerError, PictureError, WeightsError
from fmviz.networks.catalog import backbone
from fmviz.preprocess import preprocess
from fmviz.session import Session


@pytest.fixture(scope="module")
def session() -> Session:
    return Session("efficientnet_lite0_fpn")


@pytest.fixture(scope="module")
def small(session):
    """A run that takes a moment."""
    return session.run(asset("samples/chelsea.png"), preprocessing=session.preprocessing.whole(64))


# Predictions and taps


@pytest.mark.parametrize(
    ("picture", "classes"),
    [
        ("coffee.png", {"espresso"}),
        ("chelsea.png", {"tabby", "Egyptian cat", "tiger cat"}),
        ("rocket.jpg", {"missile"}),
    ],
)
def test_the_samples_are_recognised(session, picture, classes):
    capture = session.run(asset(f"samples/{picture}"))
    assert capture.predictions[0][0] in classes
    shares = [share for _, share in capture.predictions]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1.00001


def test_predictions_are_the_softmax_of_the_captured_logits(session, small):
    logits = next(activation.tensor for activation in small.values() if activation.tensor.shape == (1, 1000))
    name, share = small.predictions[0]
    assert share == pytest.approx(float(torch.softmax(logits[0], 0).max()))
    assert name == session.weights.classes[int(logits.argmax())]


def test_the_taps_are_at_their_strides(session):
    capture = session.run(torch.zeros(1, 3, 128, 192))
    for row in "CMP":
        shapes = [tuple(capture.taps[f"{row}{level}"].tensor.shape[2:]) for level in range(2, 6)]
        assert shapes == [(32, 48), (16, 24), (8, 12), (4, 6)]
    assert tuple(capture.taps["P6"].tensor.shape[2:]) == (2, 3)
    assert list(capture.taps) == list(backbone("efficientnet_lite0_fpn").taps)


# What it takes


def test_a_path_an_image_an_array_and_a_picture_are_the_same(session, small):
    path = asset("samples/chelsea.png")
    fed = session.preprocessing.whole(64)
    with PIL.Image.open(path) as image:
        image.load()
        sources = (str(path), image, np.asarray(image.convert("RGB")), fmviz.read_picture(path))
        for source in sources:
            other = session.run(source, preprocessing=fed)
            assert torch.equal(other.taps["P3"].tensor, small.taps["P3"].tensor)


def test_a_tensor_is_the_networks_input_as_it_is(session, small):
    capture = session.run(small.input.tensor)
    assert torch.equal(capture.taps["P3"].tensor, small.taps["P3"].tensor)
    assert capture.predictions == small.predictions
    assert (capture.picture, capture.input) == (None, None)
    facts = session.facts(capture)
    assert "picture" not in facts
    assert "preprocessing" not in facts


def test_a_tensor_of_another_precision_is_brought_to_the_networks(session, small):
    capture = session.run(small.input.tensor.double())
    assert torch.equal(capture.taps["P3"].tensor, small.taps["P3"].tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, 64, 64),
        torch.zeros(2, 3, 64, 64),
        torch.zeros(1, 64, 64, 3),
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
    ],
    ids=["no batch", "two pictures", "channels last", "bytes"],
)
def test_a_tensor_that_is_no_input_is_refused_with_what_to_give(session, tensor):
    with pytest.raises(PictureError, match=r"\(1, 3, h, w\)"):
        session.run(tensor)


def test_another_preprocessing_for_one_picture_or_for_all(session):
    whole = Session("efficientnet_lite0_fpn", preprocessing=session.preprocessing.whole(64))
    capture = whole.run(asset("samples/chelsea.png"))
    assert capture.input.geometry.input_size == (43, 64)
    cropped = whole.run(asset("samples/chelsea.png"), preprocessing=session.preprocessing.at(96))
    assert cropped.input.geometry.input_size == (96, 96)


def test_keep_holds_only_what_is_asked_for(session, small):
    capture = session.run(small.input.tensor, keep=lambda layer: layer.path == "body.stem")
    assert [str(layer) for layer in capture] == ["body.stem"]
    assert torch.equal(capture["body.stem"].tensor, small["body.stem"].tensor)
    assert capture.predictions == small.predictions
    assert not capture.taps


def test_a_cancel_is_heard_between_two_layers_and_the_next_run_is_whole(session, small):
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 20

    with pytest.raises(Cancelled):
        session.run(small.input.tensor, cancelled=cancelled)
    assert len(asked) == 21
    assert torch.equal(session.run(small.input.tensor).taps["P3"].tensor, small.taps["P3"].tensor)


# What goes wrong


@pytest.mark.parametrize("name", ["cuda:77", "nonsense", "", "xpu", "meta", "cuda:-1"])
def test_a_device_that_is_not_there_is_named_beside_those_that_are(name):
    with pytest.raises(DeviceError, match="choose one of cpu"):
        find_device(name)


def test_auto_is_the_fastest_device():
    assert str(find_device("auto")) == devices()[-1]
    assert devices()[0] == "cpu"
    assert device_words(torch.device("cpu")) == "cpu"


@pytest.mark.parametrize(
    ("kind", "count", "expected"),
    [("cuda", 2, ("cpu", "cuda:1", "cuda:0")), ("mps", 1, ("cpu", "mps")), ("xpu", 1, ("cpu", "xpu:0"))],
)
def test_accelerators_are_listed_the_first_of_them_last(monkeypatch, kind, count, expected):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
    assert devices() == expected
    assert find_device("auto") == torch.device(expected[-1])
    assert find_device(kind) == torch.device(kind)
    with pytest.raises(DeviceError, match=f"There is no {kind}:{count} "):
        find_device(f"{kind}:{count}")


def test_a_picture_too_small_for_the_network_is_refused_with_the_least_size():
    session = Session("vgg11", weights="random")
    fed = session.preprocessing.at(31)
    with pytest.raises(BackboneError, match=r"vgg11 .* 31 × 31 .* at least 32"):
        session.run(asset("samples/chelsea.png"), preprocessing=fed)
    with pytest.raises(BackboneError, match="31 × 64"):
        session.run(torch.zeros(1, 3, 31, 64))


def test_an_unknown_backbone_weights_and_pictures(session, tmp_path):
    with pytest.raises(BackboneError, match="did you mean resnet50"):
        Session("resnet5O")
    with pytest.raises(WeightsError, match="random"):
        Session("resnet18", weights="imagnet")
    with pytest.raises(WeightsError, match="seed"):
        Session("resnet18", weights="random", seed=-1)
    with pytest.raises(PictureError, match=r"none\.png does not exist"):
        session.run(tmp_path / "none.png")


def test_a_network_that_stops_says_where_and_keeps_what_had_run(small, monkeypatch):
    session = Session("efficientnet_lite0_fpn")

    def stop(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("on purpose")

    monkeypatch.setattr(session.model.get_submodule("body.head"), "forward", stop)
    with pytest.raises(ForwardError, match="on purpose") as caught:
        session.run(small.input.tensor)
    assert torch.equal(caught.value.capture["body.stem"].tensor, small["body.stem"].tensor)


# Seeds and facts


def test_random_weights_are_the_same_by_seed_and_have_no_predictions(small):
    first, again, other = (Session("resnet18", weights="random", seed=seed) for seed in (3, 3, 4))
    values = [session.run(small.input.tensor)["layer1"].tensor for session in (first, again, other)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    assert first.weights.seed == 3
    assert first.run(small.input.tensor).predictions == []
    assert not first.model.training
    assert not any(parameter.requires_grad for parameter in first.model.parameters())


def test_what_nobody_trained_is_said():
    assert Session("resnet18_fpn", weights="random").weights.untrained == ("body", "pyramid")
    assert Session("efficientnet_lite0_fpn", weights="imagenet").weights.untrained == ("pyramid",)


def test_facts_are_json_with_all_that_it_takes_and_no_folder(session, tmp_path):
    folder = tmp_path / "private of the user"
    folder.mkdir()
    path = folder / "cat.png"
    shutil.copy(asset("samples/chelsea.png"), path)
    capture = session.run(path, preprocessing=session.preprocessing.whole(64))
    facts = session.facts(capture)
    text = json.dumps(facts, allow_nan=False)
    assert json.loads(text) == facts
    assert "private" not in text
    assert facts["picture"] == {"name": "cat.png", "sha256": fmviz.read_picture(path).sha256}
    assert facts["fmviz"] == fmviz.__version__
    assert facts["network"] == "efficientnet_lite0_fpn"
    assert facts["weights"]["name"] == "shapes"
    assert facts["trained_on"] == "drawn shapes"
    assert len(facts["weights"]["sha256"]) == 64
    assert facts["untrained"] == []
    assert facts["preprocessing"]["mode"] == "whole"
    assert facts["input_size"] == [43, 64]
    assert (facts["torch"], facts["device"]) == (str(torch.__version__), "cpu")


def test_a_weights_file_is_told_by_its_name_alone(tmp_path, small):
    folder = tmp_path / "private of the user"
    folder.mkdir()
    model = Session("resnet18", weights="random", seed=9).model
    torch.save(model.state_dict(), folder / "mine.pth")
    session = Session("resnet18", weights=folder / "mine.pth")
    facts = session.facts(session.run(small.input.tensor))
    assert facts["weights"]["name"] == "mine.pth"
    assert "private" not in json.dumps(facts)
    assert torch.equal(session.model.conv1.weight, model.conv1.weight)


def test_the_table_is_that_of_the_crop_unless_a_size_is_given(session):
    assert session.table().totals.activation_bytes == session.table(224).totals.activation_bytes
    assert session.table(64).totals.activation_bytes < session.table().totals.activation_bytes


def test_the_table_is_that_of_the_network_with_what_its_weights_brought():
    """A trained pyramid has a head, which the network by its name has not."""
    trained, bare = (
        Session("efficientnet_lite0_fpn", weights="shapes"),
        Session("efficientnet_lite0_fpn", weights="random"),
    )
    for session in (trained, bare):
        totals = session.table().totals
        assert totals.parameters == totals.trainable == sum(one.numel() for one in session.model.parameters())
        assert totals.capture_bytes == session.run(torch.zeros(1, 3, 224, 224)).nbytes
    head = trained.table().totals.head_parameters
    assert trained.table().row("head").parameters == head == 43_275
    assert trained.table().totals.parameters - head == bare.table().totals.parameters == bare.backbone.parameters
    assert bare.table().totals.offered_head == head == bare.backbone.offer("shapes").head_parameters
    assert bare.table().totals == fmviz.layer_table("efficientnet_lite0_fpn").totals


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda session: session.run(torch.zeros(1, 3, 224, 224)).taps["P9"], LayerError, "choose from C2, C3"),
        (lambda session: session.run(""), PictureError, "is empty"),
        (lambda session: Session(seed="a"), TypeError, "a seed is a whole number"),
        (lambda session: fmviz.layer_table("vgg19", "big"), TypeError, "a size is"),
        (lambda session: fmviz.layer_table("vgg19", (224, 224, 3)), TypeError, "a size is"),
        (lambda session: fmviz.capture_activations(None, torch.zeros(1)), TypeError, "a model is a torch.nn.Module"),
        (lambda session: fmviz.compare("vgg16", "vgg19").line("wheels"), fmviz.FmvizError, "choose from"),
    ],
)
def test_what_cannot_be_meant_gets_one_sentence(session, call, error, words):
    with pytest.raises(error, match=words):
        call(session)


def test_networks_are_compared_by_their_names_too():
    line = fmviz.compare("vgg16", fmviz.layer_table("vgg19")).line("macs")
    assert line.one < line.other


# The public names


def test_every_public_name_is_the_one_of_its_room():
    for name in fmviz.__all__:
        value = getattr(fmviz, name)
        assert name == "__version__" or value.__name__ == name
    assert set(fmviz.__all__) <= set(dir(fmviz))
    errors = [value for value in vars(fmviz.errors).values() if isinstance(value, type)]
    assert {error.__name__ for error in errors if issubclass(error, Exception)} <= set(fmviz.__all__)


def test_the_example_of_the_public_face(small):
    session = fmviz.Session(backbone="resnet18_fpn", weights="random", device="cpu")
    capture = session.run(small.input.tensor)
    assert capture["body.layer2.0.relu:2"].layer.call == 2
    assert capture.taps["P3"].tensor.shape[1] == 256
    assert isinstance(fmviz.capture_activations(session.model, small.input.tensor), fmviz.Capture)
    assert fmviz.layer_table("vgg19", (224, 224)).totals.parameters == 143_667_240
    assert fmviz.backbones()[0] == "efficientnet_lite0_fpn"
    assert torch.equal(preprocess(small.picture, small.input.preprocessing).tensor, small.input.tensor)
