// The playground: a host page that uses only the loader's public API, so that what
// works here also works on a customer's page.

const $ = (selector) => document.querySelector(selector);
const phone = window.BitcallWebphone;
const EVENTS = ['registered', 'unregistered', 'callStarted', 'callIncoming', 'callAnswered', 'callUpdated', 'callEnded'];

/** The options of `init()`, also shown in the snippet. */
let initOptions = null;
let demo = null;

start();

async function start() {
  for (const event of EVENTS) phone.on(event, (payload) => onPhoneEvent(event, payload));
  bindControls();
  $('#insecure').hidden = isSecureContext;
  const answer = await fetch('/demo.json').catch(() => null);
  const told = await answer?.json().catch(() => null);
  demo = answer?.ok ? told : null;
  if (!demo) {
    // A demo that is asked by a name that it does not know can show no phone here.
    const isStrange = answer?.status === 421;
    $('#strange').hidden = !isStrange;
    $('#connect').hidden = isStrange;
    $('#strange').textContent = told?.error?.message ?? '';
    $('[data-origin]').textContent = location.origin;
    $('#as').closest('label').hidden = true;
    showStatus('idle', 'Not started');
    initOptions = { key: 'YOUR_KEY_FOR_PAGES', sip: { username: 'agent1' } };
    showSnippet();
    return;
  }
  $('#as').append(...demo.extensions.map(({ username }) => new Option(username, username)));
  $('#demo').hidden = false;
  useExtension(await findFreeExtension());
}

/** The first extension that no other window uses: each window holds a lock on its extension. */
async function findFreeExtension() {
  const wanted = new URLSearchParams(location.search).get('as') || sessionStorage.getItem('as');
  const names = demo.extensions.map(({ username }) => username);
  const inOrder = names.includes(wanted) ? [wanted, ...names.filter((name) => name !== wanted)] : names;
  for (const name of inOrder) if (await lockExtension(name)) return name;
  return inOrder[0];
}

function lockExtension(name) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    navigator.locks.request(`bitcall-playground:${name}`, { ifAvailable: true }, (lock) => {
      resolve(Boolean(lock));
      return lock ? new Promise(() => {}) : undefined;
    });
  });
}

function useExtension(username) {
  const me = demo.extensions.find((extension) => extension.username === username) || demo.extensions[0];
  const other = demo.extensions.find((extension) => extension !== me) || me;
  sessionStorage.setItem('as', me.username);
  $('#as').value = me.username;
  for (const node of document.querySelectorAll('[data-me]')) node.textContent = me.username;
  for (const node of document.querySelectorAll('[data-other]')) node.textContent = other.username;
  for (const node of document.querySelectorAll('[data-echo]')) node.textContent = demo.echo;
  $('#second').href = `/?as=${encodeURIComponent(other.username)}`;
  $('#echo').onclick = () => phone.call(demo.echo);
  $('#peer').onclick = () => phone.call(other.username);
  // Another machine is told no passwords.
  if (!me.password) $('#mode').value = 'prefilled';
  $('#passwords').hidden = Boolean(me.password);
  startPhone({ key: demo.key, sip: { username: me.username, domain: demo.domain, password: me.password } });
}

async function startPhone(account) {
  initOptions = {
    ...account,
    behavior: { host: { mode: $('#mode').value }, theme: { start: $('#theme').value } },
  };
  showSnippet();
  showStatus('idle', 'Connecting…');
  phone.destroy();
  await phone.init({ ...initOptions, onError: onPhoneError });
  // Open the panel only on a wide screen: on a narrow one it would cover the page.
  if (matchMedia('(min-width: 1024px)').matches) phone.toggle();
}

function bindControls() {
  const dialer = $('#dialer');
  const number = () => dialer.elements.number.value;
  dialer.addEventListener('submit', (event) => {
    event.preventDefault();
    phone.call(number());
  });
  const actions = { dial: () => phone.dial(number()), hangup: () => phone.hangup(), toggle: () => phone.toggle() };
  for (const button of dialer.querySelectorAll('[data-do]')) button.onclick = actions[button.dataset.do];

  $('#as').onchange = (event) => useExtension(event.target.value);
  for (const id of ['#mode', '#theme']) $(id).onchange = () => initOptions && $('#connect').hidden && startPhone(initOptions);
  $('#keys').addEventListener('submit', (event) => {
    event.preventDefault();
    const { key, username } = Object.fromEntries(new FormData(event.target));
    startPhone({ key, sip: username ? { username } : {} });
  });
  // Without a secure context there is no clipboard.
  $('#copy').hidden = !navigator.clipboard;
  $('#copy').onclick = async (event) => {
    await navigator.clipboard.writeText($('#snippet').textContent);
    event.target.textContent = 'Copied';
    setTimeout(() => (event.target.textContent = 'Copy'), 1500);
  };
  $('#clear').onclick = () => $('#log').replaceChildren();
}

function showSnippet() {
  const { key, sip, behavior } = initOptions;
  const shown = { key, sip: { ...sip, ...(sip.password && { password: '•••' }) }, ...(behavior && { behavior }) };
  const literal = JSON.stringify(shown, null, 2).replace(/"(\w+)":/g, '$1:').replaceAll('"', "'");
  $('#snippet').textContent =
    `<script src="${location.origin}/webphone/loader.js"></${'script'}>\n<script>\nBitcallWebphone.init(${literal});\n</${'script'}>`;
}

function onPhoneEvent(event, payload) {
  if (event === 'registered') showStatus('ready', `Ready as ${payload.username}`);
  if (event === 'unregistered') showStatus('idle', payload.reason || 'Not registered');
  logEvent(event, JSON.stringify(payload));
}

function onPhoneError({ code, message }) {
  showStatus('error', message);
  logEvent(code, message, 'error');
}

function showStatus(state, text) {
  $('#state').dataset.state = state;
  $('#state span').textContent = text;
}

function logEvent(name, text, kind = '') {
  const item = document.createElement('li');
  item.className = kind;
  const time = document.createElement('time');
  time.textContent = new Date().toLocaleTimeString();
  const bold = document.createElement('b');
  bold.textContent = name;
  item.append(time, bold, ` ${text}`);
  const log = $('#log');
  log.querySelector('.empty')?.remove();
  log.prepend(item);
  while (log.children.length > 100) log.lastChild.remove();
}
