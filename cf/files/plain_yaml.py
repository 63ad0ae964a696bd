"""YAML as plain values: no tags, no merges, no name twice, bounded once aliases are followed."""

from __future__ import annotations

from typing import Any

import yaml

_MOST_NESTED = 100
_MOST_NODES = 10**6  # once aliases are followed


def loaded(text: str, literal: bool = False) -> Any:
    """The value of a text of YAML.

    Args:
        text: of one document.
        literal: numbers, dates, `yes` and `no` stay texts, spelt as given.

    Raises:
        ValueError: it is no such YAML; the message begins with the line, to follow a file's name.
    """
    try:
        _check_events(text)
        value = yaml.load(text, _Literal if literal else _Unique)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise ValueError(f"{line}: it is no YAML ({error.problem})") from None
    except (yaml.YAMLError, ValueError, LookupError, ArithmeticError) as error:
        # the last three: what looks like a number or a date and is none
        raise ValueError(f": it is no YAML ({' '.join(str(error).split())})") from None
    _check_size(value)
    return value


_C: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Unique(_C):  # type: ignore[misc] # the one in C, where PyYAML was built with it
    """Refuses a name that comes twice, of which YAML would take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """As the base has it."""
        names = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen = set()
        for name in names:
            if name.value in seen or name.value == "<<":
                reason = "merges (<<) are not read" if name.value == "<<" else "it comes twice"
                raise yaml.MarkedYAMLError(
                    problem=f"{name.value!r}: {reason}", problem_mark=name.start_mark
                )
            seen.add(name.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


class _Literal(_Unique):
    """Knows texts and null only."""

    yaml_implicit_resolvers = {  # noqa: RUF012 -- as the base has it
        first: [(tag, form) for tag, form in forms if tag == "tag:yaml.org,2002:null"]
        for first, forms in _C.yaml_implicit_resolvers.items()
    }


def _check_events(text: str) -> None:
    """Refuse, before anything is made, what nests deep or says itself what it is."""
    depth = 0
    event: Any
    for event in yaml.parse(text, _C):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        tag = getattr(event, "tag", None)
        if depth > _MOST_NESTED or (tag and tag != "!"):
            problem = f"the tag {tag} is not read" if tag else f"more than {_MOST_NESTED} nested"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _check_size(value: Any) -> None:
    """Refuse what aliases make endless or very large."""
    todo, met = [(value, 0)], 0
    while todo:
        one, depth = todo.pop()
        met += 1
        if met > _MOST_NODES or depth > _MOST_NESTED:
            raise ValueError(": its aliases (&, *) make it endless or too large; drop them")
        inner = list(one.values()) if isinstance(one, dict) else one
        todo += [(each, depth + 1) for each in inner] if isinstance(inner, list) else []
