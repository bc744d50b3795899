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

__version__ = "0.1.0"
