"""The second runner inside the sandbox, of another make: it calls tests itself, with a small stand-in for pytest.

It knows functions, classes, `unittest.TestCase`, parameters, simple fixtures, `raises`, `warns` and `approx`. What it does
not know fails, on the repaired tree, too, and is left to the other runner.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,var-annotated,misc,union-attr,assignment,attr-defined"

import itertools
import json
import numbers
import os
import re
import sys
import time
import types
import warnings

from textagent_gym.envs.swe.grading.runners.in_sandbox import main_of, seed

# --- what follows runs below in_sandbox.py


class UnknownError(Exception):
    """Something of pytest's that the stand-in does not have."""


class Skipped(BaseException):
    """The end of a test that is skipped."""


class Raises:
    """The expectation of an exception or a warning, as a context."""

    def __init__(self, expected, match=None):
        self.expected, self.pattern, self.value = expected, match, None

    @property
    def type(self):
        """Class of what was raised."""
        return type(self.value)

    def match(self, pattern):
        """Claim that what was raised says so."""
        if not re.search(pattern, str(self.value)):
            raise AssertionError("not matched")
        return True

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            raise AssertionError("not raised")
        if not issubclass(kind, self.expected):
            return False
        self.value = value
        if self.pattern is not None:
            self.match(self.pattern)
        return True


class Warns(warnings.catch_warnings):
    """The expectation of a warning, as a context."""

    def __init__(self, expected=Warning, match=None):
        super().__init__(record=True)
        self.expected, self.pattern = expected, match

    def __enter__(self):
        self.list = super().__enter__()
        warnings.simplefilter("always")
        return self.list

    def __exit__(self, *problem):
        super().__exit__(*problem)
        if problem[0] is None and not any(
            issubclass(one.category, self.expected)
            and (self.pattern is None or re.search(self.pattern, str(one.message)))
            for one in self.list
        ):
            raise AssertionError("not warned")


class Approx:
    """A number, or a sequence or mapping of numbers, to within a little."""

    __hash__ = None

    def __init__(self, expected, rel=None, abs=None, nan_ok=False):  # noqa: A002
        self.expected = expected
        self.limits = (1e-6 if rel is None and abs is None else rel or 0), (1e-12 if abs is None else abs)

    def __eq__(self, actual):
        return self.close(actual, self.expected)

    def close(self, actual, expected):
        """Return whether two values are close."""
        if isinstance(expected, dict):
            return set(actual) == set(expected) and all(self.close(actual[key], expected[key]) for key in expected)
        if isinstance(expected, (list, tuple)):
            return len(actual) == len(expected) and all(map(self.close, actual, expected))
        return actual == expected or abs(actual - expected) <= max(self.limits[0] * abs(expected), self.limits[1])


class Mark:
    """A mark of pytest's: parameters are kept, and a test that could be skipped cannot be run."""

    def parametrize(self, names, values, indirect=False, ids=None, scope=None):
        """Return a decorator that gives a test parameters."""
        if indirect:
            return self.skip
        names = [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names)
        values = list(values)
        if any(isinstance(one, Param) and one.is_unknown for one in values):
            return self.skip
        rows = [one.values if isinstance(one, Param) else one if len(names) > 1 else [one] for one in values]
        sets = [dict(zip(names, row)) for row in rows]  # noqa: B905 (old interpreters)

        def decorate(test):
            test.sets_of_parameters = [*vars(test).get("sets_of_parameters", ()), sets]
            return test

        return decorate

    def skip(self, test=None, *arguments, **options):
        """Note that a test, or all of a class, cannot be run; or return a decorator that does."""
        if not callable(test):
            return self.skip
        test.is_unknown = True
        return test

    def __getattr__(self, name):
        if name in ("skipif", "xfail", "usefixtures"):
            return lambda *arguments, **options: self.skip
        return lambda *arguments, **options: arguments[0] if arguments and callable(arguments[0]) else lambda test: test


class Param(types.SimpleNamespace):
    """One set of parameters."""


class Unknown:
    """Something of pytest's that has only a name here, as in annotations."""

    def __init__(self, *arguments, **options):
        raise UnknownError(type(self).__name__)

    def __class_getitem__(cls, item):
        return cls


class Fixture:
    """A fixture: a function that makes a value."""

    def __init__(self, function, autouse=False, name=None, params=None, **options):
        self.is_unknown = params is not None
        self.function, self.autouse, self.name = function, autouse, name or function.__name__


