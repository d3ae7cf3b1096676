"""A pyramid that is trained on drawn shapes: scenes, targets, losses, figures, the loop, and the file that comes of it."""

from __future__ import annotations

import json
import math
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fmviz import Session, train_command
from fmviz.arrays import write_safetensors
from fmviz.cli import main
from fmviz.errors import BackboneError, Cancelled, WeightsError
from fmviz.geometry import Box
from fmviz.networks import pyramids
from fmviz.networks.catalog import backbone
from fmviz.networks.checkpoints import read_tensors
from fmviz.networks.network import StagedNetwork
from fmviz.networks.weights import best_here, load
from fmviz.training import body, losses, measure
from fmviz.training import train as train_module
from fmviz.training.body import Body
from fmviz.training.detect import detect, intersection_over_union, suppressed, voted, weighed
from fmviz.training.features import Cache, Statistics, statistics_of
from fmviz.training.learner import Batch, Learner, Recipe, batch_of
from fmviz.training.photographs import Answer, Boxed, figures_of, zoomed
from fmviz.training.scenes import KINDS, LARGEST, MOST, SIZE, SMALLEST, draw_scene
from fmviz.training.targets import BACKGROUND, IGNORED, Things, level_of, targets, things
from fmviz.training.train import PARTIAL, Plan, Progress, rate_at, train

TINY = Plan(scenes=10, steps=8)
SMALL = Recipe(batch=4, warm_up=4)


def of(*boxes: tuple[float, float, float, float]) -> Things:
    """One picture with these things on it, of the kinds 0, 1, …"""
    return things([torch.tensor(boxes, dtype=torch.float32)], [torch.arange(len(boxes))])


# Scenes


def test_the_same_seed_and_number_give_the_same_scene():
    one, again, other, another = draw_scene(7, 3), draw_scene(7, 3), draw_scene(7, 4), draw_scene(8, 3)
    assert np.array_equal(one.pixels, again.pixels)
    assert np.array_equal(one.boxes, again.boxes)
    assert not np.array_equal(one.pixels, other.pixels)
    assert not np.array_equal(one.pixels, another.pixels)


def test_boxes_lie_on_the_scene_and_are_as_large_as_things_are():
    for number in range(25):
        scene = draw_scene(1, number)
        assert scene.pixels.shape == (SIZE, SIZE, 3)
        assert scene.pixels.dtype == np.uint8
        assert len(scene.boxes) == len(scene.kinds) >= 1
        assert (scene.boxes >= 0).all()
        assert (scene.boxes <= SIZE).all()
        sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
        assert (sides > 0).all()
        sizes = np.sqrt(sides.prod(axis=1))
        assert (sizes > SMALLEST - 1.5).all()
        assert (sizes < LARGEST + 1.5).all()


def test_parts_change_what_is_painted_and_are_no_things():
    pairs = [(draw_scene(3, number), draw_scene(3, number, parts=True)) for number in range(12)]
    assert any(not np.array_equal(plain.pixels, parted.pixels) for plain, parted in pairs)
    assert all(1 <= len(parted.boxes) <= MOST for _, parted in pairs)


def test_scenes_have_all_kinds_and_all_levels_of_things():
    scenes = [draw_scene(2, number) for number in range(60)]
    assert {kind for scene in scenes for kind in scene.kinds.tolist()} == set(range(len(KINDS)))
    boxes = torch.from_numpy(np.concatenate([scene.boxes for scene in scenes]))[None]
    assert set(level_of(Things(boxes, torch.zeros(boxes.shape[:2])).sizes[0]).tolist()) == {0, 1, 2, 3}


# Targets


@pytest.mark.parametrize(
    ("size", "level"), [(10, 0), (27.9, 0), (28, 1), (55, 1), (56, 2), (111, 2), (112, 3), (220, 3)]
)
def test_a_thing_belongs_to_a_level_by_its_size(size, level):
    assert int(level_of(torch.tensor(float(size)))) == level


