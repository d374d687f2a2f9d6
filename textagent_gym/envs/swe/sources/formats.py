"""Records of repair tasks in files, in the forms that SWE-bench and its kin use.

| source | what it is |
| --- | --- |
| `tasks.jsonl` | a row per line |
| `tasks.json` | a list of rows |
| `tasks.parquet` | a table; fields of this project in columns of their own |
| a folder with `tasks/` | swebench 5's task repository: `sweb.yaml`, `tasks/<instance_id>/{task.yaml, tests.json, ...}` |
| a folder of Harbor tasks | `task.toml`, `instruction.md`, ..., as `textagent-gym export harbor` makes them; reading only |
| `owner/name[:split]` | a data set of the Hugging Face hub, through swebench's loader; reading only |

A row has the names of `TaskInstance`'s fields; columns with other names are kept in `extra`, which holds what JSON can hold.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, cast, get_args

from gymnasium.error import DependencyNotInstalled

from textagent_gym.envs.swe.sources.harbor import harbor_rows, is_harbor
from textagent_gym.envs.swe.types import Bug, Origin, Sdist, TaskInstance

Row = dict[str, Any]
"""An instance as columns: what JSON can hold."""

_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?::([\w.-]+))?")
_SUFFIXES = (".jsonl", ".json", ".parquet")
_REQUIRED = tuple(f.name for f in fields(TaskInstance) if f.default is MISSING and f.default_factory is MISSING)
_NAMES = tuple(f.name for f in fields(TaskInstance) if f.name != "extra")
_OTHER_NAMES = {"fail_to_pass": "FAIL_TO_PASS", "pass_to_pass": "PASS_TO_PASS"}

# The files of a task folder, as swebench 5 names them.
_FILES = {
    "problem_statement": "problem_statement.md",
    "patch": "gold.patch",
    "test_patch": "test.patch",
    "eval_script": "eval.sh",
    "hints_text": "hints.md",
    "Dockerfile": "Dockerfile",
}
_OPTIONAL_FILES = {"hints_text", "Dockerfile"}
_FILLED_IN = "filled_in"


def read_instances(source: str | Path) -> list[TaskInstance]:
    """Return the tasks of a file, a folder, or a data set of the Hugging Face hub, in their order.

    Args:
        source: A path that ends in .jsonl, .json or .parquet; a task repository's folder; or "owner/name[:split]". The split
            is "test", or "train" where there is no "test", unless it is named.

    Raises:
        ValueError: A row is no task; the message names the file, the row and the field.
        OSError: The source cannot be had.
        gymnasium.error.DependencyNotInstalled: The source needs a package that is not installed.
    """
    path = Path(source)
    if path.is_dir():
        return _collect(harbor_rows(path) if is_harbor(path) else _folder_rows(path))
    if path.suffix in _SUFFIXES:
        if not path.is_file():
            raise FileNotFoundError(f"expected a file with tasks, got nothing at {path}")
        return _collect({".jsonl": _jsonl_rows, ".json": _json_rows, ".parquet": _parquet_rows}[path.suffix](path))
    if isinstance(source, str) and (match := _HUB_ID.fullmatch(source)):
        return _collect(_hub_rows(match[1], match[2]))
    raise ValueError(
        f"expected a .jsonl, .json or .parquet file, a folder, or a data set 'owner/name[:split]', got {str(source)!r}"
    )


def write_instances(instances: Iterable[TaskInstance], path: str | Path) -> None:
    """Write tasks so that `read_instances` gives equal ones, in the form that the end of `path` says.

    A path without one of the ends .jsonl, .json and .parquet becomes a task repository's folder, which has to be new or
    empty; its tasks are read in the order of their names. swebench's `check_task_repo` is content with those whose image has
    swebench's name and whose `eval_script` has the marks of a test's output; `test_assets` are not kept.

    Raises:
        ValueError: An instance_id occurs twice, `extra` holds what JSON cannot hold or a field's name, or, for a folder, an
            instance_id cannot be a folder's name.
        FileExistsError: The folder has something in it.
        gymnasium.error.DependencyNotInstalled: The form needs a package that is not installed.
    """
    path = Path(path)
    rows = [to_row(instance) for instance in instances]
    _collect((f"record {number}", row) for number, row in enumerate(rows, 1))
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{_json(row)}\n" for row in rows), encoding="utf-8", newline="")
    elif path.suffix == ".json":
        path.write_text("[\n" + ",\n".join(_json(row) for row in rows) + "\n]\n", encoding="utf-8", newline="")
    elif path.suffix == ".parquet":
        _write_parquet(rows, path)
    else:
        _write_folder(rows, path)


def from_row(row: Mapping[str, Any], where: str = "row") -> TaskInstance:
    """Return the instance in a row, whose tests may be lists, or such lists as JSON or as Python prints them.

    Args:
        row: Columns, those of SWE-bench at least; nothing (None, or NaN as pandas writes it) stands for a field's default. A
            row with `image_name`, as SWE-smith has them, needs neither `base_commit` nor `test_patch`. SWE-bench-Pro's
            names of the tests' columns, `fail_to_pass` and `pass_to_pass`, are understood.
        where: What an error message calls the row.

    Raises:
        ValueError: A field is missing, or not of its type.
    """
    columns = {_OTHER_NAMES.get(name, name): None if _is_nan(value) else value for name, value in row.items()}
    columns = {name: value for name, value in columns.items() if value is not None or name not in _NAMES}
    if "parsed_commit_content" in columns and "patch" not in columns:
        raise ValueError(
            f"{where}: expected a patch and names of tests, got a row of R2E-Gym, which has them in its images"
        )
    if "image_name" in columns:
        columns = {"base_commit": "", "test_patch": "", **columns}
    for name in _REQUIRED:
        if name not in columns:
            raise ValueError(f"{where}: expected a field {name}, got none")
    known = {
        name: _READERS.get(name, _text)(columns.pop(name), f"{where}: {name}") for name in _NAMES if name in columns
    }
    return TaskInstance(**known, extra=_extra(columns, where))


def to_row(instance: TaskInstance) -> Row:
    """Return an instance as columns, those of `extra` among them.

    Raises:
        ValueError: `extra` holds what JSON cannot hold, or a column that is a field.
    """
    row: Row = {name: value for name, value in asdict(instance).items() if name != "extra"}
    for name in instance.extra:
        if name in row or name == "extra":
            raise ValueError(f"{instance.instance_id}: expected extra to have columns that are no fields, got {name!r}")
    try:
        extra: Row = json.loads(json.dumps(instance.extra, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{instance.instance_id}: expected extra to hold what JSON can hold, got {error}") from error
    if extra != instance.extra:
        raise ValueError(
            f"{instance.instance_id}: expected extra to hold what JSON can hold, got tuples or keys that are no text"
        )
    bugs = [{**bug, "tests": list(bug["tests"])} for bug in row["bugs"]]
    tests = {name: list(row[name]) for name in ("FAIL_TO_PASS", "PASS_TO_PASS")}
    return {**row, **tests, "bugs": bugs, **extra}


def _collect(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[TaskInstance]:
    seen: dict[str, str] = {}
    instances = []
    for where, row in rows:
        instance = from_row(row, where)
        if instance.instance_id in seen:
            raise ValueError(
                f"{where}: expected each instance_id once, got {instance.instance_id!r} as in {seen[instance.instance_id]}"
            )
        seen[instance.instance_id] = where
        instances.append(instance)
    return instances


# Fields.


def _wrong(where: str, expected: str, value: object) -> ValueError:
    shown = repr(value)
    return ValueError(f"{where}: expected {expected}, got {shown[:60] + '...' if len(shown) > 60 else shown}")


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _version(value: object, where: str) -> str:
    """Return a version; a table may have made a number of it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else _text(value, where)


