"""The command line that confines a program: what bubblewrap shows it, what `prlimit` allows it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from orchestai.arms.sandbox.gate import GATE
from orchestai.config import SandboxConfig

Language = Literal["python", "bash"]

WORK = "/work"
MAIN: Mapping[Language, str] = {"python": "main.py", "bash": "main.sh"}
PROGRAMS = "/usr/local/bin:/usr/bin:/bin"
"""Where our own tools are looked for: the caller's PATH could name another bwrap."""

_NOBODY = 65534
_MB = 1 << 20
_SHOWN = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/share/zoneinfo")
_LINKED = ("/bin", "/lib", "/lib32", "/lib64")
_LOADER = ("/etc/ld.so.cache", "/etc/alternatives")  # no accounts, no names, no settings
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": WORK,
    "TMPDIR": WORK,
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
}


class Descriptors(NamedTuple):
    """Open files that bubblewrap reads or writes."""

    status: int
    gate: int
    seccomp: int
    files: Mapping[str, int]


def sandbox_command(bubblewrap: str, language: Language, limits: SandboxConfig, descriptors: Descriptors) -> list[str]:
    """Return the whole command: bubblewrap, limits, gate, interpreter.

    The limits are set inside, because the process limit counts by user *namespace*: set outside, it would count
    bubblewrap's own user. The first process and bubblewrap's reaper need a place each.
    """
    python, shown = find_python()
    confined = [
        *("prlimit", f"--nproc={limits.processes + 1}", f"--as={limits.memory_mb * _MB}"),
        *(f"--cpu={limits.cpu_s}:{limits.cpu_s + 1}", f"--fsize={limits.file_mb * _MB}"),
        *("--core=0", "--nofile=256", "--msgqueue=0", "--memlock=0", "--"),
        *("bash", "--noprofile", "--norc", "-c", GATE.format(fd=descriptors.gate), "gate", "nice", "-n", "10"),
    ]
    # `-s -B -u`: no user's packages, no byte code, and what was printed is there when time is up.
    interpreter = [python, "-s", "-B", "-u"] if language == "python" else ["bash", "--noprofile", "--norc"]
    return [
        bubblewrap,
        *("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"),
        *("--uid", str(_NOBODY), "--gid", str(_NOBODY), "--cap-drop", "ALL", "--hostname", "sandbox"),
        *_system(shown),
        *_writable(limits, descriptors.files),
        *("--remount-ro", "/", "--chdir", WORK, "--clearenv"),
        *(part for name, value in _ENVIRONMENT.items() for part in ("--setenv", name, value)),
        *("--seccomp", str(descriptors.seccomp), "--json-status-fd", str(descriptors.status), "--"),
        *confined,
        *interpreter,
        MAIN[language],
    ]


def _system(python: tuple[str, ...]) -> Iterator[str]:
    """Show interpreters and libraries, read-only, and hide the packages that are installed beside them."""
    for path in (*_SHOWN, *_LOADER, *python):
        yield from ("--ro-bind-try", path, path)
    for linked in map(Path, _LINKED):
        if linked.is_symlink():
            yield from ("--symlink", str(linked.readlink()), str(linked))
        elif linked.is_dir():
            yield from ("--ro-bind", str(linked), str(linked))
    for library in ("/usr/lib", *python):
        for pattern in ("site-packages", "dist-packages", "python3*/site-packages", "python3*/dist-packages"):
            for packages in sorted(Path(library).glob(pattern)):
                yield from ("--size", "4096", "--tmpfs", str(packages), "--remount-ro", str(packages))


def _writable(limits: SandboxConfig, files: Mapping[str, int]) -> Iterator[str]:
    yield from ("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev")
    yield from ("--size", str(_MB), "--tmpfs", "/dev/shm")
    yield from ("--size", str(limits.work_mb * _MB), "--tmpfs", WORK, "--symlink", WORK, "/tmp")
    for name, descriptor in files.items():
        yield from ("--perms", "0644", "--file", str(descriptor), f"{WORK}/{name}")


def find_python() -> tuple[str, tuple[str, ...]]:
    """Return the interpreter to use, and what must be shown of it beside the system's folders.

    The system's own comes first: it can be read by the user without rights that bubblewrap runs as.
    """
    system = shutil.which("python3", path="/usr/bin:/bin")
    if system is not None:
        return system, ()
    prefix = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    libraries = sorted(str(path) for path in (prefix / "lib").glob("libpython*"))
    program = str(prefix / "bin" / version)
    return program, (program, str(prefix / "lib" / version), *libraries)


def unprivileged_user() -> dict[str, Any]:
    """Return the arguments with which a root process starts bubblewrap as `nobody`.

    The kernel exempts root from the process limit, even inside a user namespace.
    """
    if os.geteuid() != 0 or not _is_mapped(_NOBODY):
        return {}
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}


def _is_mapped(user: int) -> bool:
    try:
        lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    ranges = [(int(start), int(length)) for start, _, length in (line.split() for line in lines)]
    return any(start <= user < start + length for start, length in ranges)
