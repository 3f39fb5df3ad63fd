"""openai for Python at the base URL of the first argument; see witness.py for what it reads."""

import json
import sys

from openai import APIStatusError, OpenAI, OpenAIError, Stream
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say something."}]

client = OpenAI(base_url=sys.argv[1], api_key="key", max_retries=0)


def main() -> None:
    tell(ready=True)
    for line in sys.stdin:
        try:
            SCENES[line.strip()]()
        except OpenAIError as error:
            status = error.status_code if isinstance(error, APIStatusError) else None
            tell(error=str(error), kind=type(error).__name__, status=status)
        tell(ready=True)


def stream() -> None:
    for chunk in ask():
        tell_token(chunk)
    tell(end=True)


def leave() -> None:
    with ask() as chunks:  # break alone leaves the connection open until it is collected
        for chunk in chunks:
            tell_token(chunk)
            break


def whole() -> None:
    completion = client.chat.completions.create(model="suite", messages=MESSAGES)
    tell(answer=completion.choices[0].message.content)


def ask() -> Stream[ChatCompletionChunk]:
    return client.chat.completions.create(model="suite", messages=MESSAGES, stream=True)


def tell_token(chunk: ChatCompletionChunk) -> None:
    if chunk.choices and chunk.choices[0].delta.content:
        tell(token=chunk.choices[0].delta.content)


def tell(**seen: object) -> None:
    print(json.dumps(seen), flush=True)


SCENES = {"stream": stream, "leave": leave, "whole": whole}

main()
