"""Reports: what the event log says of a time, as figures for a postmaster.

    Question ──files──▶ which files hold it ──sql──▶ DuckDB ──figures──▶ Answer: rows, their shares, and what is usual

`Reader` is the only door: the command (cli/report.py) and the admin site ask the same. Nothing here writes events; counts
(counting.py) are made of them, and may be removed at any time.
"""

from relay.reporting.figures import Answer, Figures, Row
from relay.reporting.question import DIMENSIONS, REPORTS, Question, QuestionError
from relay.reporting.reader import Reader

__all__ = ["DIMENSIONS", "REPORTS", "Answer", "Figures", "Question", "QuestionError", "Reader", "Row"]
