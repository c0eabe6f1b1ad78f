// The agent's module script: of the SharedWorker, or, where a browser has none,
// of the page itself. Ports come in before the WebAssembly module is ready, so
// they wait here; the browser keeps the messages they carry. The first message
// on a port says whose agent it is for.
const code = fetch(new URL("./{{agent.wasm}}", import.meta.url));
// Without the script below it, nobody asks for it.
code.catch(() => {});
const waiting = [];
let driver;
let broken = false;

// A worker that cannot start has no other way to tell: nobody hears its errors.
const attach = (port) => {
  if (broken) port.postMessage("broken");
  else if (driver) port.onmessage = ({ data }) => driver.attach(data, port);
  else waiting.push(port);
};

if ("onconnect" in self) self.addEventListener("connect", (event) => attach(event.ports[0]));
else self.addEventListener("bitcall:attach", (event) => attach(event.detail));

import("./{{agent.js}}")
  .then(async ({ default: init, Driver }) => {
    await init({ module_or_path: code });
    driver = new Driver();
  })
  .catch((error) => {
    broken = true;
    console.error("bitcall: the agent cannot start:", error);
  })
  .then(() => waiting.splice(0).forEach(attach));
