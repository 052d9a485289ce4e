// What the tests of the player listen with.

const RATE = 24000;

/** Noise without a zero, so that every sample of a take is found again in what is heard. */
globalThis.noise = (length, seed = 1) => {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 0.05 + 0.4 * (state / 2 ** 32);
  });
};

globalThis.sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/** Waits for a condition, for some ten seconds at the most. */
globalThis.until = async (condition) => {
  for (let i = 0; i < 1000; i += 1) {
    if (condition()) {
      return;
    }
    await sleep(0.01);
  }
  throw new Error(`never: ${condition}`);
};

/** Starts a take and keeps what comes out of the player, from its thread of sound. */
globalThis.started = async (rate = RATE) => {
  const { Player } = await import("/page/player.js");
  const player = new Player();
  player.begin(rate);
  const { context } = player.output;
  await context.audioWorklet.addModule("/page/recorder_worklet.js");
  const tap = new AudioWorkletNode(context, "tap");
  player.output.connect(tap).connect(context.destination);
  // Without a source the tap would hear nothing at all instead of silence.
  const silence = new ConstantSourceNode(context, { offset: 0 });
  silence.connect(tap);
  silence.start();
  const blocks = [];
  tap.port.onmessage = ({ data }) => blocks.push(...data);
  await until(() => blocks.length);
  return { player, context, blocks };
};

/** Returns what was heard between the silences, as `[start, samples]`. */
globalThis.sounds = (blocks) => {
  const found = [];
  for (let i = 0; i < blocks.length; i += 1) {
    if (blocks[i] !== 0) {
      let end = i;
      while (end < blocks.length && blocks[end] !== 0) {
        end += 1;
      }
      found.push([i, blocks.slice(i, end)]);
      i = end;
    }
  }
  return found;
};

/** Returns the first index at which two differ, from one index to another; -1 for none. */
globalThis.difference = (a, b, start = 0, end = Math.max(a.length, b.length)) => {
  for (let i = start; i < end; i += 1) {
    if (a[i] !== b[i]) {
      return i;
    }
  }
  return -1;
};
