"""Is an address worth mail? What its spelling and its domain's DNS say, before the first message is sent to it. Pure.

consumers.py  the large mailbox domains, and real ones that look like them
keyboard.py   how near two spellings are, as fingers go
slips.py      "did you mean gmail.com?"
roles.py      addresses of a task instead of a person
check.py      all of it together: tags, and what a refusal says
"""
