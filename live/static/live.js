/* Sends one prompt to all stacks, over one of four transports, and shows how each of them answers. */

const HOW = {
  sse: "An EventSource to each stack, relayed. Cut one: it comes back with Last-Event-ID, and no token is lost or doubled.",
  websocket: "A WebSocket straight to each stack, which echoes token by token; a gap is the pause and one round trip.",
  poll: "A request for each token, relayed; a gap is the pause and one round trip.",
  chat: "POST /v1/chat/completions, relayed to the stack and by the stack to one model that all of them share.",
};
const MOST_TOKENS_OF_A_CHAT = 200;
const GONE = "The page's own server does not answer: start it again with uvx nox -s live.";

const form = document.querySelector("#ask");
const leave = document.querySelector("#leave");
const rows = new Map();
let going = null; // the AbortController of the question that is being answered

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const chosen = () => form.elements.transport.value;

function tokenize(text) {
  return text.replace(/\r\n?/g, "\n").match(/[^ \t\n]+[ \t\n]*|[ \t\n]+/g) ?? [];
}

function pause(seconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/* One stack: what is known of it, and the row that shows it. */
class Row {
  constructor(element) {
    this.name = element.dataset.stack;
    this.title = `${element.querySelector(".name").textContent} (${this.name})`;
    this.state = element.querySelector(".state");
    this.answer = element.querySelector(".answer");
    this.outcome = element.querySelector(".outcome");
    this.figures = Object.fromEntries(
      [...element.querySelectorAll("[data-figure]")].map((cell) => [cell.dataset.figure, cell]),
    );
    this.buttons = [...element.querySelectorAll("[data-action]")];
    for (const button of this.buttons) {
      button.addEventListener("click", () => act(this, button.dataset.action));
    }
  }

  update(status) {
    const before = this.status?.state;
    this.status = status;
    const { state, detail, port } = status;
    const [line] = detail.split("\n");
    const words = state === "running" ? `running on port ${port}, ${line}` : `${state} ${line}`;
    this.state.textContent = this.state.title = words.trim();
    this.state.dataset.state = state;
    const on = ["starting", "running", "stopping"].includes(state);
    const possible = { start: !on, stop: on && state !== "stopping", kill: on, cut: state === "running" };
    for (const button of this.buttons) button.disabled = !possible[button.dataset.action];
    if (before === undefined || before === state) return;
    if (state === "failed") this.log(detail);
    if (state !== "starting") say(`${this.title} is ${state}.`);
  }

  log(text) {
    this.answer.textContent = text;
    this.answer.classList.add("log");
  }

  tell(text, kind = "") {
    this.outcome.textContent = this.outcome.title = text;
    this.outcome.className = `outcome ${kind}`;
  }
}

/* The figures of one answer while it comes; drawn once a frame, however fast the tokens are. */
class Meter {
  constructor(row, total) {
    this.row = row;
    row.meter = this; // of the one before, nothing is shown any more
    this.total = total;
    this.count = 0;
    this.gaps = []; // in order of size
    this.text = "";
    this.resumed = 0;
    this.whole = null; // whether it came to its end
    row.answer.classList.remove("log");
    this.tell("waiting for the first token");
    this.draw();
    this.began = performance.now();
  }

  token(text) {
    const now = performance.now();
    if (this.count === 0) {
      this.first = now - this.began;
      this.tell("");
    } else {
      this.insert(now - this.last);
    }
    this.last = now;
    this.count += 1;
    this.text += text;
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  insert(gap) {
    let [low, high] = [0, this.gaps.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.gaps[middle] < gap) low = middle + 1;
      else high = middle;
    }
    this.gaps.splice(low, 0, gap);
  }

  tell(text, kind) {
    if (this.row.meter === this) this.row.tell(text, kind);
  }

  draw() {
    this.frame = undefined;
    if (this.row.meter !== this) return;
    const { answer, figures } = this.row;
    const milliseconds = (value) => (value === undefined ? "–" : value.toFixed(value < 100 ? 1 : 0));
    const spent = this.last - this.began - this.first;
    figures.first.textContent = milliseconds(this.first);
    figures.rate.textContent = this.count > 1 && spent > 0 ? ((this.count - 1) / (spent / 1000)).toFixed(1) : "–";
    figures.gap.textContent = milliseconds(this.gaps[this.gaps.length >> 1]);
    figures.longest.textContent = milliseconds(this.gaps.at(-1));
    figures.count.textContent = this.total === null ? this.count : `${this.count}/${this.total}`;
    answer.textContent = this.text;
    answer.scrollTop = answer.scrollHeight;
  }

  broken() {
    this.tell(`connection lost after ${plural(this.count, "token")}, the browser connects again`, "bad");
  }

  succeed(how) {
    this.draw();
    this.whole = true;
    const often = this.resumed ? `, resumed ${plural(this.resumed, "time")}` : "";
    this.tell(`whole: ${plural(this.count, "token")}, ${how}${often}`, "good");
  }

  fail(fault) {
    this.draw();
    this.whole = false;
    this.tell(`${fault}, after ${plural(this.count, "token")}`, "bad");
  }
}

/* The transports. Each resolves when the answer has ended, however that was. */

const relay = ({ relay, name }) => `http://${location.hostname}:${relay}/stacks/${name}`;

function sse(status, question, meter, signal) {
  return new Promise((resolve) => {
    const query = new URLSearchParams({ text: question.text, delay: question.delay });
    const source = new EventSource(`${relay(status)}/sse?${query}`);
    let last = 0;
    const end = () => (source.close(), resolve());
    signal.addEventListener("abort", end, { once: true });
    source.addEventListener("open", () => {
      if (last === 0) return;
      meter.resumed += 1;
      meter.tell(`resumed after token ${last}`);
    });
    source.addEventListener("token", ({ data, lastEventId }) => {
      if (Number(lastEventId) !== last + 1) {
        meter.fail(`token ${lastEventId} came behind token ${last}`);
        return end();
      }
      last = Number(lastEventId);
      meter.token(data);
    });
    source.addEventListener("done", () => (compare(question, meter), end()));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CONNECTING) return meter.broken();
      meter.fail("connection lost, and refused when the browser came back");
      end();
    });
  });
}

