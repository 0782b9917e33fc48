"""The machine that a measurement ran on, and the processor time of its processes."""

import os
import platform
import re
from contextlib import suppress
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def describe_machine() -> str:
    """Return the processors, the memory and the system."""
    model, memory = platform.processor() or platform.machine(), ""
    with suppress(OSError):  # not Linux
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = found[1] if found else model
        kilobytes = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        memory = f"{int(kilobytes[1]) / 1e6:.0f} GB of memory, " if kilobytes else ""
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} x {model}, {memory}{system}"


def cpu_s(pid: int) -> float:
    """Return the processor time that a process and its living descendants have used, in seconds. Requires Linux."""
    total, found = 0, [pid]
    while found:
        each = found.pop()
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])  # utime and stime: fields 14 and 15 of proc_pid_stat(5)
            for thread in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return total / _TICKS_PER_S
