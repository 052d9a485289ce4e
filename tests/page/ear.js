// Before the page's own scripts: what goes to the speakers goes to an ear as well.
(() => {
  const ears = [];
  const { connect } = AudioNode.prototype;
  const { fetch } = window;
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  class Ear {
    #context;
    #blocks = [];
    #node = null;
    firstSoundMs = null;

    constructor(context) {
      this.#context = context;
      this.ready = this.#open();
    }

    async #open() {
      // The page's own recorder has what is needed, and the policy allows no script from elsewhere.
      await this.#context.audioWorklet.addModule("page/recorder_worklet.js");
      this.#node = new AudioWorkletNode(this.#context, "tap");
      this.#node.port.onmessage = ({ data }) => this.#hear(data);
      // Silence is heard as well: it tells how long a pause was.
      const silence = new ConstantSourceNode(this.#context, { offset: 0 });
      silence.start();
      connect.call(silence, this.#node);
      connect.call(this.#node, this.#context.destination);
    }

    #hear(block) {
      if (this.firstSoundMs === null) {
        if (block.every((each) => each === 0)) return;
        this.firstSoundMs = performance.now();
      }
      this.#blocks.push(Int16Array.from(block, (each) => Math.round(32768 * each)));
    }

    async listenTo(node) {
      await this.ready;
      connect.call(node, this.#node);
    }

    async take() {
      const enough = this.#blocks.length + 2; // what has sounded by now is in them
      while (this.#context.state === "running" && this.#blocks.length < enough) await pause(20);
      return this.#blocks.splice(0);
    }
  }

  AudioNode.prototype.connect = function (target, ...given) {
    if (target === this.context.destination) this.context.ear?.listenTo(this);
    return connect.call(this, target, ...given);
  };

  window.AudioContext = class extends AudioContext {
    constructor(...given) {
      super(...given);
      this.ear = new Ear(this);
      ears.push(this.ear);
    }
  };

  // Nothing is asked of the server before the ears are open, so nothing of its sound is missed.
  window.fetch = async (...given) => {
    await Promise.all(ears.map((each) => each.ready));
    return fetch(...given);
  };

  /** Return what was heard since the last time: 16-bit samples in base64. */
  window.takeHeard = async () => {
    const blocks = await Promise.all(ears.map((each) => each.take()));
    const bytes = new Uint8Array(await new Blob(blocks.flat()).arrayBuffer());
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) {
      text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    }
    return btoa(text);
  };

  /** Return when the first sound was heard, in milliseconds of `performance.now()`, or null. */
  window.firstSoundMs = () => ears.find((each) => each.firstSoundMs !== null)?.firstSoundMs ?? null;
})();
