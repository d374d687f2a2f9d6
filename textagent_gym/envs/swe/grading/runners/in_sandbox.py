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
import numbers  # noqa: E402, F401
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
     "sys.settrace", "sys.setprofile", "sys.addaudithook", "sys.monitoring.register_callback", "ctypes.PyObj_FromPtr",
     "ctypes.call_function"]
)  # fmt: skip
"""Audit events of looking for the runner's objects, of following its steps, and of writing to its memory."""

MEMORY = frozenset(
    ["memcpy", "memmove", "memset", "mempcpy", "memccpy", "bcopy", "bzero", "strcpy", "strncpy", "stpcpy", "read", "pread",
     "pread64", "readv", "preadv", "write", "pwrite", "pwrite64", "writev", "pwritev", "process_vm_readv",
     "process_vm_writev", "mprotect", "pkey_mprotect", "mmap", "mmap64", "mremap", "ptrace", "syscall"]
)  # fmt: skip
"""Functions of C that write to memory by an address, make memory writable, or write to a file that is memory."""

CODE = frozenset(["__code__", "__defaults__", "__kwdefaults__"])


def written_since(paths):
    """Return a function that says whether one of these files is another one by then, or has been written."""
    stat, no_file = os.stat, (OSError, ValueError)

    def state(path):
        try:
            found = stat(path)
        except no_file:
            return None
        return found.st_ino, found.st_ctime_ns  # nobody can set the time of a change

    before = [(path, state(path)) for path in paths]
    return lambda: any(state(path) != known for path, known in before)


def memory_finder():
    """Return a function that says whether a path leads to the memory of a process, by whatever name and links."""
    stat, no_file = os.stat, (OSError, ValueError, TypeError)
    processes = stat("/proc/self").st_dev if os.path.exists("/proc/self") else None

    def is_memory(path):
        try:
            found = stat(path)
        except no_file:
            return False
        # Of all files of a process in /proc its owner alone may read and write this one.
        return found.st_dev == processes and found.st_mode & 0o777 == 0o600

    return is_memory


def report_calls(module, names, refuse):
    """Replace functions of a module, of whose calls Python tells no hook, by ones that tell `refuse` first."""

    def reported(name, function):
        def call(*arguments):
            refuse(name)
            return function(*arguments)

        return call

    for name in names:
        setattr(module, name, reported(module.__name__ + "." + name, getattr(module, name)))


def ctypes_rules(refuse):
    """Return audit event -> function as `rules` does, of what leads to memory by `ctypes`."""
    text, a, starts, memory, load, busy, buffer = str, isinstance, str.startswith, MEMORY, __import__, [], [0]

    def looks_up(arguments):
        name = arguments[1]
        if not a(name, text):
            return ""
        return "a name of Python's" if starts(name, ("Py", "_Py")) else name if name in memory else ""

    def takes_buffer(arguments):
        buffer[0] = arguments[0] + arguments[2]
        return ""

    def takes_address(arguments):
        # `from_buffer` tells first of the buffer, and then of an address in it.
        return "" if arguments[0] == buffer[0] else "ctypes.cdata"

    def imports(arguments):
        if arguments[0] == "ctypes" and not busy:  # before anybody has its functions
            busy.append(True)
            try:
                report_calls(load("ctypes"), ("memmove", "memset"), refuse)
            except (ImportError, AttributeError):
                pass  # the import that is to come says so
            finally:
                busy.clear()
        return ""

    if "ctypes" in sys.modules:
        report_calls(sys.modules["ctypes"], ("memmove", "memset"), refuse)
    return {"ctypes.dlsym": looks_up, "ctypes.dlsym/handle": looks_up, "import": imports,
            "ctypes.cdata/buffer": takes_buffer, "ctypes.cdata": takes_address}  # fmt: skip


def rules(protected, refuse):
    """Return audit event -> function that says of the event's arguments which attack has them, "" for none."""
    function, text, a, starts, ends, codes = type(rules), str, isinstance, str.startswith, str.endswith, CODE
    names = frozenset(os.path.basename(file) for file in protected)
    writes, part_of, decoded, number = os.O_WRONLY | os.O_RDWR, str.rpartition, os.fsdecode, int
    is_memory = memory_finder()

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

    def opens(arguments):
        path, flags = arguments[0], arguments[-1]
        is_written = a(flags, number) and flags & writes
        # Imports read many files: a look at each would take a few per cent of a run.
        if (is_written or not (a(path, text) and ends(path, (".py", ".pyc")))) and is_memory(path):
            return "memory"
        return "a test written" if is_written and is_test(path) else ""

    def renames(arguments):
        return "a test written" if is_test(arguments[0]) or is_test(arguments[1]) else ""

    def always(event):
        return lambda arguments: event

    found = {event: always(event) for event in SEARCHES}
    found.update({"object.__setattr__": changes_code, "open": opens, **ctypes_rules(refuse)})
    found.update({"os.rename": renames, "os.link": renames, "os.symlink": renames, "os.remove": renames})
    return found


class Watch:
    """Refuses what is done to the runner from Python, or notes it where nothing is to be refused.

    Args:
        protected: Absolute paths of test files, whose functions nobody may change.
        allowed: What is not refused, since the repaired tree does it; None to note everything and refuse nothing.
    """

    __slots__ = ("fixed", "refuse", "seen", "tests_written")  # so that no method of it can be hidden by an attribute

    def __init__(self, protected, allowed):
        self.seen = set()
        self.fixed = []
        self.tests_written = written_since(protected)
        self.refuse = self.begin(frozenset(protected), allowed)

    def begin(self, protected, allowed):
        """Set the hook, which nothing in Python can take away; it uses nothing that could be replaced in `builtins`."""
        seen, leave, write, output = self.seen, os._exit, os.write, os.dup(2)  # pytest has another one meanwhile

        def refuse(what):
            if allowed is None:
                seen.add(what)
            elif what not in allowed:
                try:
                    write(output, b"the run was ended: " + what.encode() + b"\n")
                finally:
                    leave(3)

        get = rules(protected, refuse).get

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

    def check_tests(self):
        """Refuse if a test file has been written, as a child process could, of which no event tells."""
        if self.tests_written():
            self.refuse("a test written")


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
