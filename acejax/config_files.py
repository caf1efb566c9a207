"""Configuration files: YAML with `extends`, dotted overrides, and the origin of every value.

`load_config` merges the files of an `extends` chain and the overrides key by key, remembers where each value came from,
and validates the whole; every error is a UserError that names the place. A stage or an evaluation set that is null is
removed; an empty mapping takes the place of what was there.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from acejax.config import RunConfig, Stage, Strict
from acejax.errors import UserError


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 1e-6 as a string; here it is a number, as everyone who writes a learning rate expects."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """YAML lets a later key win without a word, whatever the earlier one said."""
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                text = (
                    f"key '{key.value}' stands at line {seen[key.value]} and again at line {line}; remove one of them"
                )
                raise yaml.constructor.ConstructorError(problem=text)
            seen[key.value] = line
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|nan))$"
    ),
    list("-+0123456789."),
)

Origins = dict[str, str]
Config = typing.TypeVar("Config", bound=Strict)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> tuple[RunConfig, Origins]:
    """Reads `path`, the files that it extends, and `overrides` ("a.b=value", the value in YAML).

    Returns the configuration and, for each dotted key that was set, where ("file:line" or "command line"); the rest are
    defaults. Raises UserError for a missing file, malformed YAML, an unknown key (with the nearest name) or a wrong
    type.
    """
    tree, origins = _read(Path(path), ())
    for text in overrides:
        key, equals, raw = text.partition("=")
        if not equals or not key:
            raise UserError(f"override '{text}': write it as key=value, for example seed=1")
        try:
            value = yaml.load(raw, Loader=_Loader)
        except yaml.YAMLError:
            value = raw
        nested = _nest(key.split("."), value)
        _check_stage(tree, nested, text)
        _merge(tree, origins, nested, dict.fromkeys(_keys(nested, ()), "command line"), ())
    _drop_nulls(tree, "stages")
    if isinstance(tree.get("evaluation"), dict):
        _drop_nulls(tree["evaluation"], "sets")
    return _validated(tree, origins, RunConfig), origins


def _check_stage(tree: Mapping[str, Any], nested: Mapping[str, Any], text: str) -> None:
    """Refuses an override of a stage that is not there: a new one has to say its kind."""
    have = tree.get("stages") or {}
    changes = nested.get("stages")
    if not isinstance(changes, dict):
        return
    for name, change in changes.items():
        if name in have or (isinstance(change, dict) and "kind" in change):
            continue
        hint = _instead(str(name), have) or f"the stages are {', '.join(have)}"
        raise UserError(f"override '{text}': there is no stage '{name}'; {hint}")


def _instead(name: str, known: Iterable[str], above: Sequence[str] = ()) -> str:
    """The question whether the nearest known name below the keys `above` was meant; empty where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean '{'.'.join([*above, *near])}'?" if near else ""


def _drop_nulls(tree: dict[str, Any], key: str) -> None:
    """Takes the entries out of a mapping that were set to null, and all of them where it is null itself."""
    if key in tree and isinstance(tree[key] or {}, dict):
        tree[key] = {name: value for name, value in (tree[key] or {}).items() if value is not None}


def load_saved(path: Path, kind: type[Config]) -> Config:
    """The configuration that a folder has saved, by this version or by an earlier one, whose stages had the keys of
    every kind. Raises UserError as `load_config` does.
    """
    tree, origins = _read(path, ())
    known = {key for one in _options(Stage) for key in one.model_fields}
    for stage in tree.get("stages", {}).values():
        own = next((one for one in _options(Stage) if _tag(one) == stage.get("kind")), None)
        if own is not None:
            for key in known - own.model_fields.keys():
                stage.pop(key, None)
            _drop_foreign_stop(stage, own)
    return _validated(tree, origins, kind)


def _drop_foreign_stop(stage: dict[str, Any], kind: type[pydantic.BaseModel]) -> None:
    """Keys of another kind's stopping rule."""
    rule = kind.model_fields["stop"].annotation
    if isinstance(stage.get("stop"), dict) and rule is not None:
        stage["stop"] = {key: value for key, value in stage["stop"].items() if key in rule.model_fields}


def _validated(tree: dict[str, Any], origins: Origins, kind: type[Config]) -> Config:
    try:
        return kind.model_validate(tree)
    except pydantic.ValidationError as error:
        raise UserError(_explain(error, origins, kind)) from None


