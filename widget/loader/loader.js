// window.BitcallWebphone: adds the phone to a host page and is the page's API to it.
//
// The loader must not interfere with the host page: its elements are in a shadow root with constructed style sheets (no
// inline styles, so a strict CSP allows it), it defines one global name, no method throws, and exceptions of the page's
// event handlers are logged to the console. The phone itself is a cross-origin iframe; both sides use `postMessage` with
// the other's exact origin. Methods, events, options and error codes come from widget/wire/src/host_protocol, which
// build.rs fills in below.
//
// A phone lives from `init()` to `destroy()`, its frame may come and go: the page may take it away or move it, the
// server may not be there yet, something may block it. Commands wait until the phone takes them (`live`).
(() => {
  'use strict';

  // A second script tag must not replace a phone that is already running.
  if (window.BitcallWebphone) return;

  const { version, commands, events, options, tenantOptions, errors } = {{protocol}};

  const script = document.currentScript || document.querySelector('script[src*="/webphone/loader.js"]');
  const base = new URL('./', script ? script.src : location.href);

  // Permissions Policy of the phone's iframe. Browsers ignore names that they do not know.
  const IFRAME_PERMISSIONS =
    'microphone; autoplay; speaker-selection; hid; clipboard-write; local-network-access; local-network; loopback-network';

  /** Time in which the phone's page must post BITCALL_READY. */
  const READY_TIMEOUT_MS = 15000;

  /** The same once the frame has loaded something: the phone's page posts it while it loads. */
  const READY_AFTER_LOAD_TIMEOUT_MS = 3000;

  /** Time in which the phone must answer BITCALL_INIT, with a slow network in mind. */
  const START_TIMEOUT_MS = 60000;

  /** How long a command waits for the phone. Later nobody expects it any more. */
  const COMMAND_TIMEOUT_MS = 30000;

  /** Pauses before the phone is started again, in seconds; the last one repeats. */
  const RETRY_PAUSES_S = [1, 2, 5, 10, 30, 60];

  /** The same where the server refuses the page, or the page the phone: somebody must change something first. */
  const SLOW_RETRY_PAUSES_S = [60, 120, 300, 600];

  /** A page that takes the phone away more often within ten seconds means it. */
  const MAX_REMOVALS = 5;

  /** Delay of the iframe's removal in `destroy()`, in which it hangs up and unregisters. */
  const HANG_UP_DELAY_MS = 250;

  /** Horizontal movement in CSS pixels from which a press on the launcher is a drag. */
  const MIN_DRAG_DISTANCE_PX = 48;

  /** `localStorage` key of the launcher's corner. */
  const CORNER_KEY = 'bitcall-webphone:corner';

  const DEFAULT_ACCENT = '#0f766e';

  /** What `typeof` says of an option, by its kind. */
  const TYPES = { text: 'string', secret: 'string', flag: 'boolean', function: 'function' };

  const INITIAL_STATE = { registered: false, inCall: false, activeNumber: null, callCount: 0 };

  /** @type {Map<string, Set<Function>>} kept after `destroy()` unless `clearEventHandlers` is set */
  const handlers = new Map();
  /** The phone of this page, from `init()` to `destroy()`. */
  let phone = null;

  const methods = {
    async init(config) {
      let onError = null;
      try {
        if (isObject(config) && typeof config.onError === 'function') onError = config.onError;
        const detail = findConfigError(config);
        if (detail) return report(onError, 'INVALID_CONFIG', { detail });
        // A phone that does not work makes room for another attempt of the page.
        if (phone && phone.fault) unmount(phone);
        if (phone) return report(onError, 'ALREADY_INITIALIZED');
        const current = (phone = createPhone(config, onError));
        current.view = createView(current);
        waitForReady(current);
        start(current);
        await current.settled;
      } catch (error) {
        if (phone && !phone.view) phone = null;
        report(onError, 'INIT_FAILED', { detail: String(error) });
      }
    },

    destroy(given) {
      if (phone) unmount(phone);
      if (given && given.clearEventHandlers) handlers.clear();
    },

    toggle() {
      if (!phone) return;
      if (phone.runtime) phone.view.open(!phone.view.isOpen());
      else phone.wantsOpen = !phone.wantsOpen;
    },

    getState: () => ({ ...(phone ? phone.state : INITIAL_STATE) }),
    isRegistered: () => Boolean(phone && phone.state.registered),
    isInCall: () => Boolean(phone && phone.state.inCall),

    on(event, handler) {
      const known = Object.values(events);
      if (!known.includes(event)) return warn(`there is no event ${quote(event)}${nearest(event, known)}`);
      if (typeof handler !== 'function') return warn(`the handler of ${quote(event)} is not a function`);
      if (!handlers.has(event)) handlers.set(event, new Set());
      handlers.get(event).add(handler);
    },

    off(event, handler) {
      const set = handlers.get(event);
      if (set) set.delete(handler);
    },
  };

  for (const [method, [parameters, needed, optionNames]] of Object.entries(commands)) {
    methods[method] = (...given) => {
      const payload = {};
      parameters.forEach((name, at) => {
        const value = given[at];
        if (value !== undefined && value !== null) payload[name] = at < needed ? String(value).trim() : String(value);
      });
      const extra = given[parameters.length];
      for (const name of isObject(extra) ? Object.keys(extra) : []) {
        if (!optionNames.includes(name)) warn(`${method}() has no option ${quote(name)}${nearest(name, optionNames)}`);
        else if (extra[name]) payload[name] = isObject(extra[name]) ? fields(extra[name]) : String(extra[name]);
      }
      if (parameters.slice(0, needed).every((name) => payload[name])) command(method, payload);
    };
  }

  const BitcallWebphone = {};
  for (const [name, method] of Object.entries(methods)) {
    BitcallWebphone[name] = (...given) => {
      try {
        return method(...given);
      } catch (error) {
        // What the page gave cannot be read, e.g. an object whose conversion to text throws.
        return console.error(error);
      }
    };
  }
  Object.defineProperty(window, 'BitcallWebphone', { value: Object.freeze(BitcallWebphone), configurable: true });

  // ------------------------------------------------------------ what the page gives

  function findConfigError(config) {
    if (!isObject(config)) return 'init() needs an object: BitcallWebphone.init({ key: "…" }).';
    if (typeof config.key !== 'string' || !config.key.trim()) return 'init() needs `key`, the API key of your tenant.';
    if (config.sip !== undefined && !isObject(config.sip)) return '`sip` must be an object.';
    if (config.sip && config.sip.password && config.sip.HA1Password)
      return 'Give either `sip.password` or `sip.HA1Password`, not both.';
    return null;
  }

  function createPhone(config, onError) {
    const p = {
      key: config.key.trim(),
      hostConfig: { embedOrigin: location.origin },
      onError,
      debug: Boolean(config.debug),
      abort: new AbortController(),
      state: { ...INITIAL_STATE },
      /** Calls with a start event and no `callEnded` yet, by ID. */
      calls: new Map(),
      /** Commands that wait for the phone, in order. */
      queue: [],
      /** Names of the methods whose commands were sent and not answered yet, by request id. */
      unanswered: new Map(),
      lastId: 0,
      /** The last of `registered` and `unregistered` that the page has heard. */
      toldRegistered: false,
      /** URL of the page in the iframe: below the loader's, or `uiUrl` of the configuration. */
      page: phonePage(base, config.key.trim()),
      /** The window that has posted BITCALL_READY; null while there is none. */
      window: null,
      /** The phone in that window has answered BITCALL_INIT: it takes commands. */
      live: false,
      runtime: null,
      /** Code of the last error that stopped the phone, until it is live. */
      fault: null,
      attempts: 0,
      /** When the page took the element away, in the last seconds. */
      removals: [],
      /** The frame has loaded something, which may be the browser's error page. */
      frameLoaded: false,
      /** `toggle()` was called before the launcher was shown. */
      wantsOpen: false,
      view: null,
    };
    p.settled = new Promise((resolve) => (p.settle = resolve));
    readOptions(p.hostConfig, config, '');
    return p;
  }

  /** Puts the options below `path` where they are sent; warns of those that have no effect. */
  function readOptions(sent, given, path) {
    for (const [name, value] of Object.entries(given)) {
      const full = path + name;
      const known = options[full];
      if (value === undefined || value === null) continue;
      if (known) {
        const [kind, target] = known;
        const text = typeof value === 'string' && kind !== 'secret' ? value.trim() : value;
        const isOneOf = Array.isArray(kind);
        if (isOneOf ? !kind.includes(text) : typeof text !== TYPES[kind]) {
          const wanted = isOneOf ? `one of ${kind.map(quote).join(', ')}` : `a ${TYPES[kind]}`;
          warn(`the option ${full} is ignored, it must be ${wanted}${isOneOf ? nearest(value, kind) : ''}`);
        } else if (target && text !== '') {
          const names = target.split('.');
          const last = names.pop();
          const place = names.reduce((object, key) => (object[key] = object[key] || {}), sent);
          // An old name of an option comes second.
          if (full === target || !(last in place)) place[last] = text;
        }
      } else if (Object.keys(options).some((option) => option.startsWith(`${full}.`))) {
        if (isObject(value)) readOptions(sent, value, `${full}.`);
        else warn(`the option ${full} is ignored, it must be an object`);
      } else if (tenantOptions.includes(full)) {
        warn(`the option ${full} is ignored, it belongs to the tenant's configuration`);
      } else warn(`there is no option ${quote(full)}${nearest(full, Object.keys(options))}`);
    }
  }

  function warn(text) {
    console.warn(`Bitcall: ${text}.`);
  }

  function quote(value) {
    return `“${String(value)}”`;
  }

  function isObject(value) {
    return typeof value === 'object' && value !== null;
  }

  /** The fields of an object with their names, as the phone reads them. */
  function fields(object) {
    const given = Object.entries(object).filter(([, value]) => value !== undefined && value !== null);
    return given.map(([name, value]) => ({ name, value: String(value) }));
  }

  /** The name that was probably meant, for the end of a sentence. */
  function nearest(wrong, names) {
    const text = String(wrong).toLowerCase();
    const distances = names.map((name) => [editDistance(text, name.toLowerCase()), name]);
    const [distance, name] = distances.sort((a, b) => a[0] - b[0])[0] || [];
    return distance < Math.max(3, text.length / 3) ? ` (did you mean ${quote(name)}?)` : '';
  }

  /** Levenshtein's. */
  function editDistance(a, b) {
    let row = Array.from({ length: b.length + 1 }, (_, at) => at);
    for (let i = 1; i <= Math.min(a.length, 64); i++) {
      const next = [i];
      for (let j = 1; j <= b.length; j++)
        next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
      row = next;
    }
    return row[b.length];
  }

  // ------------------------------------------------------------ starting, and starting again

  /** The phone's page for the tenant of `key`; the browser shows it only where that tenant allows. */
  function phonePage(url, key) {
    const page = new URL(url, base);
    page.searchParams.set('key', key);
    return page;
  }

  /** Asks for the configuration, while the iframe loads. */
  async function start(p) {
    let runtime;
    try {
      runtime = await fetchConfig(p);
    } catch (error) {
      return fail(p, error.code || 'INIT_FAILED', { detail: String(error), ...error.values }, error.message, error.status);
    }
    if (phone !== p) return; // destroy() was called meanwhile.
    p.runtime = runtime;
    p.view.show(runtime.branding);
    if (p.wantsOpen) p.view.open(true);
    p.wantsOpen = false;
    const page = phonePage(runtime.uiUrl || base, p.key);
    if (page.href !== p.page.href || p.fault) {
      p.page = page;
      loadFrame(p);
    } else if (p.window) sendInit(p);
    else waitForReady(p);
  }

  /** A CORS simple request: no preflight, one round trip. */
  async function fetchConfig(p) {
    const { signal } = p.abort;
    const url = new URL('/api/webphone/config', base);
    url.searchParams.set('key', p.key);
    let response;
    try {
      response = await fetch(url, { signal, credentials: 'omit' });
    } catch (error) {
      if (signal.aborted) throw error;
      // The answer may be one that this page may not read. The loader may be read by every page.
      const probe = fetch(new URL('loader.js', base), { signal, credentials: 'omit', cache: 'no-store' });
      const isUp = await probe.then((answer) => answer.ok, () => false);
      throw fault(isUp ? 'WEBPHONE_ORIGIN_FORBIDDEN' : 'SERVER_UNREACHABLE', url, '');
    }
    const answer = await response.json().catch(() => null);
    if (answer && answer.ok) return answer.data;
    const { code, message } = (answer && answer.error) || {};
    throw fault(code || 'SERVER_ERROR', url, message || '', response.status);
  }

  function fault(code, { origin }, message, status) {
    return Object.assign(new Error(message), { code, status, values: { origin, status } });
  }

  /** Loads the phone's page into the iframe, whatever is in it. */
  function loadFrame(p) {
    lose(p);
    p.frameLoaded = false;
    p.view.frame.src = p.page.href;
    waitForReady(p);
  }

  function waitForReady(p) {
    wait(p, p.frameLoaded ? READY_AFTER_LOAD_TIMEOUT_MS : READY_TIMEOUT_MS, () => {
      // Without a configuration it is known already why there is no phone.
      if (p.runtime) fail(p, 'PHONE_BLOCKED');
    });
  }

  /** At any moment one thing is waited for: the frame, the phone in it, or the next attempt. */
  function wait(p, time, act) {
    clearTimeout(p.timer);
    p.retry = null;
    if (act && phone === p) p.timer = setTimeout(act, time);
  }

  /** The phone does not work. It is started again, except where its API key is not valid, because that stays so. */
  function fail(p, code, values, message, status) {
    if (phone !== p) return;
    lose(p);
    endCalls(p, 'Phone lost');
    if (phone !== p) return; // The page has called destroy().
    const isNews = p.fault !== code;
    p.fault = code;
    p.settle();
    // Said once, not with every attempt.
    if (isNews) report(p.onError, code, { origin: p.page.origin, url: p.page.href, ...values }, message, status);
    if (phone !== p) return;
    wait(p);
    if (status === 400 || status === 401) {
      // A phone that ran before goes on to say why it does not.
      if (!p.runtime) unmount(p);
      return;
    }
    const isShort = status ? status >= 429 : code === 'SERVER_UNREACHABLE';
    const pauses = isShort ? RETRY_PAUSES_S : SLOW_RETRY_PAUSES_S;
    const pause = pauses[Math.min(p.attempts++, pauses.length - 1)];
    const retry = () => {
      wait(p);
      p.removals = [];
      keep(p);
      start(p);
    };
    // The pages of a server that comes back do not all ask in the same moment.
    wait(p, pause * 1000 * (0.75 + Math.random() / 2), retry);
    p.retry = retry;
  }

  function report(onError, code, values, message, status) {
    const known = { page: location.origin, ...values };
    const [words, remedy] = (errors[code] || [code]).map((text) => text.replace(/{(\w+)}/g, (_, name) => known[name]));
    const payload = { code, message: message || words };
    if (remedy) payload.remedy = remedy;
    if (status) payload.status = status;
    if (onError) callHandler(onError, payload);
    else console.error(`Bitcall: ${payload.message} ${remedy || ''} (${code})`);
  }

  // ------------------------------------------------------------ messages to and from the phone

  function sendInit(p) {
    const calls = [...p.calls.values()];
    wait(p, START_TIMEOUT_MS, () => fail(p, 'PHONE_START_FAILED'));
    p.initId = ++p.lastId;
    post(p, 'BITCALL_INIT', { host: p.hostConfig, version, calls }, p.initId);
    // A phone of version 1 answers nothing.
    if (!p.phoneVersion) goLive(p);
  }

  function goLive(p) {
    wait(p);
    p.live = true;
    p.fault = null;
    p.attempts = 0;
    if (p.view.isOpen()) post(p, 'BITCALL_VISIBLE', { visible: true });
    for (const { method, payload, timer } of p.queue.splice(0)) {
      clearTimeout(timer);
      sendCommand(p, method, payload);
    }
    p.settle();
  }

  /** The phone in the frame is gone or will be. Calls stay open: the next one takes them over. */
  function lose(p) {
    p.window = null;
    p.live = false;
    const lost = [...p.unanswered.values()];
    p.unanswered.clear();
    for (const method of lost) report(p.onError, 'PHONE_RESTARTED', { method });
    setRegistered(p, false, { reason: 'Phone reloaded' });
  }

  function receive(p, event) {
    const { frame } = p.view;
    if (!event.source || event.source !== frame.contentWindow || event.origin !== p.page.origin) return;
    const { type, payload } = event.data || {};
    if (p.debug) console.debug('Bitcall ←', type, payload);
    switch (type) {
      case 'BITCALL_READY':
        lose(p);
        p.window = event.source;
        p.phoneVersion = payload.version;
        // Without the configuration it waits for that, or for the next attempt to get it.
        if (p.runtime) sendInit(p);
        else if (!p.retry) wait(p);
        break;
      case 'BITCALL_ANSWER':
        answered(p, payload);
        break;
      case 'BITCALL_STATE':
        p.state = { ...INITIAL_STATE, ...payload };
        break;
      case 'BITCALL_SHOW':
        p.view.open(true);
        break;
      case 'BITCALL_HIDE':
        p.view.open(false);
        break;
      case 'BITCALL_BADGE':
        p.view.badge(payload);
        break;
      case 'BITCALL_ERROR':
        report(p.onError, payload.code, { origin: p.page.origin }, payload.message);
        break;
      case 'BITCALL_STOPPED':
        fail(p, payload.code, {}, payload.message);
        break;
      default:
        if (events[type]) handleEvent(p, events[type], payload);
    }
  }

  function answered(p, { id, error }) {
    if (id === p.initId) {
      if (error) fail(p, error.code, {}, error.message);
      else goLive(p);
      return;
    }
    const method = p.unanswered.get(id);
    p.unanswered.delete(id);
    if (error) report(p.onError, error.code, { method, origin: p.page.origin }, error.message);
  }

  /** Emits an event of the phone. A phone that takes another one's place repeats what the page has heard already. */
  function handleEvent(p, event, payload) {
    const call = p.calls.get(payload.callId);
    switch (event) {
      case 'callStarted':
      case 'callIncoming':
        if (call) return;
        const { headers, divertedFrom, ...known } = payload;
        p.calls.set(payload.callId, { ...known, startedAt: Date.now() });
        break;
      case 'callAnswered':
        if (call && call.answeredAt) return;
        if (call) call.answeredAt = Date.now();
        break;
      case 'callUpdated':
        if (call) call.number = payload.number;
        break;
      case 'callEnded':
        if (!p.calls.delete(payload.callId)) return;
        if (!p.calls.size) p.state = { ...INITIAL_STATE, registered: p.state.registered };
        break;
      case 'registered':
      case 'unregistered':
        setRegistered(p, event === 'registered', payload);
        return;
    }
    emit(event, payload);
  }

  /** Emits the event of a transition, and no other. */
  function setRegistered(p, registered, payload) {
    p.state.registered = registered;
    if (p.toldRegistered === registered) return;
    p.toldRegistered = registered;
    emit(registered ? 'registered' : 'unregistered', payload);
  }

  /** No phone is left that could tell the end of these calls. */
  function endCalls(p, cause) {
    const calls = [...p.calls.values()];
    p.calls.clear();
    p.state = { ...INITIAL_STATE, registered: p.state.registered };
    for (const { startedAt, answeredAt, ...call } of calls) {
      const duration = answeredAt ? Math.floor((Date.now() - answeredAt) / 1000) : 0;
      emit('callEnded', { ...call, duration, cause, sipCode: null });
    }
  }

  function command(method, payload) {
    const p = phone;
    if (!p) return report(null, 'NOT_INITIALIZED', { method });
    if (isLive(p)) return sendCommand(p, method, payload);
    const entry = { method, payload };
    entry.timer = setTimeout(() => {
      p.queue.splice(p.queue.indexOf(entry), 1);
      report(p.onError, 'PHONE_NOT_READY', { method });
    }, COMMAND_TIMEOUT_MS);
    p.queue.push(entry);
  }

  function sendCommand(p, method, payload) {
    const id = ++p.lastId;
    if (p.phoneVersion) p.unanswered.set(id, method);
    post(p, `BITCALL_${method.toUpperCase()}`, payload, id);
  }

  /** Whether the phone that answered is still there: a frame that was moved has another window. */
  function isLive(p) {
    if (p.live && p.view.frame.contentWindow !== p.window) keep(p);
    return p.live;
  }

  function post(p, type, payload, id) {
    if (p.debug) console.debug('Bitcall →', type);
    p.window.postMessage({ type, id, payload }, p.page.origin);
  }

  function emit(event, payload) {
    for (const handler of [...(handlers.get(event) || [])]) callHandler(handler, payload);
  }

  function callHandler(handler, payload) {
    try {
      handler(payload);
    } catch (error) {
      console.error(error);
    }
  }

  // ------------------------------------------------------------ the element's place in the page

  /**
   * Puts the element back where the page has taken it away, and waits for the phone in a frame that was moved: browsers
   * load an iframe anew wherever it is inserted. It stands beside `<body>`, which many libraries replace as a whole.
   */
  function keep(p) {
    const { host, frame } = p.view;
    const root = document.documentElement;
    const now = Date.now();
    if (!host.isConnected && root) {
      p.removals = [...p.removals.filter((at) => at > now - 10000), now];
      if (p.removals.length > MAX_REMOVALS) {
        p.view.observe();
        return fail(p, 'PHONE_REMOVED');
      }
      root.append(host);
      // document.open() removes listeners, too. A second time it changes nothing.
      p.view.listen();
      p.frameLoaded = false;
      if (!p.window && !p.fault) waitForReady(p);
    }
    p.view.observe();
    if (p.window && frame.contentWindow !== p.window) {
      lose(p);
      p.frameLoaded = false;
      waitForReady(p);
    }
  }

  // ------------------------------------------------------------ removal

  function unmount(p) {
    phone = null;
    p.abort.abort();
    clearTimeout(p.timer);
    for (const { timer } of p.queue.splice(0)) clearTimeout(timer);
    p.settle();
    if (p.view) {
      const hangsUp = isPresent(p);
      if (hangsUp) post(p, 'BITCALL_DESTROY', {});
      // An iframe that is removed at once cannot send a BYE or unregister: hide it and remove it later.
      p.view.remove(hangsUp ? HANG_UP_DELAY_MS : 0);
    }
    endCalls(p, 'Phone removed');
    setRegistered(p, false, { reason: 'Phone removed' });
  }

  /** A phone is in the frame, or starts in it. */
  function isPresent(p) {
    return Boolean(p.window && p.initId && p.window === p.view.frame.contentWindow);
  }

  // ------------------------------------------------------------ view

  const STYLE = `
    :host { all: initial !important; position: fixed !important; z-index: 2147483000 !important; inset: 0 !important;
      pointer-events: none !important; color-scheme: light dark !important; --space: 16px; }
    :host([hidden]) { display: none !important; }
    .launcher, .panel { position: absolute; pointer-events: auto;
      bottom: calc(var(--space) + env(safe-area-inset-bottom)); inset-inline-end: calc(var(--space) + env(safe-area-inset-right)); }
    :host([corner="start"]) .launcher, :host([corner="start"]) .panel {
      inset-inline: calc(var(--space) + env(safe-area-inset-left)) auto; }
    .launcher { inline-size: 56px; block-size: 56px; padding: 0; border: 0; border-radius: 50%; cursor: pointer;
      display: grid; place-items: center; touch-action: none; background: var(--accent); color: var(--on-accent);
      box-shadow: 0 1px 2px rgb(0 0 0 / .2), 0 8px 24px rgb(0 0 0 / .22); transition: transform 160ms ease-out; }
    .launcher[hidden] { display: none; }
    .launcher:hover { transform: scale(1.05); }
    .launcher:active { transform: scale(.96); }
    .launcher:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; box-shadow: 0 0 0 3px #fff; }
    .launcher svg { inline-size: 24px; block-size: 24px; grid-area: 1 / 1; fill: none; stroke: currentColor; stroke-width: 1.75;
      stroke-linecap: round; stroke-linejoin: round; transition: transform 160ms ease-out, opacity 160ms ease-out; }
    .launcher .close { opacity: 0; transform: rotate(-90deg); }
    .open .launcher .close { opacity: 1; transform: none; }
    .open .launcher .phone { opacity: 0; transform: rotate(90deg); }
    .in-call .launcher, .ringing .launcher { background: #15803d; color: #fff; }
    .ringing .launcher::before { content: ""; position: absolute; inset: 0; border-radius: 50%; background: #15803d; z-index: -1;
      animation: ring 1.4s ease-out infinite; }
    @keyframes ring { from { transform: scale(1); opacity: .55 } to { transform: scale(1.8); opacity: 0 } }
    .badge { position: absolute; inset-block-start: -4px; inset-inline-end: -4px; min-inline-size: 20px; block-size: 20px;
      box-sizing: border-box; padding-inline: 5px; border-radius: 10px; background: #dc2626; color: #fff;
      font: 600 12px/20px system-ui, sans-serif; text-align: center; }
    .badge:empty { display: none; }
    .muted-sign { position: absolute; inset-block-end: -4px; inset-inline-end: -4px; inline-size: 22px; block-size: 22px;
      display: none; place-items: center; border-radius: 50%; background: #b45309; color: #fff; }
    .muted-sign svg { inline-size: 14px; block-size: 14px; }
    .muted .muted-sign { display: grid; }
    .panel { inline-size: 360px; block-size: 640px; max-inline-size: calc(100% - 2 * var(--space));
      max-block-size: calc(100% - 56px - 3 * var(--space)); margin-block-end: 72px; border-radius: 16px; overflow: hidden;
      background: Canvas; box-shadow: 0 0 0 1px rgb(0 0 0 / .08), 0 12px 48px rgb(0 0 0 / .28); transform-origin: bottom;
      visibility: hidden; opacity: 0; transform: translateY(12px) scale(.98); pointer-events: none;
      transition: transform 180ms ease-out, opacity 180ms ease-out, visibility 0s 180ms; }
    .open .panel { visibility: visible; opacity: 1; transform: none; pointer-events: auto; transition-delay: 0s; }
    iframe { display: block; inline-size: 100%; block-size: 100%; border: 0; color-scheme: normal; }
    @media (max-width: 480px) {
      .panel { inset: 0 !important; inline-size: 100%; block-size: 100%; max-inline-size: none; max-block-size: none; margin: 0; border-radius: 0; }
      .open .launcher { visibility: hidden; }
    }
    @media (prefers-reduced-motion: reduce) { *, *::before { transition: none !important; animation: none !important; } }
    @media print { :host { display: none !important; } }`;

  // Lucide "phone" and "chevron-down".
  const ICONS = {
    phone:
      'M22 16.92v3a2 2 0 0 1-2.18 2 19.79 19.79 0 0 1-8.63-3.07 19.5 19.5 0 0 1-6-6 19.79 19.79 0 0 1-3.07-8.67A2 2 0 0 1 4.11 2h3a2 2 0 0 1 2 1.72 12.84 12.84 0 0 0 .7 2.81 2 2 0 0 1-.45 2.11L8.09 9.91a16 16 0 0 0 6 6l1.27-1.27a2 2 0 0 1 2.11-.45 12.84 12.84 0 0 0 2.81.7A2 2 0 0 1 22 16.92z',
    close: 'm6 9 6 6 6-6',
    muted:
      'm2 2 20 20M18.9 13.2A7 7 0 0 0 19 12v-2M5 10v2a7 7 0 0 0 12 5M15 9.3V5a3 3 0 0 0-5.7-1.3M9 9v3a3 3 0 0 0 5.1 2.1M12 19v3',
  };

  function createView(p) {
    const host = document.createElement('div');
    host.dataset.bitcallWebphone = '';
    const root = host.attachShadow({ mode: 'open' });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];

    const shell = element('div', { class: 'frame' });
    const panel = element('div', { class: 'panel', role: 'dialog', 'aria-label': 'Phone' });
    const frame = element('iframe', { title: 'Phone', allow: IFRAME_PERMISSIONS, src: p.page.href });
    const launcher = element('button', { class: 'launcher', type: 'button', 'aria-expanded': 'false' });
    const badge = element('span', { class: 'badge' });
    const mutedSign = element('span', { class: 'muted-sign' });
    mutedSign.append(icon('muted'));
    launcher.append(icon('phone'), icon('close'), badge, mutedSign);
    panel.append(frame);
    shell.append(panel, launcher);
    root.append(shell);

    // The launcher is shown when the tenant's colours are known.
    launcher.hidden = true;

    let isOpen = false;
    let missed = 0;
    let muted = false;
    const updateLabel = () => {
      const action = isOpen ? 'Close phone' : 'Open phone';
      launcher.setAttribute('aria-label', action + (missed ? `, ${missed} missed` : '') + (muted ? ', microphone muted' : ''));
    };
    const open = (next) => {
      if (isOpen === next) return;
      isOpen = next;
      shell.classList.toggle('open', next);
      launcher.setAttribute('aria-expanded', String(next));
      updateLabel();
      if (isLive(p)) post(p, 'BITCALL_VISIBLE', { visible: next });
      if (next) frame.focus({ preventScroll: true });
      else if (root.activeElement === frame) launcher.focus({ preventScroll: true });
    };
    updateLabel();
    const wasDragged = draggable(launcher, host, p.abort.signal);
    launcher.addEventListener('click', () => wasDragged() || open(!isOpen));
    const { signal } = p.abort;
    frame.addEventListener('load', () => {
      p.frameLoaded = true;
      if (!p.window && !p.fault) waitForReady(p);
    });
    const onMessage = (event) => receive(p, event);
    const onOnline = () => p.retry && p.retry();
    const onViolation = ({ disposition, blockedURI, effectiveDirective }) => {
      const isFrame = /^(frame|child)-src/.test(effectiveDirective) && blockedURI.startsWith(p.page.origin);
      if (!isFrame || disposition !== 'enforce') return;
      fail(p, 'PHONE_BLOCKED', {}, `This page's Content-Security-Policy (${effectiveDirective}) blocks the phone's frame ${p.page.href}.`);
    };
    const observer = new MutationObserver(() => keep(p));
    signal.addEventListener('abort', () => observer.disconnect());
    const listen = () => {
      window.addEventListener('message', onMessage, { signal });
      window.addEventListener('online', onOnline, { signal });
      document.addEventListener('securitypolicyviolation', onViolation, { signal });
    };
    /** Waits for the element, or one around it, to be taken away or moved. */
    const observe = () => {
      observer.disconnect();
      observer.observe(document, { childList: true });
      for (let node = host; (node = node.parentNode || node.host); ) observer.observe(node, { childList: true });
    };
    listen();
    document.documentElement.append(host);
    observe();

    return {
      host,
      frame,
      listen,
      observe,
      show(branding) {
        const accent = validColor(branding && branding.themeColor);
        host.style.setProperty('--accent', accent);
        host.style.setProperty('--on-accent', readableOn(accent));
        launcher.hidden = false;
      },
      open,
      isOpen: () => isOpen,
      badge(state) {
        missed = state.missed;
        badge.textContent = missed > 99 ? '99+' : missed || '';
        shell.classList.toggle('ringing', state.ringing);
        shell.classList.toggle('in-call', state.inCall);
        muted = Boolean(state.muted);
        shell.classList.toggle('muted', muted);
        updateLabel();
      },
      remove(delay) {
        if (!delay) return host.remove();
        host.hidden = true;
        return setTimeout(() => host.remove(), delay);
      },
    };
  }

  function element(tag, attributes) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  }

  function icon(name) {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('aria-hidden', 'true');
    svg.setAttribute('class', name);
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    path.setAttribute('d', ICONS[name]);
    svg.append(path);
    return svg;
  }

  /** Lets the user drag the launcher to the other bottom corner, which is stored. Returns a function that tells whether the last press was a drag. */
  function draggable(button, host, signal) {
    const setCorner = (corner) => (corner === 'start' ? host.setAttribute('corner', 'start') : host.removeAttribute('corner'));
    try {
      setCorner(localStorage.getItem(CORNER_KEY));
    } catch {
      // Storage is blocked on this page: use the default corner.
    }
    let startX = null;
    let dragged = false;
    button.addEventListener('pointerdown', (event) => {
      startX = event.clientX;
      dragged = false;
    });
    const move = (event) => {
      if (startX === null || Math.abs(event.clientX - startX) < MIN_DRAG_DISTANCE_PX) return;
      dragged = true;
      const rtl = getComputedStyle(host).direction === 'rtl';
      const corner = event.clientX < innerWidth / 2 !== rtl ? 'start' : 'end';
      setCorner(corner);
      try {
        localStorage.setItem(CORNER_KEY, corner);
      } catch {
        // Storage is blocked: the corner is not stored.
      }
    };
    window.addEventListener('pointermove', move, { signal, passive: true });
    window.addEventListener('pointerup', () => (startX = null), { signal });
    return () => dragged;
  }

  // ------------------------------------------------------------ colour

  function validColor(value) {
    return /^#[0-9a-f]{6}$/i.test(value || '') ? value : DEFAULT_ACCENT;
  }

  /** Black or white, whichever has the better contrast (WCAG 2.2 relative luminance). */
  function readableOn(hex) {
    const [r, g, b] = [1, 3, 5].map((at) => {
      const c = parseInt(hex.slice(at, at + 2), 16) / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#000' : '#fff';
  }
})();