function websocket(status, question, meter, signal) {
  return new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.hostname}:${status.port}/ws`);
    signal.addEventListener("abort", () => socket.close(1000), { once: true });
    const send = () => {
      if (meter.count < question.tokens.length) return socket.send(question.tokens[meter.count]);
      compare(question, meter);
      socket.close(1000);
    };
    socket.addEventListener("open", send);
    socket.addEventListener("message", async ({ data }) => {
      meter.token(data.replace(/^echo: /, ""));
      if (meter.count < question.tokens.length) await pause(question.delay, signal);
      if (socket.readyState === WebSocket.OPEN) send();
    });
    socket.addEventListener("close", ({ code, reason }) => {
      if (meter.whole === null && !signal.aborted) meter.fail(`closed with ${code} ${reason}`.trim());
      resolve();
    });
  });
}

async function poll(status, question, meter, signal) {
  let after = 0;
  for (let done = false; !done; ) {
    const query = new URLSearchParams({ text: question.text, delay: question.delay, after });
    const response = await fetch(`${relay(status)}/poll?${query}`, { signal });
    if (response.status === 204) break;
    if (!response.ok) throw new Error(await reason(response));
    const answer = await response.json();
    meter.token(answer.token);
    ({ id: after, done } = answer);
  }
  compare(question, meter);
}

async function chat(status, question, meter, signal) {
  const response = await fetch(`${relay(status)}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: question.model,
      stream: true,
      temperature: 0,
      max_tokens: MOST_TOKENS_OF_A_CHAT,
      messages: [{ role: "user", content: question.text }],
    }),
    signal,
  });
  if (!response.ok) throw new Error(await reason(response));
  for await (const data of events(response)) {
    if (data === "[DONE]") return meter.succeed("then [DONE]");
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    const content = chunk.choices?.[0]?.delta?.content;
    if (content) meter.token(content);
  }
  throw new Error("it ended without [DONE]");
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}

async function reason(response) {
  const text = await response.text();
  try {
    return `${response.status}: ${JSON.parse(text).error.message}`;
  } catch {
    return `${response.status}: ${text.slice(0, 200)}`;
  }
}

function compare(question, meter) {
  if (meter.text === question.tokens.join("")) meter.succeed("each once");
  else meter.fail("ended, and is not the text that was sent");
}

/* How late this page's own timers are, in milliseconds: a gap below that may be the browser's. */
function watchTheClock() {
  const every = 20;
  let [late, due] = [0, performance.now() + every];
  const timer = setInterval(() => {
    const now = performance.now();
    late = Math.max(late, now - due);
    due = now + every;
  }, every);
  return () => (clearInterval(timer), late);
}

