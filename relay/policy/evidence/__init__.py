"""What a message looks like, from its own words and structure: a pure classifier that gives its reasons.

text.py      the visible text of a message and the counts of its structure, in bounded time
whole.py     all of the text, for whoever has to be sure that something is not in it
lexicon.py   how the words that speak for something are written, in many languages, and text made like them
phrase.py    one phrase of theirs as fixed strings, and what must stand around them
phrases.py   all of them as one automaton
classify.py  the model, and what it makes of a message: class, confidence, evidence term by term
skeleton.py  a message's template as a short name
language.py  which language a text is in, where that is certain
lint.py      what a mailbox provider would object to; for people, not in the path of mail
"""
