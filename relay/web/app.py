"""The admin site as an ASGI application: create_app() joins login, views and the apps' API."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route

from relay.web.api.operations import PREFIX
from relay.web.api.site import create_api
from relay.web.desk.changes import Changes
from relay.web.desk.reports import Reader
from relay.web.desk.suppressions import Suppressions
from relay.web.desk.views import Desk
from relay.web.guard import Guard
from relay.web.login.gate import LOGIN, Gate
from relay.web.login.pages import LoginPages
from relay.web.login.service import Login
from relay.web.node import Node
from relay.web.rendering import Pages
from relay.web.settings import Control, WebSettings
from relay.web.views import Views


def create_app(settings: WebSettings, control: Control, login: Login, reader: Reader) -> Starlette:
    """`control` asks the node (control.sock); what it raises when the node is down is shown as such."""
    pages = Pages(settings)
    node = Node(control)
    desk, changes = Desk(settings, reader, node, pages, login), Changes(node, pages, login)
    suppressions = Suppressions(settings, node, pages, login)
    views, entrance = Views(settings, node, pages, login.seal, desk.story), LoginPages(login, pages.page)
    routes: list[BaseRoute] = [
        Route("/", views.dashboard if settings.mode == "capture" else desk.today),
        Route("/today", desk.today),
        Route("/messages", views.dashboard),
        Route("/report/{report}", desk.report),
        Route("/report/{report}/csv", desk.report_csv),
        Route("/found", desk.found),
        Route("/found/csv", desk.found_csv),
        Route("/recipient", desk.recipient),
        Route("/suppressed", suppressions.listed),
        Route("/suppressed/many", suppressions.many),
        Route("/suppressed/many", changes.many, methods=["POST"]),
        Route("/undo", changes.undo, methods=["POST"]),
        Route("/resume", changes.resume, methods=["POST"]),
        Route("/queue", views.queue),
        Route("/connect", views.connect),
        Route("/m/{id}", views.message),
        Route("/m/{id}/html", views.message_html),
        Route("/m/{id}/source.eml", views.message_source),
        Route("/healthz", views.healthz),
        Route("/readyz", views.readyz),
        Route("/metrics", views.metrics),
        Route("/static/{name}", views.static),
        Route(LOGIN, entrance.show),
        Route(LOGIN, entrance.enter, methods=["POST"]),
        Route("/logout", entrance.leave, methods=["POST"]),
    ]
    if settings.api:
        routes.append(Mount(PREFIX, app=create_api(control)))
    guard = Middleware(Guard, names=settings.hosts, any_address=settings.any_address)
    gate = Middleware(Gate, login=login, closed=entrance.closed)
    handlers = {404: views.not_found, 403: views.not_ours}
    return Starlette(routes=routes, middleware=[guard, gate], exception_handlers=handlers)