def test_the_cells_about_a_things_middle_are_to_find_it_on_its_level_only():
    found = [
        targets(of((100, 100, 140, 140)), level, cells=(64 >> level, 64 >> level), size=(256, 256))
        for level in range(4)
    ]
    cells = (found[1].kinds[0] >= 0).nonzero().tolist()
    # The middle, 120, is the corner of four cells of 8 pixels; within 12 pixels of it lie two more on no side.
    assert cells == [[row, column] for row in (14, 15) for column in (14, 15)]
    assert found[1].distances[0, :, 14, 14].tolist() == [2.0, 2.0, 3.0, 3.0]  # of (116, 116), in cells
    for level in (0, 2, 3):
        assert not (found[level].kinds >= 0).any()
    # 40 pixels are 43 % over the limit of 28: nothing is in doubt.
    assert not any((target.kinds == IGNORED).any() for target in found)
    assert found[0].others[0].sum() == 100
    assert not found[1].others.any()
    assert found[0].empty[0].sum() == 64 * 64 - 100


def test_near_a_limit_the_neighbouring_level_is_neither_right_nor_wrong():
    near = of((100, 100, 130, 130))  # 30 pixels: P3's, but almost P2's
    p2, p3, p4 = (targets(near, level, cells=(64 >> level,) * 2, size=(256, 256)) for level in range(3))
    assert (p2.kinds == IGNORED).any()
    assert not p2.others.any()
    assert (p3.kinds == 0).any()
    assert not (p4.kinds == IGNORED).any()
    assert p4.others.any()


def test_of_things_that_share_a_cell_the_smallest_has_it():
    both = of((0, 0, 50, 50), (8, 8, 40, 40))
    wanted = targets(both, 1, cells=(32, 32), size=(256, 256))
    assert int(wanted.kinds[0, 2, 2]) == 1
    assert wanted.distances[0, :, 2, 2].tolist() == pytest.approx([1.5, 1.5, 2.5, 2.5])


def test_a_window_has_the_targets_of_its_part_of_the_map():
    on_it = of((100, 100, 120, 118), (30, 20, 200, 190))
    whole = targets(on_it, 0, cells=(64, 64), size=(256, 256))
    part = targets(on_it, 0, cells=(64, 64), size=(256, 256), corner=torch.tensor([[20, 22, 10]]))
    for name in ("kinds", "empty", "others"):
        assert torch.equal(getattr(part, name)[0], getattr(whole, name)[0, 20:30, 22:32])
    assert torch.equal(part.distances[0], whole.distances[0, :, 20:30, 22:32])


def test_what_fills_up_a_batch_is_no_thing():
    padded = things(
        [torch.tensor([[0.0, 0, 40, 40]]), torch.zeros(0, 4)], [torch.tensor([2]), torch.zeros(0, dtype=torch.int64)]
    )
    wanted = targets(padded, 1, cells=(32, 32), size=(256, 256))
    assert (wanted.kinds[1] == BACKGROUND).all()
    assert wanted.empty[1].all()


# Losses


def test_focal_loss_is_the_papers():
    logits = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)
    p = 1 / (1 + math.exp(-2.0))
    background = 0.75 * 0.25 * -math.log(0.5) + 0.75 * p**2 * -math.log(1 - p)
    kind_1 = 0.75 * 0.25 * -math.log(0.5) + 0.25 * (1 - p) ** 2 * -math.log(p)
    assert float(losses.focal_loss(logits, torch.tensor([[[BACKGROUND]]]))) == pytest.approx(background, rel=1e-5)
    assert float(losses.focal_loss(logits, torch.tensor([[[1]]]))) == pytest.approx(kind_1, rel=1e-5)
    assert float(losses.focal_loss(logits, torch.tensor([[[IGNORED]]]))) == 0
    # A cell of a window stands for several of its map where there is nothing, for itself where there is a thing.
    many = losses.focal_loss(logits, torch.tensor([[[BACKGROUND]]]), background=3.0)
    assert float(many) == pytest.approx(3 * background, rel=1e-5)
    assert float(losses.focal_loss(logits, torch.tensor([[[1]]]), background=3.0)) == pytest.approx(kind_1, rel=1e-5)


