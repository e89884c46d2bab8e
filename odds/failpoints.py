"""Places where a test lets the process die, to see that nothing is lost. Inert otherwise.

`PROTIPP_FAILPOINT=after_merge:3` ends the process by SIGKILL the third time that it gets there.
"""

from __future__ import annotations

import os
import signal

_name, _, _countdown = os.environ.get("PROTIPP_FAILPOINT", "").partition(":")
_left = int(_countdown or 1)


def reach(name: str) -> None:
    """Die here if the environment says so; otherwise costs one comparison."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
