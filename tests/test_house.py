"""The house rules: who may import whom, which library lives where, and that `import hwloop` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "hwloop"
FILES = sorted(PACKAGE.rglob("*.py"))

# What each room may import from; a room may always import from itself.
BASE = {"errors", "units", "pareto", "programs", "reading"}
SPEC = BASE | {"spec"}
SIMULATION = SPEC | {"simulator", "energy"}
BACKEND = SIMULATION | {"mapper"}
ANSWERS = BACKEND | {"backend"}
COMPOSED = ANSWERS | {"memo", "network", "validate"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "units": set(),
    "programs": {"errors"},
    "reading": {"errors"},
    "pareto": {"errors"},
    "spec": BASE,
    "simulator": SPEC,
    "energy": SPEC,
    "mapper": SIMULATION,
    "backend": BACKEND,
    "memo": ANSWERS,
    "validate": ANSWERS,
    "network": SPEC,
    "search": COMPOSED,
    "report": COMPOSED,
    "run": COMPOSED | {"search", "report"},
    "cli": COMPOSED | {"search", "report", "run"},
    "__main__": {"cli"},
}
# The only rooms that may import these libraries.
HOMES = {
    "torch": {"network"},
    "torchvision": {"network"},
    "networkx": {"network", "spec"},
    "pymoo": {"search"},
    "matplotlib": {"report"},
    "sqlite3": {"memo"},
    "subprocess": {"programs"},
}
OPTIONAL = {"hwcomponents", "hwcomponents_cacti", "hwcomponents_library", "pytimeloop", "timeloopfe"}
HEAVY = {"torch", "torchvision", "matplotlib", "pymoo", "sklearn", "scipy", "networkx", "rich"}


def _room(file: Path) -> str:
    first = file.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def _imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Yields (module, whether it stands inside a function); imports for type checking only are left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, inside
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield str(node.module), inside
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))

    yield from visit(tree, False)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_downward_and_libraries_stay_at_home(file: Path) -> None:
    room = _room(file)
    for module, inside in _imports(file):
        parts = module.split(".")
        if parts[0] == "hwloop" and len(parts) > 1 and room != "__init__":
            assert parts[1] == room or parts[1] in ALLOWED[room], f"{room} must not import {module}"
            heavy_room = parts[1] in ("network", "search", "report", "run")
            assert not inside or heavy_room, f"import of {module} inside a function"
        if parts[0] in HOMES and room != "__init__":
            assert room in HOMES[parts[0]], f"{parts[0]} belongs in {sorted(HOMES[parts[0]])}, not in {room}"
        if inside and parts[0] not in ("hwloop",):
            assert parts[0] in HEAVY | OPTIONAL, f"import of {module} inside a function without being a heavy optional library"


def test_modules_do_not_import_each_other_in_circles() -> None:
    graph: dict[str, set[str]] = {}
    for file in FILES:
        name = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = {module for module, inside in _imports(file) if module.startswith("hwloop") and not inside}
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
        f"heavy = {sorted(HEAVY - {'scipy'})!r}\n"
        "print([m for m in heavy if m in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]", f"loaded on import: {out.stdout}"


def test_every_public_name_is_there() -> None:
    code = "import hwloop\nfor name in hwloop.__all__: getattr(hwloop, name)\n"
    subprocess.run([sys.executable, "-c", code], check=True)