@pytest.mark.parametrize(
    ("box", "loss"),
    [
        ((1.0, 1, 1, 1), 0.0),
        ((2.0, 2, 2, 2), 0.75),  # four of sixteen are shared, and nothing lies around both
        ((1.0, 1, 3, 1), 0.5),
        ((0.5, 0.5, 2.0, 2.0), 1 - (2.25 / 8 - (9 - 8) / 9)),  # 4 and 6.25, of which 2.25 are shared, within 9
    ],
)
def test_giou_of_boxes_about_a_point(box, loss):
    assert float(losses.giou_loss(torch.tensor([box]), torch.ones(1, 4))) == pytest.approx(loss)


def test_quiet_is_a_map_that_is_loud_at_its_own_things_only():
    wanted = [targets(of((100, 100, 140, 140)), level, cells=(64 >> level,) * 2, size=(256, 256)) for level in range(4)]
    valid = [torch.ones_like(target.empty) for target in wanted]
    right = [(target.kinds >= 0).float() for target in wanted]
    assert float(losses.quiet_loss(right, wanted, valid)) == 0
    silent = [torch.zeros_like(maps) for maps in right]
    assert float(losses.quiet_loss(silent, wanted, valid)) == 1
    loud = [torch.ones_like(maps) for maps in right]
    # One on all background, and one on the other levels' thing on three levels of four.
    assert float(losses.quiet_loss(loud, wanted, valid)) == pytest.approx(1.75)


def test_the_level_loss_wants_the_right_level_to_be_the_loudest():
    thing = of((100, 100, 140, 140))  # P3's
    there = torch.ones(1, 1, 4, dtype=torch.bool)
    right = losses.level_loss(torch.tensor([[[0.0, 1, 0, 0]]]), thing, there)
    none = losses.level_loss(torch.zeros(1, 1, 4), thing, there)
    wrong = losses.level_loss(torch.tensor([[[1.0, 0, 0, 0]]]), thing, there)
    assert right < none < wrong
    assert float(none) == pytest.approx(math.log(4))
    # What is not known of a level is not held against it.
    unknown = torch.tensor([[[False, True, True, True]]])
    assert float(losses.level_loss(torch.zeros(1, 1, 4), thing, unknown)) == pytest.approx(math.log(3))
    assert float(losses.level_loss(torch.ones(1, 1, 4), thing, torch.zeros(1, 1, 4, dtype=torch.bool))) == 0


def test_on_a_limit_a_thing_is_half_of_each_level():
    assert losses.level_shares(torch.tensor(56.0)).tolist() == pytest.approx([0, 0.5, 0.5, 0])
    assert losses.level_shares(torch.tensor(20.0)).tolist() == [1, 0, 0, 0]
    assert losses.level_shares(torch.tensor(200.0)).tolist() == [0, 0, 0, 1]


def test_the_value_at_a_middle_lies_between_the_cells():
    maps = torch.arange(16.0).view(1, 4, 4)
    assert losses.at_centres(maps, of((0, 0, 16, 16), (4, 0, 12, 8)), (16, 16)).tolist() == [[7.5, 3.5]]


# Figures


def test_average_precision_of_three_answers_to_two_things():
    hits, scores = torch.tensor([True, False, True]), torch.tensor([0.9, 0.8, 0.7])
    assert measure.average_precision(hits, scores, 2) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_thing_is_found_once():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]])
    hits, found = measure.matched(boxes, torch.tensor([[0.0, 0, 10, 10], [100, 100, 120, 120]]))
    assert hits.tolist() == [True, False, False]
    assert found.tolist() == [True, False]


def test_figures_are_the_mean_of_the_bands():
    shares = measure.matrix(torch.tensor([0, 0, 0, 3]), torch.tensor([0, 0, 1, 1]))
    assert measure.balanced(shares) == pytest.approx((2 / 3 + 0) / 2)
    assert measure.mean_error(shares) == pytest.approx((1 / 3 + 2) / 2)


