// The agent's module script: of the SharedWorker, or, where a browser has none,
// of the page itself. Ports come in before the WebAssembly module is ready, so
// they wait here; the browser keeps the messages they carry.
import init, { Driver } from "./{{agent.js}}";

const waiting = [];
let driver;
let broken = false;

// A worker that cannot start has no other way to tell: nobody hears its errors.
const attach = (port) => {
  if (broken) port.postMessage("broken");
  else if (driver) driver.attach(port);
  else waiting.push(port);
};

if ("onconnect" in self) self.addEventListener("connect", (event) => attach(event.ports[0]));
else self.addEventListener("bitcall:attach", (event) => attach(event.detail));

init({ module_or_path: new URL("./{{agent.wasm}}", import.meta.url) })
  .then(() => {
    driver = new Driver();
  })
  .catch((error) => {
    broken = true;
    console.error("bitcall: the agent cannot start:", error);
  })
  .then(() => waiting.splice(0).forEach(attach));
