from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator

from markdown_pages import PACKAGE, ROOT, blocks, code_spans, first_table, read, section

from tensorhost.models.states import TRANSITIONS

ARCHITECTURE = read("ARCHITECTURE.md")


def _map_lines() -> Iterator[tuple[str, str, str]]:
    """Each line of the map, the folder or file it lists (none on a line that goes on), and the one it belongs to.

    Both are paths relative to the root.
    """
    parents: dict[int, str] = {}
    current = ""
    for line in blocks(section(ARCHITECTURE, "The map"), "text")[0].splitlines():
        entry = re.match(r"( *)([\w./]+(?:/|\.py))(?: {2,}|$)", line)
        if entry is None or len(entry[1]) > 8:
            yield line, "", current
            continue
        indent = len(entry[1])
        parent = next((parents[at] for at in sorted(parents, reverse=True) if at < indent), "")
        current = parent + entry[2]
        parents = {at: name for at, name in parents.items() if at < indent} | {indent: current}
        yield line, current, current


def _map_entries() -> set[str]:
    """Paths of the folders and files that the map lists, relative to the root."""
    return {entry for _, entry, _ in _map_lines() if entry}


def test_the_map_lists_exactly_the_rooms():
    listed = {path for path in _map_entries() if path.startswith("src/tensorhost/")} - {"src/tensorhost/"}
    rooms = {f"{folder.relative_to(ROOT)}/" for folder in _packages()}
    modules = {str(file.relative_to(ROOT)) for file in PACKAGE.glob("*.py") if not file.name.startswith("_")}
    assert listed == rooms | modules


def test_what_the_map_names_exists():
    entries = _map_entries()
    assert "src/tensorhost/" in entries
    assert {entry for entry in entries if not (ROOT / entry).exists()} == set()


def test_modules_named_behind_a_room_are_in_it():
    for line, _, room in _map_lines():
        for module in re.findall(r"\b\w+\.py\b", line) if line.startswith(" ") else []:
            assert (ROOT / room / module).exists() or (PACKAGE / module).exists(), f"{room}: {module}"


def test_every_module_and_name_in_the_text_exists():
    files = [span for span in code_spans(ARCHITECTURE) if re.fullmatch(r"[\w/]+/\w+\.py", span)]
    assert files
    assert [file for file in files if not (PACKAGE / file).is_file()] == []


def test_the_functions_that_carry_the_flows_exist():
    for title in ("Data", "Control"):
        for step, where in first_table(ARCHITECTURE.split(f"**{title}**")[1]):
            file = ""
            for span in code_spans(where):
                if span.endswith(".py"):
                    file = span
                    continue
                assert _defines(PACKAGE / file, span), f"{step}: {file} has no {span}"


def test_the_layers_are_those_under_contract():
    pyproject = tomllib.loads(read("pyproject.toml"))
    contracts = {contract["id"]: contract for contract in pyproject["tool"]["importlinter"]["contracts"]}
    assert blocks(section(ARCHITECTURE, "Layers"), "text")[0].splitlines() == contracts["rooms"]["layers"]


def test_the_state_table_is_the_one_in_the_code():
    documented = {
        code_spans(state)[0]: set(code_spans(following))
        for state, following, _ in first_table(section(ARCHITECTURE, "A version's life"))
    }
    assert documented == {state.value: {to.value for to in after} for state, after in TRANSITIONS.items()}


def test_broad_excepts_stand_where_the_page_says():
    text = section(ARCHITECTURE, "Errors")
    for file in PACKAGE.rglob("*.py"):
        if re.search(r"except Exception\b", file.read_text(encoding="utf-8")):
            name = str(file.relative_to(PACKAGE))
            room = name.partition("/")[0]
            assert f"`{name}`" in text or f"`{room}`" in text, name


def _packages() -> list:
    return sorted(file.parent for file in PACKAGE.rglob("__init__.py") if file.parent != PACKAGE)


def _defines(file, dotted: str) -> bool:
    scope = ast.parse(file.read_text(encoding="utf-8")).body
    for name in dotted.split("."):
        found = [
            node
            for node in scope
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        ]
        if not found:
            return False
        scope = found[0].body
    return True
