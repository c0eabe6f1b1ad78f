// The agent's module script: of the SharedWorker, or, where a browser has none,
// of the page itself. Ports come in before the WebAssembly module is ready, and
// their messages are queued until it is. A page may first ask for a WebSocket before its
// sign-in (`ahead`). Its next message names the agent; all later ones go to that agent.
const shared = "onconnect" in self;
const waiting = [];
// Ports that have not named their agent yet. The worker must not end while there are any: their pages would get no answer.
const unassigned = new Set();
// How long a socket that was opened ahead waits for a sign-in.
const AHEAD_TTL_MS = 10_000;
let starting;
let driver;

const attach = (port) => {
  unassigned.add(port);
  port.addEventListener("close", () => unassigned.delete(port));
  const queued = [];
  port.onmessage = ({ data }) => {
    if (data.ahead) return openAhead(data.ahead);
    queued.push(data);
    if (driver) begin(port, queued);
    else if (queued.length === 1) {
      waiting.push([port, queued]);
      start();
    }
  };
};

const begin = (port, [name, ...messages]) => {
  unassigned.delete(port);
  try {
    driver.attach(name, port);
    for (const data of messages) port.dispatchEvent(new MessageEvent("message", { data }));
  } catch (error) {
    reportBroken(error, [port]);
  }
};

// A sign-in within AHEAD_TTL_MS takes this socket over, already connected (src/driver/socket.rs).
// Nothing is opened where an agent has a socket: the person is most likely signed in already.
const openAhead = (url) => {
  if (self.bitcallSocket || driver?.has_socket()) return;
  try {
    const ahead = (self.bitcallSocket = { url, socket: new WebSocket(url, "sip") });
    setTimeout(() => {
      if (self.bitcallSocket !== ahead) return;
      delete self.bitcallSocket;
      ahead.socket.close();
    }, AHEAD_TTL_MS);
  } catch {
    // The sign-in opens a socket itself and reports the error.
  }
};

// After a failure the next page that attaches starts the module again. The worker must not
// close itself: a page that came meanwhile would wait for an answer from nobody.
const start = () => {
  starting ??= load().catch((error) => {
    starting = undefined;
    reportBroken(error, waiting.splice(0).map(([port]) => port));
  });
};

const load = async () => {
  const code = shared && fetch(new URL("./{{bitcall.wasm}}", import.meta.url));
  // Where the import below fails, nothing awaits this promise: its rejection must not be reported as unhandled.
  if (code) code.catch(() => {});
  const { default: init, Driver } = await import("./{{bitcall.js}}");
  // In a page the phone has loaded it.
  if (shared) await init({ module_or_path: code });
  driver = new Driver();
  for (const [port, queued] of waiting.splice(0)) begin(port, queued);
};

// Errors in a SharedWorker do not reach its pages, so each is told by a message.
const reportBroken = (error, ports) => {
  console.error("bitcall: the agent cannot start:", error);
  for (const port of ports) port.postMessage("broken");
};

if (shared) {
  const end = self.close.bind(self);
  // The driver closes the worker when all of its agents have finished.
  self.close = () => unassigned.size || end();
  self.addEventListener("connect", (event) => attach(event.ports[0]));
} else {
  self.addEventListener("bitcall:attach", (event) => attach(event.detail));
}

start();
