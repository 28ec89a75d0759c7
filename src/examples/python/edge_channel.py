"""A queue with the names and exceptions of ray.util.queue.Queue, kept by an Edge Channel server.

Python 3.9 or later, standard library only: copy this file. It speaks HTTP (see src/protocol/PROTOCOL.md).
Unlike Ray's, the queue survives its makers, a get whose reply is lost loses nothing, and a timeout of 0 tries once.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import functools
import http.client
import json
import math
import os
import queue
import re
import socket
import struct
import threading
import time
import urllib.parse
import uuid
from typing import Any, Iterable, NamedTuple, Optional

__all__ = ["CheckpointConflict", "Checkpoint", "EdgeChannelError", "Empty", "Full", "Lease", "LeaseLost", "Queue", "ShutDown"]

# A wait without end is made of waits of this length, so that a connection that died in silence is noticed.
WAIT_S_MAX = 60
REPLY_TIMEOUT_S = 30
IDLE_CONNECTIONS_MAX = 16
BATCH_ITEMS_MAX = 10_000
REQUEST_BYTES_MAX = 24 * 1024 * 1024
MAXSIZE_MAX = 1_000_000_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:-]{0,127}")
LEASE_S_DEFAULT = 30
EXPIRE_IDLE_MS = 30 * 24 * 60 * 60 * 1000
TEXT, BYTES, JSON = "text/plain; charset=utf-8", "application/octet-stream", "application/json"
PROBLEM = "application/problem+json"
SERIALIZED = "application/x-python-serialized"
NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
DESCRIPTION = {"channel": str, "state": str, "depth": int, "isEmpty": bool, "isFull": bool}
SHUT_DOWN_KINDS = frozenset({"channel-draining", "channel-closed", "channel-deleted"})


class Empty(queue.Empty):
    """Nothing came in time."""


class Full(queue.Full):
    """There was no room in time."""


class EdgeChannelError(Exception):
    """The server refused, or did not answer: kind "connection-failed", or "unexpected-reply" where another did, such as a proxy.

    outcome: "not-applied", or "unknown" where the call may have been carried out.
    """

    def __init__(self, message: str, kind: str, problem: Optional[dict] = None, outcome: str = "not-applied"):
        super().__init__(message)
        self.kind = kind
        self.problem = problem or {}
        # A refusal changed nothing, unless it says otherwise.
        self.outcome: str = self.problem.get("outcome", outcome)


class ShutDown(EdgeChannelError):
    """The queue was shut down (Ray: RayActorError)."""


class LeaseLost(EdgeChannelError):
    """The lease is over: it was settled, or its time ran out."""


class CheckpointConflict(EdgeChannelError):
    """Another version than the expected one is there: `current`, or None where there is none."""

    @property
    def current(self) -> Optional[int]:
        return self.problem.get("current")


class Checkpoint(NamedTuple):
    value: Any
    version: int


class Queue:
    """A bounded first-in-first-out queue, safe for any number of threads and processes.

    maxsize: most items at once, up to 1,000,000,000; 0 leaves it to the channel's own limits (1,000,000 items and 1 GiB by default).
    actor_options: for Ray's sake. Its "name" is the name of the queue; there is no actor that the rest could be for.
    name: the queue to create, or to join if it exists. Default: a new one, which is dropped after 30 idle days.
    url, token: default to the environment variables EDGE_CHANNEL_URL and EDGE_CHANNEL_TOKEN.
    serializer: something with `dumps` and `loads`, such as the module pickle. Loading runs code that the item chooses: only where
        all who can put are trusted. Default: none; then bytes, str and what JSON brings back equal are taken, TypeError otherwise.
    Raises TypeError or ValueError for bad arguments, EdgeChannelError of kind "settings-conflict" for another maxsize than there is.
    """

    def __init__(
        self,
        maxsize: int = 0,
        actor_options: Optional[dict] = None,
        *,
        name: Optional[str] = None,
        url: Optional[str] = None,
        token: Optional[str] = None,
        serializer: Any = None,
    ):
        _check_count("maxsize", maxsize)
        if maxsize > MAXSIZE_MAX:
            raise ValueError(f"'maxsize' must be at most {MAXSIZE_MAX}")
        if actor_options is not None and not isinstance(actor_options, dict):
            raise TypeError("'actor_options' must be a dictionary")
        if name is None:
            name = (actor_options or {}).get("name")
        settings: dict = {"maxMessages": maxsize} if maxsize > 0 else {}
        if name is None:
            settings["expireAfterIdleMs"] = EXPIRE_IDLE_MS
            name = f"queue-{uuid.uuid4().hex}"
        _check_name(name)
        self.maxsize = maxsize
        self.name = name
        self._serializer = serializer
        self._is_shut_down = False
        self._http = _Http(
            os.environ.get("EDGE_CHANNEL_URL", "") if url is None else url,
            os.environ.get("EDGE_CHANNEL_TOKEN", "") if token is None else token,
        )
        self._send("PUT", "", body=settings).json(**DESCRIPTION)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """How many items there are, those that are leased among them."""
        return self._describe()["depth"]

    def qsize(self) -> int:
        return self.size()

    def empty(self) -> bool:
        return self._describe()["isEmpty"]

    def full(self) -> bool:
        return self._describe()["isFull"]

    def put(self, item: Any, block: bool = True, timeout: Optional[float] = None) -> None:
        """Returns when the item is on disk. Raises Full if there is no room at once (block=False) or within `timeout` seconds."""
        self._put(item, _Deadline(block, timeout), _Call())

    def get(self, block: bool = True, timeout: Optional[float] = None) -> Any:
        """Takes the next item. It leaves the queue once it is here: if the reply is lost, it comes back after 30 seconds.

        Raises Empty if there is none at once (block=False) or within `timeout` seconds.
        """
        return self._get(_Deadline(block, timeout), _Call())

    async def put_async(self, item: Any, block: bool = True, timeout: Optional[float] = None) -> None:
        """As put. One that is cancelled may have been stored."""
        return await _in_thread(self._put, item, _Deadline(block, timeout))

    async def get_async(self, block: bool = True, timeout: Optional[float] = None) -> Any:
        """As get. One that is cancelled takes no item.

        Behind `wrangler dev` (`npm start`), which does not notice that, it may still lease one, which comes back after 30 seconds.
        """
        return await _in_thread(self._get, _Deadline(block, timeout))

    def put_nowait(self, item: Any) -> None:
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def put_nowait_batch(self, items: Iterable) -> None:
        """Puts all items, up to 10,000 and 16 MiB, or raises Full and puts none.

        Where the escapes of texts make the request too large they go as base64: the same here, bytes to readers that are not Python.
        """
        if not isinstance(items, Iterable):
            raise TypeError("Argument 'items' must be an Iterable")
        items = list(items)
        if len(items) > BATCH_ITEMS_MAX:
            raise ValueError(f"Cannot put {len(items)} items at once: at most {BATCH_ITEMS_MAX}")
        if not items:
            return
        data = _format_body({"messages": [self._format(item) for item in items]})
        if len(data) > REQUEST_BYTES_MAX:
            data = _format_body({"messages": [self._format(item, is_text=False) for item in items]})
        try:
            headers = {"Content-Type": JSON, **_new_key()}
            self._send("POST", "/messages/batch", data=data, headers=headers).json(offset=int, count=(len(items),))
        except EdgeChannelError as error:
            is_count = error.problem.get("unit") == "messages"
            if error.kind != "channel-full" and not (error.kind == "batch-too-large" and is_count):
                raise
            raise Full(
                f"Cannot add {len(items)} items to queue of size {self.size()} and maxsize {self.maxsize}."
            ) from error

    def get_nowait_batch(self, num_items: int) -> list:
        """Takes exactly so many items, up to 10,000, or raises Empty and takes none.

        Fewer come only where the leases of some ran out before they could be acked: those go to others.
        """
        _check_count("num_items", num_items)
        if num_items > BATCH_ITEMS_MAX:
            raise ValueError(f"Cannot get {num_items} items at once: at most {BATCH_ITEMS_MAX}")
        if num_items == 0:
            return []
        try:
            leases = self._lease(int(num_items), LEASE_S_DEFAULT, _Deadline(False, None), _Call())
            return self._ack_all(leases)
        except (Empty, EdgeChannelError) as error:
            if isinstance(error, EdgeChannelError) and error.kind != "batch-too-large":
                raise
            size = self.size()
            if isinstance(error, EdgeChannelError) and size >= num_items:
                raise
            raise Empty(f"Cannot get {num_items} items from queue of size {size}.") from error

    def lease(self, block: bool = True, timeout: Optional[float] = None, lease_s: float = LEASE_S_DEFAULT) -> Lease:
        """Takes the next item for `lease_s` seconds (1 second to 12 hours). Whoever does not settle it by then loses it to the next."""
        return self._lease(1, lease_s, _Deadline(block, timeout), _Call())[0]

    def read_checkpoint(self, name: str) -> Optional[Checkpoint]:
        """The value and version of a checkpoint of this queue, or None where there is none."""
        try:
            reply = self._send("GET", _checkpoint_path(name))
        except EdgeChannelError as error:
            if error.kind == "unknown-checkpoint":
                return None
            raise
        version = re.fullmatch(r'(?:W/)?"([0-9]+)"', reply.headers.get("ETag", ""))
        # A page may have a tag like that, but not this.
        if version is None or "Channel-Updated-At-Ms" not in reply.headers:
            raise reply.unexpected()
        return Checkpoint(self._parse_bytes(reply.body, reply.headers.get_content_type()), int(version[1]))

    def write_checkpoint(self, name: str, value: Any, expected_version: Optional[int] = None) -> int:
        """Writes a value of up to 1 MiB and returns its version.

        expected_version: the version that has to be there, 0 for none, else CheckpointConflict. Default: whatever is there is replaced.
        """
        data, content_type = self._encode(value)
        headers = {"Content-Type": content_type}
        if expected_version is not None:
            is_new = expected_version == 0
            headers["If-None-Match" if is_new else "If-Match"] = "*" if is_new else f'"{expected_version}"'
        # Sent again after a success whose reply was lost, a condition would not hold any more.
        is_repeatable = expected_version is None
        reply = self._send("PUT", _checkpoint_path(name), data=data, headers=headers, is_repeatable=is_repeatable)
        return reply.json(version=int)["version"]

    def shutdown(self, force: bool = False, grace_period_s: float = 5) -> None:
        """Takes no more items, and deletes the queue as soon as it is empty, at the latest when the grace is over; at once by force.

        Does not wait for that. All calls on this handle raise ShutDown from now on; a second shutdown does nothing.
        """
        if self._is_shut_down:
            return
        if grace_period_s < 0:
            raise ValueError("'grace_period_s' must be a non-negative number")
        query = {"force": "true"} if force else {"graceMs": math.ceil(grace_period_s * 1000)}
        try:
            self._send("DELETE", "", query=query).json(state=("draining", "deleted"))
        except EdgeChannelError as error:
            if not isinstance(error, ShutDown) and error.kind != "unknown-channel":
                raise
        self._is_shut_down = True
        self._http.close()

    def _describe(self) -> dict:
        return self._send("GET", "").json(**DESCRIPTION)

    def _put(self, item: Any, deadline: _Deadline, call: _Call) -> None:
        data, content_type = self._encode(item)
        # The same for all waits: a put that is refused does not use up its key.
        headers = {"Content-Type": content_type, **_new_key()}
        while True:
            wait_s = deadline.next_wait_s()
            query = {"waitMs": math.ceil(wait_s * 1000)}
            try:
                reply = self._send("POST", "/messages", query=query, data=data, headers=headers, wait_s=wait_s, call=call)
                reply.json(offset=int, count=(1,))
                return
            except EdgeChannelError as error:
                if error.kind not in ("channel-full", "too-many-waiters"):
                    raise
                if deadline.is_over():
                    raise Full(f"Cannot add an item to queue {self.name}: it is full") from error
                deadline.pause(error, call)

    def _get(self, deadline: _Deadline, call: _Call) -> Any:
        while True:
            leases = self._lease(1, LEASE_S_DEFAULT, deadline, call)
            if not call.decide():
                leases[0].release()
                raise _Cancelled
            items = self._ack_all(leases)
            if items:
                return items[0]
            call.reopen()

    def _lease(self, count: int, lease_s: float, deadline: _Deadline, call: _Call) -> list:
        while True:
            wait_s = deadline.next_wait_s()
            body = {"min": count, "max": count, "leaseMs": math.ceil(lease_s * 1000), "waitMs": math.ceil(wait_s * 1000)}
            try:
                reply = self._send("POST", "/messages/pull", body=body, wait_s=wait_s, call=call)
                taken = reply.json(messages=list)
                messages = taken["messages"]
                if messages:
                    if not _has(taken, leaseUntilMs=int) or len(messages) != count or not all(map(_is_leased, messages)):
                        raise reply.unexpected()
                    return [Lease(self, message, taken["leaseUntilMs"]) for message in messages]
            except EdgeChannelError as error:
                if error.kind != "too-many-waiters":
                    raise
                if not deadline.is_over():
                    deadline.pause(error, call)
            if deadline.is_over():
                raise Empty(f"Cannot get an item from queue {self.name}: it is empty")

    def _ack_all(self, leases: list) -> list:
        """Acks what is here and returns the items that are ours."""
        items = [lease.item for lease in leases]
        try:
            lost = self._settle("acks", [{"leaseId": lease.lease_id} for lease in leases])
        except EdgeChannelError as error:
            if error.outcome != "unknown":
                raise
            # Nobody knows what became of the acks: better twice than never.
            return items
        places = {int(entry["pointer"].split("/")[2]) for entry in lost}
        return [item for index, item in enumerate(items) if index not in places]

    def _settle(self, verdict: str, entries: list) -> list:
        """Settles leases and returns what was refused."""
        reply = self._send("POST", "/messages/settle", body={verdict: entries})
        refused = reply.json(refused=list)["refused"]
        if not all(map(_is_refused, refused)):
            raise reply.unexpected()
        if not reply.is_resent:
            return refused
        # The first try may have settled them.
        return [entry for entry in refused if entry["problem"].get("cause") != "settled"]

    def _send(self, method: str, path: str, **options: Any) -> _Reply:
        if self._is_shut_down:
            raise ShutDown(f"Queue {self.name} was shut down", "channel-deleted")
        return self._http.send(method, f"/v1/channels/{urllib.parse.quote(self.name, safe='')}{path}", **options)

    def _encode(self, item: Any) -> tuple:
        """The bytes of an item and their content type, by which they are read again."""
        if self._serializer is not None:
            return self._serializer.dumps(item), SERIALIZED
        if isinstance(item, (bytes, bytearray, memoryview)):
            return bytes(item), BYTES
        if isinstance(item, str):
            return item.encode(), TEXT
        return _format_json(item).encode(), JSON

    def _format(self, item: Any, is_text: bool = True) -> dict:
        """An item as a message of a batch."""
        data, content_type = self._encode(item)
        if content_type == JSON:
            return {"json": item}
        if content_type == TEXT and is_text:
            return {"text": item}
        return {"base64": base64.b64encode(data).decode(), "contentType": content_type}

    def _parse(self, message: dict) -> Any:
        if "json" in message:
            return message["json"]
        return self._parse_bytes(_bytes_of(message), message["contentType"].split(";")[0].strip().lower())

    def _parse_bytes(self, data: bytes, content_type: str) -> Any:
        if content_type == SERIALIZED and self._serializer is not None:
            return self._serializer.loads(data)
        try:
            if content_type.startswith("text/"):
                return data.decode()
            return json.loads(data) if content_type == JSON else data
        except ValueError:
            # Not what it says it is: as bytes it is at least not lost.
            return data


class Lease:
    """An item that is this reader's until `until_ms` (milliseconds since 1970). Settle it once; LeaseLost is raised when it is too late."""

    def __init__(self, owner: Queue, message: dict, until_ms: int):
        self._queue = owner
        self.item = owner._parse(message)
        self.lease_id: str = message["leaseId"]
        self.offset: int = message["offset"]
        self.attempt: int = message["attempt"]
        self.redelivered: bool = message["redelivered"]
        self.until_ms = until_ms

    def ack(self) -> None:
        """It is done with."""
        self._settle("acks", {})

    def retry(self, delay_s: Optional[float] = None, reason: Optional[str] = None) -> None:
        """It comes again after `delay_s` seconds, by default after a pause that grows with its attempts."""
        self._settle("retries", {"delayMs": None if delay_s is None else math.ceil(delay_s * 1000), "reason": reason})

    def reject(self, reason: Optional[str] = None) -> None:
        """It goes to the dead letters."""
        self._settle("rejects", {"reason": reason})

    def extend(self, seconds: float) -> None:
        """It stays leased for so many seconds from now."""
        lease_ms = math.ceil(seconds * 1000)
        self._settle("extends", {"leaseMs": lease_ms})
        self.until_ms = int(time.time() * 1000) + lease_ms

    def release(self) -> None:
        """It goes back to its place at once."""
        self._settle("releases", {})

    def _settle(self, verdict: str, facts: dict) -> None:
        given = {name: value for name, value in facts.items() if value is not None}
        for refused in self._queue._settle(verdict, [{"leaseId": self.lease_id, **given}]):
            raise _error_of(refused["problem"])


