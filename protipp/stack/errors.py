"""What can go wrong while the stack starts; each message is one line that says what to do."""

from __future__ import annotations


class StackError(Exception):
    """The stack, or a server of it, could not start."""
