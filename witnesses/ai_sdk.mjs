// The ai package with @ai-sdk/openai-compatible; see witness.py for what it reads.

import { createInterface } from "node:readline";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

const messages = [{ role: "user", content: "Say something." }];
const provider = createOpenAICompatible({
  name: "suite",
  baseURL: process.argv[2],
  apiKey: "key",
});
const question = { model: provider("suite"), messages, maxRetries: 0 };

const scenes = {
  async stream() {
    for await (const part of streamText({ ...question, onError() {} }).fullStream) {
      if (part.type === "text-delta") tell({ token: part.text });
      if (part.type === "error") throw part.error;
    }
    tell({ end: true });
  },
  async leave() {
    const leaving = new AbortController();
    const { textStream } = streamText({ ...question, abortSignal: leaving.signal });
    for await (const token of textStream) {
      tell({ token });
      leaving.abort(); // a break alone leaves the connection open
    }
  },
  async whole() {
    const { text } = await generateText(question);
    tell({ answer: text });
  },
};

function tell(seen) {
  console.log(JSON.stringify(seen));
}

tell({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    await scenes[line.trim()]();
  } catch (error) {
    const message = error?.message ?? JSON.stringify(error);
    const status = error?.statusCode ?? null;
    tell({ error: message, kind: error?.name ?? typeof error, status });
  }
  tell({ ready: true });
}
