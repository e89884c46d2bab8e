#!/usr/bin/env python
"""The one command line of ProTipp."""

import gc
import os
import sys

from django.apps import apps
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
            try:
                execute_from_command_line(sys.argv)
            finally:
                end_threads()
        gc.freeze()  # else the end looks through all that was loaded, for half a second
    except (StackError, ImproperlyConfigured) as error:
        sys.exit(f"{sys.argv[1]}: {error}")


def end_threads() -> None:
    """Let the cache's threads end before servers do that were started for this command alone."""
    if apps.ready:
        from performance.caching.services import cache  # only now: a refused start has no apps

        cache.close()


if __name__ == "__main__":
    main()