class _Deadline:
    """How long a call may wait: the rules of Ray's `block` and `timeout`, but that 0 tries once."""

    def __init__(self, block: bool, timeout: Optional[float]):
        if block and timeout is not None and not timeout >= 0:
            raise ValueError("'timeout' must be a non-negative number")
        wait_s = 0 if not block else math.inf if timeout is None else timeout
        self._end_s = time.monotonic() + wait_s

    def next_wait_s(self) -> float:
        return max(0.0, min(WAIT_S_MAX, self._end_s - time.monotonic()))

    def is_over(self) -> bool:
        return self._end_s <= time.monotonic()

    def pause(self, error: EdgeChannelError, call: _Call) -> None:
        """Waits before the next try where the server has no place to wait in."""
        if error.kind == "too-many-waiters":
            call.cancelled.wait(min(self.next_wait_s(), error.problem.get("retryAfterMs", 1000) / 1000))


class _Cancelled(Exception):
    """The caller went away."""


class _Call:
    """A call that another thread may cancel: until its outcome is decided, that breaks its connection."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._is_decided = False
        self._socket: Optional[socket.socket] = None

    def use(self, connected: socket.socket) -> None:
        with self._lock:
            if self.cancelled.is_set() and not self._is_decided:
                raise _Cancelled
            self._socket = connected

    def leave(self) -> None:
        with self._lock:
            self._socket = None

    def decide(self) -> bool:
        """Whether the item may be taken: from here on it is, whoever goes away."""
        with self._lock:
            self._is_decided = not self.cancelled.is_set()
            return self._is_decided

    def reopen(self) -> None:
        with self._lock:
            self._is_decided = False

    def cancel(self) -> None:
        with self._lock:
            self.cancelled.set()
            if self._socket is not None and not self._is_decided:
                try:
                    # Wakes the thread that reads. Nothing is sent: the reset that follows is what a server notices.
                    self._socket.shutdown(socket.SHUT_RD)
                except OSError:
                    pass  # It is broken already.


class _ThreadPerCall(concurrent.futures.Executor):
    """A pool of fewer threads than calls that wait would keep the put out that they wait for."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        future: concurrent.futures.Future = concurrent.futures.Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        future.set_running_or_notify_cancel()
        threading.Thread(target=run, daemon=True, name="edge-channel").start()
        return future


