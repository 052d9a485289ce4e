import { readFile } from "./recording.js";

/** The server's voices. Tells "change" when they were read anew. */
export class VoiceList extends EventTarget {
  #server;
  /** {name, text, description, licence, duration_s, created_at, preset, problem} each. */
  all = [];
  isLoaded = false;

  constructor(server) {
    super();
    this.#server = server;
  }

  /** Voices that can speak. */
  get usable() {
    return this.all.filter((each) => !each.problem);
  }

  /** Whether a voice of this name can speak, as far as anybody knows. */
  mayUse(name) {
    return !this.isLoaded || this.usable.some((each) => each.name === name);
  }

  /** Read the list. */
  async load() {
    this.all = (await this.#server.json("GET", "v1/audio/voices")).voices;
    this.isLoaded = true;
    this.dispatchEvent(new Event("change"));
  }

  /** Return what reads a voice's recording, as a sample (see SamplePlayer) has it: `load`. */
  sampleOf(name) {
    return async (append) => {
      const wav = await this.#server.bytes("GET", `${address(name)}/audio`);
      append((await readFile(new Blob([wav]))).samples);
    };
  }

  /** Save a voice: a name, its recording as a blob, its transcript, and perhaps notes. */
  async save({ name, audio, text, description, licence, replace = false }) {
    const form = new FormData();
    form.append("name", name);
    form.append("audio", audio, "recording");
    form.append("text", text);
    if (description) form.append("description", description);
    if (licence) form.append("licence", licence);
    form.append("replace", String(replace));
    const saved = await this.#server.json("POST", "v1/audio/voices", form);
    await this.load();
    return saved;
  }

  /** Change a voice's name, text, description or licence. */
  async update(name, changes) {
    await this.#server.json("PATCH", address(name), changes);
    await this.load();
  }

  /** Remove a voice for good. */
  async remove(name) {
    await this.#server.json("DELETE", address(name));
    await this.load();
  }
}

function address(name) {
  return `v1/audio/voices/${encodeURIComponent(name)}`;
}
