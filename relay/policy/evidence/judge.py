"""The judge of a worker: the model, and how much alike each credential sent lately. Pure; the clock is an argument."""

import math
from collections import OrderedDict
from collections.abc import Callable

from relay.policy.evidence.classify import Evidence, Model, judge
from relay.policy.evidence.skeleton import skeleton
from relay.policy.letter import Letter

HALF_LIFE = 3_600_000  # ms in which a count fades to half: a mailing goes out within hours
MAX_SKELETONS = 20_000  # remembered by one worker, the latest: some 4 MB


class Bulk:
    """How many recipients got a message of one skeleton from one credential lately; older ones count less and less."""

    def __init__(self, room: int = MAX_SKELETONS) -> None:
        self._room = room
        self._counts: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Bulk skeletons={len(self._counts)}>"

    def add(self, credential: str, template: str, recipients: int, now: int) -> int:
        """Count this message; those before it are what is answered, with its own recipients."""
        key = credential, template
        count, at = self._counts.pop(key, (0.0, now))
        count = count * math.pow(0.5, (now - at) / HALF_LIFE) + recipients
        self._counts[key] = count, now
        if len(self._counts) > self._room:
            self._counts.popitem(last=False)
        return round(count)


class Judge:
    """Called once for a message, at accept; not for each (relay/policy/sample.py)."""

    def __init__(self, load: Callable[[], Model]) -> None:
        """`load`: half a second and 20 MB, so a worker that trusts all that its apps say never does it."""
        self._load = load
        self._model: Model | None = None
        self._bulk = Bulk()

    def __repr__(self) -> str:
        return f"<Judge {self._model!r} {self._bulk!r}>"

    def __call__(self, letter: Letter, credential: str, now: int, unseen: int = 0) -> Evidence:
        """`now` in ms; `unseen`: recipients of messages like it that nobody judged. Never raises for what a message holds."""
        text, recipients = letter.text, len(letter.domains)
        template = skeleton(text, letter.fields)
        bulkness = self._bulk.add(credential, template, recipients + unseen, now)
        return judge(text, letter.fields, recipients, bulkness, self.ready(), template)

    def ready(self) -> Model:
        """Loads the model unless it is there; better before the first message than with it."""
        if self._model is None:
            self._model = self._load()
        return self._model
