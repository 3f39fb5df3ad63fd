"""The greeting of FastAPI's documentation: https://fastapi.tiangolo.com/tutorial/first-steps/."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def root():
    return {"message": "Hello World"}
