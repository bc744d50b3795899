"""Forms that change something: read within bounds, and only if one of our own pages showed them to who sends them."""

from starlette.exceptions import HTTPException
from starlette.requests import Request

from relay.web.body import Broken, TooLong, body_of
from relay.web.login.service import SESSION, Login
from relay.web.public.forms import MAX_BODY, Fields, fields_of, first

SECONDS = 10.0  # for all of a form
FIELD = "form"


async def sent(request: Request, login: Login, hangs_on: str = SESSION) -> Fields:
    """Raises HTTPException: 403 where it is not ours, 413 where it is too long."""
    try:
        body = await body_of(request, MAX_BODY, SECONDS)
    except TooLong:
        raise HTTPException(413) from None
    except Broken:
        raise HTTPException(400) from None
    fields = fields_of(request.headers.get("content-type", ""), body)
    if not login.is_ours(first(fields, FIELD), request.cookies, hangs_on):
        raise HTTPException(403)
    return fields