def test_levels_that_are_loud_at_their_own_things_answer_rightly():
    on_it = of((8, 8, 28, 28), (100, 100, 140, 140), (150, 20, 230, 100), (60, 150, 220, 250))
    levels = []
    for level in range(4):
        kinds = targets(on_it, level, cells=(64 >> level,) * 2, size=(256, 256)).kinds
        levels.append((kinds >= 0).float()[:, None].repeat(1, 3, 1, 1) + 0.5)
    measuring = measure.Measuring()
    measuring.add(levels, None, on_it, (256, 256))
    figures = measuring.figures()
    assert figures.by_rms == 1
    assert figures.error == 0
    assert figures.things == 4
    json.dumps(figures.describe())


def test_a_photograph_is_zoomed_until_the_thing_has_the_size():
    pixels = np.zeros((300, 400, 3), dtype=np.uint8)
    pixels[100:140, 200:240] = 255
    for zoom in (20, 40, 80, 160):
        part, box = zoomed(pixels, Box(200, 100, 240, 140), zoom)
        assert part.shape[0] % 32 == part.shape[1] % 32 == 0
        assert max(part.shape) <= 256
        assert (box.width * box.height) ** 0.5 == pytest.approx(zoom, rel=0.02)
        white = part[..., 0] > 127
        assert white[round(box.top) + 2 : round(box.bottom) - 2, round(box.left) + 2 : round(box.right) - 2].all()
        assert white.sum() == pytest.approx(zoom**2, rel=0.1)


def test_figures_of_photographs():
    thing = Boxed(Path("cat.png"), "eye", Box(0, 0, 1, 1))
    found = [
        Answer(thing, zoom, wanted, given) for zoom, wanted, given in ((20, 0, 0), (40, 1, 3), (80, 2, 2), (160, 3, 3))
    ]
    figures = figures_of(found)
    assert (figures.tests, figures.by_rms, figures.error) == (4, 0.75, 0.5)


# Detections


def test_of_boxes_that_say_the_same_the_best_is_kept():
    outputs = {}
    for level in range(4):
        side = 8 >> level
        outputs[f"P{level + 2}"] = torch.full((1, 64, side, side), 1.5)
        outputs[f"scores.P{level + 2}"] = torch.zeros(1, 7, side, side)
        outputs[f"boxes.P{level + 2}"] = torch.ones(1, 4, side, side)
    outputs["scores.P2"][0, 3, 2, 5] = 0.9
    outputs["boxes.P2"][0, :, 2, 5] = torch.tensor([4.0, 3, 4, 3])
    outputs["scores.P3"][0, 1, 1, 2] = 0.8
    outputs["boxes.P3"][0, :, 1, 2] = torch.tensor([2.0, 5, 6, 1])  # about (20, 12): the same box
    found = detect(outputs, (32, 32))
    assert [(one.level, one.kind) for one in found] == [("P2", 3)]
    box = found[0].box
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((18, 7, 26, 13))
    assert found[0].score == pytest.approx(0.9)
    assert len(detect(outputs, (32, 32), overlap=1.0)) == 2
    assert detect({"logits": torch.zeros(1, 3)}, (32, 32)) == ()


def test_a_quiet_level_is_believed_less_and_a_box_in_a_better_one_above_it_a_little_less():
    scores = torch.full((1, 7, 2, 2), 0.8)
    assert torch.allclose(weighed(scores, torch.full((1, 64, 2, 2), 3.0)), scores)
    quiet = weighed(scores, torch.full((1, 64, 2, 2), 0.375))
    assert torch.allclose(quiet, scores / 2, rtol=1e-4)
    boxes = torch.tensor([[0.0, 0, 40, 40], [10, 10, 20, 20], [50, 50, 60, 60], [0, 0, 39, 40]])
    of = torch.tensor([0.9, 0.8, 0.7, 0.6])
    kept, believed = suppressed(boxes, of, torch.tensor([2, 0, 0, 2]), threshold=0.1)
    assert (kept, believed.tolist()) == ([0, 1, 2], pytest.approx([0.9, 0.72, 0.7]))
    # A large thing does not lie in a small one, and what is found at the same level is no part.
    kept, believed = suppressed(boxes, of, torch.tensor([2, 2, 0, 2]), threshold=0.1)
    assert believed.tolist() == pytest.approx([0.9, 0.8, 0.7])


