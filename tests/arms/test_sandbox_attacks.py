"""Programs that try to get out, to see, or to stay."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestai.arms.sandbox import Program, Sandbox, SandboxResult
from orchestai.config import SandboxConfig

PROJECT = Path(__file__).parents[2]


async def python(sandbox: Sandbox, code: str) -> SandboxResult:
    return await sandbox.run(Program(code=code))


async def bash(sandbox: Sandbox, code: str) -> SandboxResult:
    return await sandbox.run(Program(language="bash", code=code))


async def test_a_fork_bomb_in_bash(sandbox: Sandbox, survivors: Callable[[], list[str]]) -> None:
    result = await bash(sandbox, "bomb() { bomb | bomb & }; bomb; sleep 1; echo still here")
    assert "Resource temporarily unavailable" in result.stderr
    assert survivors() == []


async def test_a_fork_bomb_in_python_never_has_more_than_its_share(
    limits: SandboxConfig, survivors: Callable[[], list[str]]
) -> None:
    code = """
import os, time
end = time.time() + 2
while time.time() < end:
    try:
        os.fork()
    except OSError:
        pass
"""
    sandbox = Sandbox(limits)
    await sandbox.check()
    task = asyncio.create_task(python(sandbox, code))
    most = 0
    while not task.done():
        most = max(most, len(survivors()))
        await asyncio.sleep(0.1)
    await task
    # The program's processes, and three of bubblewrap: outside, the nested namespace's, inside.
    assert 4 < most <= limits.processes + 3
    assert survivors() == []


async def test_a_daemon_does_not_outlive_its_program(sandbox: Sandbox, survivors: Callable[[], list[str]]) -> None:
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2): os.close(fd)
        time.sleep(60)
    os._exit(0)
print("gone")
"""
    started = time.monotonic()
    result = await python(sandbox, code)
    assert result.stdout == "gone\n"
    assert time.monotonic() - started < 5
    assert survivors() == []


async def test_no_network(sandbox: Sandbox) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    unix = "\0orchestai-sandbox-test"
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(unix)
    abstract.listen()
    port = listener.getsockname()[1]
    code = f"""
import socket
def attempt(family, address):
    try:
        with socket.socket(family) as s:
            s.settimeout(2)
            s.connect(address)
        return "connected"
    except OSError as error:
        return error.strerror or str(error)
print(attempt(socket.AF_INET, ("192.0.2.1", 80)))
print(attempt(socket.AF_INET, ("127.0.0.1", {port})))
print(attempt(socket.AF_UNIX, {unix!r}))
try:
    print(socket.getaddrinfo("example.org", 80))
except OSError as error:
    print("no name")
for family in (socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK, socket.AF_ALG):
    try:
        print(socket.socket(family, socket.SOCK_RAW))
    except OSError as error:
        print(error.strerror)
print("end")
"""
    try:
        result = await python(sandbox, code)
    finally:
        listener.close()
        abstract.close()
    assert result.stdout.splitlines() == [
        "Network is unreachable",
        "Connection refused",
        "Connection refused",
        "no name",
        *["Operation not permitted"] * 4,
        "end",
    ], result.stderr


