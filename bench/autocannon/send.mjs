// Requests by autocannon: node send.mjs COUNT CONNECTIONS URL…
//
// Prints the seconds from the first request to the last answer, what the answers were, and how many
// bytes their bodies held.
import autocannon from "autocannon";

const [count, connections, ...urls] = process.argv.slice(2);
const seen = { seconds: 0, good: 0, other: 0, errors: 0, body_bytes: 0 };

const read = (status, body) => {
  if (status >= 200 && status < 300) seen.good += 1;
  else seen.other += 1;
  seen.body_bytes += Buffer.byteLength(body);
  seen.seconds = (performance.now() - start) / 1000;
};

const start = performance.now();
const result = await autocannon({
  url: new URL(urls[0]).origin,
  amount: Number(count),
  connections: Number(connections),
  sampleInt: 10, // by default it looks once a second whether it is done
  requests: urls.map((url) => {
    const { pathname, search } = new URL(url);
    return { method: "GET", path: pathname + search, onResponse: read };
  }),
});
seen.errors = result.errors + result.timeouts + result.resets;
console.log(JSON.stringify(seen));
