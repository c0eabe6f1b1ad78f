// The playground: a host page like any other. It uses nothing but the
// loader's public API, so whatever works here works on a customer's page.

const $ = (selector) => document.querySelector(selector);
const phone = window.BitcallWebphone;
const EVENTS = ['registered', 'unregistered', 'callStarted', 'callIncoming', 'callAnswered', 'callEnded'];

/** What `init()` is called with; the snippet shows the same. */
let setup = null;
let demo = null;

start();

async function start() {
  for (const event of EVENTS) phone.on(event, (payload) => happened(event, payload));
  wire();
  demo = await fetch('/demo.json').then((r) => (r.ok ? r.json() : null)).catch(() => null);
  if (!demo) {
    $('#bring').hidden = false;
    $('[data-origin]').textContent = location.origin;
    $('#as').closest('label').hidden = true;
    say('idle', 'Not started');
    setup = { key: 'YOUR_API_KEY', sip: { username: 'agent1' } };
    showSnippet();
    return;
  }
  $('#as').append(...demo.extensions.map(({ username }) => new Option(username, username)));
  $('#demo').hidden = false;
  become(await freeExtension());
}

/** The first window becomes the first extension, the second the second: each holds a lock while it lives. */
async function freeExtension() {
  const wanted = new URLSearchParams(location.search).get('as') || sessionStorage.getItem('as');
  const names = demo.extensions.map(({ username }) => username);
  const inOrder = names.includes(wanted) ? [wanted, ...names.filter((name) => name !== wanted)] : names;
  for (const name of inOrder) if (await hold(name)) return name;
  return inOrder[0];
}

function hold(name) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    navigator.locks.request(`bitcall-playground:${name}`, { ifAvailable: true }, (lock) => {
      resolve(Boolean(lock));
      return lock ? new Promise(() => {}) : undefined;
    });
  });
}

function become(username) {
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
  run({ key: demo.key, sip: { username: me.username, domain: demo.domain, password: me.password } });
}

async function run(account) {
  setup = {
    ...account,
    behavior: { host: { mode: $('#mode').value }, theme: { start: $('#theme').value } },
  };
  showSnippet();
  say('idle', 'Connecting…');
  phone.destroy();
  await phone.init({ ...setup, onError: failed });
  // Room for it beside the page: show it. On a phone-sized screen it would cover everything.
  if (matchMedia('(min-width: 1024px)').matches) phone.toggle();
}

function wire() {
  const dialer = $('#dialer');
  const number = () => dialer.elements.number.value;
  dialer.addEventListener('submit', (event) => {
    event.preventDefault();
    phone.call(number());
  });
  const actions = { dial: () => phone.dial(number()), hangup: () => phone.hangup(), toggle: () => phone.toggle() };
  for (const button of dialer.querySelectorAll('[data-do]')) button.onclick = actions[button.dataset.do];

  $('#as').onchange = (event) => become(event.target.value);
  for (const id of ['#mode', '#theme']) $(id).onchange = () => setup && $('#bring').hidden && run(setup);
  $('#keys').addEventListener('submit', (event) => {
    event.preventDefault();
    const { key, username } = Object.fromEntries(new FormData(event.target));
    run({ key, sip: username ? { username } : {} });
  });
  $('#copy').onclick = async (event) => {
    await navigator.clipboard.writeText($('#snippet').textContent);
    event.target.textContent = 'Copied';
    setTimeout(() => (event.target.textContent = 'Copy'), 1500);
  };
  $('#clear').onclick = () => $('#log').replaceChildren();
}

function showSnippet() {
  const { key, sip, behavior } = setup;
  const shown = { key, sip: { ...sip, ...(sip.password && { password: '•••' }) }, ...(behavior && { behavior }) };
  const literal = JSON.stringify(shown, null, 2).replace(/"(\w+)":/g, '$1:').replaceAll('"', "'");
  $('#snippet').textContent =
    `<script src="${location.origin}/webphone/loader.js"></${'script'}>\n<script>\nBitcallWebphone.init(${literal});\n</${'script'}>`;
}

function happened(event, payload) {
  if (event === 'registered') say('ready', `Ready as ${payload.username}`);
  if (event === 'unregistered') say('idle', payload.reason || 'Not registered');
  line(event, JSON.stringify(payload));
}

function failed({ code, message }) {
  say('error', message);
  line(code, message, 'error');
}

function say(state, words) {
  $('#state').dataset.state = state;
  $('#state span').textContent = words;
}

function line(name, text, kind = '') {
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
