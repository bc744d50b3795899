"""How safe a connection to a recipient domain's hosts must be, and what came of it.

`guard.py` is the door: it asks DNS and the policies of MTA-STS (`policies.py`, fetched by `https.py`, kept by `store.py`)
and lets `demands.py` decide, host by host. `dane.py` and `sts.py` know the two standards; `tlsrpt.py` and `ledger.py` count
what happened, for the reports that recipient domains ask for.
"""
