// The agent's module script. It runs in a SharedWorker, or in the page itself if the browser has
// no SharedWorker. Ports connect before the WebAssembly module is ready; their messages are queued
// until then. The first message of a port may be `{ preconnect: url }`, which opens a WebSocket before
// the sign-in. The next message is the agent's name; all later ones go to that agent.

// Time after which a preconnected WebSocket without a sign-in is closed.
const PRECONNECT_TIMEOUT_MS = 10_000;
const isSharedWorker = "onconnect" in self;
// Ports that wait for the WebAssembly module, with their queued messages.
const waitingPorts = [];
// Ports that have not named their agent yet. The worker must not close while there are any, because their pages
// would get no reply.
const unassignedPorts = new Set();
let starting;
let driver;

const attach = (port) => {
  unassignedPorts.add(port);
  port.addEventListener("close", () => unassignedPorts.delete(port));
  const queued = [];
  port.onmessage = ({ data }) => {
    if (data.preconnect) return preconnect(data.preconnect);
    queued.push(data);
    if (driver) attachToAgent(port, queued);
    else if (queued.length === 1) {
      waitingPorts.push([port, queued]);
      start();
    }
  };
};

const attachToAgent = (port, [name, ...messages]) => {
  unassignedPorts.delete(port);
  try {
    driver.attach(name, port);
    for (const data of messages) port.dispatchEvent(new MessageEvent("message", { data }));
  } catch (error) {
    reportBroken(error, [port]);
  }
};

// Opens a WebSocket that a sign-in within PRECONNECT_TIMEOUT_MS takes over (src/driver/socket.rs).
// Does nothing if an agent has a socket, because then the user is most likely signed in already.
const preconnect = (url) => {
  if (self.bitcallPreconnected || driver?.has_socket()) return;
  try {
    const preconnected = (self.bitcallPreconnected = { url, socket: new WebSocket(url, "sip") });
    setTimeout(() => {
      if (self.bitcallPreconnected !== preconnected) return;
      delete self.bitcallPreconnected;
      preconnected.socket.close();
    }, PRECONNECT_TIMEOUT_MS);
  } catch {
    // The sign-in opens a socket itself and reports the error.
  }
};

// After a failure the next page that attaches loads the module again. The worker must not close
// itself, because a page that connected meanwhile would get no reply.
const start = () => {
  starting ??= load().catch((error) => {
    starting = undefined;
    reportBroken(error, waitingPorts.splice(0).map(([port]) => port));
  });
};

const load = async () => {
  // The page's compiled module cannot be passed on: a SharedWorker is in an agent cluster of its own (HTML standard, section
  // 8.1.2), to which no WebAssembly.Module can be sent. Chromium answers with `messageerror`.
  const code = isSharedWorker && fetch(new URL("./{{bitcall.wasm}}", import.meta.url));
  // If the import below fails, nothing awaits this promise; its rejection must not be reported as unhandled.
  if (code) code.catch(() => {});
  const { default: init, Driver } = await import("./{{bitcall.js}}");
  // In a page the phone has already initialised the module.
  if (isSharedWorker) await init({ module_or_path: code });
  driver = new Driver();
  for (const [port, queued] of waitingPorts.splice(0)) attachToAgent(port, queued);
};

// Errors in a SharedWorker do not reach its pages, so each page gets a message.
const reportBroken = (error, ports) => {
  console.error("bitcall: the agent cannot start:", error);
  for (const port of ports) port.postMessage("broken");
};

if (isSharedWorker) {
  const closeWorker = self.close.bind(self);
  // The driver closes the worker when all of its agents have finished.
  self.close = () => unassignedPorts.size || closeWorker();
  self.addEventListener("connect", (event) => attach(event.ports[0]));
} else {
  self.addEventListener("bitcall:attach", (event) => attach(event.detail));
}

start();