def _text(value: object, where: str) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        raise _wrong(where, "a string", value)
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        text = value
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = _printed(text, where)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _wrong(where, "a list of strings, or such a list in JSON", value)
    return tuple(value)


def _printed(text: str, where: str) -> object:
    """Return the list in a text that Python has printed, as SWE-bench-Pro's rows have it."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise _wrong(where, "a list of strings, or such a list in JSON", text) from error


def _number(value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(where, "a number", value)
    return float(value)


def _origin(value: object, where: str) -> Origin:
    if value not in get_args(Origin):
        raise _wrong(where, f"one of {', '.join(get_args(Origin))}", value)
    return cast(Origin, value)


def _mapping(value: object, names: Sequence[str], where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or set(value) != set(names):
        raise _wrong(where, f"an object with {', '.join(names)}", value)
    return value


def _sdist(value: object, where: str) -> Sdist:
    columns = _mapping(value, [f.name for f in fields(Sdist)], where)
    return Sdist(**{name: _text(item, f"{where}.{name}") for name, item in columns.items()})


def _bugs(value: object, where: str) -> tuple[Bug, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(where, "a list of bugs", value)
    names = [f.name for f in fields(Bug)]
    bugs = []
    for number, item in enumerate(value, 1):
        place = f"{where}, bug {number}"
        columns = {name: text for name, text in _mapping(item, names, place).items() if name != "tests"}
        texts = {name: _text(text, f"{place}: {name}") for name, text in columns.items()}
        bugs.append(Bug(**texts, tests=_texts(item["tests"], f"{place}: tests")))
    return tuple(bugs)


def _extra(columns: Row, where: str) -> dict[str, Any]:
    """Return columns without a field, those in a column `extra` among them (an object, or JSON of one)."""
    packed = columns.pop("extra", None) or {}
    if isinstance(packed, str):
        try:
            packed = json.loads(packed)
        except json.JSONDecodeError as error:
            raise _wrong(f"{where}: extra", "an object, or JSON of one", packed) from error
    if not isinstance(packed, Mapping):
        raise _wrong(f"{where}: extra", "an object, or JSON of one", packed)
    return {**columns, **packed}


_READERS: dict[str, Callable[[object, str], Any]] = {
    "FAIL_TO_PASS": _texts,
    "PASS_TO_PASS": _texts,
    "version": _version,
    "origin": _origin,
    "sdist": _sdist,
    "bugs": _bugs,
    "seconds": _number,
}


# JSON.


def _json(row: Row) -> str:
    """Return one line of ASCII: readers that cut at every line break of Unicode, as Python's own does, do no harm."""
    return json.dumps(row, allow_nan=False)


