"""Django on ASGI: a client that leaves while a middleware is in its thread takes the response unclosed.

`MiddlewareMixin` runs `process_response` in a thread. A client that leaves meanwhile cancels the
await, and the response that the view returned is dropped: nobody calls its `close()`, and its
iterator is never begun. What the view opened for it, such as a connection to a model, stays open.
Wanted: every response is closed, as it is without a middleware. Exits 0 while the fault shows.
"""

import asyncio
import sys
import threading
from importlib.metadata import version

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import StreamingHttpResponse
from django.urls import path
from django.utils.deprecation import MiddlewareMixin

STACK = "django-uvicorn"

seen = []
in_thread = threading.Event()
client_has_left = threading.Event()


class Response(StreamingHttpResponse):
    def close(self):
        super().close()
        seen.append("closed")


class Middleware(MiddlewareMixin):
    def process_response(self, request, response):
        in_thread.set()
        client_has_left.wait()
        return response


async def view(request):
    seen.append("opened")
    return Response()


urlpatterns = [path("", view)]
settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[f"{__name__}.Middleware"]
)
app = get_asgi_application()


async def main():
    messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive():
        if len(messages) == 1:
            await asyncio.to_thread(in_thread.wait)
            asyncio.get_running_loop().call_later(0.1, client_has_left.set)
        return messages.pop(0)

    async def send(message):
        seen.append(message["type"])

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "http_version": "1.1"}
    await app(scope, receive, send)


asyncio.run(main())
versions = f"django {version('django')}, asgiref {version('asgiref')}"
print(f"{versions}: the response was {' and '.join(seen)}; wanted opened and closed")
sys.exit("it is mended" if "closed" in seen else 0)
