"""Destinations of a run's data: which hosts get what, and whether private data may go there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from echat_eval.clients.network import is_loopback
from echat_eval.errors import UsageError
from echat_eval.ports import Destination, Sending

if TYPE_CHECKING:
    from echat_eval.executors.place import ExecutorSettings
    from echat_eval.ports import Oracle, Scorer, System, Tracker
    from echat_eval.store.manifest import RunManifest
    from echat_eval.task import Task

__all__ = [
    "Receiver",
    "merged_contents",
    "private_tasks",
    "receivers_of",
    "refuse_private_data",
    "send_to_hosts",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A host that gets data.

    Attributes:
        host: name or address, with the port if the URL has one.
        local: it is this machine.
        contents: what it gets, in words.
        parts: which parts send it, in words.
    """

    host: str
    local: bool
    contents: tuple[str, ...]
    parts: tuple[str, ...]

    @property
    def line(self) -> str:
        """Return one line for the user."""
        place = " (this machine)" if self.local else ""
        return f"{self.host}{place} gets {', '.join(self.contents)} from {' and '.join(self.parts)}"


def receivers_of(
    systems: Iterable[System | Oracle],
    scorers: Iterable[Scorer],
    executor: ExecutorSettings | None = None,
    trackers: Iterable[Tracker] = (),
) -> list[Receiver]:
    """Return the hosts to which systems, judges and other parts send data, in the order of the parts.

    A cluster with an address counts as another machine, also at an address of this one: its workers may be on
    any of its nodes.
    """
    found: dict[str, Receiver] = {}
    named: list[tuple[str, object]] = [(f"system '{s.name}'", s) for s in systems]
    named += [(f"scorer '{s.name}'", s) for s in scorers]
    named += [(f"tracker '{tracker.name}'", tracker) for tracker in trackers]
    for part, sender in named:
        for destination in sender.destinations() if isinstance(sender, Sending) else ():
            new = _receiver(destination, part)
            old = found.get(new.host, new)
            found[new.host] = Receiver(
                host=new.host,
                local=new.local,
                contents=tuple(dict.fromkeys((*old.contents, *new.contents))),
                parts=tuple(dict.fromkeys((*old.parts, *new.parts))),
            )
    if executor is not None and executor.elsewhere is not None:
        found[executor.elsewhere] = Receiver(
            host=executor.elsewhere,
            local=False,
            contents=("query audio", "earlier turns", "audio of replies"),
            parts=("the executor's workers",),
        )
    return list(found.values())


def _receiver(destination: Destination, part: str) -> Receiver:
    return Receiver(
        host=urlsplit(destination.url).netloc.rpartition("@")[2].lower(),
        local=is_loopback(destination.url),
        contents=destination.contents,
        parts=(part,),
    )


def private_tasks(tasks: Iterable[Task], manifest: RunManifest) -> list[str]:
    """Return the names of private tasks, of a command and of earlier commands on the run folder.

    A task of a run that did not record whether it is private counts as private.
    """
    known = {name: facts.private is not False for name, facts in manifest.tasks.items()}
    known |= {task.name: task.private for task in tasks}
    return [name for name, private in known.items() if private]


def send_to_hosts(given: object) -> tuple[str, ...]:
    """Return the hosts that may get private data: a host or a list of hosts, each perhaps with its port.

    Raises:
        UsageError: something else, such as a URL.

    >>> send_to_hosts("api.openai.com"), send_to_hosts(["Judge.lan:8000"]), send_to_hosts(None)
    (('api.openai.com',), ('judge.lan:8000',), ())
    """
    hosts = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(hosts, list | tuple):
        raise UsageError(f"send_to: got {given!r}; expected a host or a list of hosts")
    for host in hosts:
        if not isinstance(host, str) or not host or set(host) & set("/@* \t"):
            raise UsageError(f"--send-to {host!r}: expected a host, such as api.openai.com or judge.lan:8000")
    return tuple(host.lower() for host in hosts)


def refuse_private_data(
    private: Sequence[str], receivers: Iterable[Receiver], allowed: Sequence[str]
) -> None:
    """Raise UsageError if private tasks would leave this machine for a host that is not allowed.

    Args:
        private: names of private tasks.
        allowed: hosts, each perhaps with its port.
    """
    for receiver in receivers:
        host = urlsplit(f"//{receiver.host}").hostname or receiver.host
        if not private or receiver.local or receiver.host in allowed or host in allowed:
            continue
        tasks = "task " + ", ".join(f"'{name}'" for name in private)
        raise UsageError(
            f"{tasks}: private data, and {receiver.line}; allow that with --send-to {host} (send_to: in an "
            "experiment file), use a server on this machine, or write `private: false` into task.yaml"
        )


def merged_contents(
    old: Mapping[str, Sequence[str]], receivers: Iterable[Receiver]
) -> dict[str, tuple[str, ...]]:
    """Return host -> contents of earlier commands and of these receivers."""
    merged = {host: tuple(contents) for host, contents in old.items()}
    for receiver in receivers:
        contents = (*merged.get(receiver.host, ()), *receiver.contents)
        merged[receiver.host] = tuple(dict.fromkeys(contents))
    return merged
