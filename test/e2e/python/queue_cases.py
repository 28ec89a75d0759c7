"""What Ray's Queue promises, of src/examples/python/edge_channel.py against the server at EDGE_CHANNEL_URL.

Prints a line of JSON for each case that ran: {"case", "problem"}, the problem being null where it passed.
"""

import asyncio
import contextlib
import http.client
import http.server
import json
import pickle
import queue as standard_queue
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from unittest import mock

from edge_channel import CheckpointConflict, EdgeChannelError, Empty, Full, LeaseLost, Queue, ShutDown, _Http

SHORT_S = 0.03
PATIENCE_S = 5


def until(queue, kind, count=1):
    """Returns when so many calls wait at the server. Each look is a round trip, so this does not spin."""
    end = time.monotonic() + PATIENCE_S
    while queue._describe()["waiting"][kind] != count:
        if time.monotonic() > end:
            raise AssertionError(f"there were never {count} waiting {kind}")


def losing_one_reply():
    """The next reply comes to the connection, but not to the caller."""
    real, lost = http.client.HTTPConnection.getresponse, []

    def lose(connection):
        response = real(connection)
        if not lost:
            lost.append(response.read())
            raise ConnectionResetError("the reply is lost")
        return response

    return mock.patch.object(http.client.HTTPConnection, "getresponse", lose)


