"""What a message looks like, from its own words and structure: a pure classifier that gives its reasons.

text.py      the visible text of a message and the counts of its structure, in bounded time
whole.py     all of the text, for whoever has to be sure that something is not in it
lexicon.py   the words that speak for something, in many languages, as one RE2 set
classify.py  the model, and what it makes of a message: class, confidence, evidence term by term
skeleton.py  a message's template as a short name
language.py  which language a text is in, where that is certain
lint.py      what a mailbox provider would object to; for people, not in the path of mail
"""
