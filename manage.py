#!/usr/bin/env python
"""The one command line of ProTipp."""

import gc
import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from protipp.management.commands.up import Command as Up
from protipp.stack.borrow import servers_for
from protipp.stack.errors import StackError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "protipp.settings")
    try:
        if sys.argv[1:2] == ["up"]:
            Up().run_from_argv(sys.argv)  # it needs no app loaded, which takes some seconds
            return
        with servers_for(sys.argv):
            execute_from_command_line(sys.argv)
        gc.freeze()  # else the end looks through all that was loaded, for half a second
    except (StackError, ImproperlyConfigured) as error:
        sys.exit(f"{sys.argv[1]}: {error}")


if __name__ == "__main__":
    main()
