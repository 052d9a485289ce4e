/**
 * The settings of a request beside text and voices: name, control, and the server's own default,
 * which is not sent. `docs/requests.md` says what each means.
 */
export const FIELDS = [
  { name: "scene", kind: "text", default: "Audio is recorded from a quiet room.", isMain: true },
  {
    name: "language",
    kind: "choice",
    choices: ["", "en", "de", "es", "fr", "zh", "ko"],
    default: "",
    isMain: true,
  },
  { name: "speed", kind: "number", min: 0.25, max: 4, step: 0.05, default: 1, isMain: true },
  { name: "seed", kind: "whole", min: 0, max: Number.MAX_SAFE_INTEGER, default: null, isMain: true },
  {
    name: "format",
    kind: "choice",
    choices: ["wav", "mp3", "flac", "opus", "aac", "pcm", "ulaw", "alaw"],
    default: "wav",
    isMain: true,
  },
  { name: "temperature", kind: "number", min: 0, max: 2, step: 0.05, default: 0.3 },
  { name: "top_p", kind: "number", min: 0, max: 1, step: 0.01, default: 0.95 },
  { name: "top_k", kind: "whole", min: 0, max: 1026, default: 50 },
  { name: "retries", kind: "whole", min: 0, max: 5, default: 1 },
  { name: "max_duration_s", kind: "number", min: 0.2, max: 600, step: 0.1, default: null },
  { name: "loudness_lufs", kind: "number", min: -40, max: -5, step: 0.5, default: null },
  { name: "chunk_words", kind: "whole", min: 5, max: 400, default: 100 },
  { name: "context_chunks", kind: "whole", min: 0, max: 8, default: 0 },
  { name: "dialogue", kind: "choice", choices: ["turns", "joint"], default: "turns" },
  { name: "normalise", kind: "switch", default: true },
  // The server refuses unknown tags by default; this page reads them, and shows the warning.
  { name: "strict_tags", kind: "switch", default: false },
];
