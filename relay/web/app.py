"""The admin site as an ASGI application: create_app() joins the views, which only read, and the apps' API."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route

from relay.web.api.operations import PREFIX
from relay.web.api.site import create_api
from relay.web.guard import Guard
from relay.web.settings import Control, WebSettings
from relay.web.views import Views


def create_app(settings: WebSettings, control: Control) -> Starlette:
    """`control` asks the node (control.sock); what it raises when the node is down is shown as such."""
    views = Views(settings, control)
    routes: list[BaseRoute] = [
        Route("/", views.dashboard),
        Route("/queue", views.queue),
        Route("/connect", views.connect),
        Route("/m/{id}", views.message),
        Route("/m/{id}/html", views.message_html),
        Route("/m/{id}/source.eml", views.message_source),
        Route("/healthz", views.healthz),
        Route("/readyz", views.readyz),
        Route("/metrics", views.metrics),
        Route("/static/{name}", views.static),
    ]
    if settings.api:
        routes.append(Mount(PREFIX, app=create_api(control)))
    guard = Middleware(Guard, names=settings.hosts, any_address=settings.any_address)
    return Starlette(routes=routes, middleware=[guard], exception_handlers={404: views.not_found})