const TRANSPORTS = { sse, websocket, poll, chat };

/* A question and its answers. */

async function ask() {
  going?.abort();
  const mine = (going = new AbortController());
  const transport = chosen();
  const text = form.elements.prompt.value;
  const question = { text, tokens: tokenize(text), delay: Number(form.elements.delay.value) };
  leave.disabled = false;
  if (transport === "chat") question.model = await explain();
  if (mine.signal.aborted) return;
  if (question.model === null) return end("Nothing was sent: no model answers.");
  const total = transport === "chat" ? null : question.tokens.length;
  const asked = [...rows.values()].filter((row) => can(row, transport));
  say(`Sent to ${plural(asked.length, "stack")}.`);
  document.querySelector("#late").textContent = "";
  const clock = watchTheClock();
  const meters = await Promise.all(asked.map((row) => answer(row, transport, question, total, mine.signal)));
  const late = clock();
  if (going !== mine) return;
  document.querySelector("#late").textContent = `This browser was late by up to ${late.toFixed(0)} ms itself.`;
  const whole = meters.filter((meter) => meter.whole).length;
  end(mine.signal.aborted ? "Left all stacks." : `${whole} of ${plural(meters.length, "answer")} came whole.`);
}

function end(words) {
  going = null;
  leave.disabled = true;
  say(words);
}

function can(row, transport) {
  const lacks = row.status?.lacks[transport];
  const fault = lacks ? `lacks ${transport}` : `not asked, for it is ${row.status?.state ?? "unknown"}`;
  const able = !lacks && row.status?.state === "running";
  if (!able) {
    row.meter = null;
    if (lacks) row.log(lacks);
    else if (row.status?.state !== "failed") row.answer.textContent = "";
    for (const cell of Object.values(row.figures)) cell.textContent = "–";
    row.tell(fault);
  }
  return able;
}

async function answer(row, transport, question, total, signal) {
  const meter = new Meter(row, total);
  try {
    await TRANSPORTS[transport](row.status, question, meter, signal);
  } catch (error) {
    if (!signal.aborted) meter.fail(error.message);
  }
  if (signal.aborted && meter.whole === null) {
    meter.draw();
    meter.tell(`left after ${plural(meter.count, "token")}`);
  }
  return meter;
}

async function act(row, action) {
  try {
    const response = await fetch(`/stacks/${row.name}/${action}`, { method: "POST" });
    if (!response.ok) say(`${row.title}: ${await response.text()}`);
    else if (action === "cut") say(`${row.title}: ${plural((await response.json()).cut, "relayed connection")} cut.`);
  } catch {
    say(GONE);
  }
}

/* What is said to everybody, and to those who do not see it. */

function say(text) {
  document.querySelector("#said").textContent = text;
}

/* Tell how the chosen transport works; return the model's name for a chat, if one answers. */
async function explain() {
  const how = document.querySelector("#how");
  const transport = chosen();
  how.textContent = HOW[transport];
  how.className = "soft";
  form.elements.delay.disabled = transport === "chat";
  if (transport !== "chat") return null;
  const { url, model, fault } = await askForModel();
  if (chosen() !== "chat") return null;
  how.textContent = model
    ? `${HOW.chat} It calls itself ${model}, at ${url}; ${MOST_TOKENS_OF_A_CHAT} tokens at most.`
    : `No model answers at ${url} (${fault}). Start one with: uvx nox -s model. Or start this page again with UPSTREAM_BASE_URL set, and UPSTREAM_API_KEY where it needs one.`;
  how.classList.toggle("fault", !model);
  return model;
}

async function askForModel() {
  try {
    return await (await fetch("/model")).json();
  } catch {
    return { url: "the address that the page's server knows", model: null, fault: GONE };
  }
}

for (const element of document.querySelectorAll("[data-stack]")) {
  rows.set(element.dataset.stack, new Row(element));
}
form.addEventListener("submit", (event) => (event.preventDefault(), ask()));
form.elements.prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
for (const radio of form.elements.transport) radio.addEventListener("change", explain);
leave.addEventListener("click", () => going?.abort());
explain();

const status = new EventSource("/status");
status.addEventListener("message", ({ data }) => {
  for (const one of JSON.parse(data)) rows.get(one.name)?.update(one);
});
status.addEventListener("error", () => say(GONE));
