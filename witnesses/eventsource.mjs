// The package eventsource, as its manual uses it; see witness.py for what it reads.

import { createInterface } from "node:readline";

import { EventSource } from "eventsource";

const scenes = {
  listen(url) {
    const source = new EventSource(url);
    for (const name of ["message", "token", "done"]) {
      source.addEventListener(name, ({ data }) => tell({ event: name, data }));
    }
    return new Promise((resolve) => {
      source.addEventListener("error", () => {
        if (source.readyState !== EventSource.CLOSED) return; // it asks again
        tell({ over: true });
        resolve();
      });
    });
  },
};

function tell(seen) {
  console.log(JSON.stringify(seen));
}

tell({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const [scene, on] = line.split(/ (.*)/);
  await scenes[scene](JSON.parse(on));
  tell({ ready: true });
}