def _jsonl_rows(path: Path) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(_read(path).removeprefix("\ufeff").split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, _object(_parsed(line, where), where)


def _json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    rows = _parsed(_read(path).removeprefix("\ufeff"), str(path))
    if not isinstance(rows, list):
        raise _wrong(str(path), "a list of rows", rows)
    for number, row in enumerate(rows, 1):
        where = f"{path}, row {number}"
        yield where, _object(row, where)


def _read(path: Path) -> str:
    """Return the text of a file, carriage returns and all."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8, got {error.reason} at byte {error.start}") from error


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{where}: expected JSON, got {error.msg} ({place})") from error


def _object(value: object, where: str) -> Row:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    return value


# Parquet.


def _parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    arrow, parquet = _module("pyarrow"), _module("pyarrow.parquet")
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: expected a Parquet file, got {error}") from error
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"{path}, row {number}", {name: value for name, value in row.items() if value is not None}


def _write_parquet(rows: list[Row], path: Path) -> None:
    """Columns of strings stay columns; what else `extra` holds goes into one column of JSON, since rows differ in it."""
    arrow, parquet = _module("pyarrow"), _module("pyarrow.parquet")
    types = {name: arrow.string() for name in _NAMES} | {"seconds": arrow.float64()}
    types["FAIL_TO_PASS"] = types["PASS_TO_PASS"] = arrow.list_(arrow.string())
    types["sdist"] = arrow.struct([(f.name, arrow.string()) for f in fields(Sdist)])
    bug = [(f.name, arrow.list_(arrow.string()) if f.name == "tests" else arrow.string()) for f in fields(Bug)]
    types["bugs"] = arrow.list_(arrow.struct(bug))
    others = {name: value for row in rows for name, value in row.items() if name not in types}
    for name in others:
        if all(isinstance(row.get(name, ""), str) for row in rows):
            types[name] = arrow.string()
    packed = [{name: value for name, value in row.items() if name not in types} for row in rows]
    columns = [row | ({"extra": _json(extra)} if extra else {}) for row, extra in zip(rows, packed, strict=True)]
    if any(packed):
        types["extra"] = arrow.string()
    parquet.write_table(arrow.Table.from_pylist(columns, schema=arrow.schema(list(types.items()))), path)


# Task repositories.


def _folder_rows(folder: Path) -> Iterator[tuple[str, Row]]:
    if not (folder / "tasks").is_dir():
        raise ValueError(f"{folder}: expected a task repository with a folder tasks, got none")
    for task in sorted((folder / "tasks").iterdir()):
        if (task / "task.yaml").is_file():
            yield str(task), _task_row(task)


def _task_row(task: Path) -> Row:
    yaml = _module("yaml")
    try:
        row = _object(yaml.safe_load(_read(task / "task.yaml")), str(task / "task.yaml"))
    except yaml.YAMLError as error:
        raise ValueError(f"{task / 'task.yaml'}: expected YAML, got {' '.join(str(error).split())}") from error
    for name, filename in _FILES.items():
        if (task / filename).is_file():
            row[name] = _read(task / filename)
        elif name not in _OPTIONAL_FILES:
            raise ValueError(f"{task}: expected a file {filename}, got none")
    if not (task / "tests.json").is_file():
        raise ValueError(f"{task}: expected a file tests.json, got none")
    row |= _object(_parsed(_read(task / "tests.json"), str(task / "tests.json")), str(task / "tests.json"))
    for name in row.pop(_FILLED_IN, ()):
        row.pop(name, None)
    if row.get("instance_id") != task.name:
        raise _wrong(
            str(task / "task.yaml"), f"instance_id to be the folder's name {task.name!r}", row.get("instance_id")
        )
    return row


def _write_folder(rows: list[Row], folder: Path) -> None:
    for row in rows:
        if not re.fullmatch(r"(?!\.+$)[^/\0]+", row["instance_id"]):
            raise ValueError(f"expected an instance_id that can be a folder's name, got {row['instance_id']!r}")
        if _FILLED_IN in row or not row.get("Dockerfile", "FROM").strip():
            raise ValueError(
                f"{row['instance_id']}: expected extra without {_FILLED_IN!r} and with no empty Dockerfile, got one"
            )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"expected {folder} to be new or empty, got something in it")
    (folder / "tasks").mkdir(parents=True)
    named = [name for row in rows if isinstance(row.get("datasets"), list) for name in row["datasets"]]
    own = f"local/{folder.absolute().name}"
    filled = {"datasets": [own], "eval_type": "pass_and_fail", "split": "test"}
    splits = sorted({str(row.get("split", "test")) for row in rows} | {"test"})
    config = {"datasets": sorted({str(name) for name in named} | {own}), "splits": splits}
    _write(folder / "sweb.yaml", _yaml(config))
    for row in rows:
        _write_task(row, filled, folder / "tasks" / row["instance_id"])


def _write_task(row: Row, filled: Row, task: Path) -> None:
    task.mkdir()
    if row["image"]:
        filled = {**filled, "Dockerfile": f"FROM {row['image']}\n"}  # stands for the one that nobody knows
    filled = {name: value for name, value in filled.items() if name not in row}
    whole = {**row, **filled, _FILLED_IN: sorted(filled)}
    tests = {name: whole.pop(name) for name in ("FAIL_TO_PASS", "PASS_TO_PASS")}
    _write(task / "tests.json", json.dumps(tests, indent=2) + "\n")
    for name, filename in _FILES.items():
        text = whole.pop(name, "")
        if text or name not in _OPTIONAL_FILES:
            _write(task / filename, text)
    _write(task / "task.yaml", _yaml(whole))


def _yaml(value: Row) -> str:
    """Return a mapping in ASCII: written as they are, some line breaks of Unicode do not come back."""
    return str(_module("yaml").safe_dump(value, allow_unicode=False, default_flow_style=False, width=120))


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8"))


# The hub.


def _hub_rows(name: str, split: str | None) -> Iterator[tuple[str, Row]]:
    loader = _module("swebench.harness.utils").load_swebench_dataset
    try:
        rows, found = loader(name, split or "test"), split or "test"
    except ValueError:
        if split is not None:
            raise
        rows, found = loader(name, "train"), "train"
    for number, row in enumerate(rows, 1):
        yield f"{name}:{found}, row {number}", {column: value for column, value in row.items() if value is not None}


def _module(name: str) -> Any:
    """Return a module of an optional dependency."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise DependencyNotInstalled(f"{package} is not installed: pip install 'textagent-gym[swebench]'") from error
