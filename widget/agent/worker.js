// The agent's module script: of the SharedWorker, or, where a browser has none,
// of the page itself. Ports come in before the WebAssembly module is ready, so
// they wait here; the browser keeps the messages they carry. The first message
// on a port says whose agent it is for.
const shared = "onconnect" in self;
const waiting = [];
// Ports that have said nothing yet. Their pages count on this worker, which must not end before them.
const silent = new Set();
let starting;
let driver;

const attach = (port) => {
  silent.add(port);
  port.addEventListener("close", () => silent.delete(port));
  if (driver) port.onmessage = ({ data }) => begin(data, port);
  else {
    waiting.push(port);
    start();
  }
};

const begin = (name, port) => {
  silent.delete(port);
  try {
    driver.attach(name, port);
  } catch (error) {
    broken(error, [port]);
  }
};

// Whoever attaches after a failure makes it try again. The worker must not
// close itself: a page that came meanwhile would wait for an answer from nobody.
const start = () => {
  starting ??= load().catch((error) => {
    starting = undefined;
    broken(error, waiting.splice(0));
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
  waiting.splice(0).forEach(attach);
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
