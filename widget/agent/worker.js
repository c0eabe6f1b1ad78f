// The agent's module script: of the SharedWorker, or, where a browser has none,
// of the page itself. Ports come in before the WebAssembly module is ready, so
// they wait here; the browser keeps the messages they carry. The first message
// on a port says whose agent it is for.
const shared = "onconnect" in self;
const code = shared && fetch(new URL("./{{bitcall.wasm}}", import.meta.url));
const waiting = [];
let driver;
let broken = false;

// A worker that cannot start has no other way to tell: nobody hears its errors.
const attach = (port) => {
  if (broken) port.postMessage("broken");
  else if (driver) port.onmessage = ({ data }) => begin(data, port);
  else waiting.push(port);
};

const begin = (name, port) => {
  try {
    driver.attach(name, port);
  } catch (error) {
    console.error("bitcall: the agent cannot start:", error);
    port.postMessage("broken");
  }
};

if (shared) self.addEventListener("connect", (event) => attach(event.ports[0]));
else self.addEventListener("bitcall:attach", (event) => attach(event.detail));

import("./{{bitcall.js}}")
  .then(async ({ default: init, Driver }) => {
    // In a page the phone has loaded it.
    if (shared) await init({ module_or_path: code });
    driver = new Driver();
  })
  .catch((error) => {
    broken = true;
    console.error("bitcall: the agent cannot start:", error);
  })
  .then(() => waiting.splice(0).forEach(attach));
