"""The compatibility page shows what pytest reported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from baselines.errors import ConfigError
from benchmarks import interop
from benchmarks.interop import LIBRARIES, Library, LibraryReport, row, run

ROOT = Path(interop.__file__).parent.parent


def test_every_test_of_a_library_says_what_it_runs() -> None:
    answer = {library.test for library in LIBRARIES}
    for test in answer:
        line = row(Library("it", (), test), LibraryReport({}, 1, 0, ()))
        what = line.split(" | ")[2]
        assert len(what) > 30, test
    present = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "interop").glob("test_*.py")}
    helpers = {f"tests/interop/test_{name}.py" for name in ("episode", "guard", "missing")}  # of no library
    assert present - helpers <= answer


def test_what_passed_failed_and_was_left_out_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_it.py").write_text(
        '"""All that can happen to a test."""\n'
        "import pytest\n"
        "def test_right(): pass\n"
        "@pytest.mark.slow\n"
        "def test_slow(): pass\n"
        "def test_wrong(): assert 0\n"
        "def test_elsewhere(): pytest.skip('no such machine')\n"
        "def test_also_elsewhere(): pytest.skip('no such machine')\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    monkeypatch.setattr(interop, "ROOT", tmp_path)
    library = Library("It", ("pytest", "no-such-thing"), "test_it.py", Path(sys.prefix))
    outcome = run(library)
    assert (outcome.passed, outcome.failed) == (2, 1)
    assert outcome.summary == "2 passed; 1 failed; skipped: no such machine"
    assert row(library, outcome).startswith(
        f"| It | {pytest.__version__} | All that can happen to a test. (`test_it.py`)"
    )


def test_a_module_that_is_left_out_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_it.py").write_text(
        '"""It."""\nimport pytest\npytest.importorskip("no_such_module", reason="it needs a GPU")\n'
    )
    monkeypatch.setattr(interop, "ROOT", tmp_path)
    assert run(Library("It", (), "test_it.py", Path(sys.prefix))).summary == "skipped: it needs a GPU"


def test_a_library_without_its_environment_is_said_to_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interop, "ROOT", tmp_path)
    outcome = run(Library("It", (), "test_it.py", Path("nowhere")))
    assert outcome.summary == "skipped: there is no nowhere: `make interop` makes it"


def test_an_unknown_library_is_told() -> None:
    with pytest.raises(ConfigError, match=r"expected --only among Gymnasium, vector environments, .*, got pygame"):
        interop.main(interop.Config(only=("pygame",)))
