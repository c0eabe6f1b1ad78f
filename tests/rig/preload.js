// Runs before every document's own scripts, in every frame. It only watches:
// which connections exist, what they carry, what is played, which tones sound. The one thing it
// changes is the microphone's clean-up, which would remove a pure tone as noise.
() => {
  if (window.__rig) return;
  const connections = [];
  const players = new Set();
  const sent = [];
  const taps = new WeakMap();
  let context;

  const Connection = window.RTCPeerConnection;
  window.RTCPeerConnection = new Proxy(Connection, {
    construct(target, args, newTarget) {
      const made = Reflect.construct(target, args, newTarget);
      connections.push(made);
      return made;
    },
  });

  const devices = window.MediaDevices?.prototype;
  if (devices) {
    const open = devices.getUserMedia;
    devices.getUserMedia = function (wanted) {
      const audio = wanted?.audio;
      if (!audio) return open.call(this, wanted);
      const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      return open.call(this, {
        ...wanted,
        audio: { ...(audio === true ? {} : audio), ...plain },
      });
    };
  }

  const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'srcObject');
  Object.defineProperty(HTMLMediaElement.prototype, 'srcObject', {
    ...source,
    set(stream) {
      players.add(this);
      source.set.call(this, stream);
    },
  });

  // Tones that the page makes by itself: how many began, how many are not over, and by what.
  const tones = { begun: 0, sounding: 0, context: undefined };
  const begin = AudioScheduledSourceNode.prototype.start;
  AudioScheduledSourceNode.prototype.start = function (...when) {
    tones.begun += 1;
    tones.sounding += 1;
    tones.context = this.context;
    this.addEventListener('ended', () => (tones.sounding -= 1));
    return begin.apply(this, when);
  };

  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    const at = performance.timeOrigin + performance.now();
    if (typeof data === 'string') sent.push({ at, line: data.slice(0, data.indexOf('\r\n')) });
    return send.call(this, data);
  };

  // The loudest frequency of a track, in Hz; 0 when it is silent. A source that is made of a remote track before its
  // first packet stays silent for good now and then (Chromium 156), so it is made of one that flows.
  const pitch = (track) => {
    context ??= new AudioContext();
    if (context.state === 'suspended') context.resume();
    let tap = taps.get(track);
    if (!tap) {
      tap = context.createAnalyser();
      tap.fftSize = 8192;
      tap.smoothingTimeConstant = 0;
      context.createMediaStreamSource(new MediaStream([track])).connect(tap);
      taps.set(track, tap);
    }
    const bins = new Float32Array(tap.frequencyBinCount);
    tap.getFloatFrequencyData(bins);
    let best = 0;
    for (let i = 1; i < bins.length; i++) if (bins[i] > bins[best]) best = i;
    return bins[best] > -70 ? (best * context.sampleRate) / tap.fftSize : 0;
  };

  const plays = (track) =>
    [...players].some(
      (p) => !p.paused && !p.muted && p.volume > 0 && p.srcObject?.getTracks().includes(track),
    );

  // Firefox never answers for a connection that is closed meanwhile.
  const stats = (connection) =>
    Promise.race([
      connection.getStats(),
      new Promise((resolve) => setTimeout(resolve, 1000, new Map())),
    ]);

  // What one connection carries right now.
  const report = async (connection) => {
    const seen = {
      state: connection.connectionState,
      received: 0,
      energy: 0,
      sent: 0,
      pitch: 0,
      plays: false,
    };
    for (const s of (await stats(connection)).values()) {
      if (s.type === 'inbound-rtp' && s.kind === 'audio') {
        seen.received += s.packetsReceived;
        seen.energy += s.totalAudioEnergy ?? 0;
      }
      if (s.type === 'outbound-rtp' && s.kind === 'audio') seen.sent += s.packetsSent;
    }
    for (const { track } of connection.getReceivers()) {
      if (track?.kind !== 'audio') continue;
      if (!track.muted) seen.pitch ||= pitch(track);
      seen.plays ||= plays(track);
    }
    return seen;
  };

  Object.defineProperty(window, '__rig', {
    value: {
      connections,
      sent,
      tones,
      hear: () =>
        Promise.all(connections.filter((c) => c.signalingState !== 'closed').map(report)),
    },
  });
}
