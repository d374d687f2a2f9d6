"""Runs one command under Landlock and outlives it, to end whatever it leaves behind.

Started as a file by `landlock.py`, with nothing but the standard library. The arguments are two descriptors: on the first
comes the job, as JSON, and to the second goes what fails before the command runs. Numbers are those of the kernel's
`include/uapi/linux/landlock.h`, `prctl.h` and `capability.h`.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from typing import Any

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
SET_PDEATHSIG, KEEP_CAPS, SET_SECCOMP, CAPBSET_DROP, SET_SECUREBITS = 1, 8, 22, 24, 28
SET_CHILD_SUBREAPER, SET_NO_NEW_PRIVS, CAP_AMBIENT = 36, 38, 47
NO_SETUID_FIXUP = 1 << 2
PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REFER, TRUNCATE, IOCTL_DEV = (
    1 << 0,
    1 << 1,
    1 << 2,
    1 << 3,
    1 << 13,
    1 << 14,
    1 << 15,
)
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 1 << 0, 1 << 1
DAC_READ_SEARCH = 2

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Return a result of the C library, or an error that says what failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def prctl(option: int, *arguments: int) -> None:
    """Ask the kernel for something about this process."""
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    checked(libc.prctl(option, *padded), f"prctl({option})")


def handled(abi: int) -> tuple[int, int, int]:
    """Return the rights that a version of Landlock can restrict: to files, to the network, and others."""
    files = (1 << 13) - 1
    files |= (REFER if abi >= 2 else 0) | (TRUNCATE if abi >= 3 else 0) | (IOCTL_DEV if abi >= 5 else 0)
    network = BIND_TCP | CONNECT_TCP if abi >= 4 else 0
    scopes = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if abi >= 6 else 0
    return files, network, scopes


def ruleset(abi: int, grants: list[tuple[str, str]]) -> int:
    """Return a set of rules, as a descriptor; a grant is a path and one of "list", "read", "device", "write"."""
    files, network, scopes = handled(abi)
    attributes = (ctypes.c_uint64 * 3)(files, network, scopes)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    made = checked(libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), 0), "landlock_create_ruleset")
    only_files = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
    access = {
        "list": READ_DIR,
        "read": EXECUTE | READ_FILE | READ_DIR,
        "device": READ_FILE | WRITE_FILE,
        "write": files & ~IOCTL_DEV & ~(1 << 6) & ~(1 << 11),  # no devices are made
    }
    for path, kind in grants:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        allowed = access[kind] & files & (-1 if os.path.isdir(path) else only_files)
        rule = ctypes.create_string_buffer(allowed.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder), 12)
        checked(libc.syscall(ADD_RULE, made, PATH_BENEATH, rule, 0), f"landlock_add_rule({path})")
        os.close(place)
    return made


def become(user: int, search: bool) -> None:
    """Become a user without rights; `search` keeps the one to pass through folders that are closed to others."""
    if search:
        # Else access(2) would answer without the right that open(2) has, and programs would not find themselves.
        prctl(SET_SECUREBITS, NO_SETUID_FIXUP)
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):
        if not (search and capability == DAC_READ_SEARCH):
            prctl(CAPBSET_DROP, capability)
    prctl(KEEP_CAPS, int(search))
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    kept = 1 << DAC_READ_SEARCH if search else 0
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    checked(libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)), "capset")
    if search:
        prctl(CAP_AMBIENT, 2, DAC_READ_SEARCH)


def limit(limits: dict[str, int]) -> None:
    """Set the limits that the kernel looks after."""
    for name, value in limits.items():
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def run_command(job: dict[str, Any], parent: int) -> None:
    """Give up everything but what was granted, and become the command."""
    rules = ruleset(job["abi"], job["grants"])
    os.chdir(job["folder"])
    if job["user"] is not None:
        become(job["user"], job["search"])
    prctl(SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    limit(job["limits"])
    prctl(SET_NO_NEW_PRIVS, 1)
    checked(libc.syscall(RESTRICT_SELF, rules, 0), "landlock_restrict_self")
    if job["filter"]:
        code = bytes.fromhex(job["filter"])
        buffer = ctypes.create_string_buffer(code, len(code))

        class Program(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

        program = Program(len(code) // 8, ctypes.addressof(buffer))
        prctl(SET_SECCOMP, 2, ctypes.addressof(program))
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a command would inherit that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(job["argv"][0], job["argv"], job["environment"])
    except (OSError, ValueError) as error:  # the command's fault, as in a shell
        os.write(2, f"{job['argv'][0]}: {error}\n".encode("utf-8", "replace"))
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def descendants() -> list[int]:
    """Return all processes below this one."""
    found = [os.getpid()]
    for pid in found:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
            for thread in threads:
                with open(f"/proc/{pid}/task/{thread}/children") as children:
                    found += map(int, children.read().split())
        except OSError:
            continue
    return found[1:]


def kill_all(user: int | None) -> None:
    """Kill everything that the command left, until there is nothing more."""
    while True:
        if user is not None:  # all of a user's processes at once: no fork can get away
            killer = os.fork()
            if killer == 0:
                os.setresuid(user, user, user)
                try:
                    os.kill(-1, signal.SIGKILL)
                finally:
                    os._exit(0)
            os.waitpid(killer, 0)
        for pid in descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def main() -> None:
    """Run the job."""
    job_file, status = int(sys.argv[1]), int(sys.argv[2])
    with open(job_file, "rb") as file:
        job = json.load(file)
    os.set_inheritable(status, False)
    sweep = job["user"] if job["alone"] else None

    def stop(number: int, frame: object) -> None:
        kill_all(sweep)
        os._exit(1)

    signal.signal(signal.SIGTERM, stop)
    prctl(SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != job["parent"]:
        os._exit(1)
    prctl(SET_CHILD_SUBREAPER, 1)
    supervisor = os.getpid()
    command = os.fork()
    if command == 0:
        try:
            run_command(job, supervisor)
        except Exception as error:
            os.write(status, str(error).encode("utf-8", "replace") or b"?")
        os._exit(125)
    os.close(status)
    for stream in (0, 1, 2):
        os.close(stream)  # the command's alone: we must not keep its pipes open
    state = 0
    pid = 0
    while pid != command:
        pid, state = os.waitpid(-1, 0)
    kill_all(sweep)
    code = os.waitstatus_to_exitcode(state)
    os._exit(128 - code if code < 0 else code)


main()
