"""Configuration of whole networks, as values for the executor."""

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from backends.squid import setting
from backends.squid.errors import SquidError
from backends.squid.standin.devices import GenericQDeviceConfig, NVQDeviceConfig
from backends.squid.standin.links import (
    DefaultCLinkConfig,
    DepolariseQLinkConfig,
    HeraldedDoubleClickQLinkConfig,
    HeraldedSingleClickQLinkConfig,
    InstantCLinkConfig,
    PerfectQLinkConfig,
)
from backends.squid.standin.model import FieldError, Model, told

__all__ = [
    "CLinkConfig",
    "LinkConfig",
    "NetworkConfig",
    "NodeCLinkConfig",
    "NodeQLinkConfig",
    "ProcessingNodeConfig",
    "StackConfig",
    "StackNetworkConfig",
    "network_of",
]

DEVICES: dict[str, type[Any]] = {"generic": GenericQDeviceConfig, "nv": NVQDeviceConfig}
LINKS: dict[str, type[Any]] = {
    "perfect": PerfectQLinkConfig,
    "depolarise": DepolariseQLinkConfig,
    "heralded": HeraldedDoubleClickQLinkConfig,
    "heralded-double-click": HeraldedDoubleClickQLinkConfig,
    "heralded-single-click": HeraldedSingleClickQLinkConfig,
}
CLINKS: dict[str, type[Any]] = {"instant": InstantCLinkConfig, "default": DefaultCLinkConfig}


class StackConfig(Model):
    """A node of the network: a host with a quantum device."""

    _noun: ClassVar[str] = "stack"

    name: str
    qdevice_typ: str
    qdevice_cfg: Any = None

    @classmethod
    def perfect_generic_config(cls, name: str) -> Self:
        """Return a node with a generic device without noise."""
        return cls(
            name=name, qdevice_typ="generic", qdevice_cfg=GenericQDeviceConfig.perfect_config()
        )


class _BetweenStacks(Model):
    stack1: str
    stack2: str
    typ: str
    cfg: Any = None

    @property
    def ends(self) -> tuple[str, str]:
        """The names of the two stacks."""
        return self.stack1, self.stack2


class LinkConfig(_BetweenStacks):
    """A source of pairs between two stacks."""

    _noun: ClassVar[str] = "link"

    @classmethod
    def perfect_config(cls, stack1: str, stack2: str) -> Self:
        """Return a source of perfect pairs."""
        return cls(stack1=stack1, stack2=stack2, typ="perfect")


class CLinkConfig(_BetweenStacks):
    """A classical connection between two stacks."""

    _noun: ClassVar[str] = "clink"

    @classmethod
    def perfect_config(cls, stack1: str, stack2: str) -> Self:
        """Return a connection without delay."""
        return cls(stack1=stack1, stack2=stack2, typ="instant")


class StackNetworkConfig(Model):
    """A network. Without classical connections, all stacks are connected without delay."""

    stacks: list[StackConfig]
    links: list[LinkConfig]
    clinks: list[CLinkConfig] | None = None

    @classmethod
    def from_file(cls, path: str) -> Self:
        """Read a YAML file; errors of this configuration will name it, even when it is run."""
        made = super().from_file(path)
        object.__setattr__(made, "_file", str(path))
        return made


class ProcessingNodeConfig(Model):
    """A node, as netsquid_netbuilder names it."""

    _noun: ClassVar[str] = "node"

    name: str
    qdevice_typ: str
    qdevice_cfg: Any = None


class _BetweenNodes(Model):
    node1: str
    node2: str
    typ: str
    cfg: Any = None

    @property
    def ends(self) -> tuple[str, str]:
        """The names of the two nodes."""
        return self.node1, self.node2


class NodeQLinkConfig(_BetweenNodes):
    """A source of pairs between two nodes, as netsquid_netbuilder names them."""

    _noun: ClassVar[str] = "link"


class NodeCLinkConfig(_BetweenNodes):
    """A classical connection between two nodes, as netsquid_netbuilder names them."""

    _noun: ClassVar[str] = "clink"


