"""What the supervisor of `hecd up` and of the lab does when a program ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

from registrator.up.programs import Program
from registrator.up.supervisor import Supervisor


async def test_what_is_to_be_done_after_a_program_is_done_each_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = [("/bin/sh", "-c", f"echo {word} >> {log}; exit 3") for word in ("began", "over")]
    supervisor = Supervisor([Program("one", words[0], ended=words[1])], lambda program, line: None)
    supervisor.start()
    async with asyncio.timeout(10):
        while not log.exists() or len(log.read_text().split()) < 4:
            await asyncio.sleep(0.02)
    await supervisor.stop()
    assert log.read_text().split()[:4] == ["began", "over", "began", "over"]
