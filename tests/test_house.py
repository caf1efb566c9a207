"""The shape of the code: which room may import which, what no room may import, and how long a file may be."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "architecture.md"


def floors() -> dict[str, int]:
    """The floor of each room, from the table of docs/architecture.md."""
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)`", rooms)}


# A file may import files of its own room and of rooms on lower floors, nothing else.
FLOOR = floors() | {"": 0}
NOWHERE = {"torch", "tensorflow"}
JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}
WITHOUT_JAX = ("problems", "verification")
LONGEST = 500


def modules() -> dict[str, Path]:
    """Each module of acejax by its dotted name."""
    found = {}
    for path in sorted((ROOT / "acejax").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    return (module.split(".") + [""])[1]


@cache
def imports(module: str) -> frozenset[str]:
    """Dotted names that a module imports anywhere in it; of acejax, the modules that they come from."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], *([base] if base else [])]
                )
            inner = {f"{base}.{alias.name}" for alias in node.names}
            # `from package import module` is an import of the module, `from module import name` is not one of the name.
            found.update(inner & MODULES.keys())
            if inner - MODULES.keys():
                found.add(base)
    return frozenset(found)


def ours(module: str) -> set[str]:
    return {name for name in imports(module) if name in MODULES}


def top(names: frozenset[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_the_rules_see_the_code() -> None:
    assert "acejax.errors" in imports("acejax.policy.gguf") and "gguf" in imports("acejax.policy.gguf")


def test_the_table_names_the_rooms_that_are_there() -> None:
    assert set(FLOOR) == {room(module) for module in MODULES}


def test_mesh_alone_names_mesh_axes() -> None:
    axes = {"fsdp", "tensor", "data", "sequence"}
    tree = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}
    for module, parsed in tree.items():
        if module != "acejax.mesh" and "jax" in top(imports(module)):
            said = {node.value for node in ast.walk(parsed) if isinstance(node, ast.Constant)}
            assert not axes & {value for value in said if isinstance(value, str)}, f"{module} names a mesh axis"


@pytest.mark.parametrize("module", MODULES)
def test_a_room_stands_above_all_it_imports(module: str) -> None:
    assert room(module) in FLOOR, f"give {room(module)!r} a floor in {TABLE.name}"
    for name in ours(module):
        same = room(name) == room(module)
        assert same or FLOOR[room(name)] < FLOOR[room(module)], (
            f"{module} may not import {name}: it is not on a lower floor"
        )
    assert not top(imports(module)) & NOWHERE


def test_no_two_files_import_each_other() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " imports ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(ours(module)):
                visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("name", WITHOUT_JAX)
def test_a_room_without_jax_never_loads_it(name: str) -> None:
    inside = [module for module in MODULES if room(module) == name]
    assert inside
    reached: set[str] = set()
    todo = list(inside)
    while todo:
        module = todo.pop()
        if module not in reached:
            reached.add(module)
            assert not top(imports(module)) & JAX, f"{module}, which {name} reaches, imports JAX"
            todo += ours(module) | {module.rpartition(".")[0]} & MODULES.keys()
    code = f"import sys\nfor m in {inside}: __import__(m)\nsys.exit(', '.join({JAX} & sys.modules.keys()) or 0)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr


def in_git() -> list[Path]:
    """Files that are, or would be, in git; a copy without git has no such list."""
    run = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in run.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_is_long() -> None:
    for path in in_git():
        if path.suffix == ".py":
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines < LONGEST, f"{path.relative_to(ROOT)} has {lines} lines: make it two"


def test_no_file_names_a_place_of_one_machine() -> None:
    local = re.compile(rb"/(?:home|root|Users)/[a-z]")
    for path in in_git():
        if path != Path(__file__).resolve():
            found = local.search(path.read_bytes())
            assert not found, f"{path.relative_to(ROOT)} mentions {found.group().decode()}"
