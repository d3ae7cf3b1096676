"""The loop: scenes are drawn, the frozen body runs once over each, and the pyramid learns from what it made of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

import fmviz
from fmviz.arrays import write_safetensors
from fmviz.errors import Cancelled, WeightsError
from fmviz.networks import pyramids
from fmviz.networks.checkpoints import read_tensors
from fmviz.networks.pyramids import BodyWeights
from fmviz.training.body import PRECISIONS, STAGES, Body, body_of, precision_for
from fmviz.training.features import Cache, Statistics, room_for, stages_of, statistics_of
from fmviz.training.learner import Learner, Recipe, average_into, batch_of
from fmviz.training.measure import Figures, Measuring
from fmviz.training.scenes import SIZE, Scene
from fmviz.training.targets import Things, things

PARTIAL = ".partial"
"""What the name of the file ends in that keeps what was learned so far; it is gone when all is done."""

MOST_SCENES = 12_000
FEWEST_SCENES = 64

FOR_SCENES = 0.3
"""The share of the time in which scenes are drawn and run."""

SCENES_FOR_STATISTICS = 128
SCENES_TO_WATCH = 48
"""On which is measured while it learns."""

FOR_WATCHING = 0.05
"""The share of the time in which that is done."""

SCENES_TO_MEASURE = 400
"""On which is measured when all is learned."""

FOR_MEASURING = 0.08
"""The share of the time that this may take."""

TO_TIME = 0.1
"""The share of the time after which it is known how many steps there is time for; earlier where the rate stops rising.

Until then the rate is the same however many there will be.
"""

BETWEEN_SAVES = 60.0
"""Seconds."""

LEARNING, WATCHING, MEASURING = 0, 1, 2
"""What is added to the seed's place in the stream of scenes: scenes to learn from, to watch, and to measure on are others."""

