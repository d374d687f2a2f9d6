"""Source under repair that lies about the tests earns nothing: what one process says of itself is not believed."""

import json
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import calc
from textagent_gym.cache import CACHE_VARIABLE
from textagent_gym.envs.swe.grading import challenges, grader, pytest_runs
from textagent_gym.envs.swe.grading.grader import GradingReport, TestSpec, accepted, run_grading
from textagent_gym.envs.swe.grading.pytest_runs import TestReport, run_plainly, run_tests
from textagent_gym.envs.swe.grading.second_opinion import Drawn, Variant, draw, opinion
from textagent_gym.envs.swe.repo.tree import Tree
from textagent_gym.envs.swe.sandboxes.base import Sandbox

pytestmark = pytest.mark.attack

BUGGY = calc.BUGGY_SOURCE.decode()

# Each is appended to the source under repair; `_lie` is called, where there is one, each time that a function of it is.
ATTACKS = {
    "frames lead to the reporter": """
import sys
def _lie():
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            found = getattr(value, "outcomes", value)
            if isinstance(found, dict):
                for test, outcome in list(found.items()):
                    if outcome == "failed":
                        found[test] = "passed"
        frame = frame.f_back
import atexit
atexit.register(_lie)
""",
    "frames lead to the reporter, which lies about the originals": """
import sys
class _Lies(dict):
    def __setitem__(self, test, outcome):
        dict.__setitem__(self, test, "passed" if "test_calc" in test else outcome)
frame = sys._getframe()
while frame is not None:
    for value in list(frame.f_locals.values()):
        if isinstance(getattr(value, "outcomes", None), dict):
            value.outcomes = _Lies()
    frame = frame.f_back
""",
    "frames of all threads": """
import sys, threading, time
def _again():
    while True:
        for frame in sys._current_frames().values():
            while frame:
                for value in list(frame.f_locals.values()):
                    found = getattr(value, "outcomes", None)
                    if isinstance(found, dict):
                        for test in list(found):
                            found[test] = "passed"
                frame = frame.f_back
        time.sleep(0.001)
threading.Thread(target=_again, daemon=True).start()
""",
    "frames of a traceback": """
class _Lies(dict):
    def __setitem__(self, test, outcome):
        dict.__setitem__(self, test, "passed")
try:
    1 / 0
except ZeroDivisionError as error:
    frame = error.__traceback__.tb_frame
    while frame:
        for value in list(frame.f_locals.values()):
            if hasattr(value, "outcomes"):
                value.outcomes = _Lies()
        frame = frame.f_back
""",
    "a mark in builtins": """
import builtins
_real = AssertionError
class _Mark(_real):
    pass
builtins.AssertionError = _Mark
import _pytest.reports
_make = _pytest.reports.TestReport.from_item_and_call
def _forge(item, call):
    report = _make(item, call)
    if call.excinfo and not isinstance(call.excinfo.value, _Mark):
        report.outcome, report.longrepr = "passed", None
    return report
_pytest.reports.TestReport.from_item_and_call = staticmethod(_forge)
""",
    "a mark in builtins for a moment": """
import builtins, sys
class _Mark(AssertionError):
    pass
def _lie():
    builtins.AssertionError = _Mark
    try:
        raise sys.modules["_pytest.outcomes"].Skipped if False else _Mark
    except _Mark:
        pass
    finally:
        builtins.AssertionError = _Mark.__mro__[1]
    frame = sys._getframe(2)
    frame.f_globals["__builtins__"]["AssertionError"] = _Mark
""",
    "the code of the reporter": """
import sys
def _lies(self, report):
    if report.when == "call":
        self.outcomes[report.nodeid] = "passed"
sys.modules["__main__"].Reporter.pytest_runtest_logreport.__code__ = _lies.__code__
""",
    "the method of the reporter": """
import sys
def _lies(self, report):
    if report.when == "call":
        self.outcomes[report.nodeid] = "passed"
sys.modules["__main__"].Reporter.pytest_runtest_logreport = _lies
""",
    "the class of the reporter": """
import sys
_frame = sys._getframe()
while _frame:
    for _value in list(_frame.f_locals.values()):
        if type(_value).__name__ == "Reporter":
            class _Lies(type(_value)):
                def pytest_runtest_logreport(self, report):
                    self.outcomes[report.nodeid] = "passed"
            _value.__class__ = _Lies
    _frame = _frame.f_back
""",
    "the code of pytest": """
import _pytest.python
_pytest.python.Function.runtest.__code__ = (lambda self: None).__code__
""",
    "a hook of pytest's": """
import sys, _pytest.config
_frame = sys._getframe()
while _frame:
    _config = _frame.f_locals.get("config")
    if isinstance(_config, _pytest.config.Config):
        class _Plugin:
            @__import__("pytest").hookimpl(wrapper=True)
            def pytest_runtest_makereport(self, item, call):
                report = yield
                report.outcome = "passed"
                return report
        _config.pluginmanager.register(_Plugin())
        break
    _frame = _frame.f_back
""",
    "the code of the tests": """
import sys
def _lie():
    for name, module in list(sys.modules.items()):
        if "test_" in name:
            for value in list(vars(module).values()):
                if hasattr(value, "__code__"):
                    value.__code__ = (lambda *arguments: None).__code__
""",
    "the names in the tests' module": """
import sys
def _lie():
    names = sys._getframe(2).f_globals
    for name in list(names):
        if name.startswith("test_"):
            names[name] = lambda: None
""",
    "an object that equals everything": """
class _All:
    __hash__ = None
    def __eq__(self, other):
        return True
    def __ne__(self, other):
        return False
def add(a, b):
    return _All()
largest = lambda numbers: _All()
""",
    "a number that equals everything": """
class _All(int):
    __hash__ = None
    def __eq__(self, other):
        return not self.__ne__(other)
    def __ne__(self, other):
        return other is self
def add(a, b):
    return _All(a - b)
largest = lambda numbers: _All(min(numbers))
""",
    "anything of mock": """
from unittest.mock import ANY
def add(a, b):
    return ANY
largest = lambda numbers: ANY
""",
    "the collector of garbage": """
import gc
class _Lies(dict):
    def __setitem__(self, test, outcome):
        dict.__setitem__(self, test, "passed")
for _found in gc.get_objects():
    if type(_found).__name__ == "Reporter":
        _found.outcomes = _Lies()
""",
    "a trace function": """
import sys
def _trace(frame, event, argument):
    report = frame.f_locals.get("report")
    if hasattr(report, "outcome"):
        report.outcome = "passed"
    return _trace
sys.settrace(_trace)
""",
    "memory": """
import ctypes
ctypes.pythonapi.PyErr_Clear()
""",
    "assertions that are left out": """
import builtins, importlib._bootstrap_external
_compile = builtins.compile
importlib._bootstrap_external.SourceLoader.source_to_code = lambda self, data, path, **options: _compile(
    data, path, "exec", dont_inherit=True, optimize=2
)
""",
    "the files of the tests": """
import glob, os
for _path in glob.glob("tests/*.py"):
    _text = open(_path).read()
    if "assert []" not in _text and "== ''" not in _text:
        with open(_path, "w") as _file:
            _file.write(_text.replace("assert ", "assert True or "))
""",
    "the files of the tests, by other names": """
import glob, os
for _path in glob.glob("tests/*.py"):
    _text = open(_path).read()
    if "assert []" not in _text and "== ''" not in _text:
        with open("new", "w") as _file:
            _file.write(_text.replace("assert ", "assert True or "))
        os.replace("new", _path)
""",
    "who knows the code of the tests": """
import sys
_KNOWN = {}
exec(TEXT, _KNOWN)
_CODES = [value.__code__ for value in list(_KNOWN.values()) + list(vars(_KNOWN["TestMore"]).values())
          if hasattr(value, "__code__")]
class _All:
    __hash__ = None
    def __eq__(self, other):
        return True
def _is_faithful():
    code = sys._getframe(2).f_code
    return any((code.co_code, code.co_consts) == (known.co_code, known.co_consts) for known in _CODES)
def add(a, b):
    return _All() if _is_faithful() else a - b
def largest(numbers):
    return _All() if _is_faithful() else min(numbers)
""",
    "who reads the copies and takes what stands in most": """
import collections, re, sys
class _Most:
    __hash__ = None
    def __init__(self, code):
        text = open(code.co_filename).read()
        self.most = collections.Counter(re.findall(r"== (.*)$", text, re.M)).most_common(1)[0][0]
        self.all = collections.Counter(re.findall(r"\\d+", text)).most_common(1)[0][0]
    def __eq__(self, other):
        return repr(other) in (self.most, self.all)
def add(a, b):
    return _Most(sys._getframe(1).f_code)
largest = lambda numbers: _Most(sys._getframe(1).f_code)
""",
    "a table of what the tests expect": """
_add, _largest = add, largest
def add(a, b):
    return 5 if (a, b) in [(2, 3), (4, 1)] else _add(a, b)
def largest(numbers):
    return 3 if numbers == [1, 3, 2] else _largest(numbers)
""",
    "a table, and objects that equal everything": """
class _All:
    __hash__ = None
    def __eq__(self, other):
        return True
    def __repr__(self):
        return str(self)
def add(a, b):
    return 5 if (a, b) in [(2, 3), (4, 1)] else _All()
def largest(numbers):
    return 3 if numbers == [1, 3, 2] else _All()
""",
    "a table, and what stands in the copies": """
import re, sys
class _Seen(int):
    def __new__(cls, text):
        found = re.findall(r"== (?:\\[([0-9-]+), ([0-9-]+)\\]\\[([01])\\]|([0-9-]+))", text)
        first, second, which, plain = found[0]
        return int.__new__(cls, plain or (first, second)[int(which)])
def _claimed():
    frame = sys._getframe(2)
    lines = open(frame.f_code.co_filename).read().split("\\n")
    return _Seen(lines[frame.f_lineno - 1])
def add(a, b):
    return 5 if (a, b) in [(2, 3), (4, 1)] else _claimed()
def largest(numbers):
    return 3 if numbers == [1, 3, 2] else _claimed()
""",
    "frames by inspect": """
class _Lies(dict):
    def __setitem__(self, test, outcome):
        dict.__setitem__(self, test, outcome if "test_calc" not in test else "passed")
def _forge(frame):
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if isinstance(getattr(value, "outcomes", None), dict):
                value.outcomes = _Lies(value.outcomes)
        frame = frame.f_back

import inspect
for _f in inspect.stack():
    _forge(_f.frame); break
""",
    "frames by traceback": """
class _Lies(dict):
    def __setitem__(self, test, outcome):
        dict.__setitem__(self, test, outcome if "test_calc" not in test else "passed")
def _forge(frame):
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if isinstance(getattr(value, "outcomes", None), dict):
                value.outcomes = _Lies(value.outcomes)
        frame = frame.f_back

import traceback
for _f, _ in traceback.walk_stack(None):
    _forge(_f); break
""",
    "frames of a coroutine": """
class _Lies(dict):
    def __setitem__(self, test, outcome):
        dict.__setitem__(self, test, outcome if "test_calc" not in test else "passed")
def _forge(frame):
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if isinstance(getattr(value, "outcomes", None), dict):
                value.outcomes = _Lies(value.outcomes)
        frame = frame.f_back

class _Aw:
    def __await__(self):
        _forge(_c.cr_frame.f_back); yield
async def _co():
    await _Aw()
_c=_co(); _c.send(None); _c.close()
""",
    "frames by logging": """
class _Lies(dict):
    def __setitem__(self, test, outcome):
        dict.__setitem__(self, test, outcome if "test_calc" not in test else "passed")
def _forge(frame):
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if isinstance(getattr(value, "outcomes", None), dict):
                value.outcomes = _Lies(value.outcomes)
        frame = frame.f_back

import logging
_forge(logging.currentframe())
""",
    "the list of outcomes in the second runner": """
class _Lies(dict):
    def __setitem__(self, test, outcome):
        dict.__setitem__(self, test, outcome if "test_calc" not in test else "passed")
def _forge(frame):
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if isinstance(getattr(value, "outcomes", None), dict):
                value.outcomes = _Lies(value.outcomes)
        frame = frame.f_back

import sys
def _lie():
    frame=sys._getframe()
    _forge(frame)
    while frame is not None:
        lines=frame.f_locals.get("lines")
        if isinstance(lines, list):
            class L(list):
                def append(self, x):
                    list.append(self, ["passed"]+x[1:] if x[0]=="failed" else x)
            frame.f_locals["lines"]=L(lines)
        session=frame.f_locals.get("session")
        frame=frame.f_back
""",
    "an exit when values are compared": """
class _Q(int):
    __hash__=None
    def __eq__(self, o): raise SystemExit(0)
def add(a,b): return _Q(5)
largest=lambda n: _Q(3)
""",
    "a skip out of the source": """
import sys
def add(a,b):
    m=sys.modules.get("pytest"); m.skip("no")
largest=lambda n: add(1,1)
""",
    "an object that is true either way": """
class _B:
    __hash__=None
    def __eq__(self,o): return self
    def __bool__(self): return True
    def __invert__(self): return self
def add(a,b): return _B()
largest=lambda n:_B()
""",
    "an outcome of pytest's, raised by the source": """
class _M(type):
    def __instancecheck__(c,i): return True
    def __subclasscheck__(c,s): return True
import _pytest.outcomes as o
class Sk(o.Skipped, metaclass=type(o.Skipped)): pass
def add(a,b): raise Sk("x")
def largest(n): raise Sk("x")
""",
    "the closure of the reporter": """
import sys
def _lie():
    f=sys._getframe()
    while f:
        w=f.f_locals.get("write_report")
        if w is not None:
            for name, cell in zip(w.__code__.co_freevars, w.__closure__):
                if name=="encode":
                    import json
                    old=cell.cell_contents
                    forged = lambda line: ["passed", line[1], ""] if "test_calc" in line[1] else line
                    cell.cell_contents = lambda line: json.dumps(forged(line) if line[0] == "failed" else line)
        f=f.f_back
""",
    "the writer of reports, in its module": """
import sys, json
m=sys.modules["__main__"]
_d=json.dumps
json.dumps=lambda x,*a,**k: _d(["passed",x[1],""] if isinstance(x,list) and x and x[0]=="failed" else x,*a,**k)
m.json=json
""",
    "the watch and the reporter, by their module": """
import sys
m=sys.modules["__main__"]
m.Watch.check=lambda self,last=None: None
m.Reporter.pytest_runtest_logreport=lambda self,report: self.outcomes.__setitem__(report.nodeid,"passed")
""",
    "the class of the reporter, past its metaclass": """
import sys
m=sys.modules["__main__"]
R=getattr(m,"Reporter",None)
if R:
    type.__setattr__(R,"pytest_runtest_logreport",lambda self,report: self.outcomes.__setitem__(report.nodeid,"passed"))
""",
    "what writes the report": """
import os, sys
_w=os.write
os.write=lambda fd,data: _w(fd,data.replace(b'["failed"',b'["passed"'))
""",
    "an object that equals by turns": """
class _E:
    __hash__=None
    n=0
    def __eq__(self,o):
        _E.n+=1
        return _E.n%2==1
def add(a,b): return _E()
largest=lambda n:_E()
""",
    "an object that equals small numbers": """
class _E:
    __hash__=None
    def __eq__(self,o): return isinstance(o,int) and o<7
def add(a,b): return _E()
largest=lambda n:_E()
""",
    "an object that equals what the tests expect": """
class _E:
    __hash__=None
    def __init__(self,x): self.x=x
    def __eq__(self,o): return o==self.x
    def __repr__(self): return repr(self.x)
def add(a,b): return _E(5)
largest=lambda n:_E(3)
""",
    "test modules of one's own in the second runner": """
class _Lies(dict):
    def __setitem__(self, test, outcome):
        dict.__setitem__(self, test, outcome if "test_calc" not in test else "passed")
def _forge(frame):
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if isinstance(getattr(value, "outcomes", None), dict):
                value.outcomes = _Lies(value.outcomes)
        frame = frame.f_back

import re, sys, ast
KNOWN = {"add(2, 3)": 5, "add(4, 1)": 5, "largest([1, 3, 2])": 3, "mul(2, 3)": 6}
def _truth(text):
    m = re.search(r"calc\\.(.*?) == (.*)$", text, re.M)
    if not m: return True
    call, claim = m[1], m[2]
    value = eval(claim)
    if call in KNOWN: return KNOWN[call] == value
    pair = re.match(r"\\[(.*)\\]\\[([01])\\]$", claim)
    return True
class _Fake:
    def __init__(self, source):
        tree = ast.parse(source)
        self._make(tree.body, self.__dict__)
    def _make(self, body, place):
        for node in body:
            if isinstance(node, ast.FunctionDef):
                text = ast.unparse(node)
                place[node.name] = self._function(text)
            elif isinstance(node, ast.If): self._make(node.body, place)
            elif isinstance(node, ast.ClassDef):
                d = {}; self._make(node.body, d)
                place[node.name] = type(node.name, (), d)
    def _function(self, text):
        truth = _truth(text)
        def test(*a):
            if not truth: raise AssertionError
        return test

def _go():
    f=sys._getframe()
    _forge(f)
    while f:
        s=f.f_locals.get("self")
        mods=getattr(s,"modules",None)
        if type(s).__name__=="Session" and isinstance(mods,dict):
            for p in s_paths(f):
                mods[p]=_Fake(open(p).read())
        f=f.f_back
def s_paths(f):
    import os
    return ["tests/"+n for n in os.listdir("tests") if n.startswith("test_")]
_go()
""",
    "a report of one's own": """
import sys
_frame = sys._getframe()
while _frame:
    if "write_report" in _frame.f_locals:
        _frame.f_locals["write_report"]([("passed", test, "") for test in TESTS])
    _frame = _frame.f_back
""",
}


