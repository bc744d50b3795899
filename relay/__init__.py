"""Postlane, a sending gateway. The folders are the path of one message:

    app --SMTP--> edge --> accept():  policy -> rewrite -> signing -> spool.put (fsync) --> 250
    spool --> schedule --> attempt(): recheck -> source -> MX -> permit -> send (egress) -> outcome -> consequences -> commit
    events --> feedback: event log (JSON Lines, Parquet), delivery status notifications

    edge/      listeners, SMTP session, credentials       accept.py   story 1: from DATA to 250
    policy/    whose mail it is, what class it has         attempt.py  story 2: from due to done
    signing/   DKIM                                        message.py, outcome.py, identity.py   vocabulary
    spool/     the durability boundary                     worker.py      wiring of one worker process
    schedule/  what goes next, and when again              supervisor.py  processes, sockets, signals
    egress/    DNS, connections, the SMTP transaction      control.py     how commands reach a running node
    feedback/  replies, reports, consequences, event log   config/        the only reader of files
    state/     limits that all workers share               in_force.py    what runs: kept copies of the files
    web/, cli/ pages and commands

`accept()` and `attempt()` share only the spool; no stage imports another (import-linter holds that in `make test`).
"""

import atexit
import gc
import sys

# Each process loads some eighty thousand objects that stay as long as it does. As Python comes, it would look through them every
# 700 and once more at the end: a quarter of the time that a command takes.
gc.set_threshold(50_000, 20, 20)


@atexit.register
def _end() -> None:
    if "duckdb" not in sys.modules:  # it would complain of all that is left
        gc.freeze()


# structlog loads rich wherever it is installed, 3 MB, to show exceptions in colours, which relay/logs.py does not do.
# None makes its import fail.
if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    del sys.modules["rich"]

__version__ = "0.1.0"
