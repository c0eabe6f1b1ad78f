// Types of window.BitcallWebphone, the loader served at /webphone/loader.js. Made from
// widget/wire/src/host_protocol/definition.rs; do not edit.

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
    host?: {
      /** What the phone does with the credentials in `sip`. */
      mode?: 'confirm' | 'autologin' | 'prefilled';
    };
    /** Whether a stored session signs in by itself. */
    sessionRestore?: 'auto' | 'off';
    theme?: {
      /** Ignored when the tenant locks the theme. */
      start?: 'light' | 'dark' | 'system';
    };
    /** Every call is recorded from its answer on, also where the tenant does not ask for it. */
    autoRecord?: boolean;
  };
  /** Logs the messages between loader and phone to the console. */
  debug?: boolean;
  /** Receives errors instead of the console. */
  onError?: (error: BitcallError) => void;
}

/** Codes of the loader and the phone. The server's own codes are in its API document. */
export type BitcallErrorCode =
  /** {detail} */
  | 'INVALID_CONFIG'
  /** init() was called twice. */
  | 'ALREADY_INITIALIZED'
  /** {method}() was called without a phone. */
  | 'NOT_INITIALIZED'
  /** {origin} does not answer. */
  | 'SERVER_UNREACHABLE'
  /** {origin} answered with status {status}. */
  | 'SERVER_ERROR'
  /** The phone's frame {url} did not load. */
  | 'PHONE_BLOCKED'
  /** The phone was loaded, but could not start. */
  | 'PHONE_START_FAILED'
  /** This page takes the phone's element away again and again. */
  | 'PHONE_REMOVED'
  /** The phone's frame was reloaded before it answered {method}(). */
  | 'PHONE_RESTARTED'
  /** The phone did not start in time for {method}(). */
  | 'PHONE_NOT_READY'
  /** {detail} */
  | 'INIT_FAILED'
  /** The tenant's API key is missing. */
  | 'WEBPHONE_MISSING_KEY'
  /** The API key is unknown or was revoked. */
  | 'WEBPHONE_INVALID_KEY'
  /** The tenant does not allow pages of the origin {page}. */
  | 'WEBPHONE_ORIGIN_FORBIDDEN'
  /** The tenant is disabled. */
  | 'WEBPHONE_TENANT_DISABLED'
  /** The phone cannot read what {method}() gave it. */
  | 'INVALID_COMMAND'
  /** These header fields cannot be set. */
  | 'BAD_HEADERS'
  /** This is not a number that can be called. */
  | 'BAD_NUMBER'
  /** The phone is not registered. */
  | 'NOT_REGISTERED'
  /** There is no such call. */
  | 'UNKNOWN_CALL'
  /** The tenant's plan has no transfers. */
  | 'TRANSFER_NOT_ALLOWED'
  /** The tenant does not let calls be recorded. */
  | 'RECORDING_NOT_ALLOWED'
  /** The call is not up. */
  | 'NOT_ANSWERED'
  /** The call is not recorded. */
  | 'NOT_RECORDED'
  /** This device has no room for recordings. */
  | 'STORAGE_FULL'
  /** The call could not be recorded. */
  | 'RECORDING_FAILED'
  /** The SIP server did not accept the username or the password. */
  | 'SIGN_IN_FAILED'
  /** The SIP server refused the registration. */
  | 'SIGN_IN_REFUSED'
  /** The SIP server cannot be reached. */
  | 'SIP_UNREACHABLE'
  /** The microphone is blocked. */
  | 'MICROPHONE_BLOCKED'
  /** There is no microphone. */
  | 'MICROPHONE_MISSING'
  /** Another program uses the microphone. */
  | 'MICROPHONE_BUSY'
  /** The call's audio could not be set up. */
  | 'MEDIA_FAILED';

export interface BitcallError {
  code: BitcallErrorCode | (string & {});
  /** What is wrong. */
  message: string;
  /** What to do about it. */
  remedy?: string;
  /** HTTP status, if a server answered. */
  status?: number;
}

export interface BitcallCall {
  callId: string;
  /** As dialled, or the caller's. Empty if the caller withholds it. */
  number: string;
  direction: 'outbound' | 'inbound';
  /** Present if the call was placed with a caller ID. */
  requestedCallerId?: string;
}

export interface BitcallCallIncoming {
  callId: string;
  /** As dialled, or the caller's. Empty if the caller withholds it. */
  number: string;
  direction: 'outbound' | 'inbound';
  /** Present if the call was placed with a caller ID. */
  requestedCallerId?: string;
  /** `X-…` and `User-to-User` of the INVITE by name, as received. Values of one name are joined by commas. */
  headers: Record<string, string>;
  /** Whom the caller called before the call was diverted, e.g. a queue: name or number. Null if the server does not tell. */
  divertedFrom: string | null;
}

export interface BitcallCallUpdated {
  callId: string;
  /** As dialled, or the caller's. Empty if the caller withholds it. */
  number: string;
  direction: 'outbound' | 'inbound';
  /** Present if the call was placed with a caller ID. */
  requestedCallerId?: string;
  /** The name that the server tells for the number, or null. */
  displayName: string | null;
}