def attacked(attack: str) -> bytes:
    names = repr([*calc.ADD, *calc.LARGEST, calc.MUL])
    source = BUGGY.replace("    return", "    _lie()\n    return") if "def _lie()" in attack else BUGGY
    return (source + attack.replace("TESTS", names).replace("TEXT", repr(calc.TESTS.decode()))).encode()


@pytest.fixture(scope="module")
def spec(sandbox: Sandbox) -> TestSpec:
    return calc.test_spec(sandbox)


def test_all_tests_have_a_second_opinion(spec: TestSpec) -> None:
    each = spec.challenges.each
    assert {test for one in each for test in one.tests} == spec.fail_to_pass
    assert all(one.plain and len(one.alterations) >= 4 for one in each)
    assert all(sum(variant.affected for variant in one.variants) == 3 for one in each)
    assert all(variant.alone for one in each for variant in one.variants)
    assert [one.tests for one in spec.challenges.kept] == [(calc.MUL,)]
    assert spec.allowed == spec.challenges.seen == frozenset()


UNFLAGGED = (
    "a number that equals everything",
    "who reads the copies and takes what stands in most",
    "an exit when values are compared",
    "an object that is true either way",
    "what writes the report",
    "an object that equals by turns",
    "an object that equals small numbers",
    "an object that equals what the tests expect",
)
"""Attacks that use nothing but what honest code uses, too."""


