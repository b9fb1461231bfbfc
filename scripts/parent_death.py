"""Servers that end with whoever started them, also when that is killed (Linux).

    subprocess.Popen(..., preexec_fn=end_with_parent)

The parent is a thread: whoever starts a server in one that ends, ends the server.
"""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
# Looked up beforehand: between fork and exec nothing may be loaded.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def end_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when its parent ends."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
