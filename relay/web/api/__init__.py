"""What apps ask and tell of recipients: /api/v1, JSON over HTTP, with a token for each credential.

models.py      what is said both ways
operations.py  the table of all calls, of which routes and description are made
openapi.py     the description, as served at /api/v1/openapi.json
problems.py    what is wrong and what to do, as RFC 9457 has it
limits.py      how much one credential, and how much strangers may ask
site.py        the ASGI application

It holds nothing of people and decides nothing of them: relay/apps.py in a worker does, which it asks by the control socket.
"""
