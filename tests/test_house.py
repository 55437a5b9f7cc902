"""The house rules: who may import whom, which library lives where, and that `import hwloop` stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "hwloop"
FILES = sorted(PACKAGE.rglob("*.py"))

# What each room may import from; a room may always import from itself.
BASE = {"errors", "units", "pareto", "files", "programs", "reading", "user_objects"}
SPEC = BASE | {"spec"}
SIMULATION = SPEC | {"simulator", "energy"}
BACKEND = SIMULATION | {"mapper"}
ANSWERS = BACKEND | {"backend"}
COMPOSED = ANSWERS | {"memo", "network", "validate"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "units": set(),
    "reading": {"errors"},
    "pareto": {"errors"},
    "user_objects": {"errors"},
    "files": {"errors"},
    "programs": {"errors", "files"},
    "spec": BASE,
    "simulator": SPEC,
    "energy": SPEC,
    "mapper": SIMULATION,
    "backend": BACKEND,
    "memo": ANSWERS,
    "validate": ANSWERS,
    "network": SPEC,
    "search": ANSWERS,
    "report": ANSWERS,
    "run": COMPOSED | {"search", "report"},
    "cli": COMPOSED | {"search", "report", "run"},
    "__main__": {"cli"},
}
# The only places, rooms or folders in them, that may import these libraries.
HOMES = {
    "torch": {"network", "search/methods"},
    "torchvision": {"network"},
    "networkx": {"network", "spec"},
    "pymoo": {"search/pymoo_adapter"},
    "matplotlib": {"report"},
    "pandas": {"report"},
    "sqlite3": {"memo"},
    "subprocess": {"programs"},
    "plotly": {"report/html"},
    "onnx": {"network/export"},
    "onnxscript": {"network/export"},
    "onnxruntime": {"network/export"},
    "safetensors": {"network/export"},
}
OPTIONAL = {
    "argcomplete",
    "distributed",
    "hwcomponents",
    "hwcomponents_cacti",
    "hwcomponents_library",
    "pytimeloop",
    "timeloopfe",
}
EXPORT = {"onnx", "onnxscript", "onnxruntime", "safetensors"}
TABLES = {"pandas", "pyarrow", "plotly"}
HEAVY = {"torch", "torchvision", "matplotlib", "pymoo", "sklearn", "scipy", "networkx", "rich", *TABLES, *EXPORT}


# Calls that import what a variable names. Tables of names are read as imports; only these files take a name from elsewhere: a
# user's own module, and packages that are looked for before they are asked for.
BY_NAME = {"import_module", "find_spec", "__import__"}
BY_VARIABLE = {"user_objects.py", "energy/hwcomponents_source.py"}
_DOTTED = re.compile(r"(hwloop(\.\w+)+)(:\w+)?")  # `:Class` behind a module, as in tables of methods and spaces


@dataclass(frozen=True)
class Imported:
    """One import.

    Attributes:
        module: what is imported.
        inside: whether it stands in a function, or in a string that is imported later.
        by_string: whether it is named in a string.
    """

    module: str
    inside: bool
    by_string: bool = False


def _place(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").as_posix()


def _room(file: Path) -> str:
    return _place(file).partition("/")[0]


def _imports(text: str) -> Iterator[Imported]:
    """Every import of a module's source; those for type checking only are left out."""

    def visit(node: ast.AST, inside: bool) -> Iterator[Imported]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Imported(alias.name, inside)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield Imported(str(node.module), inside)
        elif isinstance(node, ast.Call) and _called(node) in BY_NAME and node.args:
            yield from _named(node.args[0])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (dotted := _DOTTED.fullmatch(node.value)):
            yield Imported(dotted[1], True, True)  # a table of names, as `_HOME`, or a module that is loaded elsewhere
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))

    yield from visit(ast.parse(text), False)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _named(argument: ast.expr) -> Iterator[Imported]:
    """What a call such as `import_module(argument)` may import, as far as it stands there."""
    if isinstance(argument, ast.Constant):
        yield Imported(str(argument.value), True, True)
    elif isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant):
        yield Imported(str(argument.values[0].value).rstrip("."), True, True)  # "hwloop.cli.{name}"
    elif not isinstance(argument, ast.Subscript):  # a table's entry: its strings are seen where the table stands
        yield Imported("?", True, True)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_downward_and_libraries_stay_at_home(file: Path) -> None:
    room, place = _room(file), _place(file)
    for found in _imports(file.read_text(encoding="utf-8")):
        parts = found.module.split(".")
        if found.module == "?":
            assert f"{place}.py" in BY_VARIABLE, f"{place}: imports by a name that cannot be seen here"
        if parts[0] == "hwloop" and len(parts) > 1 and room != "__init__":
            assert parts[1] == room or parts[1] in ALLOWED[room], f"{room} must not import {found.module}"
            heavy_room = parts[1] in ("network", "search", "report", "run")
            assert not found.inside or found.by_string or heavy_room, f"import of {found.module} inside a function"
        if parts[0] in HOMES:
            homes = HOMES[parts[0]]
            at_home = any(place == home or place.startswith(f"{home}/") for home in homes)
            assert at_home, f"{parts[0]} belongs in {sorted(homes)}, not in {place}"
        if found.inside and not found.by_string and parts[0] != "hwloop":
            assert parts[0] in HEAVY | OPTIONAL, f"import of {found.module} inside a function: only heavy or optional libraries"


def test_imports_by_string_are_seen() -> None:
    text = (
        "from importlib import import_module, util\n"
        "_HOME = {'a': 'hwloop.run.settings'}\n"
        "def f(name):\n"
        "    import_module(f'hwloop.cli.{name}')\n"
        "    util.find_spec('torch')\n"
        "    import_module(_HOME[name])\n"
        "    __import__(name)\n"
    )
    seen = [found.module for found in _imports(text) if found.by_string]
    assert seen == ["hwloop.run.settings", "hwloop.cli", "torch", "?"]


def test_modules_do_not_import_each_other_in_circles() -> None:
    graph: dict[str, set[str]] = {}
    for file in FILES:
        name = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        found = _imports(file.read_text(encoding="utf-8"))
        graph[name] = {entry.module for entry in found if entry.module.startswith("hwloop") and not entry.inside}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"circle: {' -> '.join((*path, name))}"
        if name in done:
            return
        for other in graph.get(name, ()):
            if other != name:
                walk(other, (*path, name))
        done.add(name)

    for name in graph:
        walk(name, ())


def test_import_and_simulation_load_no_heavy_library() -> None:
    code = (
        "import sys, hwloop\n"
        "hwloop.simulate, hwloop.simulate_batch, hwloop.map_problem, hwloop.load_architecture, hwloop.estimate_energy_table\n"
        "import hwloop.backend.find, hwloop.backend.candidates, hwloop.memo, hwloop.validate.against, hwloop.run.networks\n"
        f"heavy = {sorted(HEAVY - {'scipy'})!r}\n"
        "print([m for m in heavy if m in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]", f"loaded on import: {out.stdout}"


def test_every_public_name_is_there() -> None:
    code = "import hwloop\nfor name in hwloop.__all__: getattr(hwloop, name)\n"
    subprocess.run([sys.executable, "-c", code], check=True)
