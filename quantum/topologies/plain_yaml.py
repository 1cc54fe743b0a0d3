"""YAML as plain data, from files that nobody vouches for.

Nothing but texts, numbers, lists and mappings is made (PyYAML's safe loader). A few lines with
aliases of aliases can stand for more data than a machine holds, so the size of what a file stands
for is counted before it is made.
"""

from typing import Any

from quantum.errors import InputError

__all__ = ["MOST_YAML_BYTES", "load_yaml"]

#: PyYAML reads about a tenth of a megabyte a second.
MOST_YAML_BYTES = 2 * 1024 * 1024
#: Values that a file may stand for, aliases written out.
MOST_VALUES = 1_000_000


def load_yaml(where: str, data: bytes) -> Any:
    """Return what a YAML file says.

    Raises :class:`InputError` with file and line where it is no YAML, uses tags that make objects,
    or stands for too much.
    """
    try:
        import yaml
    except ImportError:
        raise InputError(
            f"{where}: YAML files need PyYAML: pip install 'dpem[squidasm]', or use .json"
        ) from None
    if len(data) > MOST_YAML_BYTES:
        raise InputError(f"{where}: a YAML file must be at most {MOST_YAML_BYTES} bytes")
    try:
        loader = yaml.SafeLoader(data)
        try:
            root = loader.get_single_node()
            if _size(root) > MOST_VALUES:
                raise InputError(f"{where}: aliases stand for more than {MOST_VALUES} values")
            return None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        said = getattr(wrong, "problem", None) or wrong
        raise InputError(f"{where}: {line}no plain YAML: {' '.join(str(said).split())}") from None
    except RecursionError:
        raise InputError(f"{where}: the YAML is nested too deeply") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as wrong:
        # Scalars that look like a date or a number and are none.
        said = " ".join(str(wrong).split())
        raise InputError(f"{where}: no plain YAML: {said}") from None


def _size(root: Any) -> float:
    """Return how many values a node stands for; infinitely many where it holds itself."""
    if root is None:
        return 0.0
    sizes: dict[int, float] = {}
    open_nodes: set[int] = set()
    stack = [(root, False)]
    while stack:
        node, done = stack.pop()
        inside = node.value if isinstance(node.value, list) else []
        children = [x for one in inside for x in (one if isinstance(one, tuple) else (one,))]
        if done:
            open_nodes.discard(id(node))
            sizes[id(node)] = 1.0 + sum(sizes[id(child)] for child in children)
        elif id(node) in open_nodes:
            return float("inf")
        elif id(node) not in sizes:
            open_nodes.add(id(node))
            stack.append((node, True))
            stack.extend((child, False) for child in children)
    return sizes[id(root)]
