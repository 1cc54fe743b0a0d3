"""The sockets of a KME: ETSI GS QKD 014 over HTTPS with certificates on both sides.

Who asks is the common name of the client's certificate. A request that is repeated with the same
``Idempotency-Key`` header within ``retry_s`` gets the same answer: a key is delivered once, and a
lost answer would be a lost key.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from controller.qkd.etsi import Answer, DecRequest, EncRequest, Kme014, Refused, Reserve
from controller.qkd.kme_file import Kme
from controller.qkd.store import KeyStore
from quantum.errors import InputError

__all__ = ["application", "serve", "tls"]

_MOST_BYTES = 256 * 1024
_PATIENCE = ClientTimeout(total=5.0)
_TOKEN = 128
#: How often answers that were kept long enough are looked for.
_FORGET_S = 1.0
_JSON = "application/json"
T = TypeVar("T")


def tls(kme: Kme, *, server: bool) -> ssl.SSLContext:
    """Return the TLS of a KME: version 1.2 at least, and a certificate asked of everybody."""
    purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
    try:
        context = ssl.create_default_context(purpose, cafile=kme.authority)
        context.load_cert_chain(kme.certificate, kme.private_key)
    except (ssl.SSLError, OSError) as wrong:
        raise InputError(f"cannot use the certificates of {kme.id}: {wrong}") from wrong
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Http:
    """Requests of the standard, from bytes to bytes."""

    def __init__(self, service: Kme014, store: KeyStore, session: ClientSession) -> None:
        self._service, self._store, self._session = service, store, session
        # Keys are cut and reserved one request after the other, so both sides see one order.
        self._turn = asyncio.Lock()

    async def status(self, request: web.Request) -> bytes:
        return self._service.status(_caller(request), request.match_info["sae"])

    async def enc_keys(self, request: web.Request) -> bytes:
        asked = await _body(request, EncRequest, _enc_query)
        caller, slave = _caller(request), request.match_info["sae"]

        async def work() -> bytes:
            answer = self._service.begin(caller, slave, asked)
            await self._reserve(answer)
            return self._service.finish(answer)

        return await self._once(request, caller, asked, work)

    async def dec_keys(self, request: web.Request) -> bytes:
        asked = await _body(request, DecRequest, _dec_query)
        caller, master = _caller(request), request.match_info["sae"]

        async def work() -> bytes:
            return self._service.take(caller, master, asked)

        return await self._once(request, caller, asked, work)

    async def reserve(self, request: web.Request) -> bytes:
        told = await _body(request, Reserve, None)
        self._service.reserved(_caller(request), told)
        return b"{}"

    async def _reserve(self, answer: Answer) -> None:
        url = f"{answer.peer.url}/peer/v1/reserve"
        lost = f"KME {answer.peer.id} cannot be reached: try again"
        try:
            # The certificate at the other end must be that KME's, whatever its address.
            async with self._session.post(
                url,
                data=msgspec.json.encode(answer.reserve),
                headers={"Content-Type": _JSON},
                server_hostname=answer.peer.id,
            ) as told:
                if told.status != 200:
                    raise Refused(503, lost, (await told.text())[:200])
        except (ClientError, TimeoutError, OSError) as wrong:
            raise Refused(503, lost) from wrong

    async def _once(
        self, request: web.Request, caller: str, asked: Any, work: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """Do the work, or answer as before where the request is a repeated one."""
        token = request.headers.get("Idempotency-Key", "")
        if len(token) > _TOKEN:
            raise Refused(400, f"Idempotency-Key must have {_TOKEN} characters at most")
        question = request.path.encode() + b"\n" + msgspec.json.encode(asked)
        async with self._turn:
            if token:
                try:
                    before = self._store.answered(caller, token, question)
                except InputError as wrong:
                    raise Refused(400, str(wrong)) from wrong
                if before is not None:
                    return before
            answer = await work()
            if token:
                lasts_s = self._service.kme.retry_s
                self._store.remember(caller, token, question, answer, lasts_s)
            return answer


def application(service: Kme014, store: KeyStore, session: ClientSession) -> web.Application:
    """Return the routes of a KME."""
    http = _Http(service, store, session)
    app = web.Application(client_max_size=_MOST_BYTES, middlewares=[_errors])
    keys = "/api/v1/keys/{sae}"
    app.router.add_get(f"{keys}/status", _json(http.status), allow_head=False)
    for name, handler in (("enc_keys", http.enc_keys), ("dec_keys", http.dec_keys)):
        app.router.add_get(f"{keys}/{name}", _json(handler), allow_head=False)
        app.router.add_post(f"{keys}/{name}", _json(handler))
    app.router.add_post("/peer/v1/reserve", _json(http.reserve))
    return app


async def serve(kme: Kme, told: Callable[[int], None]) -> None:
    """Serve until cancelled; ``told`` hears the port once it is open."""
    store = KeyStore(Path(kme.store))
    runner: web.AppRunner | None = None
    try:
        connector = TCPConnector(ssl=tls(kme, server=False))
        async with ClientSession(connector=connector, timeout=_PATIENCE) as session:
            app = application(Kme014(kme, store), store, session)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, kme.host, kme.port, ssl_context=tls(kme, server=True))
            try:
                await site.start()
            except OSError as wrong:
                raise InputError(
                    f"cannot listen on {kme.host}:{kme.port}: {wrong.strerror}"
                ) from wrong
            told(runner.addresses[0][1])
            while True:
                # Also where nobody asks any more, and what an earlier process left behind.
                store.forget()
                await asyncio.sleep(_FORGET_S)
    finally:
        if runner is not None:
            await runner.cleanup()
        store.close()


def _json(
    handler: Callable[[web.Request], Awaitable[bytes]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=await handler(request), content_type=_JSON)

    return answer


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer every error as section 6.5 has it, also those of the library."""
    try:
        return await handler(request)
    except Refused as wrong:
        return web.Response(status=wrong.status, body=wrong.body, content_type=_JSON)
    except web.HTTPException as wrong:
        body = Refused(wrong.status, wrong.reason).body
        kept = {k: v for k, v in wrong.headers.items() if k == "Allow"}
        return web.Response(status=wrong.status, body=body, headers=kept, content_type=_JSON)


def _caller(request: web.Request) -> str:
    """Return the common name of the client's certificate; TLS has checked it."""
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    subject = dict(part[0] for part in (certificate or {}).get("subject", ()))
    name = str(subject.get("commonName", ""))
    if not name:
        raise Refused(401, "the certificate has no common name")
    return name


async def _body(
    request: web.Request, kind: type[T], query: Callable[[web.Request], Any] | None
) -> T:
    """Read a request from its body, or from its query where it is a GET."""
    try:
        if request.method == "GET" and query is not None:
            return msgspec.convert(query(request), kind)
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as wrong:
        raise Refused(400, "bad request format", str(wrong).splitlines()[0]) from wrong


def _enc_query(request: web.Request) -> dict[str, int]:
    return {k: int(request.query[k]) for k in ("number", "size") if k in request.query}


def _dec_query(request: web.Request) -> dict[str, Any]:
    return {"key_IDs": [{"key_ID": name} for name in request.query.getall("key_ID", [])]}
