"""The part that both runners inside the sandbox share: a watch over the interpreter, and a report that is signed.

A program is handed over as source text (`python -s -c`): this file, then what follows a mark in one of the runners. It
reads its job from standard input, and signs its report with a key that it was given there: what the code under test
prints, or leaves in files, counts for nothing. All that it needs is imported before the repository can be imported. It must
run on old interpreters, too: an image brings its own.

The code under test runs in the same process, and can reach whatever Python code can reach. So neither runner is believed
alone, and the watch ends a process in which something is done that only an attack on the runner needs.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,var-annotated,misc,union-attr,assignment,attr-defined"

import sys

# The folder in which it starts is the repository: nothing may be imported from there yet. Isolated mode (-I) would see to
# that, but takes no seed for hashes either, on whose order the names of some tests depend.
sys.path[:] = [place for place in sys.path if place]

import gc  # noqa: E402, F401
import hashlib  # noqa: E402
import hmac  # noqa: E402
import itertools  # noqa: E402, F401
import json  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import re  # noqa: E402, F401
import time  # noqa: E402, F401
import types  # noqa: E402, F401
import warnings  # noqa: E402, F401

set_random_state = random.seed


def seed():
    """Seed the random numbers of the standard library, and those of numpy where it is loaded."""
    set_random_state(0)
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(0)


def fix_examples(places):
    """Let hypothesis, if it lies in one of the folders, draw the same examples each time, however long they take."""
    if any(os.path.isdir(os.path.join(place, "hypothesis")) for place in places):
        from hypothesis import settings

        settings.register_profile("graded", derandomize=True, database=None, deadline=None)
        settings.load_profile("graded")


SEARCHES = frozenset(
    ["gc.get_objects", "gc.get_referrers", "gc.get_referents", "sys._current_frames", "sys._current_exceptions",
     "sys.settrace", "sys.setprofile", "sys.addaudithook", "sys.monitoring.register_callback", "ctypes.cdata",
     "ctypes.PyObj_FromPtr"]
)  # fmt: skip
"""Audit events of looking for the runner's objects, of following its steps, and of writing to its memory."""

CODE = frozenset(["__code__", "__defaults__", "__kwdefaults__"])


def rules(protected):
    """Return audit event -> function that says of the event's arguments which attack has them, "" for none."""
    function, text, a, starts, ends, codes = type(rules), str, isinstance, str.startswith, str.endswith, CODE
    names = frozenset(os.path.basename(file) for file in protected)
    writes, part_of, decoded, number = os.O_WRONLY | os.O_RDWR, str.rpartition, os.fsdecode, int

    def is_test(path):
        return not a(path, number) and part_of(decoded(path), "/")[2] in names

    def changes_code(arguments):
        name = arguments[1]
        if name not in codes or not a(arguments[0], function):
            return ""
        file = arguments[0].__code__.co_filename
        if starts(file, "<"):  # ours, or made by a string: named tuples give defaults to functions that they have made
            return name if name == "__code__" else ""
        # Others stay free: the standard library itself puts code into functions, in `types.coroutine`.
        return name if file in protected or "/_pytest/" in file or "/pluggy/" in file else ""

    def asks_for_python(arguments):
        return "a name of Python's" if a(arguments[1], text) and starts(arguments[1], ("Py", "_Py")) else ""

    def opens(arguments):
        path, flags = arguments[0], arguments[-1]
        if a(path, text) and starts(path, "/proc/") and ends(path, "/mem"):
            return "memory"
        return "a test written" if a(flags, number) and flags & writes and is_test(path) else ""

    def renames(arguments):
        return "a test written" if is_test(arguments[0]) or is_test(arguments[1]) else ""

    def always(event):
        return lambda arguments: event

    found = {event: always(event) for event in SEARCHES}
    found.update({"object.__setattr__": changes_code, "ctypes.dlsym": asks_for_python, "open": opens})
    found.update({"os.rename": renames, "os.link": renames, "os.symlink": renames, "os.remove": renames})
    return found


class Watch:
    """Refuses what is done to the runner from Python, or notes it where nothing is to be refused.

    Args:
        protected: Absolute paths of test files, whose functions nobody may change.
        allowed: What is not refused, since the repaired tree does it; None to note everything and refuse nothing.
    """

    def __init__(self, protected, allowed):
        self.seen = set()
        self.fixed = []
        self.refuse = self.begin(frozenset(protected), allowed)

    def begin(self, protected, allowed):
        """Set the hook, which nothing in Python can take away; it uses nothing that could be replaced in `builtins`."""
        seen, leave, write = self.seen, os._exit, os.write
        get = rules(protected).get

        def refuse(what):
            if allowed is None:
                seen.add(what)
            elif what not in allowed:
                write(2, b"the run was ended: " + what.encode() + b"\n")
                leave(3)

        def hook(event, arguments):
            rule = get(event)
            if rule is not None:
                attack = rule(arguments)
                if attack:
                    refuse(attack)

        if hasattr(sys, "addaudithook"):
            sys.addaudithook(hook)
        return refuse

    def fix(self, *prefixes, but=()):
        """Take note of the functions and classes of modules, but for some names; `check` refuses if one was replaced."""
        kinds = (type(main_of), type(len), type, staticmethod, classmethod, property)
        names = [name for name, module in sys.modules.items() if module and name.partition(".")[0] in prefixes]
        for module in map(sys.modules.get, sorted(names)):
            places = [vars(module)]
            places += [vars(value) for value in vars(module).values()
                       if isinstance(value, type) and value.__module__ == module.__name__]  # fmt: skip
            for place in places:
                self.fixed.append(
                    (place, [pair for pair in place.items() if isinstance(pair[1], kinds) and pair[0] not in but])
                )

    def check(self, last=None):
        """Refuse if something has been replaced in the modules that were fixed, or in the first `last` of them."""
        for place, entries in self.fixed[:last]:
            for name, value in entries:
                if place.get(name) is not value:
                    self.refuse("replaced")
                    return


def main_of(job):
    """Return what a job comes to before the repository can be imported: its key, its watch, and how to report."""
    here = os.getcwd()
    # Tests may leave this folder.
    key, path = bytes.fromhex(job.pop("key")), os.path.join(here, job.pop("report"))
    leave, encode, digest, sha256 = os._exit, json.dumps, hmac.new, hashlib.sha256
    open_file, write, close = os.open, os.write, os.close
    sys.path[:0] = job["before"]
    fix_examples(job["before"])
    seed()
    watch = Watch([os.path.join(here, file) for file in job["protected"]], job["allowed"])

    def plain(text):
        return text.encode("utf-8", "replace").decode("utf-8")

    def report(lines):
        lines = [*lines, *(["seen", event, ""] for event in sorted(watch.seen))]
        body = "".join(encode([plain(text) for text in line]) + "\n" for line in lines).encode("ascii")
        handle = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        write(handle, digest(key, body, sha256).hexdigest().encode() + b"\n")
        while body:
            body = body[write(handle, body) :]
        close(handle)
        leave(0)

    return watch, report


# --- a runner follows
