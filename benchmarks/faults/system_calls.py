"""A child whose changes to files stop in its parent, which lets them pass, fail, or kills it there.

Linux's seccomp user notification: the kernel asks the parent before each call of the child that
writes, renames, removes or flushes a file, whatever language made it, and gives the answer as its
own. So a process can be killed between any two changes it makes to the disk, and the n-th write can
fail with EIO, without a line of the child's code being replaced.
"""

import ctypes
import os
import platform
import select
import signal
import socket
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CALLS = {
    1: "write", 18: "pwrite64", 20: "writev", 74: "fsync", 75: "fdatasync", 77: "ftruncate",
    82: "rename", 83: "mkdir", 84: "rmdir", 87: "unlink", 91: "fchmod", 90: "chmod",
    257: "openat", 258: "mkdirat", 263: "unlinkat", 264: "renameat", 316: "renameat2",
}  # fmt: skip
"""By number, on x86-64."""
_BY_HANDLE = {"write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "fchmod"}
_BY_FOLDER_AND_NAME = {"openat", "mkdirat", "unlinkat", "renameat", "renameat2"}
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_SECCOMP, _NO_NEW_PRIVILEGES, _NEW_LISTENER = 317, 38, 8
_ASK, _ALLOW = 0x7FC00000, 0x7FFF0000


class Call(NamedTuple):
    """A change to a file below the watched folder: the system call, and what it is done to."""

    name: str
    path: Path


Answer = int | None
"""Of the parent to a call: None, let it pass; above 0, it fails with this error; KILL."""
KILL = -1


class Ended(NamedTuple):
    """How a child ended: its exit status, negative for a signal, and what it wrote."""

    status: int
    text: str


def why_not() -> str | None:
    """Why calls cannot be watched on this machine, or None if they can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "needs Linux on x86-64: the numbers of system calls"
    ended = run_child(lambda: None, Path(tempfile.gettempdir()), lambda _: None)
    return None if ended.status == 0 else "needs a kernel with seccomp user notification"


def run_child(
    task: Callable[[], object], root: Path | None = None, answer: Callable[[Call], Answer] = bool
) -> Ended:
    """Fork, do the task there, and answer its calls on files below `root`, if it is given.

    The status is 0, 2 with the message for a UserError, 1 with a traceback for anything else.
    """
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            _be_the_child(task, theirs if root else None, output.fileno())
        theirs.close()
        if root:
            _, handles, _, _ = socket.recv_fds(ours, 1, 1)
            for listener in handles:  # none if the kernel refuses
                _answer_calls(listener, child, root.resolve(), answer)
                os.close(listener)
        ours.close()
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return Ended(os.waitstatus_to_exitcode(status), output.read())


def start_child(task: Callable[[], object]) -> int:
    """Fork and do the task there, in silence; gives the process id."""
    child = os.fork()
    if child == 0:
        _be_the_child(task, None, os.open(os.devnull, os.O_WRONLY))
    return child


def _be_the_child(task: Callable[[], object], channel: socket.socket | None, output: int) -> None:
    status = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        if channel:
            socket.send_fds(channel, [b"x"], [_install_filter()])
        task()
        status = 0
    except BaseException as error:
        status = 2 if type(error).__name__ == "UserError" else 1
        os.write(2, (str(error) if status == 2 else traceback.format_exc()).encode())
    finally:
        os._exit(status)


def _install_filter() -> int:
    """Ask about CALLS from now on; gives the handle to answer on."""

    class Instruction(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte),
                    ("k", ctypes.c_uint32)]  # fmt: skip

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]

    libc = ctypes.CDLL(None, use_errno=True)
    load_number, equals, give = 0x20, 0x15, 0x06
    lines = [Instruction(load_number, 0, 0, 0)]
    for left, number in zip(range(len(CALLS), 0, -1), CALLS, strict=True):
        lines.append(Instruction(equals, left, 0, number))
    lines += [Instruction(give, 0, 0, _ALLOW), Instruction(give, 0, 0, _ASK)]
    program = Program(len(lines), (Instruction * len(lines))(*lines))
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    listener: int = libc.syscall(_SECCOMP, 1, _NEW_LISTENER, ctypes.byref(program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "the kernel refuses the filter")
    return listener


def _answer_calls(listener: int, child: int, root: Path, answer: Callable[[Call], Answer]) -> None:
    from fcntl import ioctl  # Windows has none

    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    while True:
        if not any(event & select.POLLIN for _, event in waiting.poll()):
            return  # the child has ended
        asked = bytearray(80)
        try:
            ioctl(listener, _RECEIVE, asked)
        except OSError:
            continue
        number, thread, _, name, _, _, *args = struct.unpack("QIIiIQ6Q", asked)
        call = _call(CALLS[name], thread, args)
        given = answer(call) if call and root in [call.path, *call.path.parents] else None
        if given == KILL:
            os.kill(child, signal.SIGKILL)
            return
        error, flags = (-given, 0) if given else (0, _CONTINUE)
        ioctl(listener, _SEND, bytearray(struct.pack("QqiI", number, 0, error, flags)))


def _call(name: str, thread: int, args: list[int]) -> Call | None:
    """What the call is done to; None if it changes nothing, or its path cannot be told."""
    process = Path("/proc") / str(thread)
    if name == "openat" and not args[2] & (os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_RDWR):
        return None
    try:
        if name in _BY_HANDLE:
            return Call(name, (process / "fd" / str(args[0])).readlink())
        folder = process / "cwd"
        if name in _BY_FOLDER_AND_NAME:
            handle = ctypes.c_int(args[0] & 0xFFFFFFFF).value
            folder = folder if handle == -100 else process / "fd" / str(handle)
            args = args[1:]
        return Call(name, folder.readlink() / _text(process, args[0]))
    except OSError:
        return None


def _text(process: Path, address: int) -> str:
    with (process / "mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        page = memory.read(4096 - address % 4096)
        if b"\0" not in page:
            page += memory.read(4096)
    return os.fsdecode(page.partition(b"\0")[0])


@contextmanager
def little_memory(room: int) -> Iterator[None]:
    """So many bytes of address space beyond what the process has: the kernel refuses more."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
