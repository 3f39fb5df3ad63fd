// The browser named by the first argument, by Playwright; see witness.py for what it reads.
// A page of the app itself is open in it, but where it intrudes: then one of another origin.

import { execFileSync } from "node:child_process";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

const executablePath = execFileSync("which", [process.argv[2]], { encoding: "utf8" }).trim();
// Started as root, which CI is, it refuses to run with a sandbox.
const browser = await chromium.launch({ executablePath, chromiumSandbox: false });
const page = await browser.newPage();
await page.exposeFunction("tell", tell);

const scenes = {
  async listen(url) {
    await page.goto(new URL("/", url).href);
    await page.evaluate(listen, url);
  },
  async talk({ url, messages }) {
    await page.goto(new URL("/", url.replace(/^ws/, "http")).href);
    await page.evaluate(talk, { url, messages });
  },
  async get(url) {
    await page.goto(new URL("/", url).href);
    await page.evaluate(get, url);
  },
  async intrude({ page: elsewhere, socket, stream }) {
    await page.goto(elsewhere);
    await page.evaluate(talk, { url: socket, messages: ["a"] });
    await page.evaluate(listen, stream);
    await page.evaluate(get, stream);
  },
};

// What follows runs in the page.

function listen(url) {
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
}

function talk({ url, messages }) {
  const socket = new WebSocket(url);
  let due = messages.length;
  socket.addEventListener("open", () => messages.forEach((message) => socket.send(message)));
  return new Promise((resolve) => {
    socket.addEventListener("message", ({ data }) => {
      tell({ message: data });
      if (--due === 0) socket.close();
    });
    socket.addEventListener("close", ({ code }) => {
      tell(due === 0 ? { over: true } : { error: `closed with ${code}` });
      resolve();
    });
  });
}

async function get(url) {
  try {
    const response = await fetch(url);
    tell({ status: response.status, body: await response.text() });
  } catch (error) {
    tell({ error: error.message });
  }
}

// What follows does not.

function tell(seen) {
  console.log(JSON.stringify(seen));
}

tell({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const [scene, on] = line.split(/ (.*)/);
  await scenes[scene](JSON.parse(on));
  tell({ ready: true });
}
await browser.close();