_THREADS = _ThreadPerCall()


async def _in_thread(function: Any, *args: Any) -> Any:
    call = _Call()
    future = asyncio.get_running_loop().run_in_executor(_THREADS, functools.partial(function, *args, call))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        call.cancel()
        try:
            # What was decided before is not undone: an item that is being acked is returned, not lost.
            return await asyncio.shield(future)
        except (Empty, Full, EdgeChannelError, _Cancelled):
            raise asyncio.CancelledError from None


class _Reply(NamedTuple):
    method: str
    target: str
    status: int
    headers: Any
    body: bytes
    is_resent: bool

    def json(self, **members: Any) -> dict:
        """The JSON object that it is, with what the call needs of it (see _has). Without that it says nothing of what was done."""
        value = self._parse(JSON)
        if not _has(value, **members):
            raise self.unexpected()
        return value

    def refusal(self) -> EdgeChannelError:
        problem = self._parse(PROBLEM)
        return _error_of(problem) if _has(problem, kind=str, retry=str) else self.unexpected()

    def unexpected(self) -> EdgeChannelError:
        """A proxy's page, a redirection, the answer of another service: who gave it may have passed the request on."""
        what = f"status {self.status} with {self.headers.get('Content-Type', 'nothing')}"
        message = f"Cannot read the answer to {self.method} {self.target}: {what} is not of this service"
        return EdgeChannelError(message, "unexpected-reply", outcome=_outcome_of(self.method))

    def _parse(self, content_type: str) -> Any:
        if self.headers.get_content_type() != content_type:
            return None
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class _Http:
    """Requests over connections that are kept alive and shared by all threads."""

    def __init__(self, url: str, token: str):
        self._lock = threading.Lock()
        self._idle: list = []
        self._process = os.getpid()
        if not isinstance(url, str):
            raise TypeError("'url' must be a string")
        if not isinstance(token, str):
            raise TypeError("'token' must be a string")
        scheme, self._address, self._base = _parse_url(url)
        if not (token.isascii() and token.isprintable()):
            raise ValueError("Expected a token of visible ASCII characters")
        self._connection_type = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __del__(self) -> None:
        self.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Optional[dict] = None,
        body: Any = None,
        data: Optional[bytes] = None,
        headers: Optional[dict] = None,
        wait_s: float = 0,
        is_repeatable: bool = True,
        call: Optional[_Call] = None,
    ) -> _Reply:
        """Sends once, and once more where the connection broke and the request may be repeated."""
        headers = {**self._headers, **(headers or {})}
        if body is not None:
            data = _format_body(body)
            headers["Content-Type"] = JSON
        target = self._base + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        request, timeout_s, call = (method, target, data, headers), wait_s + REPLY_TIMEOUT_S, call or _Call()
        # An idle connection may have ended in the meantime: what can not be repeated gets one of its own.
        connection = self._take() if is_repeatable else None
        try:
            reply = self._exchange(connection or self._open(), request, timeout_s, call, False)
        except (OSError, http.client.HTTPException) as error:
            if not is_repeatable or isinstance(error, socket.timeout):
                raise _no_answer(method, path, error) from error
            try:
                reply = self._exchange(self._open(), request, timeout_s, call, True)
            except (OSError, http.client.HTTPException) as second:
                raise _no_answer(method, path, second) from second
        if 200 <= reply.status < 300:
            return reply
        raise reply.refusal()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _open(self) -> http.client.HTTPConnection:
        return self._connection_type(*self._address, timeout=REPLY_TIMEOUT_S)

    def _take(self) -> Optional[http.client.HTTPConnection]:
        with self._lock:
            if self._process != os.getpid():
                # After a fork the connections are the parent's.
                self._idle, self._process = [], os.getpid()
            return self._idle.pop() if self._idle else None

    def _exchange(self, connection, request, timeout_s, call, is_resent) -> _Reply:  # type: ignore[no-untyped-def]
        method, target, data, headers = request
        try:
            if connection.sock is None:
                connection.connect()
                # Ending it is a reset, which servers notice at once: they hand nothing to a caller that has gone.
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            connection.sock.settimeout(timeout_s)
            call.use(connection.sock)
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            reply = _Reply(method, target, response.status, response.headers, response.read(), is_resent)
        except BaseException:
            connection.close()
            raise
        finally:
            call.leave()
        with self._lock:
            if len(self._idle) < IDLE_CONNECTIONS_MAX:
                self._idle.append(connection)
                return reply
        connection.close()
        return reply