@contextlib.contextmanager
def stranger(answer):
    """The address of another service: `answer` is given the path and returns status, headers and body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_any(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_any

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def in_json(value, status=200, kind="application/json"):
    return status, {"Content-Type": kind}, json.dumps(value).encode()


class QueueCases(unittest.TestCase):
    def assert_unexpected(self, answer, call, outcome="unknown"):
        """The call says that this is no answer of the service, and with which status it came."""
        with self.assertRaises(EdgeChannelError, msg=answer) as caught:
            call()
        self.assertEqual((type(caught.exception), caught.exception.kind), (EdgeChannelError, "unexpected-reply"), answer)
        self.assertEqual(caught.exception.outcome, outcome)
        self.assertIn(f"status {answer[0]}", str(caught.exception))
        self.assertIn("not of this service", str(caught.exception))

    def in_background(self, call, *args, **kwargs):
        pool = ThreadPoolExecutor(1)
        self.addCleanup(pool.shutdown)
        return pool.submit(call, *args, **kwargs)

    def test_Q1_simple_usage(self):
        queue = Queue()
        items = list(range(10))
        for item in items:
            queue.put(item)
        self.assertEqual(items, [queue.get() for _ in items])

    def test_Q2_get(self):
        queue = Queue()
        queue.put(0)
        self.assertEqual(queue.get(block=False), 0)
        queue.put(1)
        self.assertEqual(queue.get(timeout=0.2), 1)
        self.assertRaisesRegex(ValueError, "'timeout' must be a non-negative number", queue.get, timeout=-1)
        self.assertRaises(Empty, queue.get_nowait)
        self.assertRaises(standard_queue.Empty, queue.get, timeout=SHORT_S)
        queue.put(2)
        self.assertEqual(queue.get(block=False, timeout=-1), 2)

    def test_Q2_get_async(self):
        async def run():
            queue = Queue()
            await queue.put_async(0)
            self.assertEqual(await queue.get_async(block=False), 0)
            await queue.put_async(1)
            self.assertEqual(await queue.get_async(timeout=0.2), 1)
            for error, options in [(ValueError, {"timeout": -1}), (Empty, {"block": False}), (Empty, {"timeout": SHORT_S})]:
                with self.assertRaises(error):
                    await queue.get_async(**options)

        asyncio.run(run())

    def test_Q3_put(self):
        queue = Queue(1)
        queue.put(0, block=False)
        queue.get()
        queue.put(1, timeout=0.2)
        self.assertRaisesRegex(ValueError, "'timeout' must be a non-negative number", queue.put, 2, timeout=-1)
        self.assertRaises(Full, queue.put_nowait, 2)
        self.assertRaises(standard_queue.Full, queue.put, 2, timeout=SHORT_S)
        self.assertEqual((queue.get(), queue.qsize()), (1, 0))

    def test_Q3_put_async(self):
        async def run():
            queue = Queue(1)
            await queue.put_async(0, block=False)
            await queue.get_async()
            await queue.put_async(1, timeout=0.2)
            for error, options in [(ValueError, {"timeout": -1}), (Full, {"block": False}), (Full, {"timeout": SHORT_S})]:
                with self.assertRaises(error):
                    await queue.put_async(2, **options)

        asyncio.run(run())

    def test_Q4_concurrent_get(self):
        queue = Queue()
        blocked = self.in_background(queue.get)
        until(queue, "gets")
        self.assertRaises(Empty, queue.get_nowait)
        self.assertRaises(FutureTimeout, blocked.result, timeout=SHORT_S)
        queue.put(1)
        self.assertEqual(blocked.result(PATIENCE_S), 1)

    def test_Q5_concurrent_put(self):
        queue = Queue(1)
        queue.put(1)
        blocked = self.in_background(queue.put, 2)
        until(queue, "puts")
        self.assertRaises(Full, queue.put_nowait, 3)
        self.assertRaises(FutureTimeout, blocked.result, timeout=SHORT_S)
        self.assertEqual((queue.get(), queue.get()), (1, 2))
        blocked.result(PATIENCE_S)

    def test_Q6_batch(self):
        small = Queue(1)
        with self.assertRaisesRegex(Full, "^Cannot add 2 items to queue of size 0 and maxsize 1.$"):
            small.put_nowait_batch([1, 2])
        with self.assertRaisesRegex(Empty, "^Cannot get 1 items from queue of size 0.$"):
            small.get_nowait_batch(1)
        large = Queue(100)
        items = list(range(100))
        large.put_nowait_batch(items)
        self.assertRaises(Full, large.put_nowait_batch, ["more"])
        self.assertRaises(Empty, large.get_nowait_batch, 101)
        self.assertEqual(large.get_nowait_batch(100), items)

    def test_Q6_batch_arguments(self):
        queue = Queue()
        self.assertRaises(TypeError, queue.put_nowait_batch, 1)
        self.assertRaises(TypeError, queue.get_nowait_batch, 1.0)
        self.assertRaises(TypeError, queue.get_nowait_batch, True)
        self.assertRaises(ValueError, queue.get_nowait_batch, -1)
        self.assertRaisesRegex(ValueError, "Cannot put 10001 items at once", queue.put_nowait_batch, range(10_001))
        self.assertRaisesRegex(ValueError, "Cannot get 10001 items at once", queue.get_nowait_batch, 10_001)
        queue.put_nowait_batch([])
        queue.put_nowait_batch(item for item in [b"\x00\xff", "text", {"a": None}])
        self.assertRaises(Empty, queue.get_nowait_batch, 4)
        self.assertEqual((queue.get_nowait_batch(0), queue.size()), ([], 3))
        self.assertEqual(queue.get_nowait_batch(3), [b"\x00\xff", "text", {"a": None}])

    def test_Q7_qsize(self):
        queue = Queue(5)
        self.assertEqual((len(queue), queue.empty(), queue.full()), (0, True, False))
        for size in range(1, 6):
            queue.put(size)
            self.assertEqual(queue.qsize(), size)
        self.assertEqual((queue.size(), queue.empty(), queue.full()), (5, False, True))
        for size in range(4, -1, -1):
            queue.get()
            self.assertEqual(queue.qsize(), size)

    def test_Q8_shutdown(self):
        queue = Queue()
        other = Queue(name=queue.name)
        blocked = self.in_background(other.get)
        until(queue, "gets")
        queue.shutdown()
        self.assertRaises(ShutDown, blocked.result, PATIENCE_S)
        for handle in (queue, other):
            for call in (handle.get, handle.qsize, handle.empty, lambda: handle.put(1)):
                self.assertRaises(ShutDown, call)
        queue.shutdown()
        other.shutdown(force=True)

    def test_Q8_shutdown_with_items(self):
        queue = Queue()
        reader = Queue(name=queue.name)
        queue.put("left")
        queue.shutdown(grace_period_s=60)
        self.assertRaises(ShutDown, reader.put, "more")
        self.assertEqual(reader.get(), "left")
        self.assertRaises(ShutDown, reader.get)

    def test_timeout_of_0_tries_once(self):
        queue = Queue(1)
        queue.put("a", timeout=0)
        self.assertRaises(Full, queue.put, "b", timeout=0)
        self.assertEqual(queue.get(timeout=0), "a")
        self.assertRaises(Empty, queue.get, timeout=0)

    def test_items_come_back_as_they_were_put(self):
        queue = Queue()
        items = [None, True, 0, 1.5, 2**53, "", "\x00\n\u2028\U0001f680", b"", b"\x00\xff", [1, [None]], {"a": {"": []}}, "{}"]
        for item in items:
            queue.put(item)
        queue.put_nowait_batch(items)
        got = queue.get_nowait_batch(len(items)) + [queue.get() for _ in items]
        self.assertEqual([repr(item) for item in got], [repr(item) for item in items + items])

    def test_a_batch_that_escapes_make_too_large_fits(self):
        queue = Queue()
        items = ["\x00" * 1_000_000] * 5 + [{"a": 1}, b"\x00"]
        queue.put_nowait_batch(items)
        self.assertEqual(queue.get_nowait_batch(len(items)), items)

    def test_items_that_json_would_change_need_a_serializer(self):
        plain, pickled = Queue(), Queue(serializer=pickle)
        for item in [(1, 2), {1: 2}, {3}, 2**53 + 1, 10**400, object(), float("nan")]:
            self.assertRaises((TypeError, ValueError), plain.put, item)
        self.assertEqual(plain.size(), 0)
        for item in [(1, 2), {1: 2}, {3}, 2**53 + 1]:
            pickled.put(item)
            self.assertEqual(pickled.get(), item)
        pickled.put_nowait_batch([(1,)])
        self.assertEqual(Queue(name=pickled.name).get(), pickle.dumps((1,)))

    def test_a_put_whose_reply_is_lost_is_stored_once(self):
        queue = Queue()
        with losing_one_reply():
            queue.put("a")
        with losing_one_reply():
            queue.put_nowait_batch(["b", "c"])
        self.assertEqual(queue.get_nowait_batch(3), ["a", "b", "c"])
        self.assertTrue(queue.empty())

    def test_a_get_whose_reply_is_lost_loses_nothing(self):
        queue = Queue()
        queue.put("a")
        with losing_one_reply():
            self.assertRaises(Empty, queue.get_nowait)
        self.assertEqual((queue.size(), queue._describe()["delivery"]["leased"]), (1, 1))

    def test_answers_of_another_service_are_told(self):
        queue = Queue()
        queue.put("a")
        lease = queue.lease()
        answers = [
            (302, {"Location": "http://127.0.0.1:1/"}, b""),
            (200, {"Content-Type": "text/html"}, b"<title>Sign in</title>"),
            (200, {"Content-Type": "text/html"}, b"{}"),
            (200, {"Content-Type": "application/json"}, b'{"offset":'),
            (200, {"Content-Type": "application/json"}, b"\xff"),
            (200, {"Content-Type": "application/json"}, b"[" * 100_000),
            (200, {"ETag": '"abc"', "Channel-Updated-At-Ms": "1"}, b""),
            (200, {"ETag": '"7"'}, b""),
            (204, {}, b""),
            in_json({}),
            in_json(None),
            in_json([]),
            in_json("ok"),
            in_json({"offset": 1, "count": 1, "messages": [], "state": "draining"}, 302),
            in_json({"kind": "channel-full"}, 429),
            in_json({"kind": 7, "retry": "never"}, 410, "application/problem+json"),
            in_json(None, 500, "application/problem+json"),
            (404, {"Content-Type": "text/html"}, b"<title>Not found</title>"),
            (502, {}, b""),
        ]
        changes = [
            lambda: queue.put("b"),
            lambda: queue.put_nowait_batch(["b", "c"]),
            queue.get,
            lambda: queue.get_nowait_batch(1),
            queue.lease,
            lease.ack,
            lambda: queue.write_checkpoint("at", 1),
            queue.shutdown,
        ]
        looks = [queue.size, queue.empty, queue.full, lambda: queue.read_checkpoint("at")]
        given = []
        with stranger(lambda path: given[-1]) as url, mock.patch.object(queue, "_http", _Http(url, "")):
            for answer in answers:
                given.append(answer)
                self.assert_unexpected(answer, lambda: Queue(url=url))
                for call in changes:
                    self.assert_unexpected(answer, call)
                for call in looks:
                    self.assert_unexpected(answer, call, "not-applied")
        self.assertEqual(queue.size(), 1)
        lease.ack()

    def test_answers_that_lack_what_the_call_needs_are_told(self):
        queue = Queue()
        queue.put("a")
        lease = queue.lease()
        message = {"leaseId": "l", "offset": 1, "attempt": 1, "redelivered": False, "contentType": "text/plain", "text": "a"}
        taken = {"messages": [message], "leaseUntilMs": 1}
        described = {"channel": "q", "state": "open", "depth": 0, "isEmpty": True, "isFull": False}
        refused = {"pointer": "/acks/0", "problem": {"kind": "lease-lost", "retry": "never"}}
        bodiless = {name: value for name, value in message.items() if name != "text"}
        wrong = [
            (lambda: queue.put("b"), {"offset": 1, "count": 1}, {"offset": [None, "1", True], "count": [None, 0, 2, "1"]}),
            (lambda: queue.put_nowait_batch(["b", "c"]), {"offset": 1, "count": 2}, {"offset": [None], "count": [1, [2]]}),
            (queue.lease, taken, {"messages": [None, {}, [None], [message] * 2, [bodiless]], "leaseUntilMs": [None, "1"]}),
            (queue.get, taken, {"messages": [[{**message, name: None}] for name in message]}),
            (queue.get, taken, {"messages": [[{**bodiless, "base64": value}] for value in (7, "a", "\u00e4")]}),
            (queue.get, taken, {"messages": [[{**message, "text": "\ud800"}]]}),
            (lease.ack, {"refused": []}, {"refused": [None, {}, [None], [{"pointer": "/acks/0"}]]}),
            (lease.ack, {"refused": []}, {"refused": [[{**refused, "pointer": 0}], [{**refused, "pointer": "/acks"}]]}),
            (lease.ack, {"refused": []}, {"refused": [[{**refused, "problem": {}}], [{**refused, "problem": "lost"}]]}),
            (lambda: queue.write_checkpoint("at", 1), {"version": 1}, {"version": [None, "1", 1.5]}),
            (queue.shutdown, {"state": "draining"}, {"state": [None, "open", ["draining"]]}),
            (queue.size, described, {"depth": [None, "0"], "isEmpty": [None, 0], "isFull": [None, 0]}),
        ]
        given = []
        with stranger(lambda path: given[-1]) as url, mock.patch.object(queue, "_http", _Http(url, "")):
            for call, right, members in wrong:
                outcome = "not-applied" if call == queue.size else "unknown"
                for name, values in members.items():
                    absent = {other: value for other, value in right.items() if other != name}
                    for body in [absent, *({**right, name: value} for value in values)]:
                        given.append(in_json(body))
                        self.assert_unexpected(given[-1], call, outcome)
        self.assertEqual(queue.size(), 1)
        lease.ack()

    def test_a_get_whose_ack_is_answered_by_another_loses_nothing(self):
        queue = Queue()
        message = {"leaseId": "l", "offset": 1, "attempt": 1, "redelivered": False, "contentType": "text/plain", "text": "a"}

        def answer(path):
            return (502, {}, b"") if path.endswith("/settle") else in_json({"messages": [message], "leaseUntilMs": 1})

        with stranger(answer) as url, mock.patch.object(queue, "_http", _Http(url, "")):
            self.assertEqual((queue.get(), queue.get_nowait_batch(1)), ("a", ["a"]))

    def test_a_get_that_is_cancelled_takes_nothing(self):
        async def run(queue):
            getter = asyncio.ensure_future(queue.get_async())
            await asyncio.get_running_loop().run_in_executor(None, until, queue, "gets")
            getter.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await getter
            await asyncio.get_running_loop().run_in_executor(None, until, queue, "gets", 0)
            await queue.put_async("a")
            self.assertEqual(await queue.get_async(block=False), "a")

        asyncio.run(run(Queue()))

    def test_many_gets_that_wait_keep_no_put_out(self):
        async def run(queue):
            getters = [asyncio.ensure_future(queue.get_async()) for _ in range(50)]
            for item in range(50):
                await queue.put_async(item)
            self.assertEqual(sorted(await asyncio.gather(*getters)), list(range(50)))

        asyncio.run(run(Queue()))

    def test_threads_share_a_queue(self):
        queue = Queue(4)
        with ThreadPoolExecutor(16) as pool:
            gets = [pool.submit(queue.get, timeout=PATIENCE_S) for _ in range(8)]
            for put in [pool.submit(queue.put, item, timeout=PATIENCE_S) for item in range(8)]:
                put.result()
            self.assertEqual(sorted(get.result() for get in gets), list(range(8)))

    def test_leases_are_settled_in_every_way(self):
        queue = Queue()
        queue.put_nowait_batch(["a", "b"])
        first = queue.lease()
        self.assertEqual((first.item, first.attempt, first.redelivered, queue.size()), ("a", 1, False, 2))
        first.release()
        again = queue.lease(timeout=0, lease_s=60)
        self.assertEqual((again.item, again.redelivered), ("a", True))
        again.extend(120)
        again.retry(0)
        third = queue.lease()
        self.assertEqual(third.item, "a")
        third.ack()
        self.assertRaises(LeaseLost, third.ack)
        queue.lease().reject("bad")
        self.assertRaises(Empty, queue.lease, block=False)
        counts = queue._describe()["counts"]
        self.assertEqual((counts["acked"], counts["deadLettered"]), (1, 1))

    def test_checkpoints_compare_and_set(self):
        queue = Queue()
        self.assertIsNone(queue.read_checkpoint("at"))
        first = queue.write_checkpoint("at", {"offset": 7}, expected_version=0)
        self.assertEqual(queue.read_checkpoint("at"), ({"offset": 7}, first))
        with self.assertRaises(CheckpointConflict) as conflict:
            queue.write_checkpoint("at", "other", expected_version=0)
        self.assertEqual(conflict.exception.current, first)
        second = queue.write_checkpoint("at", b"\x00", expected_version=first)
        self.assertGreater(queue.write_checkpoint("at", "text"), second)
        self.assertEqual(queue.read_checkpoint("at").value, "text")

    def test_bad_arguments_are_told_before_anything_is_sent(self):
        queue = Queue()
        urls = ["", "localhost:8787", "http://", "http://host:port", "http://host:70000", "http://[::1", "http://a b", "http://h/\u00e4"]
        names = ["", "bad name", "..", ".a", "-a", "a/b", "a\n", "\u00e4", "a" * 129]
        with mock.patch.object(http.client.HTTPConnection, "request", side_effect=AssertionError("it was sent")):
            for maxsize in [True, "1", 1.0, None]:
                self.assertRaisesRegex(TypeError, "'maxsize' must be an integer", Queue, maxsize)
            self.assertRaisesRegex(ValueError, "'maxsize' must be a non-negative integer", Queue, -1)
            self.assertRaisesRegex(ValueError, "'maxsize' must be at most 1000000000", Queue, 1_000_000_001)
            self.assertRaisesRegex(TypeError, "'actor_options' must be a dictionary", Queue, 1, "invalid")
            for name in names:
                self.assertRaisesRegex(ValueError, "'name' must have 1 to 128 letters", Queue, name=name)
                self.assertRaisesRegex(ValueError, "'name' must have 1 to 128 letters", queue.read_checkpoint, name)
                self.assertRaisesRegex(ValueError, "'name' must have 1 to 128 letters", queue.write_checkpoint, name, 1)
            self.assertRaisesRegex(ValueError, "'name' must have 1 to 128 letters", Queue, 0, {"name": ".."})
            for wrong in [7, b"a", True, ["a"]]:
                self.assertRaisesRegex(TypeError, "'name' must be a string", Queue, name=wrong)
                self.assertRaisesRegex(TypeError, "'name' must be a string", Queue, 0, {"name": wrong})
                self.assertRaisesRegex(TypeError, "'name' must be a string", queue.read_checkpoint, wrong)
                self.assertRaisesRegex(TypeError, "'url' must be a string", Queue, url=wrong)
                self.assertRaisesRegex(TypeError, "'token' must be a string", Queue, token=wrong)
            for url in urls:
                self.assertRaisesRegex(ValueError, "Expected the http or https address", Queue, url=url)
            self.assertRaisesRegex(ValueError, "Expected a token", Queue, token="a\n")

    def test_refusals_are_told(self):
        with self.assertRaises(EdgeChannelError) as refused:
            Queue(token="wrong")
        self.assertEqual(refused.exception.kind, "unauthorized")
        queue = Queue(2, {"name": f"named-{time.time_ns()}"})
        with self.assertRaises(EdgeChannelError) as refused:
            Queue(3, name=queue.name)
        self.assertEqual(refused.exception.kind, "settings-conflict")


class Report(unittest.TestResult):
    def stopTest(self, test):
        super().stopTest(test)
        problems = [text for failed, text in self.failures + self.errors if failed is test]
        problems += ["it was skipped" for skipped, _ in self.skipped if skipped is test]
        print(json.dumps({"case": test._testMethodName, "problem": "\n".join(problems) or None}), flush=True)


if __name__ == "__main__":
    unittest.defaultTestLoader.loadTestsFromTestCase(QueueCases).run(Report())