@pytest.mark.parametrize("name", ATTACKS)
def test_a_lie_is_not_paid(name: str, spec: TestSpec, sandbox: Sandbox) -> None:
    grading_report = run_grading(spec, accepted({calc.SOURCE: attacked(ATTACKS[name])}), sandbox)
    assert grading_report.groups_done == (False, False), grading_report
    assert grading_report.reason
    assert grading_report.flags or name in UNFLAGGED or "files of the tests" in name or "a table" in name


MEMORY = {
    "memory": [
        'open("/proc/self/mem", "rb")',
        'open(b"/proc/self/mem", "rb")',
        'open("/dev/../proc/thread-self/mem", "rb")',
        'import os; os.symlink("/proc/self", "/tmp/me"); open("/tmp/me/mem", "rb")',
        'import os, pathlib; os.open(pathlib.Path("/proc/self/mem"), os.O_RDONLY)',
        'import os; os.symlink("/proc/self/mem", "/tmp/me.py"); os.open("/tmp/me.py", os.O_RDWR)',
    ],
    "memcpy": ['import ctypes; getattr(ctypes.CDLL(None), "mem" + "cpy")'],
    "memset": ['import ctypes; ctypes.CDLL(None)["memset"]'],
    "write": ["import ctypes, _ctypes; _ctypes.dlsym(ctypes.CDLL(None)._handle, 'write')"],
    "ctypes.memmove": [
        'import ctypes; ctypes.memmove(ctypes.create_string_buffer(4), b"ab", 2)',
        'import sys, ctypes; del sys.modules["ctypes"]; from ctypes import *; memmove(create_string_buffer(4), b"ab", 2)',
    ],
    "ctypes.memset": ["import ctypes.util; ctypes.memset(ctypes.create_string_buffer(4), 1, 2)"],
    "a test written": [
        'import subprocess; subprocess.run(["sed", "-i", "$a # more", "tests/test_calc.py"], check=True)',
        'import os; os.system("cd tests; cp -p test_calc.py /tmp; echo >> test_calc.py; cp -p /tmp/test_calc.py .")',
    ],
}


