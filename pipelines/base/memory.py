"""The memory of this process."""

import contextlib
import resource
import sys
from pathlib import Path

_LINUX_STATUS, _LINUX_CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak_resident() -> None:
    """Starts a new measurement of the peak; elsewhere than on Linux this is not possible and nothing happens."""
    with contextlib.suppress(OSError):
        _LINUX_CLEAR.write_text("5")


def peak_resident() -> int:
    """The most resident memory that this process had, in bytes."""
    with contextlib.suppress(OSError, StopIteration):
        line = next(line for line in _LINUX_STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