def _no_answer(method: str, path: str, error: Exception) -> EdgeChannelError:
    message = f"No answer to {method} {path}: {error or type(error).__name__}"
    return EdgeChannelError(message, "connection-failed", outcome=_outcome_of(method))


def _outcome_of(method: str) -> str:
    """What is known of a request that was sent, but not answered."""
    return "not-applied" if method == "GET" else "unknown"


def _has(value: Any, **members: Any) -> bool:
    """Whether it is an object with all these members: each is of a type, or one of the values in a tuple."""
    return isinstance(value, dict) and all(
        name in value and (value[name] in right if isinstance(right, tuple) else type(value[name]) is right)
        for name, right in members.items()
    )


def _is_leased(message: Any) -> bool:
    if not _has(message, leaseId=str, offset=int, attempt=int, redelivered=bool, contentType=str):
        return False
    if "json" in message:
        return True
    try:
        _bytes_of(message)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return True


def _is_refused(entry: Any) -> bool:
    is_told = _has(entry, pointer=str, problem=dict) and _has(entry["problem"], kind=str)
    return is_told and re.match(r"/\w+/[0-9]+", entry["pointer"]) is not None


def _bytes_of(message: dict) -> bytes:
    return message["text"].encode() if "text" in message else base64.b64decode(message["base64"], validate=True)


