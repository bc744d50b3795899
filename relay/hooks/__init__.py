"""Telling the apps: the events of a credential go to its webhook, at least once, and nothing waits for it.

    data_dir/events --reading--> data_dir/hooks.db --service--> POST, signed (relay/webhook.py)

The event log is what is told; nothing else writes here, and the way of mail knows nothing of webhooks. `reading.py` follows the
log's files from marks of its own; `queue.py` keeps marks and what waits in one SQLite file, in one transaction, so a crash reads
again and loses nothing; `telling.py`, pure, says who wants which event, what a body looks like and when it is tried again;
`service.py` has a task for each endpoint, so that one which hangs keeps nobody waiting. Hours that are not read stay JSON Lines.

Bounded: 500,000 events wait for an endpoint (some 500 MB). What comes beyond stays in the log alone, and is fetched from there
when half of that is gone, as `postlane webhooks resend` does. What was not taken within three days is given up, and can be resent
for as long as the log has it.
"""
