"""The greeting of Quart's documentation: https://quart.palletsprojects.com/en/latest/tutorials/quickstart/."""

from quart import Quart

app = Quart(__name__)


@app.route("/")
async def hello():
    return "hello"
