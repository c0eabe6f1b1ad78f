// The agent's module script: of the SharedWorker, or, where a browser has none,
// of the page itself. Ports come in before the WebAssembly module is ready, so
// they wait here; the browser keeps the messages they carry.
import init, { Driver } from "./{{agent.js}}";

const waiting = [];
let driver;

const attach = (port) => (driver ? driver.attach(port) : waiting.push(port));

if ("onconnect" in self) self.addEventListener("connect", (event) => attach(event.ports[0]));
else self.addEventListener("bitcall:attach", (event) => attach(event.detail));

init({ module_or_path: new URL("./{{agent.wasm}}", import.meta.url) }).then(() => {
  driver = new Driver();
  waiting.splice(0).forEach(attach);
});
