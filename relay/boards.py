"""A worker's side of what the supervisor has to do with State: it carries no mail and holds no State of its own, so it asks
whichever worker is up (relay/cluster.py).
"""

from relay.control import Json
from relay.state.interface import State, StateError


async def answer(state: State, question: Json) -> Json:
    """{"what": read, "board"} -> {"notes", "now", "sharers"}; {"what": pin | unpin, "board", "name", "text"};
    {"what": lock | unlock, "name", "holder", "ms"} -> {"locked"}; {"error"} where State has no answer."""
    try:
        match question["what"]:
            case "read":
                notes = await state.pinned(question["board"])
                return {"notes": notes, "now": state.now(), "sharers": state.sharers}
            case "pin":
                await state.pin(question["board"], question["name"], question["text"])
            case "unpin":
                await state.unpin(question["board"], question["name"])
            case "lock":
                # Another worker of this node may have asked before, and not lived to tell.
                await state.drop(question["holder"])
                return {"locked": await state.acquire(question["name"], 1, question["holder"], question["ms"])}
            case "unlock":
                await state.drop(question["holder"])
            case other:
                return {"error": f"a worker does not know how to {other} a board"}
    except StateError as error:
        return {"error": str(error)}
    return {}
