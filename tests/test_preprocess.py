"""What the network is fed is what torchvision would feed it, and the picture is found again in it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fmviz.errors import BackboneError
from fmviz.pictures import Picture, read_picture
from fmviz.preprocess import IMAGENET, Preprocessing, preprocess

V2 = Preprocessing(resize=232)
LITE0 = Preprocessing(interpolation="bicubic", mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
SHAPES = [(224, 224), (256, 256), (300, 451), (451, 300), (97, 613), (61, 40), (1, 7), (800, 1201)]


def noise(height: int, width: int) -> Picture:
    values = np.random.default_rng(height * 10007 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return read_picture(values)


def gradient(height: int, width: int) -> Picture:
    down, right = np.linspace(0, 255, height)[:, None], np.linspace(0, 255, width)[None, :]
    planes = np.broadcast_arrays(down, right, (down + right) / 2)
    return read_picture(np.stack(planes, axis=-1).round().astype(np.uint8))


def of_torchvision(preprocessing: Preprocessing, picture: Picture) -> torch.Tensor:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    transform = ImageClassification(
        crop_size=preprocessing.crop,
        resize_size=preprocessing.resize,
        mean=preprocessing.mean,
        std=preprocessing.std,
        interpolation=InterpolationMode(preprocessing.interpolation),
    )
    return transform(Image.fromarray(picture.pixels))[None]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "preprocessing"), [("IMAGENET1K_V1", IMAGENET), ("IMAGENET1K_V2", V2)])
def test_it_is_what_the_weights_of_resnet50_want(
    name: str, preprocessing: Preprocessing, shape: tuple[int, int]
) -> None:
    from torchvision.models import ResNet50_Weights

    picture = noise(*shape)
    expected = ResNet50_Weights[name].transforms()(Image.fromarray(picture.pixels))[None]
    assert torch.equal(preprocess(picture, preprocessing).tensor, expected)


@pytest.mark.parametrize(
    "preprocessing",
    [LITE0, Preprocessing(resize=342, crop=299), IMAGENET.at(448), IMAGENET.at(65), Preprocessing(resize=50, crop=75)],
)
@pytest.mark.parametrize("shape", [(300, 451), (451, 300), (61, 40)])
def test_it_is_what_torchvision_makes(preprocessing: Preprocessing, shape: tuple[int, int]) -> None:
    picture = noise(*shape)
    fed = preprocess(picture, preprocessing)
    assert torch.equal(fed.tensor, of_torchvision(preprocessing, picture))
    assert fed.geometry.input_size == tuple(fed.tensor.shape[-2:])


@pytest.mark.parametrize(
    ("shape", "size"), [((300, 451), (213, 320)), ((451, 300), (320, 213)), ((20, 30), (213, 320))]
)
def test_the_whole_picture_at_its_own_aspect(shape: tuple[int, int], size: tuple[int, int]) -> None:
    from torchvision.transforms import functional as F

    picture = noise(*shape)
    fed = preprocess(picture, IMAGENET.whole(320))
    resized = F.resize(Image.fromarray(picture.pixels), list(size))
    expected = F.normalize(F.to_tensor(resized), IMAGENET.mean, IMAGENET.std)[None]
    assert torch.equal(fed.tensor, expected)
    assert fed.geometry.input_box() == fed.geometry.input_box().clipped(shape[1], shape[0])
    assert (fed.geometry.input_box().width, fed.geometry.input_box().height) == pytest.approx(shape[::-1])


def test_the_whole_of_a_line_keeps_a_pixel_of_its_width() -> None:
    assert preprocess(noise(1, 4000), IMAGENET.whole(512)).tensor.shape == (1, 3, 1, 512)


@pytest.mark.parametrize("preprocessing", [IMAGENET, LITE0, IMAGENET.whole(200)])
def test_the_tensor_is_ready_for_a_network(preprocessing: Preprocessing) -> None:
    tensor = preprocess(noise(90, 130), preprocessing).tensor
    assert tensor.dtype == torch.float32
    assert tensor.device.type == "cpu"
    assert tensor.is_contiguous()
    assert not tensor.requires_grad


@pytest.mark.parametrize("preprocessing", [IMAGENET, LITE0, IMAGENET.whole(130)])
def test_mean_and_std_are_undone_for_the_eye(preprocessing: Preprocessing) -> None:
    picture = noise(130, 90)
    fed = preprocess(picture, preprocessing)
    left, top = fed.geometry.crop_offset[1], fed.geometry.crop_offset[0]
    height, width = fed.geometry.input_size
    resample = Image.Resampling[preprocessing.interpolation.upper()]
    resized = Image.fromarray(picture.pixels).resize(fed.geometry.resized_size[::-1], resample)
    assert fed.pixels().dtype == np.uint8
    assert np.array_equal(fed.pixels(), np.asarray(resized.crop((left, top, left + width, top + height))))


def test_a_crop_larger_than_the_picture_is_filled_up_with_black() -> None:
    fed = preprocess(read_picture(np.full((10, 20, 3), 255, np.uint8)), Preprocessing(resize=10, crop=25))
    assert fed.geometry.crop_offset == (-7, -2)
    assert fed.pixels()[7:17, 2:22].min() == 255
    assert fed.pixels().astype(int).sum() == 10 * 20 * 3 * 255


def test_a_line_of_a_picture_does_not_take_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = gradient(60, 90)
    usual = preprocess(picture, IMAGENET)
    monkeypatch.setattr("fmviz.preprocess._LARGEST_RESIZED", 256 * 256)
    frugal = preprocess(picture, IMAGENET)
    assert frugal.geometry == usual.geometry
    assert np.abs(frugal.pixels().astype(int) - usual.pixels()).max() <= 2


def test_what_is_bright_in_the_picture_is_bright_at_its_place_in_the_input() -> None:
    values = np.zeros((300, 500, 3), np.uint8)
    values[200:210, 320:330] = 255
    for preprocessing in (IMAGENET, IMAGENET.whole(400), IMAGENET.at(320)):
        fed = preprocess(read_picture(values), preprocessing)
        brightness = fed.pixels().sum(axis=2).astype(float)
        y, x = ((index + 0.5) @ brightness.sum(axis=axis) / brightness.sum() for index, axis in _axes(brightness))
        assert fed.geometry.to_input(325, 205) == pytest.approx((x, y), abs=0.3)


def _axes(plane: np.ndarray[Any, Any]) -> list[tuple[np.ndarray[Any, Any], int]]:
    return [(np.arange(plane.shape[0]), 1), (np.arange(plane.shape[1]), 0)]


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    st.sampled_from([IMAGENET, V2, LITE0, IMAGENET.at(97), IMAGENET.whole(64), IMAGENET.whole(1333)]),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_place_on_the_picture_is_found_again(
    size: tuple[int, int], preprocessing: Preprocessing, across: float, down: float
) -> None:
    geometry = preprocessing.geometry(size)
    place = (across * size[1], down * size[0])
    assert geometry.to_picture(*geometry.to_input(*place)) == pytest.approx(place, abs=1e-6 * max(size))
    if preprocessing.mode == "whole":
        assert max(geometry.input_size) == preprocessing.longer_side
        assert geometry.cell_at(size[1] / 2, size[0] / 2, (1, 1)) == (0, 0)


@pytest.mark.parametrize(("size", "resize"), [(448, 512), (224, 256), (112, 128), (320, 366), (1, 1)])
def test_another_size_keeps_the_proportion(size: int, resize: int) -> None:
    other = LITE0.whole(640).at(size)
    assert (other.mode, other.crop, other.resize) == ("crop", size, resize)
    assert (other.interpolation, other.mean, other.std) == (LITE0.interpolation, LITE0.mean, LITE0.std)


def test_it_says_what_it_does() -> None:
    assert LITE0.words() == "shorter side 256, centre crop 224, bicubic"
    assert IMAGENET.whole(640).words() == "whole picture, longer side 640, bilinear"


def test_it_describes_itself_in_json() -> None:
    crop, whole = (json.loads(json.dumps(p.describe())) for p in (IMAGENET, IMAGENET.whole(640)))
    colours = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert crop == {"mode": "crop", "resize": 256, "crop": 224, "interpolation": "bilinear", **colours}
    assert whole == {"mode": "whole", "longer_side": 640, "interpolation": "bilinear", **colours}


@pytest.mark.parametrize("size", [0, -3])
def test_no_size_is_refused(size: int) -> None:
    with pytest.raises(BackboneError, match=f"{size} pixels: choose"):
        IMAGENET.whole(size)
    with pytest.raises(BackboneError, match="pixels: choose"):
        IMAGENET.at(size)


def photograph(height: int, width: int) -> Image.Image:
    """Something with edges, areas and grain in it, as a camera would see it."""
    rng = np.random.default_rng(height + width)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((width, height), 3)
    grain = rng.normal(0, 2, (height, width, 1))
    return Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("shape", [(1504, 2000), (2000, 1501), (1800, 1800), (1025, 1026)])
@pytest.mark.parametrize("wanted", [IMAGENET, IMAGENET.at(448), IMAGENET.whole(333), IMAGENET.whole(1200)])
def test_a_large_jpeg_is_decoded_no_larger_than_is_needed_and_looks_the_same(
    shape: tuple[int, int], orientation: int, wanted: Preprocessing, tmp_path: Any
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "photo.jpg"
    photograph(*shape).save(path, quality=92, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(path))
    picture = read_picture(path)
    assert picture.size == (upright.height, upright.width)
    made = preprocess(picture, wanted)
    whole = preprocess(read_picture(upright), wanted)
    assert made.geometry == whole.geometry
    difference = np.abs(made.pixels().astype(int) - whole.pixels())
    assert difference.mean() < 0.3
    assert difference.max() <= 6
    assert min(picture.at_least(300).shape[:2]) <= min(shape)
    assert np.array_equal(picture.pixels, np.asarray(upright))


def test_a_large_jpeg_whose_file_is_gone_is_still_there_in_full(tmp_path: Any) -> None:
    path = tmp_path / "photo.jpg"
    photograph(1200, 1600).save(path)
    picture, expected = read_picture(path), np.asarray(Image.open(path))
    assert picture.at_least(256).shape == (600, 800, 3)
    path.unlink()
    assert np.array_equal(picture.pixels, expected)
    assert picture.pixels is picture.at_least(1200)
    assert not picture.pixels.flags.writeable


def test_the_input_does_not_depend_on_whether_a_jpeg_is_decoded_whole(tmp_path: Any) -> None:
    path = tmp_path / "photo.jpg"
    photograph(1200, 1600).save(path)
    picture = read_picture(path)
    before = preprocess(picture, IMAGENET)
    assert not picture.is_decoded
    assert picture.pixels.shape == (1200, 1600, 3)
    assert picture.is_decoded
    assert torch.equal(before.tensor, preprocess(picture, IMAGENET).tensor)