class NetworkConfig(Model):
    """A network as netsquid_netbuilder names it. There is no connection that is not given."""

    processing_nodes: list[ProcessingNodeConfig]
    qlinks: list[NodeQLinkConfig] | None = None
    clinks: list[NodeCLinkConfig] | None = None


# -------------------------------------------------------------------------------------- to values

_Joint = _BetweenStacks | _BetweenNodes


def network_of(config: StackNetworkConfig | NetworkConfig) -> setting.Network:
    """Return the network as a value.

    Raises :class:`SquidError` that names the file, the stack or link, and the field.
    """
    file = getattr(config, "_file", None)
    with told(*([file] if file else [])):
        if isinstance(config, StackNetworkConfig):
            return _network(config.stacks, config.links, config.clinks or None)
        if isinstance(config, NetworkConfig):
            return _network(config.processing_nodes, config.qlinks or [], config.clinks or [])
    raise SquidError(f"config must be a StackNetworkConfig, got {config!r}")


def _network(
    stacks: Sequence[StackConfig | ProcessingNodeConfig],
    links: Sequence[_Joint],
    clinks: Sequence[_Joint] | None,
) -> setting.Network:
    names = [stack.name for stack in stacks]
    for name in names:
        if names.count(name) > 1:
            raise FieldError((f"stack {name}",), "is there twice")
    _check_ends(links, names)
    if clinks is None:
        wires = [setting.Classical(a, b) for a, b in itertools.combinations(names, 2)]
    else:
        _check_ends(clinks, names)
        wires = [setting.Classical(*clink.ends, delay_ns=_delay_ns(clink)) for clink in clinks]
    return setting.Network(
        tuple(setting.Node(stack.name, _device(stack)) for stack in stacks),
        tuple(setting.Link(*link.ends, model=_source(link)) for link in links),
        tuple(wires),
    )


def _check_ends(links: Sequence[_Joint], names: list[str]) -> None:
    """Refuse links that lead nowhere, to themselves, or twice to the same two stacks."""
    seen: set[frozenset[str]] = set()
    for link in links:
        for end in link.ends:
            if end not in names:
                known = ", ".join(names) or "none"
                raise FieldError((_name(link),), f"leads to {end!r}, but the stacks are {known}")
        pair = frozenset(link.ends)
        if len(pair) == 1:
            raise FieldError((_name(link),), "must join two different stacks")
        if pair in seen:
            raise FieldError((_name(link),), "is there twice")
        seen.add(pair)


def _device(stack: StackConfig | ProcessingNodeConfig) -> setting.Device:
    with told(f"stack {stack.name}"):
        made = _model(stack.qdevice_typ, stack.qdevice_cfg, DEVICES, "qdevice_")
        device: setting.Device = made.setting()
    return device


def _source(link: _Joint) -> setting.LinkModel:
    with told(_name(link)):
        made = _model(link.typ, link.cfg, LINKS)
        with told("cfg"):
            source: setting.LinkModel = made.setting()
    return source


def _delay_ns(clink: _Joint) -> float:
    with told(_name(clink)):
        made = _model(clink.typ, clink.cfg, CLINKS)
        with told("cfg"):
            delay_ns: float = made.delay_ns()
    return delay_ns


def _name(link: _Joint) -> str:
    return f"{link._noun} {'-'.join(link.ends)}"


def _model(typ: str, cfg: Any, known: dict[str, type[Any]], prefix: str = "") -> Any:
    """Return a configuration object of what may be fields, such an object, or nothing."""
    kind = known.get(typ)
    if kind is None:
        raise FieldError((f"{prefix}typ",), f"must be one of {', '.join(known)}, got {typ!r}")
    if isinstance(cfg, kind):
        return cfg
    if cfg is None or isinstance(cfg, dict):
        return kind.read(cfg or {}, f"{prefix}cfg")
    raise FieldError(
        (f"{prefix}cfg",), f"must be fields or a {kind.__name__} where typ is {typ!r}, got {cfg!r}"
    )
