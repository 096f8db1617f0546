"""Real programs in a real sandbox: what must work, and each limit once."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from orchestai.arms.sandbox import Program, Sandbox, SandboxResult
from orchestai.arms.sandbox.gate import GATE, Gate
from orchestai.config import SandboxConfig
from orchestai.errors import InputError, SandboxUnavailableError


async def run(sandbox: Sandbox, code: str, **fields: object) -> SandboxResult:
    return await sandbox.run(Program.model_validate({"code": code, **fields}))


async def test_python_reads_its_input_and_files(sandbox: Sandbox) -> None:
    result = await run(
        sandbox,
        "import helper, pathlib\nprint(helper.double(input()), pathlib.Path('data/a.txt').read_text())\nexit(0)",
        files={"helper.py": "def double(x): return x * 2", "data/a.txt": "ä"},
        stdin="grün\n",
    )
    assert (result.status, result.exit_code, result.stdout, result.stderr) == ("ok", 0, "grüngrün ä\n", "")
    assert result.ok
    assert result.problem == ""


async def test_bash_runs_pipes(sandbox: Sandbox) -> None:
    result = await run(sandbox, "seq 1 5 | grep -v 3 | paste -sd+ | tr '+' ' '; echo oops >&2", language="bash")
    assert (result.stdout, result.stderr) == ("1 2 4 5\n", "oops\n")


async def test_two_runs_share_nothing(sandbox: Sandbox) -> None:
    await run(sandbox, "open('left', 'w').write('x'); open('/tmp/left2', 'w').write('x')")
    result = await run(sandbox, "import os; print(sorted(os.listdir('.')))")
    assert result.stdout == "['main.py']\n"


async def test_an_error_is_a_result_that_a_coder_can_work_with(sandbox: Sandbox) -> None:
    result = await run(sandbox, "print('before')\n1 / 0")
    assert (result.status, result.exit_code, result.stdout) == ("error", 1, "before\n")
    assert result.problem.startswith("The program ended with exit code 1.")
    assert "ZeroDivisionError" in result.problem
    assert (await run(sandbox, "exit 7", language="bash")).exit_code == 7


async def test_an_endless_loop_ends_with_the_time_and_keeps_its_output(limits: SandboxConfig) -> None:
    sandbox = Sandbox(limits.model_copy(update={"wall_s": 0.6}))
    await sandbox.check()
    started = time.monotonic()
    result = await run(sandbox, "print('here')\nwhile True: pass")
    assert (result.status, result.exit_code, result.stdout) == ("timeout", None, "here\n")
    assert 0.6 <= time.monotonic() - started < 3


async def test_a_program_that_closes_its_streams_is_still_ended(limits: SandboxConfig) -> None:
    sandbox = Sandbox(limits.model_copy(update={"wall_s": 0.6}))
    result = await run(sandbox, "import os, time\nfor fd in (0, 1, 2): os.close(fd)\ntime.sleep(60)")
    assert result.status == "timeout"


async def test_a_caller_may_allow_less_time_but_not_more(sandbox: Sandbox) -> None:
    started = time.monotonic()
    assert (await sandbox.run(Program(code="while True: pass"), wall_s=0.4)).status == "timeout"
    assert time.monotonic() - started < 3
    short = Sandbox(sandbox.limits.model_copy(update={"wall_s": 0.4}))
    assert (await short.run(Program(code="while True: pass"), wall_s=60)).status == "timeout"


async def test_processor_time_is_limited(limits: SandboxConfig) -> None:
    result = await run(Sandbox(limits.model_copy(update={"cpu_s": 1})), "while True: pass")
    assert result.status == "cpu_limit"


async def test_a_gigabyte_is_not_to_be_had(sandbox: Sandbox) -> None:
    result = await run(sandbox, "x = bytearray(1 << 30)")
    assert result.status == "error"
    assert "MemoryError" in result.stderr


async def test_nor_by_many_processes_together(limits: SandboxConfig) -> None:
    # Each stays far below the limit for one process; the sum does not.
    code = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        x = bytearray(b"x") * (60 << 20)
        time.sleep(30)
        os._exit(0)
time.sleep(30)
"""
    result = await run(Sandbox(limits), code)
    assert result.status == "memory_limit"
    assert result.duration_ms < 6000


async def test_nor_by_memory_that_no_limit_counts(sandbox: Sandbox) -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for name, *arguments in (("memfd_create", b"x", 0), ("shmget", 0, 1 << 20, 0o1600), ("msgget", 0, 0o1600)):
    print(getattr(libc, name)(*arguments), os.strerror(ctypes.get_errno()))
