"""Must-fail copies of test files: their tests fail, whatever stands in the file."""

import pytest

from textagent_gym.envs.swe.grading.guards import must_fail_copy

ODD = [
    "def test_a():\n    assert True\n",
    "\x0c\n# one\n\x0c\nimport os\n\x0c\nclass TestA:\n    def test_a(self):\n        x = 1\n",
    "S = 'a\u2028b\u2029c\x85d'\nT = '\x1c\x1d\x1e'\n\n\ndef test_a():\n    s = 'x\u2028y'\n    assert s\n",
    "S = '''\x0b\n\x0c\r\n'''\r\ndef test_a(): return 'a\u2028'\r\n",
    "S = 1\rdef test_a():\r    x = 2\r    assert x\r",
    "def test_a():\n    'é\u2028'; x = 1\n",
]


@pytest.mark.parametrize("source", ODD)
def test_a_must_fail_copy_fails(source: str) -> None:
    found = must_fail_copy(source, ["TestA::test_a" if "class" in source else "test_a"])
    assert found is not None
    names: dict[str, object] = {}
    exec(found, names)
    test = names["test_a"] if "test_a" in names else names["TestA"]().test_a  # type: ignore[operator]
    with pytest.raises(AssertionError):
        test()  # type: ignore[operator]
