// Types of window.BitcallWebphone, the loader served at /webphone/loader.js.

export interface BitcallInitConfig {
  /** API key of the tenant. */
  key: string;
  sip?: {
    username?: string;
    /** Used only if the tenant's configuration has no SIP domain. */
    domain?: string;
    /** @deprecated Old name of `domain`. */
    server?: string;
    /** Either `password` or `HA1Password`. */
    password?: string;
    /** Hex digest of `username:realm:password`: 32 digits for MD5, 64 for SHA-256. */
    HA1Password?: string;
  };
  /** Defaults to the origin of this page. */
  embedOrigin?: string;

  behavior?: {
    host?: { mode?: 'confirm' | 'autologin' | 'prefilled' };
    sessionRestore?: 'auto' | 'off';
    theme?: { start?: 'light' | 'dark' | 'system' };
  };
  /** Logs the messages between loader and phone to the console. */
  debug?: boolean;
  /** Receives errors instead of the console. */
  onError?: (error: BitcallError) => void;
}

export interface BitcallError {
  /** Stable error code, for example `WEBPHONE_ORIGIN_FORBIDDEN` or `UNKNOWN_CALL`. */
  code: string;
  message: string;
  /** HTTP status, if a server answered. */
  status?: number;
}

export interface BitcallState {
  registered: boolean;
  inCall: boolean;
  activeNumber: string | null;
  callCount: number;
}

export interface BitcallCall {
  callId: string;
  /** As dialled, or the caller's. Empty if the caller withholds it. */
  number: string;
  direction: 'inbound' | 'outbound';
  /** Present if the call was placed with a caller ID. */
  requestedCallerId?: string;
}

export interface BitcallCallUpdated extends BitcallCall {
  /** The name that the server tells for the number, or null. */
  displayName: string | null;
}

export interface BitcallCallEnded extends BitcallCall {
  /** Whole seconds since the call was answered. */
  duration: number;
  cause: string;
  sipCode: number | null;
}

export interface BitcallEvents {
  callStarted: BitcallCall;
  callIncoming: BitcallCall;
  callAnswered: BitcallCall;
  /** The other side has another number or name, e.g. after a transfer. */
  callUpdated: BitcallCallUpdated;
  callEnded: BitcallCallEnded;
  registered: { username: string; domain: string; userKey: string };
  unregistered: { reason: string };
}

export interface BitcallWebphone {
  /** Never rejects: errors go to `onError`, or to the console. */
  init(config: BitcallInitConfig): Promise<void>;
  destroy(options?: { clearEventHandlers?: boolean }): void;
  toggle(): void;
  call(number: string, options?: { callerId?: string }): void;
  dial(number: string): void;
  hangup(callId?: string): void;
  getState(): BitcallState;
  isRegistered(): boolean;
  isInCall(): boolean;
  on<E extends keyof BitcallEvents>(event: E, handler: (payload: BitcallEvents[E]) => void): void;
  off<E extends keyof BitcallEvents>(event: E, handler: (payload: BitcallEvents[E]) => void): void;
}

declare global {
  interface Window {
    BitcallWebphone: BitcallWebphone;
  }
  const BitcallWebphone: BitcallWebphone;
}
