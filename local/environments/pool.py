"""Execution environments side by side, as Lambda keeps them: one request each at a time, started when needed.

An app that calls itself through the gateway, and a page with many assets, need more than one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol, Self

from ..failures import LocalFailure
from ..runtime_api.reply import Reply, init_error
from .function import ADDRESS_IN_USE


class Invocable(Protocol):
    """A function as an environment uses it."""

    def invoke(self, payload: bytes, *, on_answer: Callable[[Reply], object]) -> Reply: ...
    def stop(self) -> None: ...


class Outcome(NamedTuple):
    """A reply, and the number of the environment that gave it.

    ``end`` has what the invocation ended with, as soon as the environment can serve again; for an answer that is
    streamed, or is there early, it comes later than this. None: it is ``reply``.
    """

    reply: Reply
    environment: int
    end: Future[Reply] | None = None


# Gets the environment's number and whether it is alone; gives a started function or raises LocalFailure, LayerError.
Start = Callable[[int, bool], Invocable]


class Environment:
    """One sandbox and the thread that starts and calls it: the kernel ends a sandbox together with its thread."""

    def __init__(self, number: int, version: object, is_alone: bool) -> None:
        self.number = number
        self.version = version  # of the app that it runs
        self.is_alone = is_alone
        self.is_busy = False
        self.has_served = self.has_failed = False  # whether the app has started in it
        self.function: Invocable | None = None
        self.thread = ThreadPoolExecutor(1, f"environment-{number}")

    def stop(self) -> None:
        """End the sandbox at once, whatever it does; returns when nothing of it is left."""
        if self.function:
            self.function.stop()  # an invocation that is under way fails by this
        self.thread.submit(self._stop_function)  # for one that was still starting
        self.thread.shutdown()

    def retire(self, on_end: Callable[[Environment], object]) -> None:
        """End the sandbox without waiting for it."""
        self.thread.submit(self._stop_function).add_done_callback(lambda _: on_end(self))
        self.thread.shutdown(wait=False)

    def _stop_function(self) -> None:
        if self.function:
            self.function.stop()


class Environments:
    """``with Environments(start, 4) as several: several.submit(payload).result()``.

    An idle environment is used again, the one with the lowest number first; without one, another is started; when
    ``limit`` of them are busy, callers wait (Lambda would answer them 429). ``version()`` is asked before each request:
    when it has another answer than before, the app has changed, and no environment of before is used again.

    An app that does not start beside itself, because it ignores the port that it is given or opens another one too, is
    served by those environments that it has started in; ``on_note`` gets a sentence about it.
    """

    def __init__(
        self,
        start: Start,
        limit: int,
        version: Callable[[], object] = lambda: None,
        on_note: Callable[[str], object] = repr,
    ) -> None:
        self._start = start
        self._limit = limit
        self._narrow: tuple[object, int] | None = None  # of which version no more than so many start
        self._version = version
        self._on_note = on_note
        self._changed = threading.Condition()
        self._environments: list[Environment] = []
        self._ending: list[Environment] = []  # retired: out of use, and perhaps still there
        self._started = 0
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def prepare(self) -> None:
        """Start the first environment now: what this machine cannot do should be known before the first request."""
        environment = self._take()
        environment.thread.submit(self._prepare, environment).result()

    def submit(self, payload: bytes) -> Future[Outcome]:
        """Invoke the function. Waits for an environment; the result is the ``Outcome`` or raises as ``start`` does."""
        environment = self._take()
        outcome: Future[Outcome] = Future()
        environment.thread.submit(self._invoke, environment, payload, outcome)
        return outcome

    def stop(self) -> None:
        """End all of them, whatever they do, and refuse whoever waits for one."""
        with self._changed:
            self._is_open = False
            running, ending = self._environments, list(self._ending)
            self._environments = []
            self._changed.notify_all()
        threads = [threading.Thread(target=environment.stop) for environment in running]
        for thread in threads:  # side by side: each may have its half second
            thread.start()
        for thread in threads:
            thread.join()  # no limit: `stop` kills what does not end
        for environment in ending:
            environment.thread.shutdown()

    def _take(self) -> Environment:
        with self._changed:
            while True:
                if not self._is_open:
                    raise LocalFailure("the environments have ended")
                version = self._version()
                self._retire_all_but(version)
                if environment := self._available(version):
                    environment.is_busy = True
                    return environment
                self._changed.wait()  # no limit: a request waits for an environment as long as its client does

    def _available(self, version: object) -> Environment | None:
        current = [environment for environment in self._environments if environment.version == version]
        for environment in current:
            if not environment.is_busy:
                return environment
        limit = self._limit_of(version)
        if len(current) >= limit:
            return None
        # An app that has to be alone may need a port that the one before it still has.
        if (limit == 1 and self._environments) or (self._ending and (limit == 1 or not self._environments)):
            return None
        self._started += 1
        is_alone = not self._environments
        self._environments.append(Environment(self._started, version, is_alone))
        return self._environments[-1]

    def _limit_of(self, version: object) -> int:
        return self._narrow[1] if self._narrow and self._narrow[0] == version else self._limit

    def _retire_all_but(self, version: object) -> None:
        for environment in list(self._environments):
            if environment.version != version and not environment.is_busy:
                self._drop(environment)

    def _drop(self, environment: Environment) -> None:
        self._environments.remove(environment)
        self._ending.append(environment)
        environment.retire(self._forget)

    def _forget(self, environment: Environment) -> None:
        with self._changed:
            self._ending.remove(environment)
            self._changed.notify_all()

    def _prepare(self, environment: Environment) -> None:
        try:
            self._begin(environment)
        finally:
            self._give_back(environment, environment.function is not None)

    def _invoke(self, environment: Environment, payload: bytes, outcome: Future[Outcome]) -> None:
        end: Future[Reply] = Future()

        def early(reply: Reply) -> None:
            outcome.set_result(Outcome(reply, environment.number, end))

        try:
            reply = self._reply(environment, payload, early)
        except BaseException as error:
            self._give_back(environment, is_usable=False)
            (end if outcome.done() else outcome).set_exception(error)
            return
        failure = init_error(reply)
        if failure[0] and not outcome.done() and self._does_without(environment, failure):
            self._invoke_another(environment, payload, outcome)
            return
        environment.has_failed = bool(failure[0])
        environment.has_served = environment.has_served or not failure[0]
        # Before the caller has the end: the request that follows finds this one idle.
        self._give_back(environment, is_usable=True)
        if outcome.done():
            end.set_result(reply)
        else:
            outcome.set_result(Outcome(reply, environment.number))

    def _does_without(self, environment: Environment, failure: tuple[str, str]) -> bool:
        """Whether the app, which has failed to start in this environment, runs in others, which are used alone then."""
        is_a_port = bool(ADDRESS_IN_USE.search(failure[1]))  # that of one which may still be in its own start
        with self._changed:
            others = [
                other
                for other in self._environments
                if other.version == environment.version
                and (other.has_served or (is_a_port and other is not environment and not other.has_failed))
            ]
            if environment.has_served or environment.is_alone or not others:
                return False
            self._narrow = (environment.version, len(others))
        count = "one environment serves" if len(others) == 1 else f"{len(others)} environments serve"
        self._on_note(
            f"the app did not start a second time beside itself ({': '.join(failure).splitlines()[0]}). Does it listen "
            f"on $PORT, and on no other port? {count} from here on, as with ENVIRONMENTS={len(others)}"
        )
        return True

    def _invoke_another(self, environment: Environment, payload: bytes, outcome: Future[Outcome]) -> None:
        """Invoke the function in another environment; of this one, which ends, the event has not reached the app."""

        def invoke() -> None:
            try:
                other = self._take()
            except LocalFailure as failure:
                outcome.set_exception(failure)
            else:
                other.thread.submit(self._invoke, other, payload, outcome)

        self._give_back(environment, is_usable=False)
        threading.Thread(target=invoke, daemon=True).start()

    def _reply(self, environment: Environment, payload: bytes, early: Callable[[Reply], object]) -> Reply:
        function = self._begin(environment)
        if not self._is_open:  # ended while this one was starting: nobody else would end the invocation
            raise LocalFailure("the environments have ended")
        return function.invoke(payload, on_answer=early)

    def _begin(self, environment: Environment) -> Invocable:
        if environment.function is None:
            environment.function = self._start(environment.number, environment.is_alone)
        return environment.function

    def _give_back(self, environment: Environment, is_usable: bool) -> None:
        with self._changed:
            environment.is_busy = False
            if environment in self._environments and not is_usable:
                self._drop(environment)
            self._changed.notify_all()