def _read(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], Origins]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"config {path}: {error.strerror or error}; give the path of a YAML file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"config {path}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None
    if path.resolve() in seen:
        raise UserError(f"config {path}: 'extends' goes round in a circle; remove it from one of the files")
    try:
        node = yaml.compose(text, Loader=_Loader)
        tree = yaml.load(text, Loader=_Loader) or {}
    except yaml.YAMLError as error:
        raise UserError(f"config {path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"config {path}: found {type(tree).__name__} at the top; write keys and values")
    origins = {key: f"{path}:{line}" for key, line in _lines(node, ())}
    base = tree.pop("extends", None)
    if base is None:
        return tree, origins
    if not isinstance(base, str):
        raise UserError(f"config {path}: 'extends' is {base!r}; give the path of one YAML file, relative to this one")
    merged, merged_origins = _read(path.parent / base, (*seen, path.resolve()))
    _merge(merged, merged_origins, tree, origins, ())
    return merged, merged_origins


def _lines(node: yaml.Node | None, path: tuple[str, ...]) -> list[tuple[str, int]]:
    if not isinstance(node, yaml.MappingNode):
        return []
    found = []
    for key, value in node.value:
        here = (*path, str(key.value))
        found.append((".".join(here), key.start_mark.line + 1))
        found += _lines(value, here)
    return found


def _merge(
    base: dict[str, Any], base_origins: Origins, top: Mapping[str, Any], origins: Origins, path: tuple[str, ...]
) -> None:
    for key, value in top.items():
        here = ".".join((*path, str(key)))
        if isinstance(value, dict) and value and isinstance(base.get(key), dict):
            _merge(base[key], base_origins, value, origins, (*path, str(key)))
            continue
        base[key] = value
        for name in [n for n in base_origins if n.startswith(here + ".")]:
            del base_origins[name]
        base_origins.update({n: o for n, o in origins.items() if n == here or n.startswith(here + ".")})


def _nest(keys: Sequence[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return value


def _keys(tree: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    found = []
    for key, value in tree.items():
        here = (*path, str(key))
        found.append(".".join(here))
        if isinstance(value, dict):
            found += _keys(value, here)
    return found


def _explain(error: pydantic.ValidationError, origins: Origins, kind: type[Strict]) -> str:
    first = error.errors()[0]
    location, model = _walk(first["loc"], kind)
    key = ".".join(location)
    places = [".".join(location[:n]) for n in range(len(location), 0, -1)]
    origin = next((origins[place] for place in places if place in origins), "config")
    if first["type"] == "extra_forbidden":
        return f"{origin}: unknown key '{key}'; {_hint(location, first['loc'], kind)}"
    if first["type"] == "missing":
        return f"{origin}: key '{key}' is missing; add it"
    if first["type"].startswith("union_tag"):
        kinds = ", ".join(_tag(option) for option in _options(model))
        return f"{origin}: key '{key}.kind' must be one of {kinds}"
    what = first["msg"].removeprefix("Value error, ")
    found = "" if first["type"] == "value_error" else f" (found {first['input']!r})"
    place = f"'{key}': " if key else ""
    return f"{origin}: {place}{what}{found}"


def _hint(location: Sequence[str], full: Sequence[int | str], kind: type[Strict]) -> str:
    """What to write instead of an unknown key."""
    _, model = _walk(full[:-1], kind)
    (own,) = _options(model)
    names = list(own.model_fields)
    # Where the key stands in a union, `full` holds the kind before the key.
    _, above = _walk(full[:-2], kind)
    others = [option for option in _options(above) if option is not own and location[-1] in option.model_fields]
    if "kind" in names and others:
        return f"it belongs to kind {_tag(others[0])}, and this is of kind {_tag(own)}"
    return _instead(location[-1], names, location[:-1]) or f"the keys here are {', '.join(names)}"


def _walk(location: Sequence[int | str], kind: Any) -> tuple[list[str], Any]:
    """The dotted key of an error's place, and the type that stands there. A union's tag is part of the place only."""
    keys = []
    for part in location:
        options = _options(kind)
        tagged = [option for option in options if len(options) > 1 and _tag(option) == part]
        if tagged:
            kind = tagged[0]
            continue
        keys.append(str(part))
        fields = options[0].model_fields if len(options) == 1 else {}
        if part in fields:
            kind = fields[str(part)].annotation
        elif typing.get_origin(kind) in (dict, list):
            kind = typing.get_args(kind)[-1]
        else:
            kind = None
    return keys, kind


def _options(kind: Any) -> list[type[pydantic.BaseModel]]:
    """The models among which a value of this type is one."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    choices = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return [choice for choice in choices if isinstance(choice, type) and issubclass(choice, pydantic.BaseModel)]


def _tag(model: type[pydantic.BaseModel]) -> str:
    """The value of `kind` by which a union knows a model; empty where it has none."""
    if "kind" not in model.model_fields:
        return ""
    return str(typing.get_args(model.model_fields["kind"].annotation)[0])


def dump_yaml(config: Strict, origins: Origins | None = None) -> str:
    """The whole configuration as YAML; with `origins`, each value is followed by a comment that says where it came
    from.
    """
    lines: list[str] = []

    def write(tree: Mapping[str, Any], path: tuple[str, ...]) -> None:
        for key, value in tree.items():
            here = (*path, key)
            indent = "  " * len(path)
            if isinstance(value, dict) and value:
                lines.append(f"{indent}{key}:")
                write(value, here)
                continue
            text = yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("\n...\n").strip()
            note = "" if origins is None else f"  # {origins.get('.'.join(here), 'default')}"
            lines.append(f"{indent}{key}: {text}{note}")

    write(config.model_dump(), ())
    return "\n".join(lines) + "\n"
