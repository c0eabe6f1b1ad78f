// Starts the phone: the page's content security policy allows no inline script.
// Page and worker load at once: the agent's worker does not wait until
// the phone knows who signs in, and its port is open by then: the phone takes it
// over (src/agent_client/agent_port.rs). Nor does the host page wait until the phone runs: it is
// greeted here, and what it says before the phone listens is kept (src/host.rs).
const code = fetch(new URL('./{{bitcall.wasm}}', import.meta.url));
try {
  const worker = new SharedWorker('/webphone/{{worker.js}}', { type: 'module', name: 'bitcall', extendedLifetime: true });
  window.bitcallWorker = worker;
  // Before the phone can hear it: it finds none then, and starts another one.
  worker.addEventListener('error', () => delete window.bitcallWorker);
} catch {
  // The page runs the agent itself, later.
}
// Who signs in without being asked finds the agent's socket connected.
const openAhead = ({ config, host }) => {
  const mode = host?.behavior?.mode ?? config?.behavior?.host?.mode;
  const ahead = config?.wss?.[0];
  if (mode === 'autologin' && ahead) window.bitcallWorker?.port.postMessage({ ahead });
};
if (parent !== window) {
  window.bitcallHeard = [];
  addEventListener('message', (event) => {
    window.bitcallHeard?.push(event);
    if (event.source === parent && event.data?.type === 'BITCALL_INIT') openAhead(event.data.payload ?? {});
  });
  parent.postMessage({ type: 'BITCALL_READY', payload: {} }, '*');
}
try {
  const { default: load, start } = await import('./{{bitcall.js}}');
  await load({ module_or_path: code });
  if (document.readyState === 'loading') await new Promise((parsed) => addEventListener('DOMContentLoaded', parsed));
  start();
} catch (error) {
  // There is no phone that could say it.
  console.error('bitcall: the phone cannot start:', error);
  const make = (tag, fields) => Object.assign(document.createElement(tag), fields);
  const words = make('p', { className: 'lead', role: 'alert', textContent: 'The phone could not start.' });
  const again = make('button', { className: 'primary', type: 'button', textContent: 'Try again' });
  again.addEventListener('click', () => location.reload());
  const entrance = make('main', { className: 'start-page' });
  entrance.append(words, again);
  document.getElementById('skeleton')?.replaceChildren(entrance);
  document.getElementById('skeleton')?.removeAttribute('aria-hidden');
}