def test_boxes_that_agree_say_together_where_a_thing_ends():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60], [5, 5, 5, 5]])
    found = voted(boxes, torch.tensor([0.8, 0.5, 0.9, 0.7]), [0, 2, 3])
    share = 0.5 * 0.8
    assert found[0].tolist() == pytest.approx([0, 0, 10, (0.8 * 10 + share * 8) / (0.8 + share)])
    assert found[1:].tolist() == [[50, 50, 60, 60], [5, 5, 5, 5]]


def test_intersection_over_union():
    one = torch.tensor([[0.0, 0, 2, 2]])
    other = torch.tensor([[1.0, 0, 3, 2], [5, 5, 6, 6], [0, 0, 2, 2]])
    assert intersection_over_union(one, other)[0].tolist() == pytest.approx([1 / 3, 0, 1])


# Features


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "vgg11_bn", "inception_v2"])
def test_a_body_made_quick_gives_the_networks_stages(name):
    row = backbone(name)
    network, _ = load(row, "random")
    assert isinstance(network, StagedNetwork)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: not what it is at first
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.8, 1.2)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (row.preprocessing.mean, row.preprocessing.std))
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        wanted = list(network.stages(x).values())
    stages = Body(network, row.preprocessing, torch.device("cpu")).stages(pixels)
    for stage, right in zip(stages, wanted, strict=True):
        torch.testing.assert_close(stage, right, rtol=1e-3, atol=1e-3 * float(right.abs().max()))


def test_what_is_learned_from_standardised_stages_is_folded_into_a_plain_pyramid():
    torch.manual_seed(0)
    stages = [torch.randn(2, channels, 16 >> level, 16 >> level) * 3 + 5 for level, channels in enumerate((4, 5, 6, 7))]
    statistics = statistics_of(iter([stages]))
    learner = Learner((4, 5, 6, 7))
    wanted = learner.levels(statistics.standardised(stages))
    assert float(statistics.standardised(stages)[0].mean()) == pytest.approx(0, abs=1e-4)
    learner.fpn.load_state_dict(statistics.folded(learner.fpn.state_dict()))
    for level, right in zip(learner.levels(stages), wanted, strict=True):
        torch.testing.assert_close(level, right, rtol=1e-4, atol=1e-4)


def test_windows_of_p2_are_what_the_whole_map_has_there():
    torch.manual_seed(0)
    channels = (4, 5, 6, 7)
    stages = [torch.randn(2, count, 64 >> level, 64 >> level) for level, count in enumerate(channels)]
    statistics = Statistics([torch.zeros(count) for count in channels], [torch.ones(count) for count in channels])
    with Cache(statistics) as cache:
        cache.add([draw_scene(0, 0), draw_scene(0, 1)], stages)
        cache.close_for_writing()
        batch = batch_of(cache, np.random.default_rng(1), [1, 0], torch.device("cpu"))
        learner = Learner(channels)
        with torch.no_grad():
            whole = learner.levels([cache.stage(level, [1, 0]).float() for level in range(4)])
            parts = learner.windowed(batch)
    assert isinstance(batch, Batch)
    for level in (1, 2, 3):
        torch.testing.assert_close(parts[level], whole[level])
    side = parts[0].shape[-1]
    for index, (top, left) in enumerate(batch.corners.tolist()):
        there = whole[0][index, :, top : top + side, left : left + side]
        torch.testing.assert_close(parts[0][index, :, 1:-1, 1:-1], there[:, 1:-1, 1:-1])


