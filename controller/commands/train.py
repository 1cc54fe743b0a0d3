"""``dpem train``: evolution and PPO in the twin, with checkpoints, resumable."""

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
import msgspec
from click.core import ParameterSource

from controller.commands.federation_options import federation_options
from controller.engines.engine import check_engine
from controller.federation import Federation
from quantum.errors import InputError
from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from controller.parallel import Kept
    from controller.setting import Setting

__all__ = ["command"]

_METHODS = ("ppo", "es", "es+ppo")
_PRESETS = "paper,metro,fast"
_PLAYERS = ("--engine", "--ray-address", "--processes")
#: Options that would reach nothing, by method.
_UNUSED = {
    "es": ("seconds", "episodes", "planned_episodes", *Federation.__struct_fields__),
    "ppo": ("generations", "units", "processes", "engine", "ray_address"),
}


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options that decide what is trained on, and how long."""

    setting: Any
    own: bool
    presets: tuple[str, ...]
    generations: int
    units: int
    episodes: int
    start: str
    processes: int | None
    engine: str
    ray_address: str | None
    device: str
    planned: int | None


@click.command("train")
@click.option("--method", type=click.Choice(_METHODS), default="ppo", show_default=True)
@click.option("--topology", metavar="NAME|FILE", help="Network (mesh).")
@click.option("--demand", metavar="NAME|FILE", help="Demand (scheduled).")
@click.option("--load", "load_hz", type=float, help="Pairs requested per second.")
@click.option(
    "--presets",
    metavar="NAMES",
    help=f"Train on cells of presets instead of one setting; es does, on {_PRESETS}, unless told.",
)
@click.option("--seconds", default=60.0, show_default=True, help="Network time of an episode.")
@click.option(
    "--episodes", default=4, show_default=True, help="Episodes of PPO now; with es+ppo in all."
)
@click.option(
    "--planned-episodes",
    type=int,
    help="Episodes that share the privacy budget: those of this call, unless given.",
)
@federation_options
@click.option("--generations", default=40, show_default=True, help="Generations of es, in all.")
@click.option("--units", default=144, show_default=True, help="Short games that es draws from.")
@click.option(
    "--start", default="heuristic", show_default=True, metavar="heuristic|shipped|ppo|FILE"
)
@click.option("--seed", default=0, show_default=True, help="Seed of the training.")
@click.option("--processes", type=int, help="Processes that play games of es (1; on Ray: all).")
@click.option(
    "--engine",
    default="processes",
    show_default=True,
    metavar="processes|ray",
    help="Who plays games of es: this machine, or a Ray cluster.",
)
@click.option("--ray-address", metavar="ADDRESS", help="Of the cluster; else RAY_ADDRESS, or none.")
@click.option("--device", default="cpu", show_default=True, help="cpu, or cuda for PPO.")
@click.option("--out", metavar="FILE", help="Policy file (policy.safetensors).")
@click.option("--resume", metavar="FILE", help="Go on with the training that wrote this policy.")
@json_option
def command(
    method: str,
    topology: str | None,
    demand: str | None,
    load_hz: float | None,
    presets: str | None,
    seconds: float,
    episodes: int,
    generations: int,
    units: int,
    start: str,
    seed: int,
    processes: int | None,
    engine: str,
    ray_address: str | None,
    device: str,
    out: str | None,
    resume: str | None,
    planned_episodes: int | None,
    json_path: str | None,
    **federation: Any,
) -> None:
    """Learn in the twin and write a policy that ``dpem run --policy FILE`` starts from.

    PPO plays episodes: episode k has the network and the draws of seed + k, and what was learned
    stays. Evolution (es) tries weights on short games; es+ppo lets PPO go on from there, and writes
    what evolution found beside it (FILE.warm). The policy, one set of weights for any network, is
    written after every generation and episode; beside it the learning state, which ``--resume``
    goes on from. A kill loses the generation or episode that is being played.
    """
    _check_use(method)
    check_engine(engine, ray_address)
    _check_device(device, method)
    # A new name unless told otherwise: nobody's policy is overwritten by accident.
    target = Path(out or resume or "policy.safetensors")
    _check_target(target, resume)

    import torch

    from controller.setting import Setting

    torch.set_num_threads(1)
    setting = Setting(
        topology=topology or "mesh",
        demand=demand or "scheduled",
        load_hz=load_hz,
        seconds=seconds,
        seed=seed,
        **{name: value for name, value in federation.items() if value is not None},
    ).check()
    own = (topology, demand, load_hz) != (None, None, None)
    if presets is not None and own:
        raise InputError("give --presets, or --topology, --demand and --load, not both")
    if processes is not None and not 1 <= processes <= 64:
        raise InputError(f"processes must be between 1 and 64, got {processes}")
    if presets is None and (own or method == "ppo"):
        names: tuple[str, ...] = ()
    else:
        names = tuple((presets or _PRESETS).split(","))
    asked = _Asked(
        setting=setting,
        own=own,
        presets=names,
        generations=generations,
        units=units,
        episodes=episodes,
        start=start,
        processes=processes,
        engine=engine,
        ray_address=ray_address,
        device=device,
        planned=planned_episodes,
    )
    found = _train(method, asked, target, None if resume is None else Path(resume))
    write_json(found, json_path)
    if json_path != "-":
        from controller.training_table import show_training

        show_training(found)


def _check_use(method: str) -> None:
    """Refuse options that were given and reach nothing in a training by ``method``."""
    unused = _UNUSED.get(method, ())
    context = click.get_current_context()
    idle = [
        option.opts[0]
        for option in context.command.params
        if option.name in unused
        and context.get_parameter_source(option.name) is not ParameterSource.DEFAULT
    ]
    if idle:
        raise InputError(f"{', '.join(idle)}: --method {method} does not use it")


def _check_device(device: str, method: str) -> None:
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device {device} is not offered here; it is cpu or cuda")
    if device == "cpu":
        return
    if method == "es":
        raise InputError("--device cuda is for PPO; es plays its games on the CPU")
    import torch

    if not torch.cuda.is_available():
        raise InputError("--device cuda: this machine has no CUDA device; use --device cpu")


def _check_target(target: Path, resume: str | None) -> None:
    if target.exists() and (resume is None or target.resolve() != Path(resume).resolve()):
        raise InputError(f"{target} exists: go on with --resume {target}, or give another --out")
    if target.suffix != ".safetensors":
        raise InputError(f"out must end in .safetensors, got {target}")
    if not target.parent.is_dir():
        raise InputError(f"cannot write {target}: {target.parent} is no folder")


def _train(method: str, asked: _Asked, target: Path, resume: Path | None) -> Any:
    """Do what was asked; returns the Evolved or Training, for es+ppo both by name."""
    from controller.policy_file import start_weights, weights_from

    if method == "ppo":
        start = start_weights(asked.start, asked.setting.seed)
        return _learn(asked, target, start, resume, asked.episodes)
    if method == "es":
        return _evolve(asked, target, resume)
    warm = target.with_suffix(".warm.safetensors")
    # A kill may have come before there was anything to go on from.
    evolved = _evolve(asked, warm, warm if resume is not None and warm.exists() else None)
    before = resume if resume is not None and resume.exists() else None
    learned = _learn(asked, target, weights_from(warm), before, asked.episodes, in_all=True)
    return {"evolution": evolved, "ppo": learned}


def _evolve(asked: _Asked, out: Path, resume: Path | None) -> Any:
    from controller.evolution.games import policy_units, units_of
    from controller.evolution.start import axes
    from controller.evolution.training import GAMES, Plan, evolve
    from controller.policy_file import HEURISTIC, start_weights

    seed = asked.setting.seed
    units = (
        policy_units(asked.units, seed=seed, presets=asked.presets)
        if asked.presets
        else units_of(asked.setting.cell, asked.units, seed=seed)
    )
    plan = Plan(units=tuple(units), games=min(GAMES, len(units)), notes=_notes())
    with _progress("evolving", asked.generations) as advance:
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


def _workers(asked: _Asked) -> "AbstractContextManager[Kept] | None":
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
    asked: _Asked,
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
