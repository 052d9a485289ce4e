import { JAVASCRIPT, JSON_TEXT, PYTHON, literal } from "./literal.js";

const JOB_ADDRESS = "https://api.runpod.ai/v2/ENDPOINT_ID/runsync";
const OPENAI_NAMES = { text: "input", scene: "instructions", format: "response_format" };
const OPENAI_ARGUMENTS = ["voice", "input", "instructions", "response_format", "speed"];

/**
 * Return code that makes a request, by its kind: curl, python, client, javascript and job.
 *
 * The body is a job's input with only those fields that differ from a job's defaults; the origin is
 * the server's address, with the path that a proxy may put before it.
 */
export function calls(body, { origin, hasKey }) {
  const asked = withoutIdle(body);
  const server = { url: `${origin.replace(/\/+$/, "")}/v1`, hasKey };
  const fileName = `speech.${body.format ?? "wav"}`;
  return {
    curl: curlCall(inOpenAIsWords(asked), server, fileName),
    python: pythonCall(inOpenAIsWords(asked), server, fileName),
    client: clientCall(asked, fileName),
    javascript: javaScriptCall(inOpenAIsWords(asked), server, fileName),
    job: jobCall(asked),
  };
}

function curlCall(fields, { url, hasKey }, fileName) {
  const key = hasKey ? `  --header "Authorization: Bearer $HIGGS_API_KEY" \\\n` : "";
  return `curl --fail-with-body --output ${fileName} ${shellWord(`${url}/audio/speech`)} \\
${key}  --header "Content-Type: application/json" \\
  --data @- ${hereDocument(fields)}`;
}

function jobCall(fields) {
  return `curl --fail-with-body ${JOB_ADDRESS} \\
  --header "Authorization: Bearer $RUNPOD_API_KEY" \\
  --header "Content-Type: application/json" \\
  --data @- ${hereDocument({ input: fields })}`;
}

function pythonCall(fields, { url, hasKey }, fileName) {
  const isArgument = ([name]) => OPENAI_ARGUMENTS.includes(name);
  const all = Object.entries(fields);
  // The package insists on a voice; null lets the model choose.
  const named = { model: "higgs", voice: null, ...Object.fromEntries(all.filter(isArgument)) };
  const extra = Object.fromEntries(all.filter((each) => !isArgument(each)));
  if (Object.keys(extra).length > 0) named.extra_body = extra;
  const imports = hasKey ? "import os\n\n" : "";
  return `${imports}from openai import OpenAI

client = OpenAI(
    base_url=${literal(url, PYTHON)},
    api_key=${hasKey ? `os.environ["HIGGS_API_KEY"]` : `"none"`},
)
with client.audio.speech.with_streaming_response.create(
${pythonArguments(named)}) as speech:
    speech.stream_to_file("${fileName}")
`;
}

function clientCall({ text, ...fields }, fileName) {
  return `from pathlib import Path

from higgs_worker.client import Higgs

higgs = Higgs("ENDPOINT_ID")  # the key comes from RUNPOD_API_KEY
speech = higgs.speak(
    ${literal(text, PYTHON)},
${pythonArguments(fields)})
Path("${fileName}").write_bytes(speech.audio)
`;
}

function javaScriptCall(fields, { url, hasKey }, fileName) {
  const key = hasKey ? "    Authorization: `Bearer ${process.env.HIGGS_API_KEY}`,\n" : "";
  const secret = hasKey ? "// Never put the key into a page; there, ask a server of your own.\n" : "";
  return `import { writeFile } from "node:fs/promises";

const reply = await fetch(${literal(`${url}/audio/speech`, JAVASCRIPT)}, {
  method: "POST",
  headers: {
${key}    "Content-Type": "application/json",
  },
  body: JSON.stringify(${literal(fields, JAVASCRIPT, "  ")}),
});
if (!reply.ok) throw new Error(await reply.text());
${secret}// A page leaves out the import, and has this instead of the last line:
// await new Audio(URL.createObjectURL(await reply.blob())).play();
await writeFile("${fileName}", reply.body);
`;
}

/** Leave out what does nothing: strict_tags where the text has no bracket. */
function withoutIdle({ strict_tags, ...fields }) {
  const isIdle = strict_tags === undefined || !fields.text.includes("[");
  return isIdle ? fields : { ...fields, strict_tags };
}

/** Rename a job's fields as OpenAI has them, whose defaults of two are others. */
function inOpenAIsWords({ strict_tags = true, format = "wav", ...fields }) {
  const named = { ...fields };
  if (format !== "mp3") named.format = format;
  if (strict_tags && fields.text.includes("[")) named.strict_tags = true;
  return Object.fromEntries(
    Object.entries(named).map(([name, value]) => [OPENAI_NAMES[name] ?? name, value]),
  );
}

function pythonArguments(fields) {
  const margin = PYTHON.indent;
  const line = ([name, value]) => `${margin}${name}=${literal(value, PYTHON, margin)},\n`;
  return Object.entries(fields).map(line).join("");
}

function hereDocument(value) {
  // Between quoted marks a shell changes nothing. curl drops the line breaks, and JSON has none
  // within its strings.
  return `<<'JSON'\n${literal(value, JSON_TEXT)}\nJSON\n`;
}

function shellWord(text) {
  return /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
