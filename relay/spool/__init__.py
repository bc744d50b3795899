"""The durability boundary: one SQLite file per worker, which nobody else opens. What `put` returned from survives.

schema.py     tables, migrations, how a file is opened      store.py      the door: `Spool`
rows.py       messages and deliveries as rows, and back     committer.py  the one thread that owns the connection
queries.py    the reads                                     errors.py     what can go wrong
"""
