"""The greeting of Django's documentation: https://docs.djangoproject.com/en/stable/intro/tutorial01/."""

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__)


def index(request):
    return HttpResponse("Hello, world. You're at the polls index.")


urlpatterns = [path("", index)]

app = get_asgi_application()