def fixture(function=None, **options):
    """Make a fixture, or return a decorator that does."""
    return (lambda it: Fixture(it, **options)) if function is None else Fixture(function, **options)


def raises(expected, *arguments, **options):
    """Expect an exception, of a block or a call."""
    match = options.pop("match", None)
    if not arguments:
        return Raises(expected, match)
    with Raises(expected, match) as info:
        arguments[0](*arguments[1:], **options)
    return info


def param(*values, **options):
    """Return one set of parameters."""
    return Param(values=values, is_unknown=bool(options.get("marks")))


def skip(reason="", **options):
    """Skip a test."""
    raise Skipped(reason)


def fail(reason="", **options):
    """Fail a test."""
    raise AssertionError(reason)


def importorskip(name, *arguments, **options):
    """Return a module; a test that needs one which is not there is skipped."""
    try:
        __import__(name)
    except ImportError:
        raise Skipped(name) from None
    return sys.modules[name]


def stand_in():
    """Return a module that stands in for pytest."""
    module = types.ModuleType("pytest")
    for name, value in [("raises", raises), ("warns", Warns), ("approx", Approx), ("mark", Mark()), ("param", param),
                        ("fixture", fixture), ("skip", skip), ("fail", fail), ("importorskip", importorskip)]:  # fmt: skip
        setattr(module, name, value)

    def unknown(name):
        if name.startswith("__"):  # as `inspect` asks for
            raise AttributeError(name)
        return type(name, (Unknown,), {})

    module.__getattr__ = unknown
    module.deprecated_call = lambda: Warns((DeprecationWarning, PendingDeprecationWarning, FutureWarning))
    return module


class Session:
    """The test files of a run."""

    __slots__ = ("here", "modules")  # so that no method of it can be hidden by an attribute

    def __init__(self, here):
        self.here, self.modules = here, {}

    def module(self, path):
        """Return the module of a test file, under the name that pytest gives it."""
        if path not in self.modules:
            folder, name = os.path.split(os.path.join(self.here, path))
            parts = [name[:-3]]
            while os.path.exists(os.path.join(folder, "__init__.py")) and folder != self.here:
                folder, above = os.path.split(folder)
                parts.insert(0, above)
            if folder not in sys.path:
                sys.path.insert(0, folder)
            try:
                self.modules[path] = __import__(".".join(parts), fromlist=["x"])
            except BaseException:
                self.modules[path] = None
        if self.modules[path] is None:
            raise UnknownError(path)
        return self.modules[path]

    def run(self, path, names):
        """Run a test with each of its parameters; an exception says that it fails."""
        module = self.module(path)
        owner = module
        for name in names[:-1]:
            owner = getattr(owner, name)
        found = getattr(owner, names[-1])
        if getattr(found, "is_unknown", False) or getattr(owner, "is_unknown", False):
            raise UnknownError(path)
        sets = getattr(found, "sets_of_parameters", [])
        if owner is not module:
            sets = [*getattr(owner, "sets_of_parameters", []), *sets]
        for chosen in itertools.product(*sets):
            parameters = {}
            for one in chosen:
                parameters.update(one)
            self.call(module, owner, names[-1], parameters)

    def call(self, module, owner, name, parameters):
        """Run a test once."""
        if owner is module:
            self.with_fixtures([vars(module)], getattr(module, name), None, parameters)
            return
        unittest = sys.modules.get("unittest")
        if unittest is not None and issubclass(owner, unittest.TestCase):
            case = owner(name)
            owner.setUpClass()
            try:
                case.setUp()
                try:
                    getattr(case, name)()
                finally:
                    case.tearDown()
            finally:
                case.doCleanups()
                owner.tearDownClass()
            return
        instance = owner()
        for before in ("setup_class", "setup_method"):
            self.around(instance, before, name)
        try:
            places = [vars(kind) for kind in owner.__mro__] + [vars(module)]
            self.with_fixtures(places, getattr(owner, name), instance, parameters)
        finally:
            for after in ("teardown_method", "teardown_class"):
                self.around(instance, after, name)

    def around(self, instance, hook, name):
        """Call what a class does around its tests."""
        function = getattr(instance, hook, None)
        if function is not None:
            takes = function.__code__.co_argcount - 1
            function(*([getattr(instance, name)] if takes and hook.endswith("method") else []))

    def with_fixtures(self, places, function, instance, parameters):
        """Call a test with its parameters and fixtures."""
        known = {}
        for place in reversed(places):
            known.update({value.name: value for value in place.values() if isinstance(value, Fixture)})
        made, finishing = dict(parameters), []

        def value_of(name):
            if name not in made:
                if name not in known or known[name].is_unknown:
                    raise UnknownError(name)
                made[name] = called(known[name].function)
                if isinstance(made[name], types.GeneratorType):
                    finishing.append(made[name])
                    made[name] = next(made[name])
            return made[name]

        def called(callee):
            names = callee.__code__.co_varnames[: callee.__code__.co_argcount]
            first = [instance] if names[:1] == ("self",) else []
            optional = len(callee.__defaults__ or ())
            names = names[len(first) : len(names) - optional] + tuple(
                n for n in names[len(names) - optional :] if n in made
            )
            return callee(*first, **{name: value_of(name) for name in names})

        try:
            for one in known.values():
                if one.autouse:
                    value_of(one.name)
            called(function)
        finally:
            for generator in reversed(finishing):
                next(generator, None)


