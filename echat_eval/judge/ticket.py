"""Tickets: a random word of one question in one process, which its verdict must carry.

Without it, answers that a server or proxy exchanges would be scored, and so would a verdict in a reply that a
judge repeats. Keys of verdicts do not depend on tickets.
"""

from __future__ import annotations

import hmac

__all__ = ["TICKET", "make_ticket", "ticket_field"]

#: Field of a verdict without a schema that holds the ticket.
TICKET = "ticket"


def make_ticket(secret: bytes, question_key: str) -> str:
    """Return the ticket of a question: 128 bits that only the holder of the secret can compute.

    >>> len(make_ticket(b"secret", "question"))
    32
    """
    return hmac.new(secret, question_key.encode(), "sha256").hexdigest()[:32]


def ticket_field(ticket: str) -> str:
    """Return the name of the field of a schema that carries a ticket.

    >>> ticket_field("ab12")
    'ticket_ab12'
    """
    return f"{TICKET}_{ticket}"
