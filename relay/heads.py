"""What stands in front of a message for each of its recipients: our signatures, Received, and how that one may unsubscribe.

A message that is the same for all is signed once. Where its List-Unsubscribe is ours each recipient has a token of their own,
which the signature must cover (RFC 8058 4), so each has a signature of their own; the body, whose hash costs most, is hashed
once for all of them.
"""

import asyncio
from collections.abc import Callable, Sequence

from relay.header import Field
from relay.house import Signer
from relay.message import Message, RcptTo
from relay.policy.unsubscribe import POST, Offer, header
from relay.rewrite import Rewritten
from relay.signing.keys import SigningKey
from relay.tokens import DAY, Ticket, Tokens

AT_ONCE = 16  # signatures asked for in one turn of the loop: 4 ms of it where no thread can make them


async def shared_head(
    letter: Rewritten, hashed: Callable[[], bytes], keys: Sequence[SigningKey], signer: Signer, now: int
) -> bytes:
    """Of a message that is the same for all. `hashed` gives its body's hash (signing/dkim.py)."""
    if not keys:
        return letter.added
    return await signer.sign(letter.fields, hashed(), keys, now) + letter.added


async def own_heads(
    letter: Rewritten,
    hashed: Callable[[], bytes],
    recipients: Sequence[tuple[int, RcptTo, str]],
    message: Message,
    offer: Offer,
    tokens: Tokens,
    keys: Sequence[SigningKey],
    signer: Signer,
    now: int,
) -> list[bytes]:
    """One for each recipient of `message`, in their order, each with his index and the address by which he leaves, or ""; `now`
    in ms."""
    content_hash = hashed() if keys and recipients else b""

    async def head(index: int, recipient: RcptTo, leaving: str) -> bytes:
        added = header(offer.page, _token(recipient.address, index, message, offer, tokens, now), leaving)
        ours = added.removesuffix(POST)
        fields = [Field("list-unsubscribe", ours), Field("list-unsubscribe-post", POST), *letter.fields]
        return await signer.sign(fields, content_hash, keys, now) + letter.added + added

    if len(recipients) == 1:  # nearly all marketing is
        return [await head(*recipients[0])]
    heads: list[bytes] = []
    for first in range(0, len(recipients), AT_ONCE):
        heads += await asyncio.gather(*[head(*one) for one in recipients[first : first + AT_ONCE]])
    return heads


def _token(address: str, index: int, message: Message, offer: Offer, tokens: Tokens, now: int) -> str:
    campaign = message.campaign or ""
    of = message.id, index, message.credential, campaign, message.skeleton
    ticket = Ticket(offer.brand, message.stream, address, now // DAY, offer.calls, *of)
    try:
        return tokens.seal(ticket)
    except ValueError:  # the longest of names and addresses beside the longest of URLs
        return _shortened(ticket, tokens)


def _shortened(ticket: Ticket, tokens: Tokens) -> str:
    """Without the campaign, which is remembered of what was sent; or without the app's URL, too: it hears of it by the event."""
    try:
        return tokens.seal(ticket._replace(campaign=""))
    except ValueError:
        return tokens.seal(ticket._replace(campaign="", calls=""))
