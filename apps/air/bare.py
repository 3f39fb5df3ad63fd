"""The greeting of Air's documentation: https://github.com/feldroy/air#a-simple-example."""

import air

app = air.Air()


@app.get("/")
async def index():
    return air.H1("Hello, Air!")
