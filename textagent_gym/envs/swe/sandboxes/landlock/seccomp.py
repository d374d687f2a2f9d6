"""System calls that no test of a Python project needs and that would lead around a limit, as a filter for the kernel.

The filter is classic BPF over `struct seccomp_data`, as in the kernel's `Documentation/userspace-api/seccomp_filter.rst`.
What it refuses, and why:

- memory that is in no process and so in no sum (`memfd_create`, `shmget`, `semget`, `msgget`, `mq_open`), some of which
  outlives whoever made it,
- space on disk that is taken without being written (`fallocate`; the C library writes instead, as on file systems without),
- sockets of families that lead out of a network namespace (AF_VSOCK) or into parts of the kernel that no test needs: there
  are Unix sockets, IPv4 and IPv6,
- new user namespaces, in which a command would be root and could mount file systems without a size,
- watching files (`inotify_init`, `fanotify_init`): the programs of the host are there to be watched, too,
- parts of the kernel with a history of holes (`io_uring_setup`, `bpf`, `userfaultfd`, `perf_event_open`, keys, `ptrace`).
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Machine(NamedTuple):
    """A processor architecture: the kernel's name for it, and its numbers of system calls."""

    audit_arch: int
    calls: Mapping[str, int]


_NEWER = {"io_uring_setup": 425, "pidfd_getfd": 438, "memfd_secret": 447}

MACHINES = {
    "x86_64": Machine(
        0xC000003E,
        {
            "memfd_create": 319, "shmget": 29, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298, "ptrace": 101,
            "process_vm_readv": 310, "process_vm_writev": 311, "add_key": 248, "request_key": 249, "keyctl": 250,
            "setns": 308, "unshare": 272, "mount": 165, "open_by_handle_at": 304, "truncate": 76, "clone": 56,
            "clone3": 435, "socket": 41,
            "socketpair": 53, "semget": 64, "msgget": 68, "mq_open": 240, "fallocate": 285, "inotify_init": 253,
            "inotify_init1": 294, "fanotify_init": 300, **_NEWER,
        },
    ),
    "aarch64": Machine(
        0xC00000B7,
        {
            "memfd_create": 279, "shmget": 194, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241, "ptrace": 117,
            "process_vm_readv": 270, "process_vm_writev": 271, "add_key": 217, "request_key": 218, "keyctl": 219,
            "setns": 268, "unshare": 97, "mount": 40, "open_by_handle_at": 265, "truncate": 45, "clone": 220,
            "clone3": 435, "socket": 198,
            "socketpair": 199, "semget": 190, "msgget": 186, "mq_open": 180, "fallocate": 47, "inotify_init": 26,
            "inotify_init1": 26, "fanotify_init": 262, **_NEWER,
        },
    ),
}  # fmt: skip
"""Processors for which there is a filter; numbers from the kernel's `syscall_64.tbl` and `asm-generic/unistd.h`."""

_REFUSED = ("memfd_create", "memfd_secret", "shmget", "io_uring_setup", "bpf", "userfaultfd", "perf_event_open", "ptrace",
    "process_vm_readv", "process_vm_writev", "pidfd_getfd", "add_key", "request_key", "keyctl", "setns", "unshare",
    "mount", "open_by_handle_at", "semget", "msgget", "mq_open", "inotify_init", "inotify_init1",
    "fanotify_init")  # fmt: skip

_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_X32 = 0x40000000
_NEW_NAMESPACE = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET


def program(*, also: Sequence[str] = (), machine: str | None = None) -> bytes | None:
    """Return the filter, as an array of `struct sock_filter`, or None for a processor whose numbers are not in `MACHINES`.

    Args:
        also: Further calls to refuse, by the names in `MACHINES`. (Without "socket", pairs of connected sockets can still
            be made, which event loops need.)
        machine: The processor; default this one.
    """
    found = MACHINES.get(machine or platform.machine())
    if found is None:
        return None
    refused = [found.calls[name] for name in (*_REFUSED, *also)]
    lines = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, found.audit_arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        *_refuse(_AT_LEAST, _X32, errno.ENOSYS),
        # glibc falls back to clone, whose flags can be seen here; those of clone3 lie behind a pointer.
        *_refuse(_EQUAL, found.calls["clone3"], errno.ENOSYS),
    ]
    for number in refused:
        lines += _refuse(_EQUAL, number, errno.EPERM)
    lines += _refuse(_EQUAL, found.calls["fallocate"], errno.EOPNOTSUPP)
    families = [line for family in _FAMILIES for line in ((_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW))]
    for name in ("socket", "socketpair"):
        lines += _block(found.calls[name], [*families, (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT)])
    namespaces = _refuse(_ANY_BIT, _NEW_NAMESPACE, errno.EPERM)
    lines += _block(found.calls["clone"], [*namespaces, (_RETURN, 0, 0, _ALLOW)])
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _refuse(test: int, value: int, error: int) -> list[tuple[int, int, int, int]]:
    return [(test, 0, 1, value), (_RETURN, 0, 0, _ERRNO | error)]


def _block(call: int, lines: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Return what is done with the first argument of a call; the lines end with what becomes of it in any case."""
    return [(_EQUAL, 0, len(lines) + 1, call), (_LOAD, 0, 0, _FIRST_ARGUMENT_AT), *lines]
