"""Runs `manage.py` commands in forks of one loaded process: a real process each, started in 50 ms.

Loading Django anew takes seconds, and what is tested is how a process dies, not how it loads.
One JSON object a line comes in: `{"argv", "failpoint", "output"}` answers the child's pid,
`{"poll": pid}` its exit code, or null while it runs.
"""

import importlib
import json
import os
import sys
import traceback


def main():
    sys.path.insert(0, "")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "protipp.settings")
    import django

    django.setup()
    importlib.import_module("odds.management.commands.feed")  # with all that it needs
    for line in sys.stdin:
        asked = json.loads(line)
        answer = poll(asked["poll"]) if "poll" in asked else start(**asked)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def start(argv, failpoint, output):
    pid = os.fork()
    if pid:
        return pid
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    code = 1
    try:
        code = run(argv, failpoint)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(argv, failpoint):
    import manage
    from odds import failpoints

    os.environ["PROTIPP_FAILPOINT"] = failpoint
    importlib.reload(failpoints)  # in place: it reads the environment when it is loaded
    sys.argv = ["manage.py", *argv]
    try:
        manage.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001  # as the interpreter would end
        traceback.print_exc()
        return 1
    return 0


def poll(pid):
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


if __name__ == "__main__":
    main()
