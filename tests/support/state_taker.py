"""A process that shares a State file: takes permits until told to stop, and says each one aloud.

python -m tests.support.state_taker FILE take COUNT/WINDOW TRIES     "granted" or "refused" for each try
python -m tests.support.state_taker FILE lease LIMIT TRIES           the same for leases of one key
"""

import asyncio
import os
import sys
from pathlib import Path

from relay.identity import Rate
from relay.state.sqlite import SqliteState


async def main(file: str, kind: str, number: str, tries: str) -> None:
    state = SqliteState(Path(file))
    await state.open()
    count, _, window = number.partition("/")
    for _ in range(int(tries)):
        if kind == "take":
            granted = not await state.take("quota", Rate(int(count), int(window), "", number), 1)
        else:
            granted = await state.acquire("conn", int(count), str(os.getpid()), 60_000)
        print("granted" if granted else "refused", flush=True)
    await state.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