async def test_no_file_of_the_host(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("top secret")
    secret.chmod(0o644)
    paths = [
        "/etc/passwd", "/etc/shadow", "/etc/hostname", "/etc/ssl", "/home", "/root", "/var", "/run", "/srv", "/opt",
        "/sys", "/boot", "/mnt", str(secret), str(PROJECT), str(PROJECT / "pyproject.toml"), str(Path.home()),
        "/usr/src", "/usr/local/share", "/dev/sda", "/dev/vda", "/dev/mem", "/dev/kvm",
    ]  # fmt: skip
    code = f"import os\nfor path in {paths!r}:\n    if os.path.exists(path): print(path)"
    result = await python(sandbox, code)
    assert (result.status, result.stdout) == ("ok", "")


async def test_no_installed_package(sandbox: Sandbox) -> None:
    code = """
import glob, sys
for pattern in ("/usr/lib/python3*/**/*-packages/*", "/usr/local/lib/python3*/*-packages/*"):
    print(glob.glob(pattern, recursive=True))
for name in ("orchestai", "pydantic", "yaml"):
    try:
        __import__(name)
        print(name)
    except ImportError:
        pass
"""
    result = await python(sandbox, code)
    assert result.stdout == "[]\n[]\n"


@pytest.mark.parametrize(
    "target", ["/x", "/usr/bin/x", "/usr/lib/x", "/etc/x", "/dev/x", "/proc/x", "/home/x", "/usr/bin/python3"]
)
async def test_no_writing_outside(sandbox: Sandbox, target: str) -> None:
    result = await python(sandbox, f"open({target!r}, 'w').write('x')")
    assert result.exit_code == 1
    assert any(word in result.stderr for word in ("Read-only", "Permission denied", "No such file"))


@pytest.mark.parametrize("setting", ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"])
async def test_no_change_to_the_kernel(sandbox: Sandbox, setting: str) -> None:
    before = _read(setting)
    result = await python(sandbox, f"open({setting!r}, 'w').write('-1000')")
    assert result.exit_code == 1, result.stdout
    assert _read(setting) == before


def _read(setting: str) -> str:
    return "" if setting == "/proc/sysrq-trigger" else Path(setting).read_text()


async def test_nothing_of_the_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY_OF_HOST", "sk-leak-me")
    code = """
import glob, os
print(sorted(os.environ))
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        data = open(path, "rb").read()
    except OSError:
        continue
    if b"sk-leak-me" in data or b"SECRET" in data: print("leak in", path)
for fd in os.listdir("/proc/self/fd"):
    try:
        target = os.readlink("/proc/self/fd/" + fd)
    except OSError:
        continue
    if int(fd) > 2 and not target.endswith("/fd"): print(fd, target)
print(os.getuid(), os.uname().nodename)
"""
    result = await python(sandbox, code)
    names = "['HOME', 'LANG', 'PATH', 'PWD', 'PYTHONHASHSEED', 'SHLVL', 'TMPDIR']"
    assert result.stdout == f"{names}\n65534 sandbox\n", result.stdout


async def test_only_its_own_processes_are_seen(sandbox: Sandbox) -> None:
    code = """
import os
print(len([name for name in os.listdir("/proc") if name.isdigit()]))
for number in (os.getppid(), 1):
    print(b"orchestai" in open(f"/proc/{number}/cmdline", "rb").read())
try:
    os.kill(%d, 0)
    print("reached the host")
except ProcessLookupError:
    print("no such process")
"""
    result = await python(sandbox, code % os.getpid())
    assert result.stdout.splitlines()[-1] == "no such process"
    assert int(result.stdout.split()[0]) <= 4


async def test_symlinks_lead_nowhere(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("top secret")
    code = f"""
import os
targets = ["/etc/passwd", {str(tmp_path / "secret")!r}, "../../../../etc/passwd", "/proc/1/root/etc/passwd",
           "/proc/1/cwd/etc/passwd", "/proc/self/root/etc/shadow", {str(PROJECT)!r}]
for number, target in enumerate(targets):
    os.symlink(target, f"link{{number}}")
    try:
        print(open(f"link{{number}}").read())
    except OSError as error:
        pass
    try:
        print(os.listdir(f"link{{number}}"))
    except OSError as error:
        pass
try:
    os.link("/usr/bin/env", "hard")
    print("hard link")
except OSError:
    pass
os.chdir("/")
for _ in range(40): os.chdir("..")
print(sorted(set(os.listdir(".")) - {{"bin", "dev", "etc", "lib", "lib32", "lib64", "proc", "tmp", "usr", "work"}}))
"""
    result = await python(sandbox, code)
    assert result.stdout == "[]\n", result.stdout + result.stderr


async def test_no_new_namespace_mount_or_trace(sandbox: Sandbox) -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.unshare(0x10000000), libc.mount(b"none", b"/work", b"tmpfs", 0, None), libc.ptrace(0, 0, 0, 0))
clone = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
print(libc.syscall(clone, 0x10000000 | 17, 0, 0, 0, 0))  # CLONE_NEWUSER
status = open("/proc/self/status").read()
print(status.split("CapEff:")[1].split()[0], status.split("NoNewPrivs:")[1].split()[0])
for call in (lambda: os.setuid(0), lambda: os.chroot("/work")):
    try:
        call()
        print("allowed")
    except OSError:
        pass
"""
    result = await python(sandbox, code)
    assert result.stdout == "-1 -1 -1\n-1\n0000000000000000 1\n", result.stdout + result.stderr


async def test_limits_cannot_be_raised(sandbox: Sandbox) -> None:
    code = """
import resource
for name in ("RLIMIT_NPROC", "RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE"):
    soft, hard = resource.getrlimit(getattr(resource, name))
    try:
        resource.setrlimit(getattr(resource, name), (hard + 1, hard + 1))
        print(name)
    except (OSError, ValueError):
        pass
"""
    assert (await python(sandbox, code)).stdout == ""


async def test_stopping_or_killing_the_reaper_changes_nothing(limits: SandboxConfig, survivors) -> None:
    sandbox = Sandbox(limits.model_copy(update={"wall_s": 1.0}))
    code = """
import os, signal, time
for number in (1, os.getppid()):
    for sent in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM):
        try: os.kill(number, sent)
        except OSError: pass
os.setpgid(0, 0)
while True: time.sleep(1)
"""
    result = await python(sandbox, code)
    assert result.status in ("timeout", "killed")
    assert survivors() == []


HOST = """
import asyncio, sys
from orchestai.arms.sandbox import Program, Sandbox
from orchestai.config import SandboxConfig
async def main():
    sandbox = Sandbox(SandboxConfig.model_validate_json(sys.argv[1]))
    await sandbox.check()
    print("ready", flush=True)
    await sandbox.run(Program(code="import os, time\\nos.fork()\\nos.fork()\\ntime.sleep(100)"))
asyncio.run(main())
"""


@pytest.mark.parametrize("after_s", [1.0, 0.0, 0.001, 0.002, 0.003, 0.005, 0.008, 0.012, 0.02])
async def test_a_killed_host_leaves_no_orphan(limits: SandboxConfig, after_s: float) -> None:
    size = 1000 + int(after_s * 1000)
    changed = limits.model_copy(update={"wall_s": 100.0, "file_mb": size})
    mark = f"--fsize={size << 20}"  # on the command line of every process of bubblewrap's own
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOST, changed.model_dump_json(), stdout=asyncio.subprocess.PIPE, cwd=PROJECT
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    await asyncio.sleep(after_s)
    seen = _tree_with(mark)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    quiet = 0
    for _ in range(60):  # what was forked in the last moment shows itself only once it has become bubblewrap
        left = _tree_with(mark)
        quiet = 0 if left else quiet + 1
        if quiet == 8:
            break
        await asyncio.sleep(0.05)
    if after_s == 1.0:
        assert len(seen) >= 6, "bubblewrap twice, and the four processes of the program"
        assert left == {}
    # Killed in the first milliseconds, bubblewrap's own child may be left waiting for a parent that is gone.
    # It has started nothing and never will.
    assert not [children for children in left.values() if children]
    for inert in left:
        os.kill(inert, signal.SIGKILL)


def _tree_with(mark: str) -> dict[int, list[int]]:
    """Processes on whose command line `mark` stands, and all that descend from them, with their children."""
    found: dict[int, list[int]] = {}
    waiting = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "cmdline").read_bytes():  # empty for a zombie
                waiting.append(int(folder.name))
        except OSError:
            continue
    while waiting:
        process = waiting.pop()
        try:
            listed = [
                int(c) for path in Path(f"/proc/{process}/task").glob("*/children") for c in path.read_text().split()
            ]
        except OSError:
            continue
        found[process] = listed
        waiting.extend(child for child in listed if child not in found)
    return found