def literal(value, size=1000):
    """Return a value as Python writes it, "" where it is no plain data or too large.

    A subclass counts as its base, and a fraction or a decimal as the number that it equals.
    """
    base = next((kind for kind in (bool, int, float, str, bytes, tuple, list, dict) if isinstance(value, kind)), None)
    if value is None or base in (bool, int, float, str, bytes):
        text = repr(value) if base is None else base.__repr__(value)
    elif base is not None and len(value) <= size:
        # By the base's own methods, since those of the subclass may do anything.
        items = [part for pair in dict.items(value) for part in pair] if base is dict else base.__iter__(value)
        parts = [literal(part, size) for part in items]
        if not all(parts):
            return ""
        if base is dict:
            parts = [key + ": " + part for key, part in zip(parts[::2], parts[1::2])]  # noqa: B905 (old interpreters)
        inside = ", ".join(parts)
        if base is tuple:
            text = "(" + inside + (",)" if parts else ")")
        else:
            text = "{" + inside + "}" if base is dict else "[" + inside + "]"
    elif isinstance(value, (set, frozenset)) and len(value) <= size:
        parts = [literal(part, size) for part in value]
        text = "{" + ", ".join(parts) + "}" if parts and all(parts) else "" if parts else "set()"
    elif isinstance(value, numbers.Number) and hasattr(value, "as_integer_ratio"):
        try:
            above, below = value.as_integer_ratio()
            text = repr(above if below == 1 else above / below)
        except (ArithmeticError, ValueError):
            text = ""
    else:
        text = ""
    return text if len(text) <= size else ""


class Recorder:
    """Records the values that a test gives it, by their numbers."""

    def __init__(self):
        self.values = {}

    def __call__(self, number, value):
        """Record a value."""
        self.values.setdefault(number, []).append(literal(value) or "repr " + repr(value)[:300])

    def texts(self):
        """Return number -> value as Python writes it: the list of all where a test, as in a loop, has given several."""
        return {number: texts[0] if len(texts) == 1 else self.list_of(texts) for number, texts in self.values.items()}

    @staticmethod
    def list_of(texts):
        """Return the text of a list of recorded values."""
        marked = [text for text in texts if text.startswith("repr ")]
        return ("repr " if marked else "") + "[" + ", ".join(texts) + "]"


def main():
    """Do the job."""
    job = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    watch, write_report = main_of(job)
    here = os.getcwd()
    sys.modules["pytest"], sys.modules["_pytest"] = stand_in(), None
    watch.fix("builtins")
    watch.fix("__main__", "pytest")
    session = Session(here)
    sys.path[:0] = [os.path.join(here, folder) for folder in job["paths"]]
    lines = []
    for path, name in job["tests"]:
        recorder, started = Recorder(), time.perf_counter()
        try:
            seed()
            if job["records"]:
                session.module(path).record_value_ = recorder
            session.run(path, name.split("::"))
            outcome = "passed"
        except BaseException:
            outcome = "failed"
        watch.check()
        lines.append([outcome, path + "::" + name, ""])
        if job["records"]:
            found = {"seconds": time.perf_counter() - started, "values": recorder.texts()}
            text = json.dumps(found)
            lines.append(["message", path + "::" + name, text if len(text) <= job["records"] else "{}"])
    watch.check_tests()
    write_report(lines)


main()
