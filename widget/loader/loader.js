// window.BitcallWebphone: adds the phone to a host page and is the page's API to it.
//
// The loader must not interfere with the host page: its elements are in a shadow
// root with constructed style sheets (no inline styles, so a strict CSP allows
// it), it defines one global name, and exceptions of the page's event handlers
// are logged to the console. The phone itself is a cross-origin iframe; both sides
// use `postMessage` with the other's exact origin. Message types:
// widget/wire/src/host_protocol.rs.
(() => {
  'use strict';

  // A second script tag must not replace a phone that is already running.
  if (window.BitcallWebphone) return;

  const script = document.currentScript || document.querySelector('script[src*="/webphone/loader.js"]');
  const base = new URL('./', script ? script.src : location.href);

  // Permissions Policy of the phone's iframe. Browsers ignore names that they do not know.
  const IFRAME_PERMISSIONS =
    'microphone; autoplay; speaker-selection; hid; clipboard-write; local-network-access; local-network; loopback-network';

  // Public event name by message type.
  const EVENTS = {
    BITCALL_CALL_STARTED: 'callStarted',
    BITCALL_CALL_INCOMING: 'callIncoming',
    BITCALL_CALL_ANSWERED: 'callAnswered',
    BITCALL_CALL_UPDATED: 'callUpdated',
    BITCALL_CALL_ENDED: 'callEnded',
    BITCALL_REGISTERED: 'registered',
    BITCALL_UNREGISTERED: 'unregistered',
  };

  /** Time in which the phone's page must post BITCALL_READY; after it `onError` gets PHONE_UNREACHABLE. */
  const READY_TIMEOUT_MS = 15000;

  /** Delay of the iframe's removal in `destroy()`, in which it hangs up and unregisters. */
  const HANG_UP_DELAY_MS = 250;

  /** Horizontal movement in CSS pixels from which a press on the launcher is a drag. */
  const MIN_DRAG_DISTANCE_PX = 48;

  /** `localStorage` key of the launcher's corner. */
  const CORNER_KEY = 'bitcall-webphone:corner';

  const DEFAULT_ACCENT = '#0f766e';

  const INITIAL_STATE = { registered: false, inCall: false, activeNumber: null, callCount: 0 };

  /** @type {Map<string, Set<Function>>} kept after `destroy()` unless `clearEventHandlers` is set */
  const handlers = new Map();
  /** The phone of this page, from `init()` to `destroy()`. */
  let phone = null;

  const BitcallWebphone = {
    async init(config) {
      const onError = config && typeof config.onError === 'function' ? config.onError : null;
      if (phone) {
        report(onError, 'ALREADY_INITIALIZED', 'init() was called twice. Call destroy() first.');
        return;
      }
      const problem = findConfigError(config);
      if (problem) {
        report(onError, 'INVALID_CONFIG', problem);
        return;
      }
      const current = (phone = createPhone(config, onError));
      try {
        // The iframe loads while the configuration is fetched.
        const answer = fetchConfig(current.key, current.abort.signal);
        answer.catch(() => {});
        await bodyReady(current.abort.signal);
        if (phone === current) current.view = createView(current, phonePage(base, current.key).href);
        const runtime = await answer;
        if (phone === current) mount(current, runtime);
      } catch (error) {
        if (phone !== current) return; // destroy() was called meanwhile.
        unmount(current);
        report(onError, error.code || 'INIT_FAILED', error.message, error.status);
      }
    },

    destroy(options) {
      const { clearEventHandlers = false } = options || {};
      if (phone) unmount(phone);
      if (clearEventHandlers) handlers.clear();
    },

    toggle() {
      if (!phone) return;
      if (phone.runtime) phone.view.open(!phone.view.isOpen());
      else phone.wantsOpen = !phone.wantsOpen;
    },

    call(number, options) {
      const { callerId } = options || {};
      command('BITCALL_CALL', number, callerId ? { callerId: String(callerId) } : {});
    },

    dial(number) {
      command('BITCALL_DIAL', number, {});
    },

    hangup(callId) {
      if (phone) send(phone, 'BITCALL_HANGUP', { callId: callId === undefined ? null : String(callId) });
    },

    getState: () => ({ ...(phone ? phone.state : INITIAL_STATE) }),
    isRegistered: () => Boolean(phone && phone.state.registered),
    isInCall: () => Boolean(phone && phone.state.inCall),

    on(event, handler) {
      if (typeof handler !== 'function') return;
      if (!handlers.has(event)) handlers.set(event, new Set());
      handlers.get(event).add(handler);
    },

    off(event, handler) {
      const set = handlers.get(event);
      if (set) set.delete(handler);
    },
  };

  Object.defineProperty(window, 'BitcallWebphone', { value: Object.freeze(BitcallWebphone), configurable: true });

  // ------------------------------------------------------------ initialisation

  function findConfigError(config) {
    if (!config || typeof config !== 'object') return 'init() needs an object: BitcallWebphone.init({ key: "…" }).';
    if (typeof config.key !== 'string' || !config.key.trim()) return 'init() needs `key`, the API key of your tenant.';
    const sip = config.sip;
    if (sip !== undefined && (!sip || typeof sip !== 'object')) return '`sip` must be an object.';
    if (sip && sip.password && sip.HA1Password) return 'Give either `sip.password` or `sip.HA1Password`, not both.';
    return null;
  }

  function createPhone(config, onError) {
    return {
      key: config.key.trim(),
      hostConfig: hostConfig(config),
      onError,
      debug: Boolean(config.debug),
      abort: new AbortController(),
      state: { ...INITIAL_STATE },
      /** Calls with a start event and no `callEnded` yet, by ID. */
      calls: new Map(),
      /** Commands from before BITCALL_INIT was sent; they are sent after it, in order. */
      queue: [],
      initSent: false,
      /** Origin of the page in the iframe: the loader's, or that of `uiUrl` in the configuration. */
      origin: base.origin,
      /** The page in the iframe has posted BITCALL_READY. */
      pageReady: false,
      runtime: null,
      /** `toggle()` was called before the launcher was shown. */
      wantsOpen: false,
      view: null,
    };
  }

  /** The fields of `init()` that are sent to the phone; all others come from the server's configuration. */
  function hostConfig(config) {
    const sip = config.sip || {};
    const behavior = config.behavior || {};
    const text = (value) => (typeof value === 'string' && value.trim() ? value.trim() : null);
    const oneOf = (value, ...allowed) => (allowed.includes(value) ? value : null);
    return {
      sip: {
        username: text(sip.username),
        domain: text(sip.domain) || text(sip.server),
        password: typeof sip.password === 'string' && sip.password ? sip.password : null,
        HA1Password: text(sip.HA1Password),
      },
      behavior: {
        mode: oneOf(behavior.host && behavior.host.mode, 'confirm', 'autologin', 'prefilled'),
        sessionRestore: oneOf(behavior.sessionRestore, 'auto', 'off'),
        themeStart: oneOf(behavior.theme && behavior.theme.start, 'light', 'dark', 'system'),
      },
      embedOrigin: text(config.embedOrigin) || location.origin,
      debug: Boolean(config.debug),
    };
  }

  /** The phone's page for the tenant of `key`; the browser shows it only where that tenant allows. */
  function phonePage(url, key) {
    const page = new URL(url, base);
    page.searchParams.set('key', key);
    return page;
  }

  /** A CORS simple request: no preflight, one round trip. */
  async function fetchConfig(key, signal) {
    const url = new URL('/api/webphone/config', base);
    url.searchParams.set('key', key);
    let response;
    try {
      response = await fetch(url, { signal, credentials: 'omit' });
    } catch (error) {
      if (signal.aborted) throw error;
      throw fail(
        'SERVER_UNREACHABLE',
        `${url.origin} did not answer, or does not allow ${location.origin}. Add it to the tenant's allowed origins.`,
      );
    }
    const answer = await response.json().catch(() => null);
    if (answer && answer.ok) return answer.data;
    const { code, message } = (answer && answer.error) || {};
    throw fail(code || 'SERVER_ERROR', message || `${url.origin} answered with status ${response.status}.`, response.status);
  }

  function bodyReady(signal) {
    if (document.body) return undefined;
    return new Promise((resolve) => {
      document.addEventListener('DOMContentLoaded', resolve, { once: true, signal });
    });
  }

  function fail(code, message, status) {
    return Object.assign(new Error(message), { code, status });
  }

  function report(onError, code, message, status) {
    const payload = status === undefined ? { code, message } : { code, message, status };
    if (onError) callHandler(onError, payload);
    else console.error(`Bitcall: ${message} (${code})`);
  }

  // ------------------------------------------------------------ messages to and from the phone

  /** Shows the launcher and waits for the phone. Called when the configuration is known. */
  function mount(p, runtime) {
    p.runtime = runtime;
    const page = phonePage(runtime.uiUrl || base, p.key);
    p.view.show(runtime.branding);
    if (p.wantsOpen) p.view.open(true);
    const timer = setTimeout(() => {
      const message = `The phone's page ${page.href} did not answer. Does this page's CSP allow it (frame-src ${page.origin})?`;
      report(p.onError, 'PHONE_UNREACHABLE', message);
    }, READY_TIMEOUT_MS);
    p.cancelReadyTimeout = () => clearTimeout(timer);
    p.abort.signal.addEventListener('abort', p.cancelReadyTimeout);
    if (page.href !== p.view.frame.src) {
      p.origin = page.origin;
      p.view.frame.src = page.href;
    } else if (p.pageReady) sendInit(p);
  }

  /** Sends BITCALL_INIT, then the commands that were queued. */
  function sendInit(p) {
    p.cancelReadyTimeout();
    post(p, 'BITCALL_INIT', { host: p.hostConfig });
    p.initSent = true;
    for (const [type, payload] of p.queue.splice(0)) post(p, type, payload);
  }

  function receive(p, event) {
    if (!p.view || event.source !== p.view.frame.contentWindow || event.origin !== p.origin) return;
    const { type, payload } = event.data || {};
    if (p.debug) console.debug('Bitcall ←', type, payload);
    switch (type) {
      case 'BITCALL_READY':
        p.pageReady = true;
        if (p.runtime) sendInit(p);
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
        report(p.onError, payload.code, payload.message);
        break;
      default:
        if (EVENTS[type]) handleEvent(p, EVENTS[type], payload);
    }
  }

  /** Emits a phone event. Emits `callEnded` exactly once per call, also if the phone restarts. */
  function handleEvent(p, event, payload) {
    if (event === 'callStarted' || event === 'callIncoming') p.calls.set(payload.callId, payload);
    if (event === 'callAnswered') p.calls.set(payload.callId, { ...payload, answeredAt: Date.now() });
    if (event === 'callUpdated' && p.calls.has(payload.callId)) p.calls.get(payload.callId).number = payload.number;
    if (event === 'callEnded' && !p.calls.delete(payload.callId)) return;
    if (event === 'registered' || event === 'unregistered') p.state.registered = event === 'registered';
    emit(event, payload);
  }

  function command(type, number, extra) {
    const text = number === undefined || number === null ? '' : String(number).trim();
    if (!text) return;
    if (!phone) {
      report(null, 'NOT_INITIALIZED', 'Call init() before call() or dial().');
      return;
    }
    send(phone, type, { number: text, ...extra });
  }

  function send(p, type, payload) {
    if (p.initSent) post(p, type, payload);
    else p.queue.push([type, payload]);
  }

  function post(p, type, payload) {
    if (p.debug) console.debug('Bitcall →', type);
    p.view.frame.contentWindow.postMessage({ type, payload }, p.origin);
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

  // ------------------------------------------------------------ removal

  function unmount(p) {
    phone = null;
    p.abort.abort();
    if (!p.view) return;
    if (p.initSent) post(p, 'BITCALL_DESTROY', {});
    // An iframe that is removed at once cannot send a BYE or unregister: hide it and remove it later.
    p.view.remove(p.initSent ? HANG_UP_DELAY_MS : 0);
    for (const { answeredAt, ...call } of p.calls.values()) {
      const duration = answeredAt ? Math.floor((Date.now() - answeredAt) / 1000) : 0;
      emit('callEnded', { ...call, duration, cause: 'Phone removed', sipCode: null });
    }
    if (p.state.registered) emit('unregistered', { reason: 'Phone removed' });
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
  };

  function createView(p, src) {
    const host = document.createElement('div');
    host.dataset.bitcallWebphone = '';
    const root = host.attachShadow({ mode: 'open' });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];

    const shell = element('div', { class: 'frame' });
    const panel = element('div', { class: 'panel', role: 'dialog', 'aria-label': 'Phone' });
    const frame = element('iframe', { title: 'Phone', allow: IFRAME_PERMISSIONS, src });
    const launcher = element('button', { class: 'launcher', type: 'button', 'aria-expanded': 'false' });
    const badge = element('span', { class: 'badge' });
    launcher.append(icon('phone'), icon('close'), badge);
    panel.append(frame);
    shell.append(panel, launcher);
    root.append(shell);

    // The launcher is shown when the tenant's colours are known.
    launcher.hidden = true;

    let isOpen = false;
    let missed = 0;
    const updateLabel = () => {
      const action = isOpen ? 'Close phone' : 'Open phone';
      launcher.setAttribute('aria-label', missed ? `${action}, ${missed} missed` : action);
    };
    const open = (next) => {
      if (isOpen === next) return;
      isOpen = next;
      shell.classList.toggle('open', next);
      launcher.setAttribute('aria-expanded', String(next));
      updateLabel();
      send(p, 'BITCALL_VISIBLE', { visible: next });
      if (next) frame.focus({ preventScroll: true });
      else if (root.activeElement === frame) launcher.focus({ preventScroll: true });
    };
    updateLabel();
    const wasDragged = draggable(launcher, host, p.abort.signal);
    launcher.addEventListener('click', () => wasDragged() || open(!isOpen));
    window.addEventListener('message', (event) => receive(p, event), { signal: p.abort.signal });
    document.body.append(host);

    return {
      frame,
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