Phase = Literal["drawing", "learning", "measuring"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is.

    Attributes:
        phase: "drawing" scenes and running the body over them, "learning", or "measuring" what came of it.
        step, steps: of this phase.
        seconds_left: of all phases, about.
        loss: the running mean of the last steps'; None before there is one.
        parts: of the loss, by name.
        figures: the latest, on a few scenes that are not learned from; None before there are some.
    """

    phase: Phase
    step: int
    steps: int
    seconds_left: float
    loss: float | None = None
    parts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    figures: Figures | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is learned from how much.

    Attributes:
        minutes: that all may take; scenes and steps are as many as there is time for.
        scenes, steps: as many as that instead, whatever time it takes.
    """

    minutes: float = 12.0
    scenes: int | None = None
    steps: int | None = None


@dataclass(slots=True)
class State:
    """All that it takes to go on.

    Attributes:
        learner: as of the latest step.
        average: the running average of its state, which is what is kept in the end.
        optimiser: of the learner's parameters.
        step: how many were made.
        steps: how many there are to be; 0 while that is not known.
        loss, parts: running means.
    """

    learner: Learner
    average: dict[str, Tensor]
    optimiser: torch.optim.AdamW
    step: int = 0
    steps: int = 0
    loss: float | None = None
    parts: dict[str, float] = dataclasses.field(default_factory=dict)


def train(
    backbone: str,
    output: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
    plan: Plan | None = None,
    recipe: Recipe | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: Callable[[Progress], None] = lambda progress: None,
    cancelled: Callable[[], bool] = lambda: False,
    snapshot: Callable[[dict[str, Tensor]], None] | None = None,
    every_seconds: float = 5.0,
) -> tuple[Path, Figures]:
    """Train a pyramid for a backbone and write it to `output`, with all that it takes to make it again.

    The same seed, recipe and numbers of scenes and steps give the same values bit for bit, also if it was cancelled and
    resumed, and whatever else the machine does. This holds on the same kind of CPU, with the same version of torch and the
    same number of threads: others may add in another order. A GPU adds gradients in no fixed order, so that values differ a
    little from one training to the next. Without `plan.scenes` and `plan.steps` their numbers depend on how quick the machine
    is. The file states both numbers; a plan that names them makes it again.

    Args:
        backbone: one of ours, with or without “_fpn” at its end.
        output: a `.safetensors` file. Beside it, while it is learned, `output.partial`.
        weights: the body's: a name on offer, or a file; the best that are here where None.
        seed: of the scenes, of the first values, and of the order.
        resume: from `output.partial`. Plan, recipe, seed and precision are then those that it began with.
        device: as `Session` takes it.
        progress: called often, from this thread.
        cancelled: asked often. What was learned so far is kept in `output.partial`.
        snapshot: called every `every_seconds` seconds while it learns with what the file would hold: keys "fpn.…" and
            "head.…", float32 on the CPU.
        every_seconds: also how often it is measured, as far as that takes no great share of the time.

    Returns:
        The file, and its figures on scenes that it never learned from.

    Raises:
        BackboneError, WeightsError, DeviceError: before anything begins; ExportError: a disk is full. Cancelled.
    """
    begun = time.monotonic()
    output = Path(output)
    partial = output.with_name(output.name + PARTIAL)
    plan, recipe = plan or Plan(), recipe or Recipe()
    body, source = body_of(backbone, weights, device)
    body.precision = precision_for(body.device)
    saved = _read_partial(partial, source) if resume else None
    if saved is not None:
        facts = saved[1]
        seed, recipe = facts["seed"], Recipe(**facts["recipe"])
        # Files of older versions do not name it.
        body.precision = PRECISIONS[facts["precision"]] if "precision" in facts else body.precision
        plan = dataclasses.replace(plan, scenes=facts["scenes"], steps=facts["steps"] or plan.steps)
    run = _Run(body, source, seed, plan, recipe, progress, cancelled, begun)
    with contextlib.ExitStack() as stack:
        statistics = run.statistics()
        cache = stack.enter_context(Cache(statistics))
        run.fill(cache)
        state = run.beginning(saved[0] if saved else None)
        try:
            run.learn(cache, state, partial, snapshot, every_seconds)
            figures = run.measure(statistics, state)
        except BaseException:
            if state.step:
                run.save(state, partial, len(cache))
            raise
        tensors = _tensors(state.average, statistics)
        facts = run.facts(state, len(cache), figures)
    path = pyramids.write(output, tensors, facts)
    partial.unlink(missing_ok=True)
    return path, figures


class _Run:
    """What stays the same from the first scene to the last figure."""

    def __init__(
        self,
        body: Body,
        source: BodyWeights,
        seed: int,
        plan: Plan,
        recipe: Recipe,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        begun: float,
    ) -> None:
        self.body, self.source, self.seed = body, source, seed
        self.plan, self.recipe = plan, recipe
        self.progress, self.cancelled = progress, cancelled
        self.begun = begun
        self.scenes_a_second = 0.0
        self.scenes = 0
        self.watched: list[tuple[list[Tensor], Things]] = []
        self.latest: Figures | None = None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.begun

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.plan.minutes * 60 - self.seconds)

    def stages(self, count: int, purpose: int) -> Iterator[tuple[list[Scene], list[Tensor]]]:
        """Scenes for that purpose, and what the body makes of them."""
        seed, parts = 3 * self.seed + purpose, purpose == LEARNING
        return stages_of(self.body, range(count), seed, cancelled=self.cancelled, parts=parts)

    def statistics(self) -> Statistics:
        """Return those of the first scenes to learn from; measure how quick the body is, and set the number of scenes."""
        started = time.monotonic()
        count = min(SCENES_FOR_STATISTICS, self.plan.scenes or MOST_SCENES)
        found = self._statistics_of(count)
        self.scenes_a_second = count / (time.monotonic() - started)
        self.scenes = self.plan.scenes or self._scenes_in_time()
        # They depend on the number of scenes and not on how that was found, so that whoever names that number gets the same.
        return found if count <= self.scenes else self._statistics_of(self.scenes)

    def _statistics_of(self, count: int) -> Statistics:
        return statistics_of(stages for _, stages in self.stages(count, LEARNING))

    def _scenes_in_time(self) -> int:
        """Return how many scenes there is time and room for."""
        in_time = int(self.scenes_a_second * self.plan.minutes * 60 * FOR_SCENES)
        return max(FEWEST_SCENES, min(MOST_SCENES, in_time, room_for(self.body.channels)))

    def fill(self, cache: Cache) -> None:
        """Draw the scenes to learn from, and a few to watch."""
        for scenes, stages in self.stages(self.scenes, LEARNING):
            cache.add(scenes, stages)
            left = (self.scenes - len(cache)) / self.scenes_a_second
            self.progress(Progress("drawing", len(cache), self.scenes, max(self.seconds_left, left)))
        cache.close_for_writing()
        for scenes, stages in self.stages(min(SCENES_TO_WATCH, self.scenes), WATCHING):
            kept = [stage.half() for stage in cache.statistics.standardised(stages)]
            self.watched.append((kept, _things(scenes, self.body.device)))

    def beginning(self, saved: Mapping[str, Tensor] | None) -> State:
        """From the seed, or from what was saved."""
        with torch.random.fork_rng(devices=()), torch.device("cpu"):
            torch.default_generator.manual_seed(self.seed)
            learner = Learner(self.body.channels)
        learner.to(self.body.device)
        optimiser = torch.optim.AdamW(
            learner.parameters(), lr=self.recipe.rate, betas=(0.9, 0.99), weight_decay=self.recipe.decay
        )
        average = {key: tensor.detach().clone() for key, tensor in learner.state_dict().items()}
        state = State(learner, average, optimiser, steps=self.plan.steps or 0)
        if saved is not None:
            _restore(state, saved)
        return state

    def learn(
        self,
        cache: Cache,
        state: State,
        partial: Path,
        snapshot: Callable[[dict[str, Tensor]], None] | None,
        every_seconds: float,
    ) -> None:
        """Steps until there were as many as there are to be."""
        started = shown = watched = saved = time.monotonic()
        first, pause = state.step, every_seconds
        to_measure = 1.2 * self._measured_on() / self.scenes_a_second
        while not state.steps or state.step < state.steps:
            if self.cancelled():
                raise Cancelled("Cancelled: what was learned so far is kept, and can be gone on with.")
            self._step(cache, state)
            now = time.monotonic()
            a_step = (now - started) / (state.step - first)
            timed = state.step >= self.recipe.warm_up or now - started > TO_TIME * self.plan.minutes * 60
            if not state.steps and timed:
                state.steps = state.step + max(1, int((self.seconds_left - to_measure) / a_step))
            left = (state.steps - state.step) * a_step if state.steps else self.seconds_left
            if snapshot is not None and now - shown > every_seconds:
                snapshot(_tensors(state.average, cache.statistics))
                shown = now
            if now - watched > pause:
                self.latest = self._watch(state)
                watched = time.monotonic()
                pause = max(every_seconds, (watched - now) / FOR_WATCHING)
            if now - saved > BETWEEN_SAVES:
                self.save(state, partial, len(cache))
                saved = now
            self.progress(
                Progress("learning", state.step, state.steps, left, state.loss, dict(state.parts), self.latest)
            )

    def _step(self, cache: Cache, state: State) -> None:
        """One batch; which scenes and which windows depends on the seed and the step's number only."""
        recipe = self.recipe
        random = np.random.default_rng((self.seed, state.step))
        numbers = random.choice(len(cache), min(recipe.batch, len(cache)), replace=False)
        batch = batch_of(cache, random, numbers.tolist(), self.body.device)
        for group in state.optimiser.param_groups:
            group["lr"] = rate_at(state.step, state.steps, recipe)
        state.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.body.device.type, self.body.precision, enabled=self.body.precision != torch.float32):
            loss, parts = state.learner.loss(batch, recipe)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(state.learner.parameters(), recipe.clip)
        state.optimiser.step()
        state.step += 1
        # The first values are forgotten soon: an average over more steps than there were would keep them.
        keep = min(recipe.averaging, (1 + state.step) / (10 + state.step))
        average_into(state.average, state.learner.state_dict(), keep=keep)
        state.loss = _running(state.loss, float(loss.detach()))
        state.parts = {name: _running(state.parts.get(name), value) for name, value in parts.items()}

    def _watch(self, state: State) -> Figures:
        """On a few scenes, always the same."""
        learner = self._averaged(state)
        measuring = Measuring()
        for stages, present in self.watched:
            measuring.add(_levels(learner, stages), learner.head, present, (SIZE, SIZE))
        return measuring.figures()

    def measure(self, statistics: Statistics, state: State) -> Figures:
        """On scenes that were never drawn before."""
        learner = self._averaged(state)
        measuring = Measuring()
        done, count = 0, self._measured_on()
        for scenes, stages in self.stages(count, MEASURING):
            levels = _levels(learner, statistics.standardised(stages))
            measuring.add(levels, learner.head, _things(scenes, self.body.device), (SIZE, SIZE))
            done += len(scenes)
            left = (count - done) / self.scenes_a_second
            self.progress(Progress("measuring", done, count, left, state.loss, dict(state.parts), self.latest))
        return measuring.figures()

    def _measured_on(self) -> int:
        """How many scenes to measure on: no more than were learned from, and as there is time, if that is what limits it."""
        if self.plan.scenes and self.plan.steps:
            return min(SCENES_TO_MEASURE, self.plan.scenes)
        in_time = int(self.scenes_a_second * self.plan.minutes * 60 * FOR_MEASURING)
        return min(SCENES_TO_MEASURE, max(8, in_time), self.plan.scenes or SCENES_TO_MEASURE)

    def _averaged(self, state: State) -> Learner:
        learner = Learner(self.body.channels).to(self.body.device)
        learner.load_state_dict(state.average)
        return learner

    def save(self, state: State, partial: Path, scenes: int) -> None:
        """All that it takes to go on."""
        tensors = {f"learner.{key}": tensor for key, tensor in state.learner.state_dict().items()}
        tensors |= {f"average.{key}": tensor for key, tensor in state.average.items()}
        for name, parameter in state.learner.named_parameters():
            for key, value in state.optimiser.state[parameter].items():
                tensors[f"optimiser.{key}.{name}"] = value
        facts = {
            "backbone": self.source.backbone,
            "sha256": self.source.sha256,
            "seed": self.seed,
            "scenes": scenes,
            "step": state.step,
            "steps": state.steps,
            "precision": _name_of(self.body.precision),
            "recipe": self.recipe.describe(),
        }
        write_safetensors(partial, {key: t.detach().cpu().numpy() for key, t in tensors.items()}, facts)

    def facts(self, state: State, scenes: int, figures: Figures) -> dict[str, Any]:
        """What the file says of itself."""
        return {
            "trained_on": pyramids.TRAINED_ON,
            "body": self.source.describe(),
            "seed": self.seed,
            "date": datetime.now(UTC).date().isoformat(),
            "minutes": round(self.seconds / 60, 1),
            "recipe": {"scenes": scenes, "steps": state.steps, "size": SIZE, **self.recipe.describe()},
            "precision": _name_of(self.body.precision),
            "figures": figures.describe(),
            "licence": pyramids.LICENCE,
            "fmviz": fmviz.__version__,
            "torch": str(torch.__version__),
        }


