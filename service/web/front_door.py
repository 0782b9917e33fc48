"""The ASGI application that the server calls: every request passes here, whole, before Flask sees it.

It holds no thread while a request or a reply is on the network, so slow and silent clients do not keep others waiting.
Plain balances of cached loans are answered here; everything else runs in Flask, in bounded pools of threads.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from flask import Response

from service.errors import DatabaseUnavailable, LoanerError, RequestRefused, ServiceBusy
from service.gateway.identity import CHALLENGE_HEADER
from service.ledger.timeline_lookup import LoanSnapshot
from service.observability import metrics
from service.observability.request_log import RequestLog
from service.web.door.body import BodyReader
from service.web.door.bounded_pool import BoundedPool
from service.web.door.exchange import Exchange, Receive, Send
from service.web.door.forwarding import TrustedProxies
from service.web.door.framing import Headers, Scope, check_framing, has_body, read_headers
from service.web.door.plain_balance import PlainBalances, Question
from service.web.door.received_ids import ReceivedIds
from service.web.door.wsgi_bridge import ReaderLeft, WsgiBridge, build_environ
from service.web.error_handlers import to_response
from service.web.page.paths import SIGN_IN, is_page_path
from service.web.routes.token import busy_response

log = logging.getLogger(__name__)

_CHALLENGE = CHALLENGE_HEADER.lower().encode()
CLIENT_CLOSED = 499  # in the log, as nginx writes it: the client left before the reply ended


@dataclass(frozen=True)
class Pools:
    """Where Flask runs. Each kind of request has its own threads, so that none keeps another waiting.

    Args:
        general: All other requests.
        tokens: Requests to /token and sign-ins, each of which costs a processor for a while.
        probes: Requests to /ready and /metrics.
    """

    general: BoundedPool
    tokens: BoundedPool
    probes: BoundedPool


class FrontDoor:
    """The ASGI application.

    Args:
        bridge: Calls Flask.
        balances: Answers plain requests for balances.
        proxies: Knows where requests came from.
        bodies: Reads bodies.
        pools: Where Flask runs.
        requests: Logs and measures requests.
        ids: Reads the ids that proxies have given to requests.
        page_error: Converts an error of a request for the page `/app`, below a gateway's prefix; None without the page.
    """

    def __init__(
        self,
        bridge: WsgiBridge,
        balances: PlainBalances,
        proxies: TrustedProxies,
        bodies: BodyReader,
        pools: Pools,
        requests: RequestLog,
        ids: ReceivedIds,
        page_error: Callable[[str, Exception], Response] | None = None,
    ) -> None:
        self._bridge = bridge
        self._balances = balances
        self._proxies = proxies
        self._bodies = bodies
        self._requests = requests
        self._ids = ids
        self._page_error = page_error
        self._general = pools.general
        self._probes = pools.probes
        self._tokens = pools.tokens
        # /healthcheck only replies, so it does not leave the event loop, unless it has to read keys for a proof.
        self._pools: dict[str, BoundedPool | None] = {
            "/healthcheck": None, "/ready": pools.probes, "/metrics": pools.probes, "/token": pools.tokens,
        }  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI 3.0)."""
        started = perf_counter()
        exchange = Exchange(receive, send, self._requests.next_id())
        self._requests.in_progress += 1
        try:
            headers = self._admit(exchange, scope)
            question = self._balances.match(scope, headers)
            if question is None:
                await self._call_flask(exchange, scope, headers)
            else:
                await self._answer_plainly(exchange, question)
        except ReaderLeft:
            exchange.status = CLIENT_CLOSED
        except Exception as err:
            await self._report(exchange, scope, err)
        finally:
            self._requests.in_progress -= 1
            address = scope["client"][0] if exchange.origin is None else exchange.origin.address
            self._requests.record(
                address, scope["method"], scope["path"], exchange.route, exchange.status or CLIENT_CLOSED,
                perf_counter() - started, exchange,
            )  # fmt: skip

    def _admit(self, exchange: Exchange, scope: Scope) -> Headers:
        """Check the head of a request, and return its headers."""
        headers = read_headers(scope)
        check_framing(scope, headers)
        exchange.origin = self._proxies.origin(scope["client"][0], scope["scheme"], headers)
        if exchange.origin.trusted and not self._ids.headers.isdisjoint(headers):
            self._ids.read(exchange, headers)
        return headers

    async def _answer_plainly(self, exchange: Exchange, question: Question) -> None:
        exchange.route = question.route
        exchange.caller = question.caller
        snapshot = self._get_cached(exchange, question.loan_id)
        if snapshot is None:
            snapshot = await self._general.run(exchange.call, self._balances.get, question.loan_id)
        body, headers = self._balances.reply(question, snapshot)
        await exchange.send(200, headers, body)

    def _get_cached(self, exchange: Exchange, loan_id: int) -> LoanSnapshot | None:
        return self._balances.get_cached(loan_id)

    async def _report(self, exchange: Exchange, scope: Scope, err: Exception) -> None:
        """Reply to a request that has failed.

        A thread logs the error: while nothing reads standard error, logging would make the event loop wait.
        """
        if not exchange.status:
            is_logged = isinstance(err, DatabaseUnavailable) or not isinstance(err, LoanerError)
            convert: Callable[[Exception], Response] = to_response
            if self._page_error is not None and exchange.origin is not None and is_page_path(scope["path"]):
                convert = partial(self._page_error, exchange.origin.prefix)
            response = (
                await self._general.run(exchange.call, convert, err, is_admitted=True) if is_logged else convert(err)
            )
            await exchange.send_response(response, isinstance(err, RequestRefused) and err.closes)
        elif not isinstance(err, DatabaseUnavailable):  # which is logged where the reply is made
            report = partial(log.error, "a reply failed midway", exc_info=err)
            await self._general.run(exchange.call, report, is_admitted=True)
        # A reply that has begun is left without its end, and the server closes the connection: it looks cut off.

    async def _call_flask(self, exchange: Exchange, scope: Scope, headers: Headers) -> None:
        path = "/" + scope["path"].lstrip("/")  # as the framework reads it
        pool = self._pools.get(path, self._general)
        if path == SIGN_IN and scope["method"] == "POST":
            pool = self._tokens
        if pool is None and _CHALLENGE in headers:
            pool = self._probes
        body = await self._bodies.read(headers, exchange.receive) if has_body(headers) else b""
        length = len(body)
        try:
            assert exchange.origin is not None  # the request has been admitted
            environ = build_environ(scope, headers, exchange.origin, body)
            del body  # or it would be held for as long as a client reads the reply
            call = await self._bridge.start(environ, exchange, pool)
        except ServiceBusy:
            if pool is self._tokens:
                metrics.token_requests.labels("slow_down").inc()
            if path != "/token":
                raise
            await exchange.send_response(busy_response())
            return
        finally:
            self._bodies.release(length)
        await self._bridge.reply(call, exchange, pool)
