"""The greeting of gunicorn's documentation: https://gunicorn.org/quickstart/."""


def app(environ, start_response):
    data = b"Hello, World!"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(data)))])
    return [data]
