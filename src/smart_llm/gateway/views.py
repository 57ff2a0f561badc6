"""What a gateway shows: its models, its health, its metrics, its page."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from smart_llm.gateway import chat
from smart_llm.gateway.doors import Doors
from smart_llm.gateway.gateway import Gateway
from smart_llm.gateway.metrics import Metrics
from smart_llm.gateway.page import html, part
from smart_llm.gateway.spoken import Denied


class Views:
    """Of one gateway."""

    def __init__(self, gateway: Gateway, doors: Doors, metrics: Metrics) -> None:
        self._gateway, self._doors, self._metrics = gateway, doors, metrics

    async def models(self, request: Request) -> Response:
        """The routes that whoever asks may ask for."""
        try:
            routes = self._doors.open_to(request.scope)
        except Denied as denied:
            return Response(chat.denied(denied), denied.status, media_type="application/json")
        return Response(chat.listed(routes), media_type="application/json")

    async def health(self, request: Request) -> Response:
        """Whether it answers at all."""
        broken = self._gateway.broken is not None
        return JSONResponse({"status": "broken" if broken else "ok"}, 503 if broken else 200)

    async def page(self, request: Request) -> Response:
        """The live page, which may ask nobody but this gateway."""
        if not self._doors.may_look(request.scope):
            return _closed()
        if "live" in request.query_params:
            return HTMLResponse(part(self._gateway), headers={"cache-control": "no-store"})
        nonce = secrets.token_urlsafe(16)
        allowed = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'"
        allowed += "; img-src data:; frame-ancestors 'none'"
        headers = {"content-security-policy": allowed, "cache-control": "no-store"}
        return HTMLResponse(html(self._gateway, nonce), headers=headers)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        if not self._doors.may_look(request.scope):
            return _closed()
        return Response(self._metrics.text(), media_type=self._metrics.media_type)


def _closed() -> Response:
    return Response("This page is for this machine, or for a token of a route.\n", 403, media_type="text/plain")
