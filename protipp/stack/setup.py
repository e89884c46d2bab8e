"""What must be true before the site starts, in one Django process: `python -m protipp.stack.setup`.

Migrations, static files, the staff login and the proxy's first file. Each step may be killed and
run again. Django lives here and not in the supervisor, which stays small and without threads.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import sys
from pathlib import Path

import django

django.setup()  # the imports below need its models

from django.conf import settings  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.staticfiles.finders import get_finders  # noqa: E402
from django.core.management import call_command  # noqa: E402

from performance.balancing import services  # noqa: E402
from performance.cdn.services import build_rules, make_bucket  # noqa: E402
from protipp import env  # noqa: E402
from protipp.stack.folders import kept_secret, write_private  # noqa: E402

USERNAME = "admin"


def main(nodes: list[dict[str, str]]) -> None:
    """Do all steps; `nodes` are the first ones behind the proxy: kind, id and address."""
    local = Path(settings.STATIC_ROOT).parent
    say("migrating the database")
    call_command("migrate", interactive=False, verbosity=0)
    build_static(local)
    if os.environ.get("STATIC_S3_BUCKET"):
        say("publishing the static files to the bucket")
        make_bucket()
        call_command("publish_static", no_build=True, stdout=io.StringIO())
    write_private(local / "login.json", json.dumps(staff_login(local)) + "\n")
    write_proxy_file(nodes)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def build_static(local: Path) -> bool:
    """Build the static files unless they are built from the same sources; True when it built."""
    digest = sources_digest()
    built_from = local / "static.digest"
    if built_from.exists() and built_from.read_text() == digest:
        return False
    say("building the static files")
    built_from.unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, verbosity=0)
    built_from.write_text(digest)
    return True


def sources_digest() -> str:
    """Return one digest over names, sizes and times of all sources, and over how they are built."""
    found = hashlib.sha256(
        json.dumps([settings.STORAGES, settings.STATIC_URL, build_rules()]).encode()
    )
    for finder in get_finders():
        for name, storage in finder.list([]):
            stat = Path(storage.path(name)).stat()
            found.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return found.hexdigest()


def staff_login(local: Path) -> dict[str, str]:
    """Make sure that there is a staff login; return its name and password, or why it has none.

    The password is made once and kept in `local` (0600). A person who changes it keeps theirs.
    """
    users = get_user_model().objects
    password = kept_secret(local / "admin-password", secrets.token_urlsafe(15))
    user = users.filter(username=USERNAME).first()
    if user is None:
        say(f"making the staff login {USERNAME!r}")
        users.create_superuser(USERNAME, password=password)
    elif not user.check_password(password):
        return {"username": USERNAME, "password": "", "note": "with the password that was set"}
    return {"username": USERNAME, "password": password, "note": ""}


def write_proxy_file(nodes: list[dict[str, str]]) -> None:
    services.render_proxy(
        [services.planned_node(node["id"], node["kind"], node["address"]) for node in nodes],
        port=env.number("PORT", 8000, minimum=1),
        bind=env.text("BIND", "127.0.0.1"),
        directory=Path(env.text("PROTIPP_HAPROXY_DIR")),
        hosts=settings.ALLOWED_HOSTS,
        session_cookie=settings.SESSION_COOKIE_NAME,
        static_url=settings.STATIC_URL,
        secure=settings.SECURE,
        edge=env.text("PROTIPP_EDGE"),
        origin_port=env.number("PROTIPP_ORIGIN_PORT", 0) or None,
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