export interface BitcallCallEnded {
  callId: string;
  /** As dialled, or the caller's. Empty if the caller withholds it. */
  number: string;
  direction: 'outbound' | 'inbound';
  /** Present if the call was placed with a caller ID. */
  requestedCallerId?: string;
  /** Whole seconds since the answer; 0 for a call that was never answered. */
  duration: number;
  /** Text, e.g. `Busy`, `Declined`, `Remote hung up`. */
  cause: string;
  /** Final SIP status of the call, or null when there was none (a BYE, a lost connection). */
  sipCode: number | null;
}

export interface BitcallTransfer {
  callId: string;
  /** As given, or the number of the call that was asked first. */
  target: string;
  status: 'started' | 'accepted' | 'failed';
  /** Why it failed, e.g. `BAD_NUMBER`, `REFUSED`, `UNREACHABLE`. */
  reason?: string | null;
  /** The same as a sentence. */
  message?: string | null;
  /** SIP URI of the target. */
  uri?: string | null;
}

export interface BitcallRecording {
  callId: string;
  /** As dialled, or the caller's. Empty if the caller withholds it. */
  number: string;
  direction: 'outbound' | 'inbound';
  /** Present if the call was placed with a caller ID. */
  requestedCallerId?: string;
  status: 'started' | 'paused' | 'stopped' | 'failed';
  /** The same from the start of a recording to its end, also over a pause. */
  recordingId: string;
  /** Why it failed, e.g. `STORAGE_FULL`, `RECORDING_FAILED`. */
  reason?: string | null;
  /** The same as a sentence. */
  message?: string | null;
}

export interface BitcallRegistered {
  username: string;
  domain: string;
  /** `username@domain` in lower case: identifies the account across pages. */
  userKey: string;
}

export interface BitcallUnregistered {
  reason: string;
}

export interface BitcallState {
  registered: boolean;
  inCall: boolean;
  activeNumber: string | null;
  callCount: number;
}

export interface BitcallEvents {
  /** A call is being placed. */
  callStarted: BitcallCall;
  /** A call comes in. */
  callIncoming: BitcallCallIncoming;
  callAnswered: BitcallCall;
  /** The other side has another number or name, e.g. after a transfer. */
  callUpdated: BitcallCallUpdated;
  /** Exactly once per call, also when the phone is taken away. */
  callEnded: BitcallCallEnded;
  /** A transfer was started, was accepted by the other side, or has failed. */
  transferState: BitcallTransfer;
  /**
   * The recording of a call was started, paused or stopped, or has failed. `started` is also told of a recording that
   * goes on.
   */
  recordingState: BitcallRecording;
  registered: BitcallRegistered;
  unregistered: BitcallUnregistered;
}

export interface BitcallWebphone {
  /**
   * Shows the phone. The promise is fulfilled when the phone takes commands, when it is known that it does not
   * (`onError` then says why), or when `destroy()` was called. It never rejects.
   */
  init(config: BitcallInitConfig): Promise<void>;
  /** Hangs up, unregisters and takes the phone off the page. */
  destroy(options?: { clearEventHandlers?: boolean }): void;
  /** Opens or closes the phone. */
  toggle(): void;
  getState(): BitcallState;
  isRegistered(): boolean;
  isInCall(): boolean;
  /** The same handler is registered once per event. */
  on<E extends keyof BitcallEvents>(event: E, handler: (payload: BitcallEvents[E]) => void): void;
  off<E extends keyof BitcallEvents>(event: E, handler: (payload: BitcallEvents[E]) => void): void;
  /**
   * Places a call now, or as soon as the phone is registered. Without a number nothing happens. Digits may follow the
   * number (`+49301234,,42#`); they are sent after the answer, `,` is a pause of two seconds, `;` waits for a key.
   */
  call(number: string, options?: { callerId?: string; headers?: Record<string, string> }): void;
  /** Puts a number into the dialer, where it stays over the sign-in. Without a number nothing happens. */
  dial(number: string): void;
  /** Ends that call, or the active one with all that are in conference with it. */
  hangup(callId?: string): void;
  /**
   * Connects the other side of that call, or of the active one, with the target, and leaves the call. The event
   * `transferState` tells how it goes. A transfer that fails gives the call back. Without a target nothing happens.
   */
  transfer(target: string, callId?: string): void;
  /**
   * Records that call, or the active one; goes on with a recording that is paused. The event `recordingState` tells how
   * it goes.
   */
  startRecording(callId?: string): void;
  /** Leaves out what is said from now on, e.g. the number of a card, until `startRecording`. */
  pauseRecording(callId?: string): void;
  /** Ends the recording of that call, or of the active one. It is in the phone's settings then. */
  stopRecording(callId?: string): void;
}

declare global {
  interface Window {
    BitcallWebphone: BitcallWebphone;
  }
  const BitcallWebphone: BitcallWebphone;
}
