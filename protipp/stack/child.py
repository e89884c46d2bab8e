"""One process kept alive: started, listened to, started again with backoff, ended for certain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable

from protipp.stack import priority
from protipp.stack.errors import StackError
from protipp.stack.logs import Lines, Stream
from protipp.stack.processes import POLL_EVERY_S, Spec, describe_exit, failed, run

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
STEADY_AFTER_S = 30.0
"""One that lived this long starts over with the first delay."""
LOOK_EVERY_S = 0.1
BOOT_LOOK_EVERY_S = 0.3
REST_OF_OUTPUT_WITHIN_S = 0.5


class Child:
    """Keeps `spec` running until `end`. `changed` is called whenever its pid changes."""

    def __init__(self, spec: Spec, stream: Stream, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.restarts = 0
        self._stream = stream
        self._changed = changed
        self._process: subprocess.Popen[bytes] | None = None
        self._lines = Lines(spec.name, stream)
        self._ending = False
        self._keeper: asyncio.Task[None] | None = None
        self._booting: asyncio.Task[None] | None = None
        self._may_raise = spec.behind and priority.may_raise()

    @property
    def pid(self) -> int | None:
        """The pid while it runs, else None."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it, and return once it is ready; StackError when it is not in time, or dies."""
        await self.begin()
        deadline = time.monotonic() + self.spec.ready_within_s
        while (missing := await self._waiting_for()) is not None:
            if self.pid is None:
                assert self._process is not None
                why = describe_exit(self._process.returncode)
                raise failed(self.spec, why, self._lines.last_words())
            if time.monotonic() > deadline:
                why = f"not within {self.spec.ready_within_s:.0f} s ({missing})"
                raise failed(self.spec, why, self._lines.last_words())
            await asyncio.sleep(POLL_EVERY_S * 2)

    async def begin(self) -> None:
        """Start it and keep it running, without waiting until it is ready."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep(), name=self.spec.name)

    async def run_once(self, within_s: float) -> tuple[int, str]:
        """Run it to its end; return its code and last words. It is killed after `within_s`."""
        await self._spawn()
        try:
            async with asyncio.timeout(within_s):
                code = await self._exit()
        except TimeoutError:
            code = -signal.SIGKILL
        finally:
            self._kill_session()
        return code, self._lines.last_words()

    async def _waiting_for(self) -> str | None:
        if self.spec.ready_line and not self._lines.seen.is_set():
            return f"its log does not say {self.spec.ready_line!r} yet"
        return await asyncio.to_thread(self.spec.waiting_for)

    def give_share(self) -> None:
        """End its booting behind all others, because somebody waits for it now."""
        if self.pid is not None:
            priority.set_number(self.pid, self.spec.nice, nice=self._may_raise)

    async def _boot_behind(self, pid: int) -> None:
        priority.set_number(pid, priority.BEHIND, nice=self._may_raise)
        while self.pid == pid:
            if await self._waiting_for() is None:
                self.give_share()
                return
            await asyncio.sleep(BOOT_LOOK_EVERY_S)

    async def _spawn(self) -> None:
        read_end, write_end = os.pipe()
        try:
            self._process = run(self.spec, write_end)
        except StackError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._lines = Lines(self.spec.name, self._stream, self.spec.ready_line, self.spec.drop)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: self._lines, os.fdopen(read_end, "rb"))
        if self.spec.behind:
            self._booting = asyncio.create_task(self._boot_behind(self._process.pid))
        self._changed()

    async def _keep(self) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            began = time.monotonic()
            code = await self._exit()
            self._changed()
            if self._ending:
                return
            if time.monotonic() - began > STEADY_AFTER_S:
                delay_s = FIRST_DELAY_S
            ended = f"{self.spec.name} ended ({describe_exit(code)})"
            self._stream.say(f"{ended}; it starts again in {delay_s:.1f} s", bad=True)
            while True:
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, LONGEST_DELAY_S)
                try:
                    await self._spawn()
                    break
                except StackError as error:
                    self._stream.say(str(error), bad=True)
            self.restarts += 1

    async def _exit(self) -> int:
        """Wait for the process to end, and take whatever it started with it."""
        assert self._process is not None
        while (code := self._process.poll()) is None:
            await asyncio.sleep(LOOK_EVERY_S)
        self._kill_session()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_OF_OUTPUT_WITHIN_S):
                await self._lines.ended.wait()
        return code

    def _kill_session(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self, within_s: float) -> bool:
        """End it; False when it had to be killed after `within_s`."""
        self._ending = True
        if self._booting is not None:
            self._booting.cancel()
            self.give_share()  # it ends like the others, within the same time
        if self._process is None or self._keeper is None or self.pid is None:
            if self._keeper is not None:
                self._keeper.cancel()  # it was waiting to start again
            return True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(self.spec.stop_signal)
        done, _ = await asyncio.wait([self._keeper], timeout=within_s)
        if done:
            return True
        self._kill_session()
        await asyncio.wait([self._keeper], timeout=1)
        return False