# The loop


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Where the user's pyramids are kept, and a folder for what is temporary, both empty."""
    monkeypatch.setenv("FMVIZ_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


def left_behind(home: Path) -> list[str]:
    """What is in the folder for what is temporary; torch's own there is its affair."""
    return [path.name for path in (home / "temporary").iterdir() if not path.name.startswith("torchinductor")]


def test_a_little_training_lowers_the_loss_and_makes_a_file_that_opens(home):
    seen: list[Progress] = []
    snapshots = []
    output = home / "pyramid.safetensors"
    path, figures = train(
        "efficientnet_lite0",
        output,
        plan=TINY,
        recipe=SMALL,
        progress=seen.append,
        snapshot=snapshots.append,
        every_seconds=0,
    )
    learning = [one for one in seen if one.phase == "learning"]
    assert learning[-1].step == learning[-1].steps == 8
    assert learning[-1].loss < learning[0].loss
    assert learning[-1].figures is not None
    assert [one.phase for one in seen if one.phase != "learning"] == ["drawing"] * 2 + ["measuring"] * 2
    assert all(one.seconds_left >= 0 for one in seen)
    assert left_behind(home) == []
    assert not output.with_name(output.name + PARTIAL).exists()

    tensors = load_file(path)
    assert {key.partition(".")[0] for key in tensors} == {"fpn", "head"}
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
    assert sum(tensor.numel() for key, tensor in tensors.items() if key.startswith("fpn.")) == 179_712
    assert sum(tensor.numel() for key, tensor in tensors.items() if key.startswith("head.")) == 43_275
    assert path.stat().st_size < 1_000_000
    assert snapshots[-1].keys() == tensors.keys()

    facts = pyramids.facts_of(path)
    assert facts["sha256"] == pyramids.checksum(tensors)
    assert facts["body"]["weights"] == "imagenet"
    assert facts["figures"] == figures.describe()
    assert facts["recipe"]["steps"] == 8
    assert {"seed", "date", "licence", "trained_on"} <= facts.keys()
    assert pyramids.backbone_of(path) == "efficientnet_lite0_fpn"

    session = Session("efficientnet_lite0_fpn", weights=path)
    assert session.weights.trained_on == "drawn shapes"
    assert session.weights.untrained == ()
    assert session.weights.notes == ("The pyramid is trained on drawn shapes, not on COCO.",)
    capture = session.run(draw_scene(5, 5).pixels)
    assert [tuple(capture.taps[f"P{level}"].tensor.shape) for level in range(2, 6)] == [
        (1, 64, side, side) for side in (56, 28, 14, 7)
    ]
    assert capture.output["scores.P2"].shape == (1, 7, 56, 56)
    assert "head.relu:4" in {str(layer) for layer in capture}
    detect(capture.output, (224, 224), threshold=0.0)


def test_cancelled_and_resumed_it_comes_to_the_same(home):
    whole, figures = train("efficientnet_lite0", home / "whole.safetensors", plan=TINY, recipe=SMALL)
    steps = 0

    def count(progress: Progress) -> None:
        nonlocal steps
        steps = progress.step if progress.phase == "learning" else 0

    output = home / "halves.safetensors"
    with pytest.raises(Cancelled):
        train("efficientnet_lite0", output, plan=TINY, recipe=SMALL, progress=count, cancelled=lambda: steps == 3)
    assert output.with_name(output.name + PARTIAL).is_file()
    assert not output.exists()
    assert left_behind(home) == []
    other = home / "body.safetensors"
    _save_random_body("resnet18", other)
    with pytest.raises(WeightsError, match="another backbone or of other weights"):
        train("resnet18", output, weights=other, resume=True)
    halves, figures_of_halves = train("efficientnet_lite0", output, resume=True)
    assert pyramids.facts_of(halves)["sha256"] == pyramids.facts_of(whole)["sha256"]
    assert figures_of_halves == figures
    assert not output.with_name(output.name + PARTIAL).exists()


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True, "amx_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_the_precision_is_decided_by_the_processor(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert body.precision_for(torch.device("cpu")) == precision


def test_without_knowledge_of_the_processor_the_precision_is_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert body.precision_for(torch.device("cpu")) == torch.float32


def test_resumed_it_keeps_the_precision_that_it_began_with(home, monkeypatch):
    """A partial file may be resumed on a machine whose processor would be given another precision."""
    output, plan = home / "resumed.safetensors", Plan(scenes=8, steps=2)
    monkeypatch.setattr(train_module, "precision_for", {torch.device("cpu"): torch.bfloat16}.get)
    whole, _ = train("efficientnet_lite0", home / "whole.safetensors", plan=plan, recipe=SMALL, device="cpu")
    seen: list[str] = []
    with pytest.raises(Cancelled):
        train(
            "efficientnet_lite0",
            output,
            plan=plan,
            recipe=SMALL,
            device="cpu",
            progress=lambda progress: seen.append(progress.phase),
            cancelled=lambda: "learning" in seen,
        )
    monkeypatch.setattr(train_module, "precision_for", {torch.device("cpu"): torch.float32}.get)
    resumed, _ = train("efficientnet_lite0", output, resume=True, device="cpu")
    assert pyramids.facts_of(resumed)["precision"] == pyramids.facts_of(whole)["precision"] == "bfloat16"
    assert pyramids.facts_of(resumed)["sha256"] == pyramids.facts_of(whole)["sha256"]


def test_a_partial_file_of_an_unknown_precision_is_refused(home):
    partial = home / f"one.safetensors{PARTIAL}"
    body_weights = body.body_of("efficientnet_lite0", None, "cpu")[1]
    facts = {
        "backbone": body_weights.backbone,
        "sha256": body_weights.sha256,
        "seed": 0,
        "scenes": 8,
        "step": 1,
        "steps": 2,
    }
    for precision in ("float3", ["float32"], None):
        one = {"average.head": np.ones(1, dtype=np.float32)}
        write_safetensors(partial, one, {**facts, "recipe": SMALL.describe(), "precision": precision})
        with pytest.raises(WeightsError, match="is broken: begin anew"):
            train("efficientnet_lite0", home / "one.safetensors", resume=True)


def test_a_training_by_time_is_made_again_by_its_numbers_of_scenes_and_steps(home, monkeypatch):
    """Fewer scenes than those that are drawn for the statistics, before their number is known."""
    monkeypatch.setattr(train_module, "SCENES_FOR_STATISTICS", 16)
    monkeypatch.setattr(train_module, "FEWEST_SCENES", 8)
    timed, _ = train("efficientnet_lite0", home / "timed.safetensors", plan=Plan(minutes=0.001), recipe=SMALL)
    recipe = pyramids.facts_of(timed)["recipe"]
    assert recipe["scenes"] == 8
    plan = Plan(scenes=recipe["scenes"], steps=recipe["steps"])
    again, _ = train("efficientnet_lite0", home / "again.safetensors", plan=plan, recipe=SMALL)
    assert pyramids.facts_of(again)["sha256"] == pyramids.facts_of(timed)["sha256"]


def test_cancelled_while_scenes_are_drawn_it_leaves_nothing(home):
    output = home / "none.safetensors"
    with pytest.raises(Cancelled):
        train("efficientnet_lite0", output, plan=TINY, recipe=SMALL, cancelled=lambda: True)
    assert sorted(path.name for path in home.iterdir()) == ["temporary"]
    assert left_behind(home) == []


def test_in_little_time_a_little_is_learned(home):
    path, _ = train("efficientnet_lite0", home / "quick.safetensors", plan=Plan(minutes=0.1, scenes=8), recipe=SMALL)
    recipe = pyramids.facts_of(path)["recipe"]
    assert recipe["scenes"] == 8
    assert 1 <= recipe["steps"] < 100


def test_the_rate_rises_and_falls_and_does_not_depend_on_the_steps_while_it_rises():
    recipe = Recipe(rate=1.0, warm_up=10)
    assert (
        [rate_at(step, 0, recipe) for step in (0, 4, 9)]
        == [rate_at(step, 100, recipe) for step in (0, 4, 9)]
        == [0.1, 0.5, 1]
    )
    assert rate_at(55, 100, recipe) < rate_at(20, 100, recipe)
    assert rate_at(100, 100, recipe) == pytest.approx(0)


# Other backbones, and what is refused


def _save_random_body(name: str, path: Path, *, seed: int = 0) -> None:
    save_file(load(backbone(name), "random", seed=seed)[0].state_dict(), path)


def test_a_pyramid_over_weights_from_a_file_is_on_offer_and_knows_its_body_again(home, capsys):
    mine = home / "mine.safetensors"
    _save_random_body("resnet18", mine)
    assert backbone("resnet18_fpn").offer("shapes") is None
    assert main(["train-pyramid", "resnet18", "--weights", str(mine), "--scenes", "8", "--steps", "2"]) == 0
    assert str(home) in capsys.readouterr().out
    assert best_here(backbone("resnet18_fpn")) == "shapes"
    network, weights = load(backbone("resnet18_fpn"), "shapes")
    assert weights.untrained == ()
    assert weights.trained_on == "drawn shapes"
    assert network.fpn.inner_blocks[3][0].weight.shape == (64, 512, 1, 1)
    right = load(backbone("resnet18"), mine)[0].state_dict()
    assert torch.equal(network.state_dict()["body.layer1.0.conv1.weight"], right["layer1.0.conv1.weight"])

    _save_random_body("resnet18", mine, seed=1)
    with pytest.raises(WeightsError, match=r"a pyramid over the weights mine\.safetensors of resnet18 .* put it at"):
        load(backbone("resnet18_fpn"), "shapes")
    with pytest.raises(WeightsError, match="it is a pyramid for resnet18_fpn"):
        load(backbone("resnet34_fpn"), pyramids.place_for("resnet18"))


def test_a_pyramid_that_was_changed_is_refused(home, tmp_path):
    path = tmp_path / "changed.safetensors"
    tensors = {key: torch.ones(2) for key in ("fpn.a", "head.b")}
    source = pyramids.BodyWeights("resnet18", "IMAGENET1K_V1", "00")
    pyramids.write(path, tensors, {"body": source.describe()})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="broken or was changed"):
        load(backbone("resnet18_fpn"), path)


