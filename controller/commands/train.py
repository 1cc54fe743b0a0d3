"""``dpem train``: evolution and PPO in the twin, with checkpoints, resumable."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from controller.commands.federation_options import federation_options
from controller.commands.train_methods import Asked, train_by
from controller.engines.engine import check_engine
from controller.federation import Federation
from quantum.errors import InputError
from quantum.output import json_option, write_json

__all__ = ["command"]

_METHODS = ("ppo", "es", "es+ppo")
_PRESETS = "paper,metro,fast"
#: Options that would reach nothing, by method.
_UNUSED = {
    "es": ("seconds", "episodes", "planned_episodes", *Federation.__struct_fields__),
    "ppo": ("generations", "trainings", "units", "processes", "engine", "ray_address"),
}


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
@click.option(
    "--trainings",
    default=1,
    show_default=True,
    help="Trainings by es, with --seed and the seeds after it; the policy is their mean.",
)
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
    trainings: int,
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
    what evolution found beside it (FILE.warm). With --trainings the policy of es is the mean of
    several, whose files stand beside it (FILE-SEED). The policy, one set of weights for any
    network, is written after every generation and episode, a mean at the end; beside it the
    learning state, which ``--resume`` goes on from. A kill loses the generation or episode that is
    being played.
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
    asked = Asked(
        setting=setting,
        own=own,
        presets=names,
        generations=generations,
        trainings=trainings,
        units=units,
        episodes=episodes,
        start=start,
        processes=processes,
        engine=engine,
        ray_address=ray_address,
        device=device,
        planned=planned_episodes,
    )
    found = train_by(method, asked, target, None if resume is None else Path(resume))
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
