// The agent's module script. It runs in a SharedWorker, or in the page itself if the browser has
// no SharedWorker. Ports connect before the WebAssembly module is ready; their messages are queued
// until then. The first message of a port may be `{ preconnect: url }`, which opens a WebSocket before
// the sign-in. The next message is the agent's name; all later ones go to that agent.

// Agents of one name in other workers are of other builds, whose script has another address: after an upgrade, tabs of both
// are open. Each is a user agent of its own and must not register by the instance id of the other (RFC 5626 section 4.1), so
// each holds the lock of its number and derives its id from that. The pages of a build that has no call up move to the
// newer one, which they get by being loaded anew; its agent then ends, and its number is free.

// Time in which another build's agent without a call gives its number up.
const HAND_OVER_TIMEOUT_MS = 3_000;
// How often it is asked again while it has a call.
const ASK_INTERVAL_MS = 10_000;
// More builds and pages than anybody has open (src/agent_client/instance_number.rs in the phone).
const MAX_INSTANCES = 32;
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
// By agent's name, promises of the number that it has here.
const numbers = new Map();
// Functions that release the locks of these numbers.
const heldLocks = [];
const otherWorkers = isSharedWorker && new BroadcastChannel("bitcall-agents");
if (otherWorkers) otherWorkers.onmessage = ({ data: name }) => driver?.hand_over(name);

const attach = (port) => {
  unassignedPorts.add(port);
  const queued = [];
  port.addEventListener("close", () => {
    unassignedPorts.delete(port);
    queued.length = 0;
  });
  port.onmessage = ({ data }) => {
    if (data.preconnect) return preconnect(data.preconnect);
    queued.push(data);
    if (queued.length > 1) return;
    numberOf(data);
    if (driver) attachToAgent(port, queued);
    else {
      waitingPorts.push([port, queued]);
      start();
    }
  };
};

const numberOf = (name) => {
  if (!numbers.has(name)) numbers.set(name, findNumber(name).catch(() => 0));
  return numbers.get(name);
};

const findNumber = async (name) => {
  if (!isSharedWorker || !navigator.locks) return 0;
  const lock = (number) => `bitcall-instance:${number}:${name}`;
  if (await takeLock(lock(0), { ifAvailable: true })) return 0;
  const ask = () => otherWorkers.postMessage(name);
  ask();
  if (await takeLock(lock(0), { signal: AbortSignal.timeout(HAND_OVER_TIMEOUT_MS) })) return 0;
  const asking = setInterval(ask, ASK_INTERVAL_MS);
  takeLock(lock(0), {}).finally(() => clearInterval(asking));
  for (let number = 1; number <= MAX_INSTANCES; number++)
    if (await takeLock(lock(number), { ifAvailable: true })) return number;
  return 0;
};

// Whether the lock was granted. It is held until the last agent has finished.
const takeLock = (name, options) =>
  new Promise((resolve) => {
    const granted = (lock) => {
      resolve(Boolean(lock));
      return lock && new Promise((release) => heldLocks.push(release));
    };
    navigator.locks.request(name, options, granted).catch(() => resolve(false));
  });

const attachToAgent = async (port, queued) => {
  const [name] = queued;
  const number = await numberOf(name);
  unassignedPorts.delete(port);
  // The page is gone.
  if (!queued.length) return;
  try {
    driver.attach(name, number, port);
    for (const data of queued.slice(1)) port.dispatchEvent(new MessageEvent("message", { data }));
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
  // The driver closes the worker when all of its agents have finished. A browser may take its time about that.
  self.close = () => {
    numbers.clear();
    for (const release of heldLocks.splice(0)) release();
    if (!unassignedPorts.size) closeWorker();
  };
  self.addEventListener("connect", (event) => attach(event.ports[0]));
} else {
  self.addEventListener("bitcall:attach", (event) => attach(event.detail));
}

start();
