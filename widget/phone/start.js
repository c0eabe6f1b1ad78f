// Starts the phone: the page's content security policy allows no inline script.
// Both modules are under way at once: the agent's worker does not wait until
// the phone knows who signs in. It is found again by its address and name
// (src/link/attach.rs).
const code = fetch(new URL('./{{phone.wasm}}', import.meta.url));
try {
  new SharedWorker('/webphone/{{worker.js}}', { type: 'module', name: 'bitcall', extendedLifetime: true });
} catch {
  // The page runs the agent itself, later.
}
const { default: start } = await import('./{{phone.js}}');
if (document.readyState === 'loading') await new Promise((parsed) => addEventListener('DOMContentLoaded', parsed));
start({ module_or_path: code });
