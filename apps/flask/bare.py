"""The greeting of Flask's documentation: https://flask.palletsprojects.com/en/stable/quickstart/."""

from flask import Flask

app = Flask(__name__)


@app.route("/")
def hello_world():
    return "<p>Hello, World!</p>"
