// The agent's module script: of the SharedWorker, or, where a browser has none,
// of the page itself. Ports come in before the WebAssembly module is ready, and
// what they bring is kept until it is. A page may first ask for a socket ahead of its
// sign-in; then it says whose agent it is for, and all else is the agent's.
const shared = "onconnect" in self;
const waiting = [];
// Ports that have not said whose they are. Their pages count on this worker, which must not end before them.
const silent = new Set();
let starting;
let driver;

const attach = (port) => {
  silent.add(port);
  port.addEventListener("close", () => silent.delete(port));
  const kept = [];
  port.onmessage = ({ data }) => {
    if (data.ahead) return openAhead(data.ahead);
    kept.push(data);
    if (driver) begin(port, kept);
    else if (kept.length === 1) {
      waiting.push([port, kept]);
      start();
    }
  };
};

const begin = (port, [name, ...messages]) => {
  silent.delete(port);
  try {
    driver.attach(name, port);
    for (const data of messages) port.dispatchEvent(new MessageEvent("message", { data }));
  } catch (error) {
    broken(error, [port]);
  }
};

// Whoever signs in within a few seconds finds the socket connected (src/driver/socket.rs).
// Where one is in use, it is most likely theirs already.
const openAhead = (url) => {
  if (self.bitcallSocket || driver?.has_socket()) return;
  try {
    const ahead = (self.bitcallSocket = { url, socket: new WebSocket(url, "sip") });
    setTimeout(() => {
      if (self.bitcallSocket !== ahead) return;
      delete self.bitcallSocket;
      ahead.socket.close();
    }, 10_000);
  } catch {
    // Whoever signs in is told why.
  }
};

// Whoever attaches after a failure makes it try again. The worker must not
// close itself: a page that came meanwhile would wait for an answer from nobody.
const start = () => {
  starting ??= load().catch((error) => {
    starting = undefined;
    broken(error, waiting.splice(0).map(([port]) => port));
  });
};

const load = async () => {
  const code = shared && fetch(new URL("./{{bitcall.wasm}}", import.meta.url));
  // Without the script below it, nobody asks for it.
  if (code) code.catch(() => {});
  const { default: init, Driver } = await import("./{{bitcall.js}}");
  // In a page the phone has loaded it.
  if (shared) await init({ module_or_path: code });
  driver = new Driver();
  for (const [port, kept] of waiting.splice(0)) begin(port, kept);
};

// A worker that cannot start has no other way to tell: nobody hears its errors.
const broken = (error, ports) => {
  console.error("bitcall: the agent cannot start:", error);
  for (const port of ports) port.postMessage("broken");
};

if (shared) {
  const end = self.close.bind(self);
  // The driver's last word, when all its agents have finished.
  self.close = () => silent.size || end();
  self.addEventListener("connect", (event) => attach(event.ports[0]));
} else {
  self.addEventListener("bitcall:attach", (event) => attach(event.detail));
}

start();