"""
    result = await run(sandbox, code)
    assert result.stdout == "-1 Operation not permitted\n" * 3, result.stderr


@pytest.mark.parametrize("folder", ["/work", "/tmp", "/dev/shm"])
async def test_disk_space_is_limited(sandbox: Sandbox, folder: str) -> None:
    code = f"""
import errno
try:
    for number in range(40):
        with open("{folder}/f%d" % number, "wb") as file:
            file.write(b"x" * (1 << 20))
except OSError as error:
    print(number, errno.errorcode[error.errno])
"""
    result = await run(sandbox, code)
    count, reason = result.stdout.split()
    assert reason == "ENOSPC"
    assert int(count) <= 8


async def test_one_file_is_limited(sandbox: Sandbox) -> None:
    result = await run(sandbox, "open('big', 'wb').write(b'x' * (6 << 20))")
    assert "File too large" in result.stderr


async def test_many_empty_files_are_limited(sandbox: Sandbox) -> None:
    code = "import time\nfor n in range(100000): open(str(n), 'w').close()\ntime.sleep(20)"
    assert (await run(sandbox, code)).status == "file_limit"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_endless_output_ends(sandbox: Sandbox, stream: str) -> None:
    result = await run(sandbox, f"import sys\nwhile True: sys.{stream}.write('y' * 1000)")
    assert result.status == "output_limit"
    assert result.truncated
    assert getattr(result, stream) == "y" * (64 * 1024)


async def test_a_program_too_large_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(InputError, match="are allowed"):
        await run(sandbox, "#" + "x" * (5 << 20))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "main.py", "", "a//b", "a b", "x\0y", ".", "a/.."])
def test_names_outside_the_work_folder_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Program(code="1", files={name: ""})


async def test_cancelling_kills(sandbox: Sandbox) -> None:
    await sandbox.check()
    task = asyncio.create_task(run(sandbox, "while True: pass"))
    await asyncio.sleep(0.3)
    started = time.monotonic()
    task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 2


async def test_cancelling_at_any_moment_leaves_nothing(sandbox: Sandbox, survivors) -> None:
    await sandbox.check()
    for step in range(25):
        task = asyncio.create_task(run(sandbox, "import time; time.sleep(30)", stdin="cancelled-early"))
        await asyncio.sleep(step * 0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert survivors() == []


async def test_sandboxes_run_side_by_side(sandbox: Sandbox) -> None:
    results = await asyncio.gather(*(run(sandbox, f"import os; print({n}, os.getpid())") for n in range(6)))
    assert [json.loads(f"[{r.stdout.strip().replace(' ', ',')}]")[0] for r in results] == list(range(6))


async def test_no_descriptor_is_leaked(sandbox: Sandbox) -> None:
    await sandbox.check()
    before = _descriptors()
    for _ in range(5):
        await run(sandbox, "print(1)")
    assert _descriptors() <= before


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_without_bubblewrap_nothing_runs(limits: SandboxConfig, tmp_path) -> None:
    missing = Sandbox(limits.model_copy(update={"bubblewrap": tmp_path / "bwrap"}))
    with pytest.raises(SandboxUnavailableError, match=r"apt-get install bubblewrap.*was not run") as caught:
        await run(missing, "open('/tmp/it-ran', 'w')")
    assert caught.value.code == "sandbox_unavailable"


async def test_a_bubblewrap_that_confines_nothing_is_found_out(limits: SandboxConfig, tmp_path) -> None:
    # It does what a broken one might: it runs the command, in full freedom.
    fake = tmp_path / "bwrap"
    fake.write_text('#!/bin/bash\nwhile [ "$1" != "--" ]; do shift; done; shift; exec "$@"\n')
    fake.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    with pytest.raises(SandboxUnavailableError, match="not run"):
        await run(Sandbox(limits.model_copy(update={"bubblewrap": fake})), "print(1)")


@pytest.mark.parametrize("opened", [True, False])
async def test_a_program_does_not_start_before_somebody_watches(opened: bool) -> None:
    gate = Gate()
    launcher = await asyncio.create_subprocess_exec(
        *("bash", "-c", GATE.format(fd=gate.inner), "gate", "echo", "started"),
        stdout=asyncio.subprocess.PIPE,
        pass_fds=(gate.inner,),
    )
    if opened:
        await gate.open()
    else:
        gate.close()
    output, _ = await asyncio.wait_for(launcher.communicate(), 10)
    gate.close()
    assert output == (b"started\n" if opened else b"")
