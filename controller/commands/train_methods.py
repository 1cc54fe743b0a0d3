"""What ``dpem train`` does once its options are read: evolution, PPO, or one after the other."""

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

if TYPE_CHECKING:
    from controller.parallel import Kept
    from controller.setting import Setting

__all__ = ["Asked", "train_by"]

#: Options that say where games are played, and decide nothing.
_PLAYERS = ("--engine", "--ray-address", "--processes")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options that decide what is trained on, and how long."""

    setting: Any
    own: bool
    presets: tuple[str, ...]
    generations: int
    trainings: int
    units: int
    episodes: int
    start: str
    processes: int | None
    engine: str
    ray_address: str | None
    device: str
    planned: int | None


def train_by(method: str, asked: Asked, target: Path, resume: Path | None) -> Any:
    """Do what was asked; returns the Evolved or Training, for es+ppo both by name."""
    from controller.evolution.several import file_of
    from controller.policy_file import start_weights, weights_from

    if method == "ppo":
        start = start_weights(asked.start, asked.setting.seed)
        return _learn(asked, target, start, resume, asked.episodes)
    if method == "es":
        return _evolve_all(asked, target, resume)
    warm = target.with_suffix(".warm.safetensors")
    # A kill may have come before there was anything to go on from.
    first = warm if asked.trainings == 1 else file_of(warm, asked.setting.seed)
    there = resume is not None and first.exists()
    evolved = _evolve_all(asked, warm, warm if there else None)
    before = resume if resume is not None and resume.exists() else None
    learned = _learn(asked, target, weights_from(warm), before, asked.episodes, in_all=True)
    return {"evolution": evolved, "ppo": learned}


def _evolve_all(asked: Asked, out: Path, resume: Path | None) -> Any:
    """Return the Evolved of a training, or the Averaged of several."""
    first = asked.setting.seed
    if asked.trainings == 1:
        return _evolve(asked, first, out, resume)
    from controller.evolution.several import averaged

    def train(seed: int, path: Path, again: bool) -> Any:
        return _evolve(asked, seed, path, path if again else None)

    return averaged(
        train, asked.trainings, out, seed=first, resume=resume is not None, notes=_notes()
    )


def _evolve(asked: Asked, seed: int, out: Path, resume: Path | None) -> Any:
    from controller.evolution.games import policy_units, units_of
    from controller.evolution.start import axes
    from controller.evolution.training import GAMES, Plan, evolve
    from controller.policy_file import HEURISTIC, start_weights

    units = (
        policy_units(asked.units, seed=seed, presets=asked.presets)
        if asked.presets
        else units_of(asked.setting.cell, asked.units, seed=seed)
    )
    plan = Plan(units=tuple(units), games=min(GAMES, len(units)), notes=_notes())
    what = "evolving" if asked.trainings == 1 else f"evolving, seed {seed}"
    with _progress(what, asked.generations) as advance:
        return evolve(
            plan,
            axes() if asked.start == HEURISTIC else start_weights(asked.start),
            asked.generations,
            out,
            seed=seed,
            resume=resume,
            processes=asked.processes or 1,
            workers=_workers(asked),
            progress=lambda one: advance(one.generation + 1, f"gains {one.average:+.4f}"),
        )


def _workers(asked: Asked) -> "AbstractContextManager[Kept] | None":
    """Return who plays the games of es, None for processes of this machine."""
    if asked.engine != "ray":
        return None
    from controller.arena.facts import named_files
    from controller.engines.on_ray import kept_on_ray

    players: Any = kept_on_ray(
        processes=asked.processes,
        address=asked.ray_address,
        files=() if asked.presets else named_files([asked.setting.cell]),
    )
    return cast("AbstractContextManager[Kept]", players)


def _learn(
    asked: Asked,
    out: Path,
    start: Any,
    resume: Path | None,
    episodes: int,
    *,
    in_all: bool = False,
) -> Any:
    from controller.evolution.games import course_on
    from controller.training import course_of, done_in, train

    setting: Setting = asked.setting
    course = (
        course_on(asked.presets, seed=setting.seed, seconds=setting.seconds)
        if asked.presets
        else course_of(setting)
    )
    done = 0 if resume is None else done_in(resume)
    # What is done already is read again, so that a resumed training ends with the whole story.
    left = max(0, episodes - done) if in_all else episodes
    with _progress("learning", done + left) as advance:
        advance(done, "")
        return train(
            course,
            left,
            out,
            seed=setting.seed,
            start=start,
            resume=resume,
            device=asked.device,
            federation=setting.federation,
            planned=asked.planned,
            notes=_notes(),
            progress=lambda number, one: advance(number, f"delivered {one.delivery_rate:.3f}"),
        )


def _notes() -> dict[str, Any]:
    from controller.policy_file import made_by

    # Where files lie on this machine is nobody's business, and who played decides nothing.
    words = [Path(word).name if "/" in word else word for word in _without_players(sys.argv[1:])]
    return made_by(shlex.join(["dpem", *words]))


def _without_players(words: Sequence[str]) -> list[str]:
    """Leave out the options that say where games are played.

    >>> _without_players(["train", "--engine", "ray", "--seed", "3", "--processes=2"])
    ['train', '--seed', '3']
    """
    kept, skip = [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if skip or name in _PLAYERS:
            skip = not skip and not equals
        else:
            kept.append(word)
    return kept


@contextmanager
def _progress(what: str, total: int) -> "Iterator[Callable[[int, str], None]]":
    """Show progress and the time left on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, said: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns: Sequence[Any] = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    last = "{task.description}"
    with Progress(*columns, last, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, said: bar.update(task, completed=done, description=said)