def rate_at(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate: rising at first, then falling along half a cosine; `steps` may be 0 while it is rising."""
    if step < recipe.warm_up:
        return recipe.rate * (step + 1) / recipe.warm_up
    if not steps:
        return recipe.rate
    return recipe.rate * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))


def _levels(learner: Learner, stages: list[Tensor]) -> list[Tensor]:
    with torch.no_grad():
        return learner.levels([stage.float() for stage in stages])


def _things(scenes: list[Scene], device: torch.device) -> Things:
    found = things(
        [torch.from_numpy(scene.boxes) for scene in scenes], [torch.from_numpy(scene.kinds) for scene in scenes]
    )
    return Things(found.boxes.to(device), found.kinds.to(device))


def _tensors(average: Mapping[str, Tensor], statistics: Statistics) -> dict[str, Tensor]:
    """What the file holds: the pyramid for stages as they are, and the head; float32 on the CPU."""
    pyramid = {key.removeprefix("fpn."): tensor for key, tensor in average.items() if key.startswith("fpn.")}
    head = {key: tensor.detach().cpu().clone() for key, tensor in average.items() if key.startswith("head.")}
    return {f"fpn.{key}": tensor for key, tensor in statistics.folded(pyramid).items()} | head


def _name_of(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


def _running(mean: float | None, value: float) -> float:
    return value if mean is None else 0.98 * mean + 0.02 * value


def _read_partial(partial: Path, source: BodyWeights) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the facts of what was saved.

    Raises:
        WeightsError: there is nothing saved, or it is of another body.
    """
    if not partial.is_file():
        raise WeightsError(f"There is no {partial} to go on with: leave out --resume to begin anew.")
    tensors = read_tensors(partial)
    facts = pyramids.facts_of(partial)
    try:
        if facts is None or (facts["backbone"], facts["sha256"]) != (source.backbone, source.sha256):
            raise WeightsError(
                f"{partial.name} is of another backbone or of other weights: name those, or begin anew with another file."
            )
        Recipe(**facts["recipe"])
        PRECISIONS[facts.get("precision", "float32")]
        json.dumps([int(facts[name]) for name in ("seed", "scenes", "step", "steps")])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{partial.name} is broken: begin anew with another file.") from error
    return {**tensors, "step": torch.tensor(facts["step"]), "steps": torch.tensor(facts["steps"])}, facts


def _restore(state: State, saved: Mapping[str, Tensor]) -> None:
    """`WeightsError` where it does not fit."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): tensor for key, tensor in saved.items() if key.startswith(prefix)}

    try:
        state.learner.load_state_dict(under("learner."))
        for key, tensor in under("average.").items():
            state.average[key].copy_(tensor)
        for name, parameter in state.learner.named_parameters():
            state.optimiser.state[parameter] = {
                key: saved[f"optimiser.{key}.{name}"].to("cpu" if key == "step" else parameter.device).clone()
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
    except (KeyError, RuntimeError) as error:
        raise WeightsError("What was saved does not fit this pyramid: begin anew with another file.") from error
    state.step, state.steps = int(saved["step"]), int(saved["steps"])


__all__ = ["PARTIAL", "STAGES", "Plan", "Progress", "Recipe", "train"]