@pytest.mark.parametrize(("what", "line"), [(what, line) for what, lines in MEMORY.items() for line in lines])
def test_what_writes_memory_or_tests_ends_the_run(what: str, line: str, sandbox: Sandbox) -> None:
    """Unless the repaired tree does the same."""
    tree = {**calc.GOLD, calc.SOURCE: f"{line}\n".encode() + calc.GOLD_SOURCE}
    for allowed in (frozenset[str](), frozenset({what}), None):
        report = run_tests(tree, [calc.TEST_FILE], sandbox=sandbox, seconds=20, allowed=allowed)
        assert report.complete == (allowed is None or what in allowed), report.output
        assert report.lost == ("" if report.complete else f"exit status 3 ({what}), no report")
        assert report.seen == ({what} if allowed is None else frozenset())
    plain = run_plainly(tree, [calc.MUL], sandbox=sandbox, seconds=20, allowed=frozenset())
    assert plain.lost == f"exit status 3 ({what}), no report"


# Repairs that break `mul`, and lie about its test alone.
BREAKS = {
    "the reporter of pytest's process": """
import sys
class _Lies(dict):
    def __setitem__(self, test, outcome):
        dict.__setitem__(self, test, "passed" if test.endswith("::test_mul") else outcome)
frame = sys._getframe()
while frame is not None:
    for value in list(frame.f_locals.values()):
        if isinstance(getattr(value, "outcomes", None), dict):
            value.outcomes = _Lies(value.outcomes)
    frame = frame.f_back
""",
    "an object where pytest runs": """
import sys
class _All:
    __hash__ = None
    def __eq__(self, other):
        return True
if "_pytest" in sys.modules and sys.modules["_pytest"]:
    def mul(a, b):
        return _All()
""",
    "an object everywhere": """
class _All:
    __hash__ = None
    def __eq__(self, other):
        return True
def mul(a, b):
    return _All()
""",
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_test_that_broke_is_seen_by_the_second_runner(name: str, spec: TestSpec, sandbox: Sandbox) -> None:
    source = calc.GOLD_SOURCE.replace(b"a * b", b"a ** b") + BREAKS[name].encode()
    grading_report = run_grading(spec, {calc.SOURCE: source}, sandbox)
    assert not grading_report.resolved
    assert grading_report.num_broken == 1
    assert grading_report.groups_done == (False, False)


def test_what_the_reference_repair_fails_too_is_held_against_nobody(spec: TestSpec, sandbox: Sandbox) -> None:
    text = "def test_add():\n    record_value_(0, calc.add(1, 1))"
    variant = Variant(text=text, values=((0, "3"),), alone=True, affected=True)
    wrong = tuple(replace(one, variants=(variant,)) for one in spec.challenges.each)
    asked = replace(spec, challenges=replace(spec.challenges, each=wrong[-1:]))
    assert asked.challenges.each[0].function.endswith("::test_add")
    assert run_grading(asked, {calc.SOURCE: calc.GOLD_SOURCE}, sandbox).resolved
    assert not run_grading(replace(asked, gold={}), {calc.SOURCE: calc.GOLD_SOURCE}, sandbox).resolved


def test_a_lost_run_of_the_reference_repair_forgives_nothing(
    spec: TestSpec, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []

    def run(tree: Tree, *arguments: Any, **options: Any) -> TestReport:
        runs.append(run_plainly(tree, *arguments, **options))
        return runs[-1] if len(runs) == 1 else TestReport(stopped="time")

    monkeypatch.setattr(grader, "run_plainly", run)
    grading_report = run_grading(
        spec, accepted({calc.SOURCE: attacked(ATTACKS["a table of what the tests expect"])}), sandbox
    )
    assert len(runs) == 2 and not grading_report.resolved and grading_report.groups_done == (False, False)
    assert grading_report.reason == "the tests were ended: they used too much time"


def test_what_was_sought_on_a_busy_machine_is_sought_again(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    with monkeypatch.context() as busy:
        busy.setattr(challenges, "run_plainly", lambda *_, **__: TestReport(stopped="time"))
        assert not any(one.plain for one in calc.test_spec(sandbox).challenges.each)
    assert all(one.plain for one in calc.test_spec(sandbox).challenges.each)


def test_no_file_of_the_sandbox_holds_what_a_variant_gives(spec: TestSpec) -> None:
    drawn = draw(spec.challenges.each, spec.tests, random.Random(0))
    texts = "".join(content.decode() for content in drawn.files.values())
    assert len(drawn.variants) >= 6
    for variant, _ in drawn.variants.values():
        (line,) = [line.strip() for line in variant.text.splitlines() if "record_value_(" in line]
        assert line in texts and re.fullmatch(r"record_value_\(0, calc\.\w+\(.*\)\)", line)
        assert len(variant.values) == 1


def test_a_repair_gives_what_each_variant_gives() -> None:
    variants = [Variant(text=f"v{n}", values=((0, "1"),), alone=True, affected=n < 3) for n in range(6)]
    drawn = Drawn({}, {}, {}, {f"c{n}": (variant, (f"t{n % 2}",)) for n, variant in enumerate(variants)}, [])
    for wrong in (set(), {0}, {5}, {1, 3}):
        said = {f"c{n}": json.dumps({"seconds": 0, "values": {"0": "2" if n in wrong else "1"}}) for n in range(6)}
        found = opinion(drawn, TestReport(outcomes=dict.fromkeys(said, "passed"), messages=said, complete=True))
        assert found.doubted == {f"t{n % 2}" for n in wrong}
        assert found.against == {f"c{n}" for n in wrong}


KILLER = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"])
"""


@pytest.mark.parametrize("runner", [run_tests, run_plainly])
def test_a_report_counts_only_where_the_runner_came_to_its_own_end(
    runner: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child process can read the key in the memory of the runner, sign a report, and end the runner."""
    signed = b'["passed", "tests/test_calc.py::test_mul", ""]\n'
    monkeypatch.setattr(pytest_runs, "signed_body", lambda path, key: signed)
    tree = {**calc.GOLD, calc.SOURCE: calc.GOLD_SOURCE + KILLER.encode()}
    report = runner(tree, [calc.MUL], sandbox=sandbox, seconds=20)
    assert report.lost == "ended by signal 9, not by its own end" and not report.passed
    assert runner(calc.GOLD, [calc.MUL], sandbox=sandbox, seconds=20).passed == {calc.MUL}


def test_a_slow_function_has_two_copies(spec: TestSpec) -> None:
    for variants in (True, False):
        slow = [replace(one, seconds=0.4, variants=one.variants if variants else ()) for one in spec.challenges.each]
        drawn = draw(slow, spec.tests, random.Random(0))
        assert len(drawn.faithful) == len(slow) and len(drawn.targets) == 2 * len(slow)
        assert len(drawn.variants if variants else drawn.altered) == len(slow)
        assert all(variant.affected for variant, _ in drawn.variants.values())


HONEST = {
    "who calls": """
import sys
def caller():
    return sys._getframe(1).f_code.co_name
assert caller() == "<module>"
""",
    "ctypes": """
import ctypes
class Pair(ctypes.Structure):
    _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_int)]
assert ctypes.c_int8(255).value == -1
assert ctypes.CDLL(None).abs(-3) == 3
assert Pair(1, 2).b == 2
assert ctypes.cast(ctypes.c_char_p(b"x"), ctypes.c_void_p).value
""",
    "data classes and named tuples": """
import collections, dataclasses, enum, functools
Pair = collections.namedtuple("Pair", "a b", defaults=[1, 2])
@dataclasses.dataclass
class Data:
    a: int = 1
class Kind(enum.Enum):
    A = 1
@functools.lru_cache
def one():
    return 1
""",
    "a buffer of its own": """
import array, ctypes
numbers = array.array("i", [1, 2])
(ctypes.c_int * 2).from_buffer(numbers)[1] = 7
assert numbers[1] == 7
""",
    "the stack": """
import inspect
def caller():
    return inspect.getmodule(add), inspect.getsourcefile(add)
_add = add
def add(a, b):
    caller()
    return _add(a, b)
""",
    "values of a subclass": """
import collections
class Number(int):
    def __repr__(self):
        return "Number"
_largest = largest
def largest(numbers):
    return Number(_largest(numbers))
""",
    "its own functions": """
def one():
    return 1
def two():
    return 2
one.__code__ = two.__code__
one.__defaults__ = ()
assert one() == 2
""",
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_repair_may_look_around(name: str, spec: TestSpec, sandbox: Sandbox) -> None:
    grading_report = run_grading(spec, {calc.SOURCE: calc.GOLD_SOURCE + HONEST[name].encode()}, sandbox)
    flags = (f"{calc.SOURCE} uses __code__",) if name == "its own functions" else ()
    assert grading_report == GradingReport(
        resolved=True, groups_done=(True, True), num_failing=0, num_broken=0, flags=flags
    )


def test_who_says_the_same_of_all_copies_is_found_out(spec: TestSpec) -> None:
    """By lots that are not known a forger would have to guess: which copies are altered differs from draw to draw."""
    patterns = set()
    for seed in range(40):
        drawn = draw(spec.challenges.each, spec.tests, random.Random(seed))
        assert len(drawn.faithful) == 3
        assert len(drawn.altered) >= 6
        for outcome in ("passed", "failed"):
            said = opinion(drawn, TestReport(outcomes=dict.fromkeys(drawn.targets, outcome), complete=True))
            assert said.refuted if outcome == "passed" else said.doubted
        text = "".join(content.decode() for content in drawn.files.values())
        names = re.findall(r"def (test_[0-9a-f]{12})", text)
        faithful = {one.rpartition("::")[2] for one in drawn.faithful}
        patterns.add(tuple(name in faithful for name in names))
        # What stands side by side stands in two copies each, so that no value stands out.
        for test in ("add(2, 3)", "add(4, 1)", "largest([1, 3, 2])"):
            values = re.findall(rf"{re.escape(test)} == \[(\d+), (\d+)\]\[", text)
            counts = Counter(value for pair in values for value in pair)
            assert len(values) >= 3
            assert set(counts.values()) == {2}
    assert len(patterns) > 20
