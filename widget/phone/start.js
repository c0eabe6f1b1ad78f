// Starts the phone. The page has it inline, by its hash in the page's Content Security Policy, and as a classic script,
// which does not wait for anything: what it asks for is on its way a round trip earlier.
// The agent's SharedWorker is started here, in parallel with the phone's WebAssembly module, before the
// account is known; the phone takes over its open port (src/agent_client/agent_port.rs). BITCALL_READY is
// also posted here, and messages of the host page that arrive before the phone listens are stored
// for it (src/frame_port.rs).
(async () => {
  // What is told here has no secrets: the page's origin is not known yet.
  const tellPage = (type, payload) => parent !== window && parent.postMessage({ type, payload }, '*');
  const code = fetch('/webphone/{{bitcall.wasm}}');
  // The server's answer to whether pages of `pageOrigin` may embed the phone, with the tenant's configuration
  // (src/runtime_config.rs). Nothing of the configuration comes from the page.
  const answers = {};
  const requestConfig = (pageOrigin, isFresh) => {
    if (isFresh) delete answers[pageOrigin];
    const key = new URLSearchParams(location.search).get('key') ?? '';
    return (answers[pageOrigin] ??= fetch(`/api/webphone/config?${new URLSearchParams({ key, pageOrigin })}`).then(
      async (answer) => ({ ...(await answer.json()), session: answer.headers.get('x-bitcall-session') }),
    ));
  };
  // Most browsers tell the origin of the page before it speaks.
  const expected = parent !== window && location.ancestorOrigins?.[0];
  if (expected) requestConfig(expected).catch(() => {});
  try {
    const worker = new SharedWorker('/webphone/{{worker.js}}', { type: 'module', name: 'bitcall', extendedLifetime: true });
    window.bitcallStartedWorker = worker;
    // If the worker fails before the phone listens for errors, the phone starts another one.
    worker.addEventListener('error', () => delete window.bitcallStartedWorker);
  } catch {
    // No SharedWorker: the phone runs the agent in this page.
  }
  // For an automatic sign-in the agent opens its WebSocket before the phone has started.
  const preconnect = async (host, pageOrigin) => {
    const { data } = await requestConfig(pageOrigin);
    const mode = host?.behavior?.mode ?? data?.behavior.host.mode;
    const url = data?.wss[0];
    if (mode === 'autologin' && url) window.bitcallStartedWorker?.port.postMessage({ preconnect: url });
  };
  if (parent !== window) {
    window.bitcallRequestConfig = requestConfig;
    window.bitcallEarlyMessages = [];
    addEventListener('message', (event) => {
      window.bitcallEarlyMessages?.push(event);
      // If the request fails, the phone says so.
      if (event.source === parent && event.data?.type === 'BITCALL_INIT')
        preconnect(event.data.payload?.host, event.origin).catch(() => {});
    });
    tellPage('BITCALL_READY', { version: {{protocol.version}} });
  }
  try {
    const { default: load, start } = await import('/webphone/{{bitcall.js}}');
    await load({ module_or_path: code });
    if (document.readyState === 'loading') await new Promise((parsed) => addEventListener('DOMContentLoaded', parsed));
    // Chromium creates the worker's thread on this page's main thread, which the start would block until it is done.
    await new Promise((yielded) => setTimeout(yielded));
    start();
  } catch (error) {
    // The phone's own error screens are not available.
    console.error('bitcall: the phone cannot start:', error);
    tellPage('BITCALL_STOPPED', { code: 'PHONE_START_FAILED', message: '' });
    const make = (tag, fields) => Object.assign(document.createElement(tag), fields);
    const message = make('p', { className: 'lead', role: 'alert', textContent: 'The phone could not start.' });
    const retryButton = make('button', { className: 'primary', type: 'button', textContent: 'Try again' });
    retryButton.addEventListener('click', () => location.reload());
    const startPage = make('main', { className: 'start-page' });
    startPage.append(message, retryButton);
    document.getElementById('skeleton')?.replaceChildren(startPage);
    document.getElementById('skeleton')?.removeAttribute('aria-hidden');
  }
})();
