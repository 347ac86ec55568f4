// A front with an event loop: `loops.js PORT BACKEND_PORT MODE`. Modes:
// * `parallel` asks A and B at once, then C;
// * `limited` does so with six connections;
// * `kinds` asks for every third request only A, and for every fifth nothing;
// * `timer` waits before A and B;
// * `background` has a call of its own every 250 ms, from the first request on: so all connections to the backend are younger
//   than the recording.
const http = require("http");
const [port, backend, mode] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]];
const agent = new http.Agent({ keepAlive: true, maxSockets: mode === "limited" ? 6 : Infinity });

function ask(path, truth) {
  return new Promise((resolve, reject) => {
    const headers = truth ? { "X-Truth": truth } : {};
    const request = http.get({ host: "127.0.0.1", port: backend, path, agent, headers }, (answer) => {
      answer.resume();
      answer.on("end", resolve);
    });
    request.on("error", reject);
  });
}

let timer;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

http.createServer(async (request, answer) => {
  const truth = request.headers["x-truth"];
  if (mode === "background") timer ??= setInterval(() => ask("/config"), 250);
  if (mode === "timer") await pause(2);
  if (mode === "kinds" && truth % 5 === 0) return answer.end("none");
  if (mode === "kinds" && truth % 3 === 0) {
    await ask("/a", truth);
    return answer.end("one");
  }
  await Promise.all([ask("/a", truth), ask("/b", truth)]);
  await ask("/c", truth);
  answer.end("done");
}).listen(port, "127.0.0.1");
