// openai for Node at the base URL of the first argument; see witness.py for what it reads.

import { createInterface } from "node:readline";

import OpenAI from "openai";

const messages = [{ role: "user", content: "Say something." }];
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "key", maxRetries: 0 });

const ask = () => client.chat.completions.create({ model: "suite", messages, stream: true });

const scenes = {
  async stream() {
    for await (const chunk of await ask()) tellToken(chunk);
    tell({ end: true });
  },
  async leave() {
    for await (const chunk of await ask()) {
      tellToken(chunk);
      break;
    }
  },
  async whole() {
    const completion = await client.chat.completions.create({ model: "suite", messages });
    tell({ answer: completion.choices[0].message.content });
  },
};

function tellToken(chunk) {
  const token = chunk.choices?.[0]?.delta?.content;
  if (token) tell({ token });
}

function tell(seen) {
  console.log(JSON.stringify(seen));
}

tell({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    await scenes[line.trim()]();
  } catch (error) {
    const { message, status } = error;
    tell({ error: String(message), kind: error.constructor.name, status: status ?? null });
  }
  tell({ ready: true });
}
