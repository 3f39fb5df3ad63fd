"""The greeting of FastHTML's documentation: https://fastht.ml/docs/#usage."""

from fasthtml.common import Div, P, fast_app

app, rt = fast_app()


@rt("/")
def get():
    return Div(P("Hello World!"))
