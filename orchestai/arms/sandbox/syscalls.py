"""The system calls that a program in the sandbox may not make, as a seccomp filter.

Namespaces already take the network and the files away. The filter takes what they leave: memory that no limit
counts (memfd, System V shared memory, message queues), sockets that no network namespace confines (vsock,
netlink, packet, crypto), and the parts of the kernel where most escapes were found.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterator
from typing import NamedTuple

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF: ld [k], jeq, jge, ret
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # SECCOMP_RET_*; refusals say EPERM
_X32 = 0x40000000
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6


class _Machine(NamedTuple):
    audit: int
    socket: int
    refused: tuple[int, ...]


# Each name at its number on x86_64 and on aarch64 (whose table is the kernel's generic one).
_REFUSED = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setns": (308, 268),
    "shmget": (29, 194),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, tuple(numbers[0] for numbers in _REFUSED.values())),
    "aarch64": _Machine(0xC00000B7, 198, tuple(numbers[1] for numbers in _REFUSED.values())),
}


def seccomp_filter(machine: str | None = None) -> bytes | None:
    """Return the filter as `bwrap --seccomp` reads it, or null for a machine whose numbers are not known here.

    Args:
        machine: As `uname -m` says it; null means this machine.
    """
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in _program(known))


def _program(machine: _Machine) -> Iterator[tuple[int, int, int, int]]:
    # Jumps count the instructions to leap over, and the three verdicts stand at the end.
    calls = len(machine.refused)
    families = len(_FAMILIES)
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _EQUAL, 0, calls + families + 6, machine.audit  # else: kill
    yield _LOAD, 0, 0, _NUMBER
    yield _AT_LEAST, calls + families + 4, 0, _X32  # kill: the x32 table has other numbers
    for position, number in enumerate(machine.refused):
        yield _EQUAL, calls - position + families + 2, 0, number  # refuse
    yield _EQUAL, 0, families + 1, machine.socket  # else: allow
    yield _LOAD, 0, 0, _FIRST_ARGUMENT
    for position, family in enumerate(_FAMILIES):
        last = position == families - 1
        yield _EQUAL, families - position - 1, 1 if last else 0, family  # allow; the last one else: refuse
    yield _RETURN, 0, 0, _ALLOW
    yield _RETURN, 0, 0, _REFUSE
    yield _RETURN, 0, 0, _KILL
