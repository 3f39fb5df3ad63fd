import time


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    return tokens()


def tokens():
    for token in ("One", "token", "at", "a", "time."):
        yield f"data: {token}\n\n".encode()
        time.sleep(0.2)
