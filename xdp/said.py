"""What libbpf says while it works: caught, so that the line that tells can be shown.  IO: libbpf's print function.

Rule 1: libbpf prints to nobody else while `listening` runs; what printed before is put back.
Source: libbpf.h (libbpf_set_print), whose va_list is handed to vsnprintf as the pointer that the ABIs of x86-64 and AArch64 pass.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_char_p, c_int, c_size_t, c_void_p

from xdp.libbpf import library

_PRINT = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
_WARNING = 0
_LINE_OCTETS = 4096
_LOG_OCTETS = 16 << 20  # of a verifier's log, whose end tells
_KEPT = 40  # lines
_KERNEL = re.compile(r"Kernel error message: (.*)")
_FIGURES = re.compile(r"^(processed \d+ insns|verification time|stack depth|--|libbpf:|peak_states)")


@contextmanager
def listening() -> Iterator[list[str]]:
    """The last lines of libbpf's warnings, oldest first."""
    lines: list[str] = []
    libc = ctypes.CDLL(None)
    libc.vsnprintf.argtypes = [c_void_p, c_size_t, c_char_p, c_void_p]

    def take(level: int, form: bytes, arguments: int) -> int:
        if level != _WARNING:
            return 0
        room = _LOG_OCTETS if b"LOG" in form else _LINE_OCTETS
        text = ctypes.create_string_buffer(room)
        libc.vsnprintf(text, room, form, arguments)
        lines.extend(text.value.decode(errors="replace").splitlines())
        del lines[:-_KEPT]
        return 0

    callback = _PRINT(take)
    before = library().libbpf_set_print(ctypes.cast(callback, c_void_p))
    try:
        yield lines
    finally:
        library().libbpf_set_print(before)


def kernel_words(lines: list[str]) -> str:
    """What a driver or the kernel said when it refused to attach (its extended acknowledgement), or nothing."""
    found = [match[1].strip() for line in lines if (match := _KERNEL.search(line))]
    return found[-1] if found else ""


def verifier_words(lines: list[str]) -> str:
    """The line of a verifier's log that tells why, or libbpf's last line, or nothing."""
    try:
        end = next(i for i in reversed(range(len(lines))) if "END PROG LOAD LOG" in lines[i])
    except StopIteration:
        return lines[-1].removeprefix("libbpf: ") if lines else ""
    telling = [line for line in lines[:end] if line.strip() and not _FIGURES.match(line)]
    return telling[-1].strip() if telling else ""
