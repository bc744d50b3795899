"""The postmaster's desk: what happened to mail today and why, down to one message and one recipient, and what can be undone.

    page ──asking──▶ one question at a time, in a thread ──▶ relay.reporting          figures ──words, chart──▶ template

Every question is put for a visitor (relay/web/login/visitor.py): whose mail it is of and whether addresses
are masked is decided there.
"""