def test_a_file_whose_first_byte_is_a_pickles_opens(tmp_path):
    path = tmp_path / "first.safetensors"
    tensors, facts = {"fc.weight": torch.ones(3, 2)}, {"words": ""}
    while not path.exists() or path.read_bytes()[0] != 0x80:
        facts["words"] += "        "
        write_safetensors(path, {key: tensor.numpy() for key, tensor in tensors.items()}, facts)
    assert torch.equal(read_tensors(path)["fc.weight"], tensors["fc.weight"])


@pytest.mark.parametrize("name", ["article/resnet50", "torchvision/alexnet"])
def test_networks_without_stages_of_ours_are_refused(home, name):
    with pytest.raises(BackboneError, match="cannot be trained"):
        train(name, home / "none.safetensors")


def test_without_trained_weights_there_is_nothing_to_train_over(home):
    with pytest.raises(WeightsError, match="has no trained weights here"):
        train("inception_v1_fpn", home / "none.safetensors")


def test_the_body_of_a_detector_is_refused_for_its_other_batch_norm(home, monkeypatch):
    def frozen_otherwise(row, weights):
        network, loaded = load(row, "random")
        network.bn1.eps = 0.0
        return network, loaded

    monkeypatch.setattr(body, "load", frozen_otherwise)
    with pytest.raises(WeightsError, match="is a detector's"):
        train("resnet18", home / "none.safetensors", weights="detector.pth")


