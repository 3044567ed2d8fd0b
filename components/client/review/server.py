"""The server of the page: one question at a time, decided by a key, written at once."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from components.client.review.decisions import DecidedElsewhere, DecisionsFile
from components.client.review.queue import Queue
from components.core.errors import InputError
from components.data.decisions import CHOICES, CORRECT, Decision
from components.reports import page

HERE = Path(__file__).parent
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LONGEST = 10_000  # bytes of a decision
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
FILES = {"report.css": Path(page.__file__).parent / "templates" / "report.css"}
FILES |= {name: HERE / name for name in ("review.css", "review.js")}


class Session:
    """One person at the page: what is open, skipped, and can be taken back."""

    def __init__(self, queue: Queue, decisions: DecisionsFile) -> None:
        self.queue, self.decisions = queue, decisions
        self.skipped: set[int] = set()
        self.made: list[int] = []

    @property
    def open(self) -> list[int]:
        """Numbers of the questions that nobody has decided and this person has not skipped."""
        made = self.decisions.made
        return [
            number
            for number, question in enumerate(self.queue.questions)
            if question.product_id not in made and number not in self.skipped
        ]

    def decide(self, number: int, choice: str, code: str) -> None:
        """Writes a decision; `InputError` where there is no such question, choice or class."""
        if not 0 <= number < len(self.queue.questions) or choice not in CHOICES:
            raise InputError(f"question {number}: no such question, or {choice!r} is no decision")
        question = self.queue.questions[number]
        if choice == CORRECT and code not in self.queue.classes:
            raise InputError(f"{code!r} is none of the catalog's classes")
        if choice != CORRECT and not question.given:
            raise InputError("of a new product only its class is decided")
        decision = Decision(question.product_id, choice, code if choice == CORRECT else "", question.given)
        self.decisions.decide(decision, self.queue.shown(question)["title"])
        self.made.append(number)

    def undo(self) -> None:
        """Takes this person's last decision back, if there is one."""
        if self.made:
            self.decisions.withdraw(self.queue.questions[self.made[-1]].product_id)
            self.made.pop()


def review_app(session: Session, *, command: str) -> Starlette:
    """The application; it answers requests from this machine's own pages alone.

    Args:
        command: what gives the decisions to the next run, for the page.
    """
    handlers = _Handlers(session, command)
    routes = [
        Route("/", handlers.first),
        Route("/question/{number:int}", handlers.question),
        Route("/decide/{number:int}", handlers.decide, methods=["POST"]),
        Route("/skip/{number:int}", handlers.skip, methods=["POST"]),
        Route("/undo", handlers.undo, methods=["POST"]),
        Route("/picture/{part}/{row:int}", handlers.picture),
        Route("/{file}", handlers.file),
    ]
    return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=_guard)])


async def _guard(request: Request, answer: Callable[[Request], Any]) -> Response:
    """Refuses what another site's page, or another machine, asks for."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if host not in LOOPBACK or foreign or request.headers.get("sec-fetch-site", "none") == "cross-site":
        return Response("This page answers its own requests alone.", 403, HEADERS)
    response = await answer(request)
    response.headers.update(HEADERS)
    return response


class _Handlers:
    def __init__(self, session: Session, command: str) -> None:
        self.session, self.command = session, command
        self.templates = Environment(
            loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    async def first(self, request: Request) -> Response:
        left = self.session.open
        return RedirectResponse(f"/question/{left[0]}", 303) if left else self._page(None)

    async def question(self, request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(self.session.queue.questions):
            raise HTTPException(404)
        return self._page(number)

    async def decide(self, request: Request) -> Response:
        form, number = await _form(request), request.path_params["number"]
        arguments = number, form.get("choice", ""), form.get("code", "")
        return await self._try(number, lambda: self.session.decide(*arguments))

    async def skip(self, request: Request) -> Response:
        self.session.skipped.add(request.path_params["number"])
        return self._next(request.path_params["number"])

    async def undo(self, request: Request) -> Response:
        last = self.session.made[-1] if self.session.made else None
        answer = await self._try(last or 0, self.session.undo)
        return RedirectResponse(_place(last), 303) if answer.status_code == 303 else answer

    async def picture(self, request: Request) -> Response:
        part = self.session.queue.parts.get(request.path_params["part"])
        row = request.path_params["row"]
        content = part.picture(row) if part and row < len(part.products.table) else None
        if content is None:
            raise HTTPException(404)
        return Response(content, media_type="image/jpeg")

    async def file(self, request: Request) -> Response:
        if request.path_params["file"] not in FILES:
            raise HTTPException(404)
        return FileResponse(FILES[request.path_params["file"]])

    async def _try(self, number: int, write: Callable[[], None]) -> Response:
        try:
            await run_in_threadpool(write)
        except DecidedElsewhere:
            notice = "Somebody else decided meanwhile. Their decisions were taken in; yours was not written."
            return self._page(number, notice=notice, status=409)
        except InputError as error:
            return self._page(number, notice=str(error), status=422)
        return self._next(number)

    def _next(self, number: int) -> Response:
        left = self.session.open
        later = next((each for each in left if each > number), left[0] if left else None)
        return RedirectResponse(_place(later), 303)

    def _page(self, number: int | None, *, notice: str = "", status: int = 200) -> Response:
        queue, decisions = self.session.queue, self.session.decisions
        asked = None if number is None else queue.questions[number]
        context = {
            "number": number,
            "asked": asked,
            "product": asked and queue.shown(asked),
            "decided": asked and decisions.made.get(asked.product_id),
            "classes": queue.classes,
            "typical": {code: queue.typical(code) for code in asked.codes} if asked else {},
            "count": len(queue.questions),
            "open": len(self.session.open),
            "skipped": len(self.session.skipped),
            "made": len(decisions.made),
            "undoable": bool(self.session.made),
            "place": decisions.place,
            "command": self.command,
            "notice": notice,
        }
        return HTMLResponse(self.templates.get_template("review.html.jinja").render(context), status)


def _place(number: int | None) -> str:
    return "/" if number is None else f"/question/{number}"


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST:
            raise HTTPException(413)
    with contextlib.suppress(UnicodeDecodeError):
        return {name: values[-1] for name, values in parse_qs(body.decode()).items()}
    raise HTTPException(400)