def _error_of(problem: dict) -> EdgeChannelError:
    kind = problem["kind"]
    known = {"lease-lost": LeaseLost, "invalid-lease": LeaseLost, "checkpoint-conflict": CheckpointConflict}
    error_type = ShutDown if kind in SHUT_DOWN_KINDS else known.get(kind, EdgeChannelError)
    detail = problem.get("detail")
    return error_type(f"{problem.get('title', kind)}{f': {detail}' if detail else ''}", kind, problem)


def _parse_url(url: str) -> tuple:
    """Scheme, address of the server, and the path that its own paths come behind."""
    try:
        parts = urllib.parse.urlsplit(url)
        address = (parts.hostname, parts.port)
        # What no request can name.
        is_clean = parts.path.isascii() and (parts.netloc + parts.path).isprintable() and " " not in parts.netloc + parts.path
    except ValueError:
        is_clean = False
    if not is_clean or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("Expected the http or https address of a server as `url` or in EDGE_CHANNEL_URL")
    return parts.scheme, address, parts.path.rstrip("/")


def _format_body(body: dict) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _format_json(item: Any) -> str:
    text = json.dumps(item, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A server's JSON numbers are doubles. Tuples, keys that are no strings and long integers would come back as something else.
    if json.loads(text, parse_int=float) != item:
        raise TypeError("Cannot put an item that JSON would change; choose a serializer, such as serializer=pickle")
    return text


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"'{name}' must be an integer")
    if value < 0:
        raise ValueError(f"'{name}' must be a non-negative integer")


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError("'name' must be a string")
    # Dots alone, or what has to be escaped, would make another address.
    if NAME.fullmatch(name) is None:
        raise ValueError("'name' must have 1 to 128 letters, digits and . _ ~ : - and begin with a letter or a digit")


def _checkpoint_path(name: str) -> str:
    _check_name(name)
    return f"/checkpoints/{urllib.parse.quote(name, safe='')}"


def _new_key() -> dict:
    return {"Idempotency-Key": uuid.uuid4().hex}