# The command


def test_ctrl_c_lets_the_step_end_and_says_how_to_go_on(home, monkeypatch, capsys):
    def interrupted(backbone, output, *, cancelled, **options):
        assert not cancelled()
        signal.raise_signal(signal.SIGINT)
        assert cancelled()
        output.with_name(output.name + PARTIAL).touch()
        raise Cancelled

    monkeypatch.setattr("fmviz.training.train.train", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert main(["train-pyramid", "resnet18", "-o", str(home / "one.safetensors")]) == 1
    assert "one.safetensors.partial keeps what was learned; --resume goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("option", [("--minutes", "0"), ("--minutes", "soon"), ("--steps", "-1"), ("--scenes", "1.5")])
def test_numbers_that_are_none_are_wrong_usage(option, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train-pyramid", "resnet18", *option])
    assert stopped.value.code == 2
    assert repr(option[1]) in capsys.readouterr().err


def test_progress_in_words():
    figures = measure.Figures(9, 0.921, (0.9, 0.8, 0.7, 0.6), 0.82, 0.87, 0.2, (), ())
    assert train_command._words(Progress("learning", 5, 9, 200.0, 1.5, {}, figures)) == (
        "3 min 20 s left, loss 1.500, AP50 0.921, level by RMS 0.820, by objectness 0.870, recall of the smallest 0.900"
    )
    assert train_command._words(Progress("drawing", 1, 9, 7.4)) == "7 s left"
